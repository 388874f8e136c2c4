// SPDX-License-Identifier: Apache-2.0
// Post-handshake authentication is the application's own (TLS-3).

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

using namespace support;

namespace {

int judged;
int judging(int ok, X509_STORE_CTX*) {
    ++judged;
    return ok;
}

/// with_customers asks for customers' certificates after the handshake only.
owned<SSL_CTX> with_customers(SSL_verify_cb callback = judging) {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, the_cast().customers_ca, callback);
    return context;
}

/// ask_again sends a post-handshake request, and lets both go on.
bool ask_again(pair& both) {
    if (SSL_verify_client_post_handshake(both.server.ssl.get()) != 1) return false;
    if (SSL_do_handshake(both.server.ssl.get()) != 1) return false;
    both.run();
    return true;
}

/// last is the last message of a type that the client received.
const handshake_message& last(const pair& both, kind type) {
    const handshake_message* found = nullptr;
    for (const auto& message : both.client.messages)
        if (!message.sent && message.type == type) found = &message;
    REQUIRE(found != nullptr);
    return *found;
}

owned<SSL_CTX> agent_and_customer() {
    auto client = attached_client();
    present(*client, the_cast().customer);
    SSL_CTX_set_post_handshake_auth(client.get(), 1);
    return client;
}

} // namespace

TEST_CASE(
    "server / CertificateRequest after a flagged handshake -> no flag, the application's trust, names and callback",
    "[handshake][valgrind][TLS-3][RCA-8][SEC-6]") {
    const auto context = with_customers();
    attach(*context, asking());
    const auto client = agent_and_customer();
    pair both(*context, *client);
    REQUIRE(both.shake());
    REQUIRE(seen(both) == "flagged CN=crawler.example");
    judged = 0;
    REQUIRE(ask_again(both));
    REQUIRE(both.client.count(kind::certificate_request) == 2);
    const auto& request = last(both, kind::certificate_request);
    CHECK_FALSE(request.find(62).has_value());
    const std::string names = request.find(47).value_or("");
    CHECK(names.find("Customers CA") != std::string::npos);
    CHECK(names.find("Agents CA") == std::string::npos);
    CHECK(both.server.good());
    CHECK(both.client.good());
    CHECK(judged > 0);
    const owned<X509> shown(SSL_get1_peer_certificate(both.server.ssl.get()));
    REQUIRE(shown != nullptr);
    CHECK(X509_cmp(shown.get(), the_cast().customer.certificate.get()) == 0);
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
    CHECK_FALSE(seen(both).starts_with("flagged")); // another certificate now
}

TEST_CASE(
    "server / CertificateRequest after a flagged handshake, application without a verify callback -> its own trust",
    "[handshake][TLS-3][SEC-6]") {
    const auto context = with_customers(nullptr);
    attach(*context, asking());
    const auto client = agent_and_customer();
    pair both(*context, *client);
    REQUIRE(both.shake());
    REQUIRE(seen(both) == "flagged CN=crawler.example");
    REQUIRE(ask_again(both));
    CHECK(both.server.good());
    CHECK(both.client.good());
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
    CHECK_FALSE(seen(both).starts_with("flagged"));
}

TEST_CASE("server / CertificateRequest after a flagged handshake -> the application's verify parameters",
          "[handshake][TLS-3][SEC-6]") {
    const auto expired_customer = issue(
        {.common_name = "late.example", .extended_key_usage = "clientAuth", .not_before = -7200, .not_after = -3600},
        &the_cast().customers_ca);
    for (const bool lax : {false, true}) {
        const auto context = with_customers(nullptr);
        if (lax) X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context.get()), X509_V_FLAG_NO_CHECK_TIME);
        attach(*context, asking());
        const auto client = attached_client();
        present(*client, expired_customer);
        SSL_CTX_set_post_handshake_auth(client.get(), 1);
        pair both(*context, *client);
        REQUIRE(both.shake());
        REQUIRE(seen(both) == "flagged CN=crawler.example");
        REQUIRE(ask_again(both));
        CHECK(both.server.good() == lax);
        CHECK((SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK) == lax);
    }
}

