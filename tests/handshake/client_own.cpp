// SPDX-License-Identifier: Apache-2.0
// A client's own certificates beside the flag's credential: which servers see which.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <openssl/core_names.h>

#include <memory>
#include <string>
#include <vector>

using namespace support;
using answer = reqauth::client_outcome::answer;

namespace {

reqauth::client_outcome outcome(const pair& both) { return reqauth::client_outcome_of(*both.client.ssl); }

/// asks_everybody takes any certificate, and knows nothing of the flag.
owned<SSL_CTX> asks_everybody(const char* algorithms = nullptr, int more = 0) {
    auto context = server_context();
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | more, [](int, X509_STORE_CTX*) { return 1; });
    if (algorithms != nullptr) REQUIRE(SSL_CTX_set1_client_sigalgs_list(context.get(), algorithms) == 1);
    return context;
}

std::string name_in(const X509* certificate) {
    if (certificate == nullptr) return "none";
    char text[256] = {};
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text, sizeof text);
    return text;
}

/// shown is whose certificate the server has.
std::string shown(const pair& both) {
    const owned<X509> certificate(SSL_get1_peer_certificate(both.server.ssl.get()));
    return name_in(certificate.get());
}

std::string shown_to(SSL_CTX& server, SSL_CTX& client) {
    pair both(server, client);
    REQUIRE(both.shake());
    return shown(both);
}

identity with_key(key_type type, const char* name) {
    auto about = agent_description(name);
    about.key = type;
    return issue(about, &the_cast().customers_ca);
}

/// renewed is another certificate for the same key.
identity renewed(const identity& who, const char* name) {
    return issue(agent_description(name), &the_cast().agents_ca, who.key.get());
}

/// cleared gives the client's SSL of a connection, ready for the next.
owned<SSL> cleared(pair& both) {
    REQUIRE(SSL_clear(both.client.ssl.get()) == 1);
    SSL_set_bio(both.client.ssl.get(), nullptr, nullptr);
    SSL_set_connect_state(both.client.ssl.get());
    return std::move(both.client.ssl);
}

owned<SSL> accepting(SSL_CTX& server) {
    owned<SSL> ssl(SSL_new(&server));
    SSL_set_accept_state(ssl.get());
    return ssl;
}

bool ask_again(pair& both) {
    if (SSL_verify_client_post_handshake(both.server.ssl.get()) != 1) return false;
    if (SSL_do_handshake(both.server.ssl.get()) != 1) return false;
    both.run();
    return both.client.good() && both.server.good();
}

/// names_of are those of an SSL's own certificates, each with the length of its chain; the current one last.
std::vector<std::string> names_of(SSL* ssl) {
    std::vector<std::string> all;
    const owned<SSL> copy(SSL_dup(ssl));
    for (long step = SSL_CERT_SET_FIRST; SSL_set_current_cert(copy.get(), step) == 1; step = SSL_CERT_SET_NEXT) {
        STACK_OF(X509)* chain = nullptr;
        SSL_get0_chain_certs(copy.get(), &chain);
        all.push_back(name_in(SSL_get_certificate(copy.get())) + " " + std::to_string(chain ? sk_X509_num(chain) : -1));
    }
    all.push_back(name_in(SSL_get_certificate(ssl)));
    return all;
}

constexpr const char* ecdsa = "ECDSA+SHA256";
constexpr const char* rsa = "RSA-PSS+SHA256";

} // namespace

