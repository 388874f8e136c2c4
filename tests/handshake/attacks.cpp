// SPDX-License-Identifier: Apache-2.0
// Attacks that once got through on a server. docs/attacks.md has what else was tried.

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <array>

using namespace support;

namespace {

constexpr int everyone = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;

reqauth::server_policy for_agents_alone() {
    auto policy = asking();
    policy.beside_customers = false;
    return policy;
}

} // namespace

TEST_CASE("server / SSL_CTX asks customers, no beside_customers / flag offered -> ignored, and attach says so",
          "[handshake][attack][SEC-7]") {
    // Code that goes by the presence of a certificate, as PostgreSQL does, took an agent for a customer.
    for (const int mode : {SSL_VERIFY_PEER, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE,
                           SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, everyone})
        for (const bool of_ssl : {false, true}) {
            CAPTURE(mode, of_ssl);
            auto context = server_context();
            ask(*context, of_ssl ? SSL_VERIFY_NONE : mode, the_cast().customers_ca);
            auto policy = for_agents_alone();
            policy.beside_required = true; // says nothing of who tells them apart
            const auto attached = reqauth::server().attach(*context, policy);
            CHECK(attached.warnings.size() == (of_ssl ? 0U : 1U));
            for (const std::string& line : attached.warnings) CHECK(line.find("beside_customers") != line.npos);

            const auto client = attached_client();
            pair both(*context, *client);
            if (of_ssl) SSL_set_verify(both.server.ssl.get(), mode, nullptr);
            CHECK(both.shake() == (mode != everyone));
            if (mode != everyone) CHECK(seen(both) == "ignored");
            CHECK(SSL_get0_peer_certificate(both.server.ssl.get()) == nullptr);
            const auto* request = both.client.first(kind::certificate_request);
            CHECK((request != nullptr) == ((mode & SSL_VERIFY_POST_HANDSHAKE) == 0));
            if (request != nullptr) CHECK_FALSE(request->find(62).has_value());
        }
}

TEST_CASE("server / SSL_CTX asks customers, beside_customers / flag offered -> the agent's own outcome",
          "[handshake][attack-control][SEC-7][SEC-8]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca);
    const auto attached = reqauth::server().attach(*context, asking());
    CHECK(attached.warnings.empty());
    const auto client = attached_client();
    pair both(*context, *client);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_ERR_APPLICATION_VERIFICATION);
}

TEST_CASE("server / an agent's session where customers came to be asked / flag offered -> refused, never shown",
          "[handshake][attack][SEC-7][TLS-2]") {
    for (const bool by_mode : {true, false}) {
        auto context = server_context();
        auto policy = for_agents_alone();
        reqauth::server listener;
        const auto where = listener.attach(*context, policy);
        visitor agent(attached_client());
        REQUIRE(visit(*context, *agent.context).who == "flagged CN=crawler.example");
        REQUIRE(agent.shelf.last != nullptr);
        if (by_mode) SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
        const auto again = visit(*context, *agent.context, {.session = agent.shelf.last.get()});
        CHECK(again.good == !by_mode);
        CHECK(again.resumed_peer == !by_mode);
        if (by_mode) CHECK(again.alert == "certificate required");
    }
}