TEST_CASE("server / info callback overwritten in the middle of a flagged handshake -> afterwards still the "
          "application's trust",
          "[handshake][TLS-3][SEC-2][SEC-6]") {
    const auto context = with_customers(nullptr);
    attach(*context, asking());
    const auto interrupt = [&](pair& both) {
        both.client.step();
        both.server.give(both.client.take());
        both.server.step();
        SSL_set_info_callback(both.server.ssl.get(), [](const SSL*, int, int) {});
        both.client.give(both.server.take());
        REQUIRE(both.shake());
        REQUIRE(seen(both) == "flagged CN=crawler.example");
    };
    for (const bool customer : {true, false}) {
        bad_peer client(client_context(), {{in::client_hello, {flags({80})}}});
        present(*client.context, the_cast().agent);
        SSL_CTX_set_post_handshake_auth(client.context.get(), 1);
        pair both(*context, *client.context);
        interrupt(both);
        if (customer) {
            SSL_use_certificate(both.client.ssl.get(), the_cast().customer.certificate.get());
            SSL_use_PrivateKey(both.client.ssl.get(), the_cast().customer.key.get());
        }
        REQUIRE(ask_again(both));
        CHECK_FALSE(last(both, kind::certificate_request).find(62).has_value());
        CHECK(both.server.good() == customer);
        if (customer) CHECK_FALSE(seen(both).starts_with("flagged"));
    }
    // And the SSL used again, for a client without the flag: as it should be, or failing closed.
    const auto agent = attached_client();
    pair first(*context, *agent);
    interrupt(first);
    REQUIRE(SSL_clear(first.server.ssl.get()) == 1);
    SSL_set_bio(first.server.ssl.get(), nullptr, nullptr);
    auto plain = client_context();
    present(*plain, the_cast().agent);
    owned<SSL> to(SSL_new(plain.get()));
    SSL_set_connect_state(to.get());
    pair second(std::move(first.server.ssl), std::move(to));
    second.shake();
    CHECK_FALSE(seen(second).starts_with("flagged"));
    for (const auto& message : second.client.messages)
        if (!message.sent) CHECK_FALSE(message.find(62).has_value());
}

TEST_CASE("server / agent's certificate after the handshake -> refused by the application's trust",
          "[handshake][TLS-3][RCA-14][SEC-1]") {
    const auto context = with_customers();
    attach(*context, asking());
    bad_peer client(client_context(), {{in::client_hello, {flags({80})}}});
    present(*client.context, the_cast().agent);
    SSL_CTX_set_post_handshake_auth(client.context.get(), 1);
    pair both(*context, *client.context);
    REQUIRE(both.shake());
    REQUIRE(seen(both) == "flagged CN=crawler.example");
    REQUIRE(ask_again(both));
    CHECK(both.server.failed);
    CHECK(alert_to_client(both) == "unknown CA");
    CHECK(SSL_get_verify_result(both.server.ssl.get()) != X509_V_OK);
}

TEST_CASE("server / empty Certificate after the handshake -> the application sees no verified client",
          "[handshake][cve][TLS-3][SEC-1]") {
    // OpenSSL 2026: stale identity after an empty re-authentication.
    const auto context = with_customers();
    attach(*context, asking());
    const auto client = attached_client();
    SSL_CTX_set_post_handshake_auth(client.get(), 1);
    pair both(*context, *client);
    REQUIRE(both.shake());
    REQUIRE(seen(both) == "flagged CN=crawler.example");
    REQUIRE(ask_again(both));
    CHECK(both.server.good());
    CHECK(reqauth::client_outcome_of(*both.client.ssl).sent == reqauth::client_outcome::answer::empty);
    // Whatever is left is not a verified customer.
    const bool verified = SSL_get0_peer_certificate(both.server.ssl.get()) != nullptr &&
                          SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK;
    CHECK_FALSE(verified);
}

TEST_CASE("server / CertificateRequest after an unflagged handshake -> as without the library",
          "[handshake][TLS-3][RCA-15]") {
    for (const bool attached : {false, true}) {
        const auto context = with_customers();
        if (attached) attach(*context, asking());
        auto client = client_context();
        present(*client, the_cast().customer);
        SSL_CTX_set_post_handshake_auth(client.get(), 1);
        pair both(*context, *client);
        REQUIRE(both.shake());
        judged = 0;
        REQUIRE(ask_again(both));
        CHECK(both.server.good());
        CHECK(judged > 0);
        CHECK_FALSE(last(both, kind::certificate_request).find(62).has_value());
        CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
        CHECK(seen(both) == "not_offered");
    }
}

TEST_CASE("server / CertificateRequest after an ignored flag -> no flag", "[handshake][TLS-3]") {
    const auto context = with_customers();
    attach(*context, {});
    const auto client = agent_and_customer();
    pair both(*context, *client);
    REQUIRE(both.shake());
    REQUIRE(ask_again(both));
    CHECK_FALSE(last(both, kind::certificate_request).find(62).has_value());
    CHECK(seen(both) == "ignored");
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
}