TEST_CASE("client / unacknowledged request / own certificate is the flag's, once was, or is of such a key -> empty",
          "[handshake][attack][RCA-3][RCA-12]") {
    const auto server = asks_everybody();
    for (const auto type : {key_type::p256, key_type::rsa, key_type::ed25519}) {
        CAPTURE(int(type));
        auto about = agent_description("agent.example");
        about.key = type;
        const identity agent = issue(about, &the_cast().agents_ca);
        const identity next = renewed(agent, "next.example");
        for (const identity* own : {&agent, &next}) {
            CAPTURE(name_in(own->certificate.get()));
            reqauth::client_policy policy;
            policy.credential = credential_of(agent);
            reqauth::client crawler(policy);
            const auto client = client_context();
            crawler.attach(*client);
            SSL_CTX_use_certificate(client.get(), own->certificate.get());
            SSL_CTX_use_PrivateKey(client.get(), agent.key.get());
            CHECK(shown_to(*server, *client) == "none");
            crawler.replace({credential_of(the_cast().other_agent)});
            CHECK(shown_to(*server, *client) == "none");
            crawler.replace({});
            pair both(*server, *client);
            REQUIRE(both.shake());
            CHECK(shown(both) == "none");
            CHECK(outcome(both).sent == answer::empty);
        }
    }
}

TEST_CASE("client / unacknowledged request / own certificate was the flag's many credentials ago -> empty",
          "[handshake][attack][RCA-3][RCA-12]") {
    const auto server = asks_everybody();
    reqauth::client crawler(agent_policy());
    const auto client = client_context();
    present(*client, the_cast().agent);
    crawler.attach(*client);
    for (int i = 0; i < 20; ++i)
        crawler.replace({credential_of(issue(agent_description("later.example"), &the_cast().agents_ca))});
    CHECK(shown_to(*server, *client) == "none");
}

TEST_CASE("client / reload / own certificate is that of the files before -> empty to a request without the flag",
          "[handshake][attack][RCA-3][RCA-12]") {
    const auto server = asks_everybody();
    const temporary_directory directory;
    const auto certificate = directory.write("agent.pem", pem(*the_cast().agent.certificate));
    const auto key = directory.write("agent.key", pem(*the_cast().agent.key));
    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(certificate, key);
    reqauth::client crawler(policy);
    const auto client = client_context();
    present(*client, the_cast().agent);
    crawler.attach(*client);
    directory.write("agent.pem", pem(*the_cast().other_agent.certificate));
    directory.write("agent.key", pem(*the_cast().other_agent.key));
    REQUIRE(crawler.reload());
    CHECK(shown_to(*server, *client) == "none");
}

TEST_CASE("client / unacknowledged request / own certificate has the flag's key as a compressed point -> empty",
          "[handshake][attack][RCA-3][RCA-12]") {
    const auto server = asks_everybody();
    const owned<EVP_PKEY> key = make_key();
    const owned<EVP_PKEY> compressed(EVP_PKEY_dup(key.get()));
    REQUIRE(EVP_PKEY_set_utf8_string_param(compressed.get(), OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                           OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_COMPRESSED) == 1);
    const identity agent = issue(agent_description("agent.example"), &the_cast().agents_ca, key.get());
    const identity own = issue(agent_description("own.example"), &the_cast().agents_ca, compressed.get());
    REQUIRE(pin_of(*agent.key) != pin_of(*own.key));
    for (const bool swapped : {false, true}) {
        const auto client = client_context();
        present(*client, swapped ? agent : own);
        reqauth::client_policy policy;
        policy.credential = credential_of(swapped ? own : agent);
        reqauth::client(policy).attach(*client);
        CHECK(shown_to(*server, *client) == "none");
    }
}

