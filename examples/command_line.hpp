// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the programs do the same way on the command line and on their output.

#include <CLI/CLI.hpp>

#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

/// usage_error is an option or a file that cannot be used: exit status 2, its text in one line.
struct usage_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// parse reads the arguments into `app`. It prints --help and says exit status 0, or throws
/// usage_error; no value means: go on.
std::optional<int> parse(CLI::App& app, int argc, char** argv);

/// print_line writes `line` and flushes. Lines of several threads never mix: stdio locks per call.
void print_line(std::FILE* out, std::string line);

/// complain says on standard error, in one line, why `program` ends with `status`; it returns the status.
int complain(std::string_view program, std::string what, int status);
