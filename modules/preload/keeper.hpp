// SPDX-License-Identifier: Apache-2.0
#pragma once

// A process beside the program, for as long as that runs. It holds what the program's processes share: the tally, and files
// that can be read only once. It says what came of a program that did not live to say it.

#include "tally.hpp"

#include <string>
#include <vector>

/// is_read_once says that a file may be another, or empty, when it is opened again: a FIFO, a pipe as of <(…), /dev/stdin.
bool is_read_once(const std::string& path);

/// copied reads one to its end, and gives a memfd of it that nobody can write. Throws std::runtime_error, naming it.
int copied(const std::string& path);

/// start_keeper gives its process, or -1. `program` is the name for people. It ends with this process, which becomes the
/// program. The files that it keeps are found in /proc by it, and by no process of another user's; the program inherits
/// none of them.
int start_keeper(tally& counts, const std::string& program, bool verbose, const std::vector<int>& files);
