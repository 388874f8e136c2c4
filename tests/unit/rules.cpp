// SPDX-License-Identifier: Apache-2.0
// Which flags may stand in which message: every message, side, and relation of the flag to the offer.

#include "catch.hpp"

#include "../../lib/wire/rules.hpp"

using namespace reqauth::detail;
using reqauth::flag_set;

namespace {

violation at(role receiver, message in, const flag_set& flags, const flag_set& proposed) {
    return judge({receiver, in, flags, proposed, 80});
}

constexpr message responses[] = {message::hello_retry_request, message::server_hello, message::encrypted_extensions,
                                 message::certificate};

} // namespace

TEST_CASE("rules / CH, CR, NST / unknown flags -> ignored", "[unit][FLAG-6]") {
    CHECK(at(role::server, message::client_hello, {1, 80, 2039}, {}) == violation::none);
    CHECK(at(role::client, message::certificate_request, {1, 2039}, {}) == violation::none);
    CHECK(at(role::client, message::new_session_ticket, {8, 2039}, {}) == violation::none);
}

TEST_CASE("rules / client, HRR, SH, EE, CT / a flag that was not proposed -> violation; proposed -> fine",
          "[unit][FLAG-7]") {
    for (const message in : responses) {
        CHECK(at(role::client, in, {9}, {}) == violation::unsolicited_flag);
        CHECK(at(role::client, in, {9}, {10, 80}) == violation::unsolicited_flag);
        CHECK(at(role::client, in, {9, 10}, {10, 80}) == violation::unsolicited_flag);
        CHECK(at(role::client, in, {10}, {10, 80}) == violation::none);
    }
}

TEST_CASE("rules / client, HRR, SH, EE, CT, NST / the flag, offered or not -> violation", "[unit][RCA-10]") {
    for (const flag_set& proposed : {flag_set{}, flag_set{80}}) {
        for (const message in : responses)
            CHECK(at(role::client, in, {80}, proposed) == violation::flag_in_other_message);
        CHECK(at(role::client, message::new_session_ticket, {80}, proposed) == violation::flag_in_other_message);
    }
}

TEST_CASE("rules / client, CR / the flag -> fine where it was offered, else a violation", "[unit][RCA-9]") {
    CHECK(at(role::client, message::certificate_request, {80}, {80}) == violation::none);
    CHECK(at(role::client, message::certificate_request, {80}, {10}) == violation::acknowledged_unoffered);
    CHECK(at(role::client, message::certificate_request, {10, 80}, {}) == violation::acknowledged_unoffered);
}

TEST_CASE("rules / server, CT / the flag or any other -> violation", "[unit][RCA-11][FLAG-7]") {
    CHECK(at(role::server, message::certificate, {80}, {}) == violation::flag_in_other_message);
    CHECK(at(role::server, message::certificate, {9}, {}) == violation::unsolicited_flag);
}

TEST_CASE("rules / texts / every violation and message -> named in the error queue", "[unit]") {
    for (const violation broken : {violation::none, violation::unsolicited_flag, violation::acknowledged_unoffered,
                                   violation::flag_in_other_message})
        CHECK_FALSE(text_of(broken).empty());
    CHECK(text_of(violation::acknowledged_unoffered).find("RCA-9") != std::string_view::npos);
    CHECK(name_of(message::certificate_request) == "CertificateRequest");
    CHECK(name_of(message::new_session_ticket) == "NewSessionTicket");
    CHECK(text_of(reqauth::malformed::trailing_zero).find("FLAG-5") != std::string_view::npos);
}
