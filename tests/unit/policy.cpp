// SPDX-License-Identifier: Apache-2.0
// The server's decision, over every combination of what it rests on.

#include "catch.hpp"

#include "../../lib/decide/policy.hpp"

using namespace reqauth::detail;
using mode = reqauth::client_auth::mode;

TEST_CASE("policy / decide / every combination -> accepted only where everything says so",
          "[unit][RCA-8][SEC-5][SEC-7][SEC-1][TLS-2]") {
    int accepted = 0;
    int refused = 0;
    int ignored = 0;
    for (unsigned bits = 0; bits < 1024; ++bits) {
        for (const mode asks : {mode::none, mode::request, mode::require}) {
            const circumstances now{.offered = (bits & 1) != 0,
                                    .wanted = (bits & 2) != 0,
                                    .same_server = (bits & 4) != 0,
                                    .asks = asks,
                                    .customers_asked = (bits & 256) != 0,
                                    .beside_customers = (bits & 512) != 0,
                                    .everyone_required = (bits & 8) != 0,
                                    .beside_required = (bits & 16) != 0,
                                    .resumed = (bits & 32) != 0,
                                    .vouched = (bits & 64) != 0,
                                    .agents_session = (bits & 128) != 0};
            // Only a resumed session can be an agent's, and only an agent's can be vouched for.
            if ((now.agents_session && !now.resumed) || (now.vouched && !now.agents_session)) continue;
            if (now.everyone_required && !now.customers_asked) continue; // to require is to ask
            const decision decided = decide(now);
            CAPTURE(bits, static_cast<int>(asks));
            const bool passed_over = !now.offered || !now.wanted || !now.same_server || asks == mode::none ||
                                     (now.customers_asked && !now.beside_customers) ||
                                     (now.everyone_required && !now.beside_required);
            if (passed_over && now.customers_asked && now.agents_session) {
                CHECK(decided == decision::refuse); // an agent is nobody whom the SSL_CTX's own trust has verified
                ++refused;
            } else if (passed_over) {
                CHECK(decided == decision::ignore);
                ++ignored;
            } else if (asks == mode::require && now.resumed && !now.vouched) {
                CHECK(decided == decision::refuse);
                ++refused;
            } else {
                CHECK(decided == decision::accept);
                ++accepted;
            }
        }
    }
    // Four ways to come: in full, or resuming a session that is nobody's, an agent's, or a vouched agent's.
    // Seven SSL_CTXs take the flag: four that ask nobody else, two that ask customers and tell them apart, and one that
    // requires them and lets agents in beside.
    CHECK(accepted == 7 * 4 + 7 * 2);
    CHECK(refused == 7 * 2 + 186 * 2);
    CHECK(accepted + refused + ignored == 4 * 96 * 3);
}

TEST_CASE("client_auth / invalid_is_anonymous -> a copy that says so, and the original unchanged", "[unit]") {
    const auto none = reqauth::client_auth::none();
    CHECK(none.asks() == mode::none);
    CHECK_FALSE(none.agents());
    CHECK(none.invalid_is_anonymous().lets_invalid_pass());
    CHECK_FALSE(none.lets_invalid_pass());
}
