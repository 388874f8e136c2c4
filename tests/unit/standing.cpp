// SPDX-License-Identifier: Apache-2.0
// What nginx's and Apache's modules make of a client at the host that it asks for, over every combination.

#include "catch.hpp"

#include "../../modules/standing.hpp"

using namespace reqauth_modules;

TEST_CASE("modules / standing / every combination -> an agent only where its handshake was, and let it in",
          "[unit][attack][not-before][RCA-14][SEC-7]") {
    int agents = 0;
    for (unsigned bits = 0; bits < 128; ++bits) {
        const visitor who{.accepted = (bits & 1) != 0, .verified = (bits & 2) != 0};
        const asked_host host{.elsewhere = (bits & 4) != 0,
                              .requires_customer = (bits & 8) != 0,
                              .agents_beside = (bits & 16) != 0,
                              .misdirected_is_421 = (bits & 32) != 0,
                              .place_requires_customer = (bits & 64) != 0};
        const standing is = standing_at(who, host);
        CAPTURE(bits);
        if (!who.accepted) { // people and customers are the server's own business
            CHECK(is == standing::as_ever);
            continue;
        }
        CHECK(is != standing::as_ever);
        // Nobody who came in elsewhere gets to a host that requires a customer, whatever is said of misdirected requests.
        if (host.elsewhere && host.requires_customer) CHECK(is == standing::misdirected);
        if (host.elsewhere && host.misdirected_is_421) CHECK(is == standing::misdirected);
        if (!host.elsewhere) CHECK((is != standing::misdirected && is != standing::stranger));
        // A place that requires a customer is open to none of them.
        if (host.place_requires_customer) CHECK((is == standing::refused || is == standing::misdirected));
        if (is == standing::agent) {
            CHECK((who.verified && !host.elsewhere && !host.place_requires_customer));
            CHECK((!host.requires_customer || host.agents_beside));
            ++agents;
        }
        if (is == standing::person || is == standing::stranger)
            CHECK((!host.requires_customer && !host.place_requires_customer));
        CHECK((is == standing::person) ==
              (!host.elsewhere && !host.place_requires_customer && !host.requires_customer && !who.verified));
    }
    CHECK(agents == 6); // of 128: requires or not, beside or not, 421 or not, without required and not beside
}