TEST_CASE("client / unacknowledged request / several own certificates, one is the flag's -> the others, never that one",
          "[handshake][valgrind][attack][RCA-3][RCA-12]") {
    const identity other = with_key(key_type::rsa, "other.example");
    for (const bool agent_first : {true, false})
        for (const bool on_ssl : {true, false}) {
            CAPTURE(agent_first, on_ssl);
            const auto client = attached_client();
            const auto set_up = [&](auto&& use) {
                if (agent_first) use(the_cast().agent);
                use(other);
                if (!agent_first) use(the_cast().agent);
            };
            if (!on_ssl) set_up([&](const identity& who) { present(*client, who); });
            const auto visit = [&](SSL_CTX& server) {
                auto both = std::make_unique<pair>(server, *client);
                if (on_ssl)
                    set_up([&](const identity& who) {
                        SSL_use_certificate(both->client.ssl.get(), who.certificate.get());
                        SSL_use_PrivateKey(both->client.ssl.get(), who.key.get());
                    });
                REQUIRE(both->shake());
                return both;
            };
            for (const auto& [algorithms, expected] : {std::pair(ecdsa, "none"), std::pair(rsa, "other.example"),
                                                       std::pair("ECDSA+SHA256:RSA-PSS+SHA256", "other.example")}) {
                const auto server = asks_everybody(algorithms);
                CAPTURE(algorithms);
                CHECK(shown(*visit(*server)) == expected);
            }
            const auto acknowledges = attached_server(asking());
            CHECK(shown(*visit(*acknowledges)) == "crawler.example");
        }
}

TEST_CASE("client / own certificates, their chains and the current one / after each kind of request -> as before",
          "[handshake][valgrind][attack][SEC-6]") {
    const identity other = with_key(key_type::rsa, "other.example");
    const auto client = attached_client();
    present(*client, the_cast().agent);
    present(*client, other);
    REQUIRE(SSL_CTX_select_current_cert(client.get(), other.certificate.get()) == 1);
    REQUIRE(SSL_CTX_add1_chain_cert(client.get(), the_cast().customers_ca.certificate.get()) == 1);
    REQUIRE(SSL_CTX_select_current_cert(client.get(), the_cast().agent.certificate.get()) == 1);
    const auto acknowledges = attached_server(asking());
    const auto asks = asks_everybody();
    const auto quiet = server_context();
    for (SSL_CTX* server : {acknowledges.get(), asks.get(), quiet.get()}) {
        pair both(*server, *client);
        const auto before = names_of(both.client.ssl.get());
        REQUIRE(before == std::vector<std::string>{"other.example 1", "crawler.example -1", "crawler.example"});
        REQUIRE(both.shake());
        const auto ssl = cleared(both);
        CHECK(names_of(ssl.get()) == before);
        // And a copy has them.
        pair again(accepting(*asks), owned<SSL>(SSL_dup(ssl.get())));
        REQUIRE(again.shake());
        CHECK(shown(again) == "other.example");
    }
}

TEST_CASE(
    "client / cert_cb handed over, client_cert_cb / give the flag's credential -> not to a request without the flag",
    "[handshake][attack][RCA-3][SEC-6]") {
    static const identity* given;
    const auto server = asks_everybody();
    const identity next = renewed(the_cast().agent, "next.example");
    for (const auto& [who, expected] : {std::pair(&the_cast().agent, "none"), std::pair(&next, "none"),
                                        std::pair(&the_cast().customer, "customer.example")}) {
        given = who;
        auto policy = agent_policy();
        {
            const auto client = client_context();
            SSL_CTX_set_client_cert_cb(client.get(), [](SSL*, X509** certificate, EVP_PKEY** key) {
                *certificate = given->certificate.get();
                *key = given->key ? given->key.get() : the_cast().agent.key.get();
                X509_up_ref(*certificate);
                EVP_PKEY_up_ref(*key);
                return 1;
            });
            reqauth::client(policy).attach(*client);
            CHECK(shown_to(*server, *client) == expected);
        }
        policy.chained_certificate_callback = {[](SSL* ssl, void*) {
                                                   SSL_use_certificate(ssl, given->certificate.get());
                                                   return SSL_use_PrivateKey(
                                                       ssl, given->key ? given->key.get() : the_cast().agent.key.get());
                                               },
                                               nullptr};
        const auto client = attached_client(policy);
        CHECK(shown_to(*server, *client) == expected);
    }
}

