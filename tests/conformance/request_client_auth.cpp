// SPDX-License-Identifier: Apache-2.0
// The request_client_auth flag itself: RCA-1 to RCA-12 on the wire.

#include "catch.hpp"
#include "conformance/conversations.hpp"

using namespace support;
using answer = reqauth::client_outcome::answer;

TEST_CASE("both sides / before the flag / sane conversation -> flagged_peer", "[conformance]") {
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}

TEST_CASE("client / ClientHello / it has a credential -> the flag, alone", "[conformance][RCA-1][RCA-6][FLAG-3]") {
    with_bad_server conversation({{in::certificate_request, {flags({80})}}});
    REQUIRE(conversation.run());
    REQUIRE(conversation.peer.heard.size() == 1); // the client answers CR with no tls_flags of its own
    CHECK(conversation.peer.heard[0] == std::pair{in::client_hello, flags({80})});
    CHECK(client_side(*conversation.both).offered);
}

TEST_CASE("client / CertificateRequest / acknowledged -> Certificate with the credential",
          "[conformance][RCA-4][RCA-12]") {
    with_bad_server conversation({{in::certificate_request, {flags({80})}}});
    REQUIRE(conversation.run());
    const auto outcome = client_side(*conversation.both);
    CHECK(outcome.requested);
    CHECK(outcome.acknowledged);
    CHECK(outcome.sent == answer::flag);
    CHECK(SSL_get_verify_result(conversation.both->server.ssl.get()) == X509_V_OK);
}

TEST_CASE("client / CertificateRequest / acknowledged, and it has no credential -> empty Certificate",
          "[conformance][RCA-4]") {
    reqauth::client_policy policy;
    policy.offer = reqauth::offer::always;
    for (const bool has_another : {false, true}) {
        CAPTURE(has_another);
        with_bad_server conversation({{in::certificate_request, {flags({80})}}}, policy);
        if (has_another) present(*conversation.ours, the_cast().customer);
        pair both(*conversation.peer.context, *conversation.ours);
        REQUIRE(both.shake());
        const auto outcome = client_side(both);
        CHECK(outcome.offered);
        CHECK(outcome.acknowledged);
        CHECK(outcome.sent == answer::empty);
        for (const auto& message : both.client.messages)
            if (message.sent && message.type == kind::certificate) CHECK(message.certificates() == 0);
    }
}

TEST_CASE("client / CertificateRequest / acknowledged, no credential, server requires -> waits for the server's alert",
          "[conformance][RCA-4]") {
    reqauth::client_policy policy;
    policy.offer = reqauth::offer::always;
    const auto ours = attached_client(policy);
    const auto server = attached_server(demanding());
    pair both(*server, *ours);
    CHECK_FALSE(both.shake());
    CHECK(both.client.done); // it did not close in fear
    CHECK(alert_to_client(both) == "certificate required");
    CHECK(alert_to_server(both) == "none");
    CHECK(client_side(both).sent == answer::empty);
}

TEST_CASE("client / CertificateRequest / not acknowledged -> what the SSL_CTX has of its own",
          "[conformance][RCA-3][RCA-12]") {
    with_bad_server conversation({});
    present(*conversation.ours, the_cast().other_agent);
    pair both(*conversation.peer.context, *conversation.ours);
    REQUIRE(both.shake());
    const auto outcome = client_side(both);
    CHECK(outcome.requested);
    CHECK_FALSE(outcome.acknowledged);
    CHECK(outcome.sent == answer::other);
    const owned<X509> shown(SSL_get1_peer_certificate(both.server.ssl.get()));
    REQUIRE(shown != nullptr);
    CHECK(X509_cmp(shown.get(), the_cast().other_agent.certificate.get()) == 0);
}

TEST_CASE("client / CertificateRequest / flag never offered -> illegal_parameter", "[conformance][RCA-9]") {
    auto never = agent_policy();
    never.offer = reqauth::offer::never;
    reqauth::client_policy only_others;
    only_others.further_flags = {3};
    for (const auto& policy : {never, reqauth::client_policy{}, only_others})
        for (const std::string& body : {flags({80}), flags({3, 80}), flags({80, 2039})}) {
            CAPTURE(body.size(), policy.credential.has_value());
            with_bad_server conversation({{in::certificate_request, {body}}}, policy);
            CHECK(conversation.answer() == "illegal parameter");
            CHECK(conversation.peer.said[in::certificate_request] == 1);
            CHECK_FALSE(client_side(*conversation.both).offered);
        }
}

