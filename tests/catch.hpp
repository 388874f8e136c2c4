// SPDX-License-Identifier: Apache-2.0
#pragma once

// Catch2, whichever of 2.13 and 3 is there.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <iostream>

/// SKIP_BECAUSE ends a test case that cannot run here, with a reason that the run prints. Catch2 2.13
/// has no SKIP. Such a test does not count as one that ran: see tests/tools/results.py.
#define SKIP_BECAUSE(reason)                                                                                           \
    do {                                                                                                               \
        std::cout << "skipped: " << (reason) << '\n';                                                                  \
        SUCCEED(reason);                                                                                               \
        return;                                                                                                        \
    } while (false)