TEST_CASE("client / CertificateRequest with the flag after the handshake / it offered -> accepted, credential sent",
          "[handshake][TLS-3][RCA-12]") {
    bad_peer server(server_context(), {{in::certificate_request, {flags({80})}}});
    ask(*server.context, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, the_cast().agents_ca);
    const auto client = attached_client();
    SSL_CTX_set_post_handshake_auth(client.get(), 1);
    pair both(*server.context, *client);
    REQUIRE(both.shake());
    REQUIRE(both.client.count(kind::certificate_request) == 0);
    REQUIRE(ask_again(both));
    CHECK(both.server.good());
    CHECK(both.client.good());
    const auto outcome = reqauth::client_outcome_of(*both.client.ssl);
    CHECK(outcome.requested);
    CHECK(outcome.acknowledged);
    CHECK(outcome.sent == reqauth::client_outcome::answer::flag);
    CHECK(SSL_get0_peer_certificate(both.server.ssl.get()) != nullptr);
}

TEST_CASE("client / CertificateRequest with the flag after the handshake / it never offered -> illegal_parameter",
          "[handshake][TLS-3][RCA-9]") {
    bad_peer server(server_context(), {{in::certificate_request, {flags({80})}}});
    ask(*server.context, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, the_cast().agents_ca);
    const auto client = attached_client({});
    SSL_CTX_set_post_handshake_auth(client.get(), 1);
    pair both(*server.context, *client);
    REQUIRE(both.shake());
    REQUIRE(ask_again(both));
    CHECK(alert_to_server(both) == "illegal parameter");
}

TEST_CASE(
    "client / CertificateRequest without the flag after an acknowledged one -> not acknowledged, its own certificate",
    "[handshake][TLS-3][RCA-12]") {
    bad_peer server(server_context(), {{in::certificate_request, {flags({80}), std::nullopt}}});
    ask(*server.context, SSL_VERIFY_PEER, the_cast().agents_ca);
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(server.context.get()),
                                the_cast().customers_ca.certificate.get()) == 1);
    const auto client = agent_and_customer();
    pair both(*server.context, *client);
    REQUIRE(both.shake());
    REQUIRE(reqauth::client_outcome_of(*both.client.ssl).acknowledged);
    REQUIRE(ask_again(both));
    CHECK(both.server.good());
    const auto outcome = reqauth::client_outcome_of(*both.client.ssl);
    CHECK_FALSE(outcome.acknowledged);
    CHECK(outcome.sent == reqauth::client_outcome::answer::other);
    const owned<X509> shown(SSL_get1_peer_certificate(both.server.ssl.get()));
    REQUIRE(shown != nullptr);
    CHECK(X509_cmp(shown.get(), the_cast().customer.certificate.get()) == 0);
}

TEST_CASE("server / is_agents_session / agent, customer, nobody, a customer after an agent -> of an agent alone",
          "[handshake][RCA-14][SEC-8]") {
    const auto is_agents = [](const pair& both) {
        return reqauth::is_agents_session(*SSL_get_session(both.server.ssl.get()));
    };
    const auto context = with_customers();
    attach(*context, asking());
    const auto agent = agent_and_customer();
    pair both(*context, *agent);
    REQUIRE(both.shake());
    REQUIRE(seen(both) == "flagged CN=crawler.example");
    SSL_SESSION* session = SSL_get_session(both.server.ssl.get());
    CHECK(reqauth::is_agents_session(*session));
    // What a cache keeps of it is the same.
    unsigned char* octets = nullptr;
    const int size = i2d_SSL_SESSION(session, &octets);
    REQUIRE(size > 0);
    const unsigned char* at = octets;
    const owned<SSL_SESSION> read(d2i_SSL_SESSION(nullptr, &at, size));
    OPENSSL_free(octets);
    REQUIRE(read != nullptr);
    CHECK(reqauth::is_agents_session(*read));

    REQUIRE(ask_again(both));
    REQUIRE(X509_cmp(SSL_get0_peer_certificate(both.server.ssl.get()), the_cast().customer.certificate.get()) == 0);
    CHECK(is_agents(both));

    const auto required = server_context();
    ask(*required, SSL_VERIFY_PEER, the_cast().customers_ca);
    attach(*required, asking());
    const auto customer = client_context();
    present(*customer, the_cast().customer);
    pair other(*required, *customer);
    REQUIRE(other.shake());
    REQUIRE(SSL_get0_peer_certificate(other.server.ssl.get()) != nullptr);
    CHECK_FALSE(is_agents(other));
    const auto plain = client_context();
    pair person(*required, *plain);
    REQUIRE(person.shake());
    CHECK_FALSE(is_agents(person));
}
