// SPDX-License-Identifier: Apache-2.0
// Flags other than this one: seen, proposed, never echoed (FLAG-6 to FLAG-10); TLS 1.2 (TLS-5).

#include "catch.hpp"
#include "conformance/conversations.hpp"

using namespace support;

namespace {

const handshake_message& sent_hello(const pair& both) {
    const auto* hello = both.client.first(kind::client_hello);
    REQUIRE(hello != nullptr);
    return *hello;
}

reqauth::client_policy agent_proposing(const reqauth::flag_set& further) {
    auto policy = agent_policy();
    policy.further_flags = further;
    return policy;
}

} // namespace

TEST_CASE("both sides / before other flags / sane conversation -> flagged_peer", "[conformance]") {
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}

TEST_CASE("client / CertificateRequest / unknown flags beside the acknowledgement -> ignored, and seen",
          "[conformance][FLAG-6][FLAG-10]") {
    with_bad_server conversation({{in::certificate_request, {flags({0, 80, 999, 2039})}}});
    CHECK(conversation.run());
    const auto outcome = client_side(*conversation.both);
    CHECK(outcome.acknowledged);
    CHECK(outcome.sent == reqauth::client_outcome::answer::flag);
    CHECK(outcome.server_flags == reqauth::flag_set{0, 80, 999, 2039});
}

TEST_CASE("client / CertificateRequest / unknown flags only -> ignored, and no acknowledgement",
          "[conformance][FLAG-6][RCA-3]") {
    with_bad_server conversation({{in::certificate_request, {flags({81})}}});
    CHECK(conversation.run());
    const auto outcome = client_side(*conversation.both);
    CHECK(outcome.requested);
    CHECK_FALSE(outcome.acknowledged);
    CHECK(outcome.sent == reqauth::client_outcome::answer::empty);
    CHECK(outcome.server_flags == reqauth::flag_set{81});
}

TEST_CASE("client / CertificateRequest / flag never offered, unknown flags -> ignored, and seen",
          "[conformance][FLAG-6][FLAG-10]") {
    with_bad_server conversation({{in::certificate_request, {flags({7, 2039})}}}, {});
    CHECK(conversation.run());
    CHECK(client_side(*conversation.both).server_flags == reqauth::flag_set{7, 2039});
}

TEST_CASE("client / NewSessionTicket / unknown flags -> ignored, and seen", "[conformance][FLAG-6][FLAG-10]") {
    for (const bool offers : {true, false}) {
        CAPTURE(offers);
        with_bad_server conversation({{in::ticket, {flags({8, 1000})}}},
                                     offers ? agent_policy() : reqauth::client_policy{});
        CHECK(conversation.run());
        CHECK(conversation.peer.said[in::ticket] > 0);
        CHECK(client_side(*conversation.both).server_flags == reqauth::flag_set{8, 1000});
    }
}

TEST_CASE("server / ClientHello / unknown flags beside the flag -> ignored, and seen",
          "[conformance][FLAG-6][FLAG-10]") {
    with_bad_client conversation({{in::client_hello, {flags({0, 8, 80, 2039})}}});
    CHECK(conversation.run());
    CHECK(seen(*conversation.both) == "flagged CN=crawler.example");
    CHECK(server_side(*conversation.both).flags == reqauth::flag_set{0, 8, 80, 2039});
}

TEST_CASE("server / ClientHello / unknown flags only -> not offered, and seen", "[conformance][FLAG-6][FLAG-10]") {
    with_bad_client conversation({{in::client_hello, {flags({79, 81})}}});
    CHECK(conversation.run());
    CHECK(seen(*conversation.both) == "not_offered");
    CHECK(conversation.both->client.count(kind::certificate_request) == 0);
    const auto outcome = server_side(*conversation.both);
    CHECK_FALSE(outcome.offered);
    CHECK(outcome.flags == reqauth::flag_set{79, 81});
}

TEST_CASE("client / SH, HRR, EE, CT / flag that it did not propose -> illegal_parameter", "[conformance][FLAG-7]") {
    for (const unsigned message : {in::server_hello, in::retry, in::encrypted_extensions, in::certificate})
        for (const std::string& body : {flags({4}), flags({3, 4}), flags({2039})}) {
            CAPTURE(message, body.size());
            with_bad_server conversation({{message, {body}}}, agent_proposing({3}));
            CHECK(conversation.answer() == "illegal parameter");
            CHECK(conversation.peer.said[message] > 0);
        }
}

TEST_CASE("client / HelloRetryRequest / nothing proposed, any flag -> illegal_parameter", "[conformance][FLAG-7]") {
    with_bad_server conversation({}, {});
    a_retry(*conversation.peer.context, *conversation.ours);
    pair both(*conversation.peer.context, *conversation.ours);
    bool inserted = false;
    both.to_client = [&](std::string& records) {
        if (!inserted) inserted = insert_extension(records, {62, flags({3})});
    };
    both.run();
    CHECK(inserted);
    CHECK(alert_to_server(both) == "illegal parameter");
}

TEST_CASE("client / SH, HRR, EE, CT / further flag that it proposed -> accepted, and seen",
          "[conformance][FLAG-7][FLAG-10]") {
    for (const unsigned message : {in::server_hello, in::retry, in::encrypted_extensions, in::certificate}) {
        CAPTURE(message);
        with_bad_server conversation({{message, {flags({3})}}}, agent_proposing({3, 500}));
        CHECK(conversation.run());
        CHECK(conversation.peer.said[message] > 0);
        CHECK(client_side(*conversation.both).server_flags == reqauth::flag_set{3});
    }
}

