// SPDX-License-Identifier: Apache-2.0
// Two ClientHellos around a HelloRetryRequest (TLS-1).

#include "catch.hpp"
#include "conformance/conversations.hpp"

using namespace support;

namespace {

/// retried has a client that says one thing in its first ClientHello and another in its second.
struct retried {
    retried(line first, line second, const reqauth::server_policy& policy = asking())
        : conversation({{in::client_hello, {std::move(first), std::move(second)}}}, policy) {
        a_retry(*conversation.ours, *conversation.peer.context);
    }
    with_bad_client conversation;

    void run(pair& both) {
        both.run();
        REQUIRE(both.client.count(kind::hello_retry_request) == 1);
        REQUIRE(conversation.peer.said[in::client_hello] == 2);
    }
};

} // namespace

TEST_CASE("both sides / before retries / sane conversation -> flagged_peer", "[conformance]") {
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}

TEST_CASE("client / second ClientHello / after HelloRetryRequest -> the same flags", "[conformance][TLS-1]") {
    auto policy = agent_policy();
    policy.further_flags = {3, 1000};
    const auto ours = attached_client(policy);
    const auto server = attached_server(asking());
    a_retry(*server, *ours);
    pair both(*server, *ours);
    REQUIRE(both.shake());
    CHECK(both.client.count(kind::hello_retry_request) == 1);
    std::vector<std::optional<std::string>> said;
    for (const auto& message : both.client.messages)
        if (message.type == kind::client_hello) said.push_back(message.find(62));
    CHECK(said == std::vector<std::optional<std::string>>(2, flags({3, 80, 1000})));
    CHECK(seen(both) == "flagged CN=crawler.example");
    CHECK(client_side(both).acknowledged);
}

TEST_CASE("server / second ClientHello / the same flags -> accepted", "[conformance][TLS-1]") {
    retried client(flags({3, 80}), flags({3, 80}));
    pair both(*client.conversation.ours, *client.conversation.peer.context);
    client.run(both);
    CHECK(seen(both) == "flagged CN=crawler.example");
    CHECK(server_side(both).flags == reqauth::flag_set{3, 80});
}

TEST_CASE("server / second ClientHello / other flags -> illegal_parameter", "[conformance][TLS-1]") {
    for (const auto& [first, second] : {std::pair{flags({80}), flags({3, 80})}, std::pair{flags({3, 80}), flags({80})},
                                        std::pair{flags({80}), flags({81})}, std::pair{flags({81}), flags({80})}}) {
        CAPTURE(first.size(), second.size());
        retried client(first, second);
        pair both(*client.conversation.ours, *client.conversation.peer.context);
        client.run(both);
        CHECK(alert_to_client(both) == "illegal parameter");
        CHECK(seen(both) == "handshake_unfinished");
    }
}

TEST_CASE("server / second ClientHello / flag in the first only -> not offered, nothing stale",
          "[conformance][TLS-1]") {
    for (const auto& policy : {asking(), demanding()}) {
        retried client(flags({80}), std::nullopt, policy);
        pair both(*client.conversation.ours, *client.conversation.peer.context);
        client.run(both);
        CHECK(both.server.good());
        CHECK(both.client.good());
        CHECK(both.client.count(kind::certificate_request) == 0);
        CHECK(seen(both) == "not_offered");
        const auto outcome = server_side(both);
        CHECK_FALSE(outcome.offered);
        CHECK_FALSE(outcome.accepted);
        CHECK(outcome.flags.empty());
        CHECK(both.client.count(kind::new_session_ticket) > 0); // as an ordinary client
    }
}

TEST_CASE("server / second ClientHello / flag in the first only, application asks -> not acknowledged, its own trust",
          "[conformance][TLS-1][RCA-8]") {
    retried client(flags({80}), std::nullopt);
    ask(*client.conversation.ours, SSL_VERIFY_PEER, the_cast().customers_ca);
    present(*client.conversation.peer.context, the_cast().customer);
    pair both(*client.conversation.ours, *client.conversation.peer.context);
    client.run(both);
    REQUIRE(both.server.good());
    const auto* request = both.client.first(kind::certificate_request);
    REQUIRE(request != nullptr);
    CHECK_FALSE(request->find(62).has_value());
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
}

TEST_CASE("server / second ClientHello / flag in the second only -> the second decides", "[conformance][TLS-1]") {
    retried client(std::nullopt, flags({80}));
    pair both(*client.conversation.ours, *client.conversation.peer.context);
    client.run(both);
    CHECK(both.server.good());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("both sides / after retries / sane conversation -> flagged_peer", "[conformance]") {
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}