TEST_CASE("client / requests after the handshake, without the flag -> its own certificate, and never the flag's",
          "[handshake][attack-control][RCA-3][TLS-3]") {
    const auto server = asks_everybody(nullptr, SSL_VERIFY_POST_HANDSHAKE);
    attach(*server, asking());
    for (const identity* own : {&the_cast().agent, &the_cast().customer}) {
        reqauth::client crawler(agent_policy());
        const auto client = client_context();
        present(*client, *own);
        SSL_CTX_set_post_handshake_auth(client.get(), 1);
        crawler.attach(*client);
        pair both(*server, *client);
        REQUIRE(both.shake());
        REQUIRE(seen(both) == "flagged CN=crawler.example");
        crawler.replace({});
        for (int i = 0; i < 2; ++i) {
            REQUIRE(ask_again(both));
            const bool customer = own == &the_cast().customer;
            CHECK(outcome(both).sent == (customer ? answer::other : answer::empty));
            if (customer) CHECK(shown(both) == "customer.example");
        }
    }
}

TEST_CASE("client / request after the handshake, with the flag -> the credential, while it is that of the connection",
          "[handshake][attack][TLS-3]") {
    for (const bool changed : {false, true}) {
        CAPTURE(changed);
        bad_peer server(asks_everybody(nullptr, SSL_VERIFY_POST_HANDSHAKE), {{in::certificate_request, {flags({80})}}});
        reqauth::client crawler(agent_policy());
        const auto client = client_context();
        SSL_CTX_set_post_handshake_auth(client.get(), 1);
        crawler.attach(*client);
        pair both(*server.context, *client);
        REQUIRE(both.shake());
        if (changed) crawler.replace({credential_of(the_cast().other_agent)});
        REQUIRE(ask_again(both));
        CHECK(outcome(both).acknowledged);
        CHECK(shown(both) == (changed ? "none" : "crawler.example"));
    }
}

TEST_CASE("client / replace, and idle connections of before -> nothing of the earlier credentials is kept",
          "[handshake][attack]") {
    const auto acknowledges = attached_server(asking());
    const auto asks = asks_everybody();
    const auto refuses = attached_server(demanding());
    SSL_CTX_set1_client_sigalgs_list(refuses.get(), "ed25519");
    for (SSL_CTX* server : {acknowledges.get(), asks.get(), refuses.get()}) {
        std::weak_ptr<const reqauth::detail::loaded_credential> before;
        reqauth::client crawler = [&] {
            const auto policy = agent_policy();
            before = policy.credential->holder();
            return reqauth::client(policy);
        }();
        const auto client = client_context();
        crawler.attach(*client);
        pair both(*server, *client);
        both.shake();
        REQUIRE(both.client.done);
        crawler.replace({});
        CHECK(before.expired());
    }
}

TEST_CASE("client / SSL_clear in the middle, cert_cb that suspends, handshake given up -> the next has its own again",
          "[handshake][attack-control][RCA-12]") {
    static int result;
    auto policy = agent_policy();
    policy.chained_certificate_callback = {[](SSL*, void*) { return result; }, nullptr};
    const auto client = attached_client(policy);
    present(*client, the_cast().customer);
    const auto acknowledges = attached_server(asking());
    const auto asks = asks_everybody();
    for (const bool suspends : {false, true}) {
        result = suspends ? -1 : 1;
        pair first(*acknowledges, *client);
        first.client.step();
        first.server.give(first.client.take());
        first.server.step();
        first.client.give(first.server.take());
        first.client.step();
        CHECK(first.client.done == !suspends);
        result = 1;
        pair second(accepting(*asks), cleared(first));
        REQUIRE(second.shake());
        CHECK(shown(second) == "customer.example");
        CHECK_FALSE(outcome(second).acknowledged);
    }
    result = -1;
    pair given_up(*acknowledges, *client);
    given_up.run();
    CHECK_FALSE(given_up.client.done);
}

