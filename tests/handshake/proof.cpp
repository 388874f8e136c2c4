// SPDX-License-Identifier: Apache-2.0
// The identity goes only to a server that has proven its name (SEC-9).

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"
#include "support/sockets.hpp"

#include <fcntl.h>

#include <array>

using namespace support;
using reqauth::unmet;

namespace {

constexpr const char* agent_seen = "flagged CN=crawler.example";

/// asks is how a client asks for a server, and what comes of it.
struct asks {
    const char* what;
    std::function<void(SSL_CTX&)> trust;
    std::function<void(SSL&)> name;
    unmet as;
};

void trusted(SSL_CTX& context) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(&context), the_cast().server_ca.certificate.get());
    SSL_CTX_set_verify(&context, SSL_VERIFY_PEER, nullptr);
}

void named(SSL& ssl, const char* name) { SSL_set_tlsext_host_name(&ssl, name); }

const std::vector<asks>& all_ways() {
    static const std::vector<asks> all{
        {"the name that is checked", trusted, [](SSL& ssl) { SSL_set1_host(&ssl, "server.example"); }, unmet::nothing},
        {"one of several", trusted,
         [](SSL& ssl) {
             SSL_set1_host(&ssl, "other.example");
             SSL_add1_host(&ssl, "server.example");
         },
         unmet::nothing},
        {"another that is checked, and not enforced",
         [](SSL_CTX& context) {
             trusted(context);
             SSL_CTX_set_verify(&context, SSL_VERIFY_NONE, nullptr);
         },
         [](SSL& ssl) { SSL_set1_host(&ssl, "other.example"); }, unmet::untrusted},
        {"another that is checked, by an application that takes everybody",
         [](SSL_CTX& context) {
             trusted(context);
             SSL_CTX_set_cert_verify_callback(
                 &context,
                 [](X509_STORE_CTX* verification, void*) {
                     X509_STORE_CTX_set_error(verification, X509_V_OK);
                     return 1;
                 },
                 nullptr);
         },
         [](SSL& ssl) { SSL_set1_host(&ssl, "other.example"); }, unmet::other_name},
        {"the server_name", trusted, [](SSL& ssl) { named(ssl, "server.example"); }, unmet::nothing},
        {"another server_name", trusted, [](SSL& ssl) { named(ssl, "other.example"); }, unmet::other_name},
        {"a server_name below it", trusted, [](SSL& ssl) { named(ssl, "www.server.example"); }, unmet::other_name},
        {"an address that is checked, and not enforced",
         [](SSL_CTX& context) {
             trusted(context);
             SSL_CTX_set_verify(&context, SSL_VERIFY_NONE, nullptr);
         },
         [](SSL& ssl) { X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(&ssl), "192.0.2.9"); }, unmet::untrusted},
        {"no name, and no socket", trusted, [](SSL&) {}, unmet::unknown_name},
        {"a CA that it does not know", [](SSL_CTX&) {}, [](SSL& ssl) { named(ssl, "server.example"); },
         unmet::untrusted},
        {"an error that a verify callback passes over",
         [](SSL_CTX& context) {
             SSL_CTX_set_verify(&context, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
         },
         [](SSL& ssl) { named(ssl, "server.example"); }, unmet::untrusted},
    };
    return all;
}

owned<SSL_CTX> client_that(const asks& way, const reqauth::client_policy& policy) {
    owned<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
    way.trust(*context);
    reqauth::client(policy).attach(*context);
    return context;
}

} // namespace

TEST_CASE("client / server that has proven its name, or not -> its identity, or an empty Certificate and why",
          "[handshake][attack][SEC-9]") {
    const auto server = attached_server(asking());
    for (const asks& way : all_ways())
        for (const bool danger : {false, true}) {
            CAPTURE(way.what, danger);
            auto policy = agent_policy();
            policy.danger_unproven_servers = danger;
            const auto context = client_that(way, policy);
            pair both(*server, *context);
            way.name(*both.client.ssl);
            REQUIRE(both.shake());
            const auto outcome = reqauth::client_outcome_of(*both.client.ssl);
            CHECK(outcome.acknowledged);
            CHECK(outcome.unmet == (danger ? unmet::nothing : way.as));
            const bool shown = danger || way.as == unmet::nothing;
            CHECK(outcome.sent ==
                  (shown ? reqauth::client_outcome::answer::flag : reqauth::client_outcome::answer::empty));
            CHECK(seen(both) == (shown ? agent_seen : "empty"));
            CHECK((SSL_get0_peer_certificate(both.server.ssl.get()) != nullptr) == shown);
        }
}

TEST_CASE("client / unproven server that asks for another reason -> nothing of the flag's, whatever the policy",
          "[handshake][attack][SEC-9][RCA-3]") {
    const auto server = server_context();
    ask(*server, SSL_VERIFY_PEER, the_cast().agents_ca);
    auto policy = agent_policy();
    policy.when_unacknowledged = reqauth::unacknowledged::present;
    for (const asks& way : all_ways()) {
        CAPTURE(way.what);
        const auto context = client_that(way, policy);
        pair both(*server, *context);
        way.name(*both.client.ssl);
        REQUIRE(both.shake());
        CHECK((SSL_get0_peer_certificate(both.server.ssl.get()) != nullptr) == (way.as == unmet::nothing));
    }
}

TEST_CASE("client / the address that its socket is connected to -> proven by a certificate for it",
          "[handshake][SEC-9]") {
    const identity by_address =
        issue({.common_name = "127.0.0.1", .alt_names = {{GEN_IPADD, octets({127, 0, 0, 1})}}}, &the_cast().server_ca);
    for (const bool right : {true, false}) {
        CAPTURE(right);
        const auto context = server_context(right ? by_address : the_cast().server);
        attach(*context, asking());
        const sockets between;
        for (const int each : {between.client, between.server}) fcntl(each, F_SETFL, O_NONBLOCK);
        const auto client = client_that({"", trusted, {}, unmet::nothing}, agent_policy());
        const owned<SSL> theirs(SSL_new(context.get()));
        const owned<SSL> ours(SSL_new(client.get()));
        SSL_set_fd(theirs.get(), between.server);
        SSL_set_fd(ours.get(), between.client);
        SSL_set_accept_state(theirs.get());
        SSL_set_connect_state(ours.get());
        for (int i = 0; i < 1000; ++i) {
            SSL_do_handshake(ours.get());
            if (SSL_do_handshake(theirs.get()) == 1) break;
        }
        CHECK(seen(*theirs) == (right ? agent_seen : "empty"));
        CHECK(reqauth::client_outcome_of(*ours).unmet == (right ? unmet::nothing : unmet::other_name));
    }
}

TEST_CASE(
    "client / sessions of a server that has proven its name, and of one that has not -> no identity in the second",
    "[handshake][SEC-9][RCA-16]") {
    const auto server = attached_server(asking());
    for (const bool right : {true, false}) {
        CAPTURE(right);
        visitor agent(client_that({"", trusted, {}, unmet::nothing}, agent_policy()));
        owned<SSL_SESSION> session;
        for (const bool again : {false, true}) {
            pair both(*server, *agent.context);
            named(*both.client.ssl, right ? "server.example" : "other.example");
            if (session != nullptr) reqauth::client::resume(*both.client.ssl, *session);
            REQUIRE(both.shake());
            CHECK(seen(both) == (right ? agent_seen : "empty"));
            CHECK((SSL_session_reused(both.server.ssl.get()) == 1) == (right && again));
            both.close();
            session = std::move(agent.shelf.last);
        }
    }
}
