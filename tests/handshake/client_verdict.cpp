// SPDX-License-Identifier: Apache-2.0
// Late refusal: what a client knows of the server's judgement, and when.

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <string>
#include <vector>

using namespace support;
using answer = reqauth::client_outcome::answer;
using verdict = reqauth::client_outcome::verdict;

namespace {

reqauth::client_outcome outcome(const pair& both) { return reqauth::client_outcome_of(*both.client.ssl); }

/// refusal is the alert by which throw_if_refused says no: "" where it does not.
std::string refusal(const pair& both, std::string* text = nullptr) {
    try {
        reqauth::throw_if_refused(*both.client.ssl);
        return "";
    } catch (const reqauth::refused& no) {
        CHECK(no.code() == reqauth::errc::refused);
        if (text != nullptr) *text = no.what();
        return std::string(no.alert_name());
    }
}

owned<SSL_CTX> sends_whatever(const identity& who) {
    reqauth::client_policy policy;
    policy.credential = credential_of(who);
    policy.when_unsatisfiable = reqauth::unsatisfiable::present;
    return attached_client(policy);
}

} // namespace

TEST_CASE("client / certificate sent, TLS 1.3 / before and after the server's ticket -> awaited, then accepted",
          "[handshake][cve][RCA-4]") {
    const auto server = attached_server(demanding());
    const auto client = attached_client();
    pair both(*server, *client);
    both.client.step();
    both.server.give(both.client.take());
    both.server.step();
    both.client.give(both.server.take());
    both.client.step();
    REQUIRE(both.client.done); // and the server has seen nothing of it
    CHECK(outcome(both).sent == answer::flag);
    CHECK(outcome(both).judged == verdict::awaited);
    REQUIRE(both.shake());
    CHECK(outcome(both).judged == verdict::accepted);
    CHECK(refusal(both).empty());
}

TEST_CASE("TLS 1.3 late rejection / the client's handshake has ended well -> refused, by the alert's name, and not to "
          "be tried again",
          "[handshake][cve][RCA-4]") {
    struct row {
        const char* alert;
        owned<SSL_CTX> server;
        owned<SSL_CTX> client;
        answer sent;
    };
    const auto required = [](const reqauth::trust& agents) {
        reqauth::server_policy policy;
        policy.when_offered = reqauth::client_auth::require(agents);
        return attached_server(policy);
    };
    reqauth::client_policy nothing;
    nothing.offer = reqauth::offer::always;
    const std::string revoked = crl(the_cast().agents_ca, {.revoked = {the_cast().agent.certificate.get()}});
    std::vector<row> rows;
    rows.push_back({"certificate_required", required(agents()), attached_client(nothing), answer::empty});
    rows.push_back({"unknown_ca", required(agents()), sends_whatever(the_cast().customer), answer::flag});
    rows.push_back({"certificate_expired", required(agents()), sends_whatever(the_cast().expired_agent), answer::flag});
    rows.push_back({"certificate_revoked", required(agents().with_crls(revoked)), attached_client(), answer::flag});
    rows.push_back({"bad_certificate", required(agents().with_pins({pin_of(*the_cast().customer.key)})),
                    attached_client(), answer::flag});
    ROWS(each.alert, rows, const row& each) {
        CAPTURE(each.alert);
        pair both(*each.server, *each.client);
        CHECK_FALSE(both.shake());
        CHECK(both.client.done); // it believed so
        CHECK(outcome(both).sent == each.sent);
        CHECK(outcome(both).judged == verdict::refused);
        std::string text;
        CHECK(refusal(both, &text) == each.alert);
        CHECK(text.find(each.alert) != std::string::npos);
        CHECK(text.find("do not try again") != std::string::npos);
    }
}

TEST_CASE("client / other ends of a connection -> no refusal", "[handshake]") {
    const auto server = attached_server(asking());
    const auto client = attached_client();
    {
        pair both(*server_context(), *client);
        REQUIRE(both.shake());
        CHECK(outcome(both).judged == verdict::none); // nobody asked
        CHECK(refusal(both).empty());
    }
    {
        SSL_CTX_set_min_proto_version(server.get(), TLS1_3_VERSION);
        const auto old = attached_client();
        SSL_CTX_set_max_proto_version(old.get(), TLS1_2_VERSION);
        pair both(*server, *old);
        CHECK_FALSE(both.shake());
        CHECK(outcome(both).judged != verdict::refused); // protocol_version is not about a certificate
        CHECK(refusal(both).empty());
    }
}

TEST_CASE("client / observe -> told of the end of the handshake, of the ticket, and of a late alert",
          "[handshake][SEC-3]") {
    std::vector<reqauth::client_outcome> told;
    auto policy = agent_policy();
    policy.observe = [&told](const SSL&, const reqauth::client_outcome& outcome) {
        told.push_back(outcome);
        throw std::runtime_error("dropped");
    };
    const auto client = attached_client(policy);
    {
        const auto server = attached_server(asking());
        pair both(*server, *client);
        REQUIRE(both.shake());
        REQUIRE(told.size() >= 2);
        CHECK(told.front().acknowledged);
        CHECK(told.front().judged == verdict::awaited);
        CHECK(told.back().judged == verdict::accepted);
    }
    told.clear();
    {
        reqauth::server_policy customers;
        customers.when_offered = reqauth::client_auth::require(trust_in(the_cast().customers_ca));
        customers.ca_names = false;
        const auto server = attached_server(customers);
        pair both(*server, *client);
        CHECK_FALSE(both.shake());
        REQUIRE(told.size() == 2);
        CHECK(told.front().judged == verdict::awaited);
        CHECK(told.back().judged == verdict::refused);
        CHECK(told.back().alert_received == SSL_AD_UNKNOWN_CA);
    }
}
