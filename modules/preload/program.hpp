// SPDX-License-Identifier: Apache-2.0
#pragma once

// What can be known of a program before it runs: whether a preloaded library can reach its OpenSSL.

#include <filesystem>
#include <stdexcept>
#include <string>

/// not_possible is why a program cannot be given the flag. `status` is what reqauth-exec ends with.
struct not_possible : std::runtime_error {
    not_possible(int status, const std::string& what) : std::runtime_error(what), status(status) {}
    int status;
};

/// found finds a program as execvp does: by PATH, if its name has no slash. Throws not_possible{127}.
std::filesystem::path found(const std::string& name);

/// check says what a program is for the flag, in words that follow its name. It throws not_possible{126} where the program, or the interpreter of a script, has no OpenSSL within reach: it is
/// static, of another machine or C library, or gets privileges; it links another libssl. `guess`: also where it is written in
/// Go, links another TLS library and no libssl, or has an OpenSSL inside; or is one that cannot be a `server`.
std::string check(const std::filesystem::path& program, bool guess, bool server);
