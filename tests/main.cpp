// SPDX-License-Identifier: Apache-2.0

// The main of each suite with Catch2 2.13; Catch2 3 has one in a library.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
