// SPDX-License-Identifier: Apache-2.0
// What our client offers and answers.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

using namespace support;
using answer = reqauth::client_outcome::answer;

namespace {

reqauth::client_outcome outcome(const pair& both) { return reqauth::client_outcome_of(*both.client.ssl); }

/// everybody asks each client for a certificate of the agents' or the customers' CA, without libreqauth.
owned<SSL_CTX> everybody_asked() {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().agents_ca);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), the_cast().customers_ca.certificate.get());
    SSL_CTX_add_client_CA(context.get(), the_cast().customers_ca.certificate.get());
    return context;
}

bool shown(const pair& both, const identity& who) {
    const owned<X509> certificate(SSL_get1_peer_certificate(both.server.ssl.get()));
    return certificate != nullptr && X509_cmp(certificate.get(), who.certificate.get()) == 0;
}

bool offers(const pair& both) { return both.client.first(kind::client_hello)->find(62).has_value(); }

int certificate_callbacks;
int count_and_go_on(SSL*, void* argument) {
    ++certificate_callbacks;
    if (argument != nullptr) ++*static_cast<int*>(argument);
    return 1;
}

} // namespace

TEST_CASE("client / acknowledged, unacknowledged, not asked -> credential, its own certificate, none",
          "[handshake][valgrind][RCA-12]") {
    const auto client = attached_client();
    present(*client, the_cast().customer);
    const auto acknowledges = attached_server(asking());
    const auto asks = everybody_asked();
    const auto silent = server_context();
    {
        pair both(*acknowledges, *client);
        REQUIRE(both.shake());
        CHECK(shown(both, the_cast().agent));
        CHECK(outcome(both).sent == answer::flag);
        CHECK(outcome(both).server_flags == reqauth::flag_set{80});
    }
    {
        pair both(*asks, *client);
        REQUIRE(both.shake());
        CHECK(shown(both, the_cast().customer));
        CHECK(outcome(both).requested);
        CHECK_FALSE(outcome(both).acknowledged);
        CHECK(outcome(both).sent == answer::other);
    }
    {
        pair both(*silent, *client);
        REQUIRE(both.shake());
        CHECK(outcome(both).offered);
        CHECK_FALSE(outcome(both).requested);
        CHECK(outcome(both).sent == answer::none);
    }
}

TEST_CASE("client / unacknowledged request / as_before, empty, present -> each as the policy says",
          "[handshake][RCA-12]") {
    const auto server = everybody_asked();
    for (const auto how :
         {reqauth::unacknowledged::as_before, reqauth::unacknowledged::empty, reqauth::unacknowledged::present})
        for (const bool has_own : {false, true}) {
            CAPTURE(int(how), has_own);
            auto policy = agent_policy();
            policy.when_unacknowledged = how;
            const auto client = attached_client(policy);
            if (has_own) present(*client, the_cast().customer);
            pair both(*server, *client);
            REQUIRE(both.shake());
            CHECK_FALSE(outcome(both).acknowledged);
            if (how == reqauth::unacknowledged::present) {
                CHECK(shown(both, the_cast().agent));
                CHECK(outcome(both).sent == answer::flag);
            } else if (how == reqauth::unacknowledged::as_before && has_own) {
                CHECK(shown(both, the_cast().customer));
                CHECK(outcome(both).sent == answer::other);
            } else {
                CHECK(SSL_get0_peer_certificate(both.server.ssl.get()) == nullptr);
                CHECK(outcome(both).sent == answer::empty);
            }
        }
}

TEST_CASE("client / unacknowledged request of TLS 1.2 / as_before, empty -> as the policy says",
          "[handshake][RCA-12][TLS-5]") {
    const auto server = everybody_asked();
    SSL_CTX_set_max_proto_version(server.get(), TLS1_2_VERSION);
    for (const auto how : {reqauth::unacknowledged::as_before, reqauth::unacknowledged::empty}) {
        auto policy = agent_policy();
        policy.when_unacknowledged = how;
        const auto client = attached_client(policy);
        present(*client, the_cast().customer);
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(shown(both, the_cast().customer) == (how == reqauth::unacknowledged::as_before));
    }
}

TEST_CASE("client / one SSL_CTX, many connections in turn / its own certificate -> still there after acknowledged ones",
          "[handshake][RCA-12][SEC-6]") {
    const auto client = attached_client();
    present(*client, the_cast().customer);
    const auto acknowledges = attached_server(asking());
    const auto asks = everybody_asked();
    for (int i = 0; i < 2; ++i) {
        pair first(*acknowledges, *client);
        REQUIRE(first.shake());
        CHECK(shown(first, the_cast().agent));
        pair second(*asks, *client);
        REQUIRE(second.shake());
        CHECK(shown(second, the_cast().customer));
    }
    CHECK(X509_cmp(SSL_CTX_get0_certificate(client.get()), the_cast().customer.certificate.get()) == 0);
}