TEST_CASE("client / its info callback is taken away in the middle, and certificates are set -> the flag's is shown to "
          "nobody else",
          "[handshake][attack][RCA-12]") {
    static const identity other = with_key(key_type::rsa, "other.example");
    const auto client = attached_client();
    present(*client, the_cast().customer);
    const auto acknowledges = attached_server(asking());
    for (const bool clears : {false, true}) {
        pair first(*acknowledges, *client);
        SSL_set_msg_callback(first.client.ssl.get(), [](int write, int, int type, const void* message, std::size_t size,
                                                        SSL* ssl, void*) {
            const auto* octets = static_cast<const unsigned char*>(message);
            if (write == 1 && type == SSL3_RT_HANDSHAKE && size > 0 && octets[0] == SSL3_MT_CERTIFICATE_VERIFY)
                SSL_set_info_callback(ssl, [](const SSL*, int, int) {});
        });
        REQUIRE(first.shake());
        const auto ssl = [&] {
            auto again = cleared(first);
            SSL_set_msg_callback(again.get(), nullptr);
            return again;
        }();
        if (clears) SSL_certs_clear(ssl.get());
        REQUIRE(SSL_use_certificate(ssl.get(), other.certificate.get()) == 1);
        REQUIRE(SSL_use_PrivateKey(ssl.get(), other.key.get()) == 1);
        pair with_ecdsa(accepting(*asks_everybody(ecdsa)), owned<SSL>(SSL_dup(ssl.get())));
        REQUIRE(with_ecdsa.shake());
        CHECK(shown(with_ecdsa) == (clears ? "none" : "customer.example"));
        pair with_rsa(accepting(*asks_everybody(rsa)), owned<SSL>(SSL_dup(ssl.get())));
        REQUIRE(with_rsa.shake());
        CHECK(shown(with_rsa) == "other.example");
    }
}

TEST_CASE("client / goes over to another client's SSL_CTX in the middle -> neither credential is shown",
          "[handshake][attack][RCA-12]") {
    static SSL_CTX* other;
    auto others_policy = agent_policy();
    others_policy.credential = credential_of(the_cast().other_agent);
    const auto others = attached_client(others_policy);
    other = others.get();
    const auto client = attached_client();
    const auto server = attached_server(asking());
    pair both(*server, *client);
    SSL_set_msg_callback(
        both.client.ssl.get(), [](int write, int, int type, const void* message, std::size_t size, SSL* ssl, void*) {
            const auto* octets = static_cast<const unsigned char*>(message);
            if (write == 0 && type == SSL3_RT_HANDSHAKE && size > 0 && octets[0] == SSL3_MT_SERVER_HELLO)
                SSL_set_SSL_CTX(ssl, other);
        });
    both.shake();
    CHECK(shown(both) == "none");
}

TEST_CASE("client / HelloRetryRequest, and replace around it -> the credential of the first ClientHello",
          "[handshake][attack-control][TLS-1]") {
    const auto server = attached_server(asking());
    REQUIRE(SSL_CTX_set1_groups_list(server.get(), "P-384") == 1);
    reqauth::client crawler(agent_policy());
    const auto client = client_context();
    REQUIRE(SSL_CTX_set1_groups_list(client.get(), "P-256:P-384") == 1);
    present(*client, the_cast().other_agent);
    crawler.attach(*client);
    pair both(*server, *client);
    both.client.step();
    both.server.give(both.client.take());
    both.server.step();
    crawler.replace({});
    both.client.give(both.server.take());
    REQUIRE(both.shake());
    CHECK(both.client.count(kind::client_hello) == 2);
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("client / one SSL_CTX for both roles -> its server's certificate, if it is the flag's, goes to clients alone",
          "[handshake][attack-control][RCA-12]") {
    const auto both_roles = [&] {
        owned<SSL_CTX> context(SSL_CTX_new(TLS_method()));
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), the_cast().server_ca.certificate.get());
        present(*context, the_cast().server);
        auto policy = agent_policy();
        policy.credential = credential_of(the_cast().server);
        reqauth::client(policy).attach(*context);
        return context;
    }();
    const auto plain = client_context();
    pair as_server(*both_roles, *plain);
    CHECK(as_server.shake());
    CHECK(shown_to(*asks_everybody(), *both_roles) == "none");
}
