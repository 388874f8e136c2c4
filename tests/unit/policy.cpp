// SPDX-License-Identifier: Apache-2.0
// The server's decision, over every combination of what it rests on.

#include "catch.hpp"

#include "../../lib/policy.hpp"

using namespace reqauth::detail;
using mode = reqauth::client_auth::mode;

TEST_CASE("policy / decide / every combination -> accepted only where everything says so", "[unit][RCA-8][SEC-5][SEC-7][SEC-1]") {
    int accepted = 0;
    int refused = 0;
    for (unsigned bits = 0; bits < 64; ++bits) {
        for (const mode asks : {mode::none, mode::request, mode::require}) {
            const circumstances now{.offered = (bits & 1) != 0,
                                    .wanted = (bits & 2) != 0,
                                    .same_server = (bits & 4) != 0,
                                    .asks = asks,
                                    .everyone_required = (bits & 8) != 0,
                                    .beside_required = (bits & 16) != 0,
                                    .resumed = (bits & 32) != 0};
            const verdict decided = decide(now);
            CAPTURE(bits, static_cast<int>(asks));
            if (!now.offered || !now.wanted || !now.same_server || asks == mode::none) {
                CHECK(decided == verdict::ignore);
            } else if (now.everyone_required && !now.beside_required) {
                CHECK(decided == verdict::ignore);
            } else if (now.resumed && asks == mode::require) {
                CHECK(decided == verdict::refuse);
                ++refused;
            } else {
                CHECK(decided == verdict::accept);
                ++accepted;
            }
        }
    }
    CHECK(accepted == 9);
    CHECK(refused == 3);
}

TEST_CASE("client_auth / invalid_is_anonymous -> a copy that says so, and the original unchanged", "[unit]") {
    const auto none = reqauth::client_auth::none();
    CHECK(none.asks() == mode::none);
    CHECK_FALSE(none.agents());
    CHECK(none.invalid_is_anonymous().lets_invalid_pass());
    CHECK_FALSE(none.lets_invalid_pass());
}