TEST_CASE("client / acknowledged request names other CAs / empty, close -> empty Certificate, handshake_failure",
          "[handshake][valgrind][RCA-4][RCA-5]") {
    reqauth::server_policy others;
    others.when_offered = reqauth::client_auth::request(trust_in(the_cast().customers_ca));
    const auto server = attached_server(others);
    for (const auto how : {reqauth::unsatisfiable::empty, reqauth::unsatisfiable::close}) {
        auto policy = agent_policy();
        policy.when_unsatisfiable = how;
        const auto client = attached_client(policy);
        pair both(*server, *client);
        const bool empty = how == reqauth::unsatisfiable::empty;
        CHECK(both.shake() == empty);
        CHECK(alert_to_server(both) == (empty ? "none" : "handshake failure"));
        CHECK(outcome(both).acknowledged);
        CHECK(outcome(both).sent == (empty ? answer::empty : answer::none));
        CHECK(seen(both) == (empty ? "empty" : "handshake_unfinished"));
    }
}

TEST_CASE("client / acknowledged request names other CAs / present -> the credential even so, unless no algorithm fits",
          "[handshake][RCA-4][RCA-5]") {
    auto policy = agent_policy();
    policy.when_unsatisfiable = reqauth::unsatisfiable::present;
    const auto client = attached_client(policy);
    {
        reqauth::server_policy others;
        others.when_offered = reqauth::client_auth::request(trust_in(the_cast().customers_ca)).invalid_is_anonymous();
        const auto server = attached_server(others);
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(outcome(both).sent == answer::flag);
        CHECK(seen(both) == "invalid 20");
    }
    const auto server = attached_server(asking());
    REQUIRE(SSL_CTX_set1_client_sigalgs_list(server.get(), "ed25519") == 1);
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(outcome(both).sent == answer::empty);
    CHECK(seen(both) == "empty");
}

TEST_CASE("client / acknowledged request with other signature algorithms / empty, close -> empty Certificate, "
          "handshake_failure",
          "[handshake][RCA-4][RCA-5]") {
    const auto server = attached_server(asking());
    REQUIRE(SSL_CTX_set1_client_sigalgs_list(server.get(), "ed25519") == 1);
    for (const auto how : {reqauth::unsatisfiable::empty, reqauth::unsatisfiable::close}) {
        auto policy = agent_policy();
        policy.when_unsatisfiable = how;
        const auto client = attached_client(policy);
        pair both(*server, *client);
        const bool empty = how == reqauth::unsatisfiable::empty;
        CHECK(both.shake() == empty);
        CHECK(alert_to_server(both) == (empty ? "none" : "handshake failure"));
        CHECK(seen(both) == (empty ? "empty" : "handshake_unfinished"));
    }
    // One that fits is sent.
    auto about = agent_description("ed.example");
    about.key = key_type::ed25519;
    const auto agent = issue(about, &the_cast().agents_ca);
    auto policy = agent_policy();
    policy.credential = credential_of(agent);
    policy.when_unsatisfiable = reqauth::unsatisfiable::close;
    const auto client = attached_client(policy);
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=ed.example");
}

TEST_CASE("client / acknowledged request names a CA further up its chain -> the credential", "[handshake][RCA-5]") {
    const auto intermediate = issue({.common_name = "Agents CA 2", .ca = true}, &the_cast().agents_ca);
    const auto agent = issue(agent_description("deep.example"), &intermediate);
    X509* const chain[] = {intermediate.certificate.get()};
    auto policy = agent_policy();
    policy.credential = credential_of(agent, chain);
    policy.when_unsatisfiable = reqauth::unsatisfiable::close;
    const auto server = attached_server(asking());
    const auto client = attached_client(policy);
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=deep.example");
}

TEST_CASE("client / offer / credential or none, always, never -> offered as the policy says",
          "[handshake][RCA-6][RCA-7]") {
    const auto server = attached_server(asking());
    for (const bool has : {true, false})
        for (const auto when : {reqauth::offer::when_available, reqauth::offer::always, reqauth::offer::never}) {
            CAPTURE(has, int(when));
            const bool expected = when == reqauth::offer::always || (has && when == reqauth::offer::when_available);
            auto policy = has ? agent_policy() : reqauth::client_policy{};
            policy.offer = when;
            const reqauth::client crawler(policy);
            CHECK(crawler.offers() == expected);
            auto context = client_context();
            crawler.attach(*context);
            pair both(*server, *context);
            REQUIRE(both.shake());
            CHECK(offers(both) == expected);
            CHECK(outcome(both).offered == expected);
            CHECK(seen(both) == (!expected ? "not_offered" : has ? "flagged CN=crawler.example" : "empty"));
        }
}

TEST_CASE("client / cert_cb of the application, handed over -> runs first, with its argument, at each request",
          "[handshake][SEC-6]") {
    int own = 0;
    auto policy = agent_policy();
    policy.chained_certificate_callback = {count_and_go_on, &own};
    const auto client = attached_client(policy);
    const auto acknowledges = attached_server(asking());
    const auto asks = everybody_asked();
    certificate_callbacks = 0;
    {
        pair both(*acknowledges, *client);
        REQUIRE(both.shake());
        CHECK(shown(both, the_cast().agent));
        CHECK(certificate_callbacks == 1);
    }
    {
        pair both(*asks, *client);
        REQUIRE(both.shake());
        CHECK(certificate_callbacks == 2);
    }
    CHECK(own == 2);
}

