// SPDX-License-Identifier: Apache-2.0
#pragma once

// Catch2, whichever of 2.13 and 3 is there.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <iostream>
#include <set>
#include <stdexcept>
#include <string>

/// SKIP_BECAUSE ends a test case that cannot run here, with a reason that the run prints. Catch2 2.13
/// has no SKIP. Such a test does not count as one that ran: see tests/tools/results.py.
#define SKIP_BECAUSE(reason)                                                                                           \
    do {                                                                                                               \
        std::cout << "skipped: " << (reason) << '\n';                                                                  \
        SUCCEED(reason);                                                                                               \
        return;                                                                                                        \
    } while (false)

/// ROWS is a loop over the rows of a table, each a section of its name: `handshake 'test case' -c 'row'` runs one alone.
/// Catch2 runs the test case anew for each, and a second row of one name never: so names differ, or the test fails.
#define ROWS(name, table, ...)                                                                                         \
    for (row_names names_; __VA_ARGS__ : table) DYNAMIC_SECTION(names_.once(name))

class row_names {
public:
    const std::string& once(const std::string& name) {
        const auto [at, fresh] = names_.insert(name);
        if (!fresh) throw std::logic_error("two rows have the name " + name);
        return *at;
    }

private:
    std::set<std::string> names_;
};