TEST_CASE("client / SH, HRR, EE, CT, NST / flag there -> illegal_parameter", "[conformance][RCA-10]") {
    for (const unsigned message : {in::server_hello, in::retry, in::encrypted_extensions, in::certificate, in::ticket})
        for (const std::string& body : {flags({80}), flags({3, 80})}) {
            CAPTURE(message, body.size());
            auto policy = agent_policy();
            policy.further_flags = {3};
            with_bad_server conversation({{message, {body}}, {in::certificate_request, {flags({80})}}}, policy);
            CHECK(conversation.answer() == "illegal parameter");
            CHECK(conversation.peer.said[message] > 0);
        }
}

TEST_CASE("client / NewSessionTicket / flag never offered, flag there -> illegal_parameter", "[conformance][RCA-10]") {
    with_bad_server conversation({{in::ticket, {flags({80})}}}, {});
    CHECK(conversation.answer() == "illegal parameter");
    CHECK(conversation.peer.said[in::ticket] > 0);
}

TEST_CASE("client / HelloRetryRequest / flag never offered, flag there -> illegal_parameter", "[conformance][RCA-10]") {
    with_bad_server conversation({}, {});
    a_retry(*conversation.peer.context, *conversation.ours);
    pair both(*conversation.peer.context, *conversation.ours);
    bool inserted = false;
    both.to_client = [&](std::string& records) {
        if (!inserted) inserted = insert_extension(records, {62, flags({80})});
    };
    both.run();
    CHECK(inserted);
    CHECK(alert_to_server(both) == "illegal parameter");
}

TEST_CASE("server / CertificateRequest / flag accepted -> acknowledged there", "[conformance][RCA-2]") {
    with_bad_client conversation({{in::client_hello, {flags({80})}}});
    REQUIRE(conversation.run());
    const auto* request = conversation.both->client.first(kind::certificate_request);
    REQUIRE(request != nullptr);
    CHECK(request->find(62) == flags({80}));
    CHECK(conversation.peer.heard == decltype(conversation.peer.heard){{in::certificate_request, flags({80})}});
    const auto outcome = server_side(*conversation.both);
    CHECK(outcome.offered);
    CHECK(outcome.accepted);
    CHECK(seen(*conversation.both) == "flagged CN=crawler.example");
}

TEST_CASE("server / CertificateRequest / asked by the application, flag ignored -> not acknowledged",
          "[conformance][RCA-3]") {
    with_bad_client conversation({{in::client_hello, {flags({80})}}}, {});
    ask(*conversation.ours, SSL_VERIFY_PEER, the_cast().agents_ca);
    pair both(*conversation.ours, *conversation.peer.context);
    REQUIRE(both.shake());
    const auto* request = both.client.first(kind::certificate_request);
    REQUIRE(request != nullptr);
    CHECK_FALSE(request->find(62).has_value());
    CHECK(seen(both) == "ignored");
}

TEST_CASE("server / CertificateRequest / asked by the application, flag never offered -> not acknowledged",
          "[conformance][RCA-3][RCA-8]") {
    for (const script& says : {script{}, script{{in::client_hello, {flags({3})}}}}) {
        CAPTURE(says.size());
        with_bad_client conversation(says);
        ask(*conversation.ours, SSL_VERIFY_PEER, the_cast().customers_ca);
        present(*conversation.peer.context, the_cast().customer);
        pair both(*conversation.ours, *conversation.peer.context);
        REQUIRE(both.shake());
        const auto* request = both.client.first(kind::certificate_request);
        REQUIRE(request != nullptr);
        CHECK_FALSE(request->find(62).has_value());
        CHECK(seen(both) == "not_offered");
        CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
    }
}

TEST_CASE("server / Certificate / flag there -> illegal_parameter", "[conformance][RCA-11]") {
    for (const std::string& body : {flags({80}), flags({3, 80})}) {
        with_bad_client conversation({{in::client_hello, {flags({3, 80})}}, {in::certificate, {body}}});
        CHECK(conversation.answer() == "illegal parameter");
        CHECK(conversation.peer.said[in::certificate] == 1);
        CHECK(seen(*conversation.both) == "handshake_unfinished");
    }
}

TEST_CASE("both sides / after the flag / sane conversation -> flagged_peer", "[conformance]") {
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}