TEST_CASE("client / cert_cb of the application, handed over / sets a certificate -> sent where not acknowledged",
          "[handshake][SEC-6][RCA-12]") {
    auto policy = agent_policy();
    policy.chained_certificate_callback = {[](SSL* ssl, void*) {
                                               SSL_use_certificate(ssl, the_cast().customer.certificate.get());
                                               SSL_use_PrivateKey(ssl, the_cast().customer.key.get());
                                               return 1;
                                           },
                                           nullptr};
    const auto client = attached_client(policy);
    const auto acknowledges = attached_server(asking());
    const auto asks = everybody_asked();
    {
        pair both(*asks, *client);
        REQUIRE(both.shake());
        CHECK(shown(both, the_cast().customer));
        CHECK(outcome(both).sent == answer::other);
    }
    pair both(*acknowledges, *client);
    REQUIRE(both.shake());
    CHECK(shown(both, the_cast().agent));
    CHECK(outcome(both).sent == answer::flag);
}

TEST_CASE("client / cert_cb of the application, handed over / fails, suspends -> internal_error, goes on later",
          "[handshake][SEC-6]") {
    static int result;
    auto policy = agent_policy();
    policy.chained_certificate_callback = {[](SSL*, void*) { return result; }, nullptr};
    const auto client = attached_client(policy);
    const auto server = attached_server(asking());
    {
        result = 0;
        pair both(*server, *client);
        CHECK_FALSE(both.shake());
        CHECK(alert_to_server(both) == "internal error");
    }
    result = -1;
    pair both(*server, *client);
    both.run();
    CHECK_FALSE(both.client.done);
    CHECK_FALSE(both.client.failed);
    result = 1;
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
    CHECK(outcome(both).sent == answer::flag);
}

TEST_CASE(
    "client / client_cert_cb of the application / acknowledged, and nothing to send -> empty Certificate all the same",
    "[handshake][RCA-4][RCA-7][RCA-12]") {
    reqauth::client_policy policy;
    policy.offer = reqauth::offer::always;
    const auto client = client_context();
    static int asked = 0;
    asked = 0;
    SSL_CTX_set_client_cert_cb(client.get(), [](SSL*, X509** certificate, EVP_PKEY** key) {
        ++asked;
        *certificate = the_cast().customer.certificate.get();
        *key = the_cast().customer.key.get();
        X509_up_ref(*certificate);
        EVP_PKEY_up_ref(*key);
        return 1;
    });
    reqauth::client(policy).attach(*client);
    const auto server = attached_server(asking());
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(asked == 0);
    CHECK_FALSE(shown(both, the_cast().customer));
    CHECK(seen(both) == "empty");
    // A request without the flag is the application's own, and so is its answer.
    const auto asks = everybody_asked();
    pair own(*asks, *client);
    own.shake();
    CHECK(asked == 1);
    CHECK(shown(own, the_cast().customer));
}

TEST_CASE("client / CertificateRequest after an unacknowledged one on another connection -> nothing carried over",
          "[handshake][RCA-12]") {
    const auto client = attached_client();
    const auto asks = everybody_asked();
    const auto acknowledges = attached_server(asking());
    for (SSL_CTX* server : {asks.get(), acknowledges.get(), asks.get()}) {
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(outcome(both).acknowledged == (server == acknowledges.get()));
        CHECK(outcome(both).sent == (server == acknowledges.get() ? answer::flag : answer::empty));
    }
}

TEST_CASE("client / refused by the server / TLS 1.3 -> sent, then the server's alert on its next read",
          "[handshake][cve][RCA-4]") {
    auto policy = agent_policy();
    policy.credential = credential_of(the_cast().expired_agent);
    const auto client = attached_client(policy);
    const auto server = attached_server(asking());
    pair both(*server, *client);
    CHECK_FALSE(both.shake());
    CHECK(both.client.done);
    CHECK(both.client.failed);
    CHECK(alert_to_client(both) == "certificate expired");
    CHECK(outcome(both).sent == answer::flag);
}

TEST_CASE("client / the client object is gone -> its SSL_CTXs go on", "[handshake][SEC-3]") {
    auto context = client_context();
    {
        const reqauth::client crawler(agent_policy());
        const reqauth::client copy = crawler;
        copy.attach(*context);
    }
    const auto server = attached_server(asking());
    pair both(*server, *context);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("client_outcome_of, peer_of / SSLs of no attached SSL_CTX -> nothing", "[handshake][SEC-3]") {
    const auto server = server_context();
    const auto client = client_context();
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK_FALSE(outcome(both).offered);
    CHECK(outcome(both).sent == answer::none);
    CHECK(seen(both) == "not_offered");
    CHECK(reqauth::server_outcome_of(*both.server.ssl).certificate == reqauth::server_outcome::answer::not_asked);
}