TEST_CASE("server / Certificate / flag that it did not propose -> illegal_parameter", "[conformance][FLAG-7]") {
    for (const std::string& body : {flags({3}), flags({79}), flags({2039})}) {
        with_bad_client conversation({{in::client_hello, {flags({3, 80})}}, {in::certificate, {body}}});
        CHECK(conversation.answer() == "illegal parameter");
        CHECK(conversation.peer.said[in::certificate] == 1);
    }
}

TEST_CASE("server / every message / client proposes many flags -> none echoed, and one acknowledged",
          "[conformance][FLAG-8][FLAG-10][RCA-2]") {
    with_bad_client conversation({{in::client_hello, {flags({0, 3, 8, 80, 500, 2039})}}});
    a_retry(*conversation.ours, *conversation.peer.context);
    pair both(*conversation.ours, *conversation.peer.context);
    REQUIRE(both.shake());
    REQUIRE(both.client.count(kind::hello_retry_request) == 1);
    std::size_t carried = 0;
    for (const auto& message : both.client.messages) {
        if (message.sent) continue;
        const auto body = message.find(62);
        if (!body) continue;
        ++carried;
        CHECK(message.type == kind::certificate_request);
        CHECK(*body == flags({80}));
    }
    CHECK(carried == 1);
}

TEST_CASE("server / every message / flag not accepted -> tls_flags nowhere", "[conformance][FLAG-4][FLAG-8]") {
    with_bad_client conversation({{in::client_hello, {flags({3, 80})}}}, {});
    REQUIRE(conversation.run());
    for (const auto& message : conversation.both->client.messages)
        if (!message.sent) CHECK_FALSE(message.find(62).has_value());
}

TEST_CASE("client / ClientHello / nothing to offer -> no tls_flags", "[conformance][FLAG-4]") {
    const auto ours = attached_client({});
    const auto server = attached_server(asking());
    pair both(*server, *ours);
    REQUIRE(both.shake());
    CHECK_FALSE(sent_hello(both).find(62).has_value());
    CHECK(seen(both) == "not_offered");
}

TEST_CASE("client / ClientHello / further flags and nothing else -> those, and no request",
          "[conformance][FLAG-8][FLAG-10]") {
    reqauth::client_policy policy;
    policy.further_flags = {9};
    const auto ours = attached_client(policy);
    const auto server = attached_server(asking());
    pair both(*server, *ours);
    REQUIRE(both.shake());
    CHECK(sent_hello(both).find(62) == flags({9}));
    CHECK(seen(both) == "not_offered");
    CHECK(server_side(both).flags == reqauth::flag_set{9});
    CHECK_FALSE(client_side(both).offered);
}

TEST_CASE("client / ClientHello / further flags -> minimal encoding in one extension",
          "[conformance][FLAG-1][FLAG-2][FLAG-3][FLAG-10][RCA-1]") {
    const auto ours = attached_client(agent_proposing({0, 7, 8, 2039}));
    const auto server = attached_server(asking());
    pair both(*server, *ours);
    REQUIRE(both.shake());
    CHECK(sent_hello(both).find(62) == flags({0, 7, 8, 80, 2039}));
    CHECK(server_side(both).flags == reqauth::flag_set{0, 7, 8, 80, 2039});
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("client / ClientHello / at most TLS 1.2 -> not offered", "[conformance][FLAG-9]") {
    const auto ours = attached_client();
    SSL_CTX_set_max_proto_version(ours.get(), TLS1_2_VERSION);
    const auto server = attached_server(asking());
    pair both(*server, *ours);
    REQUIRE(both.shake());
    CHECK_FALSE(sent_hello(both).find(62).has_value());
    CHECK_FALSE(client_side(both).offered);
    CHECK(seen(both) == "not_offered");
}

TEST_CASE("client / ClientHello / this SSL at most TLS 1.2 -> not offered", "[conformance][FLAG-9]") {
    const auto ours = attached_client();
    const auto server = attached_server(asking());
    pair both(*server, *ours);
    SSL_set_max_proto_version(both.client.ssl.get(), TLS1_2_VERSION);
    REQUIRE(both.shake());
    CHECK_FALSE(sent_hello(both).find(62).has_value());
    CHECK_FALSE(client_side(both).offered);
}

TEST_CASE("client / TLS 1.2 negotiated / flag offered -> ordinary handshake", "[conformance][FLAG-9][TLS-5]") {
    const auto ours = attached_client();
    auto server = server_context();
    SSL_CTX_set_max_proto_version(server.get(), TLS1_2_VERSION);
    ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
    present(*ours, the_cast().customer);
    pair both(*server, *ours);
    REQUIRE(both.shake());
    CHECK(sent_hello(both).find(62) == flags({80}));
    const auto outcome = client_side(both);
    CHECK(outcome.requested);
    CHECK_FALSE(outcome.acknowledged);
    CHECK(outcome.sent == reqauth::client_outcome::answer::other);
    CHECK(outcome.server_flags.empty());
}

TEST_CASE("server / TLS 1.2 negotiated / flag in ClientHello -> ignored", "[conformance][FLAG-9][TLS-5]") {
    auto context = client_context();
    SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
    present(*context, the_cast().agent);
    bad_peer peer(std::move(context), {{in::client_hello, {flags({80})}}}, 62, in::client_hello);
    const auto ours = attached_server(demanding());
    pair both(*ours, *peer.context);
    CHECK(both.shake());
    CHECK(peer.said[in::client_hello] == 1);
    CHECK(both.client.count(kind::certificate_request) == 0);
    CHECK(seen(both) == "not_offered");
    CHECK_FALSE(server_side(both).offered);
}

TEST_CASE("both sides / after other flags / sane conversation -> flagged_peer", "[conformance]") {
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}
