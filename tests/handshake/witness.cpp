// SPDX-License-Identifier: Apache-2.0
// Applications whose callbacks or parameters admit too much never get a flagged peer by them (SEC-1).

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <openssl/x509_vfy.h>

using namespace support;

namespace {

bool is_flagged(const pair& both) { return seen(both).starts_with("flagged"); }

reqauth::server_policy tolerant() {
    reqauth::server_policy policy = asking();
    policy.when_offered = reqauth::client_auth::request(agents()).invalid_is_anonymous();
    return policy;
}

std::vector<reqauth::server_policy> every_policy() { return {asking(), demanding(), tolerant()}; }

int admit_all(int, X509_STORE_CTX*) { return 1; }
int admit_all_and_say_ok(int, X509_STORE_CTX* chain) {
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    return 1;
}

int without_verifying(X509_STORE_CTX*, void*) { return 1; }
int say_ok_without_verifying(X509_STORE_CTX* chain, void*) {
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    return 1;
}
int verify_and_ignore(X509_STORE_CTX* chain, void*) {
    X509_verify_cert(chain);
    return 1;
}
int verify_and_say_ok(X509_STORE_CTX* chain, void*) {
    X509_verify_cert(chain);
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    return 1;
}
int with_its_own_anchors(X509_STORE_CTX* chain, void*) {
    STACK_OF(X509)* anchors = sk_X509_new_null();
    sk_X509_push(anchors, the_cast().customers_ca.certificate.get());
    X509_STORE_CTX_set0_trusted_stack(chain, anchors);
    X509_verify_cert(chain);
    sk_X509_free(anchors);
    return 1;
}
int trusting_what_was_sent(X509_STORE_CTX* chain, void*) {
    X509_STORE_CTX_set0_trusted_stack(chain, X509_STORE_CTX_get0_untrusted(chain));
    X509_STORE_CTX_set_flags(chain, X509_V_FLAG_PARTIAL_CHAIN);
    X509_verify_cert(chain);
    return 1;
}
int with_its_own_verify_callback(X509_STORE_CTX* chain, void*) {
    X509_STORE_CTX_set_verify_cb(chain, admit_all_and_say_ok);
    X509_verify_cert(chain);
    return 1;
}
int verifying_somebody_else(X509_STORE_CTX* chain, void*) {
    X509_STORE_CTX_set_cert(chain, the_cast().other_agent.certificate.get());
    X509_verify_cert(chain);
    return 1;
}
int calling_the_callback_itself(X509_STORE_CTX* chain, void*) {
    const auto callback = X509_STORE_CTX_get_verify_cb(chain);
    X509_verify_cert(chain);
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    if (callback != nullptr) callback(1, chain);
    return 1;
}
int verifying_a_customer_in_a_chain_of_its_own(X509_STORE_CTX* chain, void*) {
    X509_STORE* customers = X509_STORE_new();
    X509_STORE_add_cert(customers, the_cast().customers_ca.certificate.get());
    X509_STORE_CTX* inner = X509_STORE_CTX_new();
    X509_STORE_CTX_init(inner, customers, X509_STORE_CTX_get0_cert(chain), nullptr);
    const int verified = X509_verify_cert(inner);
    X509_STORE_CTX_free(inner);
    X509_STORE_free(customers);
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    return verified;
}

int without_looking_at_the_time(X509_STORE_CTX* chain, void*) {
    X509_STORE_CTX_set_flags(chain, X509_V_FLAG_NO_CHECK_TIME);
    X509_verify_cert(chain);
    return 1;
}
int as_of_some_time_ago(X509_STORE_CTX* chain, void*) {
    X509_STORE_CTX_set_time(chain, 0, time(nullptr) - 5400); // the expired agent's certificate was good then
    X509_verify_cert(chain);
    return 1;
}
int for_any_purpose(X509_STORE_CTX* chain, void*) {
    X509_VERIFY_PARAM_set_purpose(X509_STORE_CTX_get0_param(chain), X509_PURPOSE_ANY);
    X509_VERIFY_PARAM_set_trust(X509_STORE_CTX_get0_param(chain), X509_TRUST_SSL_SERVER);
    X509_verify_cert(chain);
    return 1;
}

using cert_verify = int (*)(X509_STORE_CTX*, void*);
const std::vector<std::pair<const char*, cert_verify>> cert_verify_callbacks = {
    {"without verifying", without_verifying},
    {"says ok without verifying", say_ok_without_verifying},
    {"verifies and ignores", verify_and_ignore},
    {"verifies and says ok", verify_and_say_ok},
    {"its own anchors", with_its_own_anchors},
    {"trusts what was sent", trusting_what_was_sent},
    {"its own verify callback", with_its_own_verify_callback},
    {"verifies somebody else", verifying_somebody_else},
    {"calls the callback itself", calling_the_callback_itself},
    {"without looking at the time", without_looking_at_the_time},
    {"as of some time ago", as_of_some_time_ago},
    {"for any purpose", for_any_purpose},
    {"verifies in a chain of its own", verifying_a_customer_in_a_chain_of_its_own},
};

} // namespace

TEST_CASE("server / verify callback of the application / admits everything -> other CA's certificate no flagged_peer",
          "[handshake][valgrind][cve][SEC-1]") {
    // OpenSSL verify callbacks: one that returns 1 admits a bad certificate.
    for (SSL_verify_cb callback : {admit_all, admit_all_and_say_ok})
        for (const int mode : {SSL_VERIFY_NONE, SSL_VERIFY_PEER})
            for (const auto& policy : every_policy()) {
                auto context = server_context();
                ask(*context, mode, the_cast().customers_ca, callback);
                attach(*context, policy);
                for (const auto* who : {&the_cast().customer, &the_cast().expired_agent, &the_cast().server}) {
                    const auto client = flagged_client(*who);
                    pair both(*context, *client.context);
                    const bool ended_well = both.shake();
                    CHECK_FALSE(is_flagged(both));
                    CHECK(ended_well == policy.when_offered.lets_invalid_pass());
                    CHECK(SSL_get_verify_result(both.server.ssl.get()) != X509_V_OK);
                }
                const auto client = flagged_client(the_cast().agent);
                pair both(*context, *client.context);
                CHECK(both.shake());
                CHECK(seen(both) == "flagged CN=crawler.example");
            }
}

TEST_CASE("server / verify callback of the application / flagged connection -> not called, and called as before else",
          "[handshake][SEC-6]") {
    static int calls;
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca, [](int ok, X509_STORE_CTX*) {
        ++calls;
        return ok;
    });
    attach(*context, asking());
    calls = 0;
    const auto agent = attached_client();
    pair flagged_pair(*context, *agent);
    CHECK(flagged_pair.shake());
    CHECK(is_flagged(flagged_pair));
    CHECK(calls == 0);
    auto customer = client_context();
    present(*customer, the_cast().customer);
    pair plain(*context, *customer);
    CHECK(plain.shake());
    CHECK(calls > 0);
}

TEST_CASE("server / SSL_CTX_set_cert_verify_callback / admits everything -> bad certificate no flagged_peer",
          "[handshake][valgrind][cve][SEC-1]") {
    const auto of_a_server =
        issue({.common_name = "server-only.example", .extended_key_usage = "serverAuth"}, &the_cast().agents_ca);
    for (const auto& [what, callback] : cert_verify_callbacks)
        for (const auto& policy : every_policy())
            for (const auto* who :
                 {&the_cast().customer, &the_cast().expired_agent, &the_cast().server, &of_a_server}) {
                CAPTURE(what, int(policy.when_offered.asks()), policy.when_offered.lets_invalid_pass());
                auto context = server_context();
                SSL_CTX_set_cert_verify_callback(context.get(), callback, nullptr);
                attach(*context, policy);
                const auto client = flagged_client(*who);
                pair both(*context, *client.context);
                both.shake();
                CHECK_FALSE(is_flagged(both));
                CHECK(reqauth::server_outcome_of(*both.server.ssl).certificate !=
                      reqauth::server_outcome::answer::verified);
            }
}

TEST_CASE("server / SSL_CTX_set_cert_verify_callback / agent's certificate, never verified -> not_witnessed",
          "[handshake][SEC-1]") {
    for (const cert_verify callback : {without_verifying, say_ok_without_verifying}) {
        auto context = server_context();
        SSL_CTX_set_cert_verify_callback(context.get(), callback, nullptr);
        attach(*context, asking());
        const auto client = flagged_client(the_cast().agent);
        pair both(*context, *client.context);
        CHECK(both.shake());
        CHECK(seen(both) == "not_witnessed");
        CHECK(SSL_get_verify_result(both.server.ssl.get()) != X509_V_OK);
    }
}

TEST_CASE("server / SSL_CTX_set_cert_verify_callback / require, never verified -> no flagged_peer",
          "[handshake][SEC-1]") {
    auto context = server_context();
    SSL_CTX_set_cert_verify_callback(context.get(), without_verifying, nullptr);
    attach(*context, demanding());
    const auto client = flagged_client(the_cast().customer);
    pair both(*context, *client.context);
    both.shake();
    CHECK_FALSE(is_flagged(both));
}

TEST_CASE("server / name constraints / violated after depth 0 passed -> never a flagged_peer", "[handshake][SEC-1]") {
    const auto ca =
        issue({.common_name = "Constrained CA", .ca = true, .name_constraints = "permitted;DNS:good.example"});
    const auto good = issue(agent_description("crawler.good.example"), &ca);
    const auto evil = issue(agent_description("evil.example"), &ca);
    for (const bool lax : {false, true}) {
        reqauth::server_policy policy;
        policy.when_offered = lax ? reqauth::client_auth::request(trust_in(ca)).invalid_is_anonymous()
                                  : reqauth::client_auth::request(trust_in(ca));
        for (SSL_verify_cb callback : {SSL_verify_cb{nullptr}, SSL_verify_cb{admit_all}}) {
            auto context = server_context();
            SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, callback);
            attach(*context, policy);
            const auto good_client = flagged_client(good);
            pair fine(*context, *good_client.context);
            CHECK(fine.shake());
            CHECK(seen(fine) == "flagged CN=crawler.good.example");

            const auto evil_client = flagged_client(evil);
            pair both(*context, *evil_client.context);
            CHECK(both.shake() == lax);
            CHECK_FALSE(is_flagged(both));
            CHECK(reqauth::server_outcome_of(*both.server.ssl).verify_error == X509_V_ERR_PERMITTED_VIOLATION);
            if (lax) CHECK(seen(both) == "invalid " + std::to_string(X509_V_ERR_PERMITTED_VIOLATION));
        }
    }
}

TEST_CASE("server / verify parameters of the application / NO_CHECK_TIME, a time long ago -> expired agent refused",
          "[handshake][SEC-1]") {
    for (const bool by_flag : {true, false})
        for (const bool on_ssl : {false, true}) {
            CAPTURE(by_flag, on_ssl);
            const auto weaken = [&](X509_VERIFY_PARAM* parameters) {
                if (by_flag)
                    X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_NO_CHECK_TIME);
                else
                    X509_VERIFY_PARAM_set_time(parameters, time(nullptr) - 5400); // the certificate was good then
            };
            auto context = server_context();
            if (!on_ssl) weaken(SSL_CTX_get0_param(context.get()));
            attach(*context, asking());
            const auto client = flagged_client(the_cast().expired_agent);
            pair both(*context, *client.context);
            if (on_ssl) weaken(SSL_get0_param(both.server.ssl.get()));
            CHECK_FALSE(both.shake());
            CHECK_FALSE(is_flagged(both));
            CHECK(alert_to_client(both) == "certificate expired");
        }
}

TEST_CASE("server / verify parameters of the application / any purpose -> certificate without clientAuth refused",
          "[handshake][SEC-1]") {
    const auto of_a_server =
        issue({.common_name = "server-only.example", .extended_key_usage = "serverAuth"}, &the_cast().agents_ca);
    for (const int purpose : {X509_PURPOSE_ANY, X509_PURPOSE_SSL_SERVER}) {
        auto context = server_context();
        X509_VERIFY_PARAM_set_purpose(SSL_CTX_get0_param(context.get()), purpose);
        X509_VERIFY_PARAM_set_trust(SSL_CTX_get0_param(context.get()), X509_TRUST_SSL_SERVER);
        attach(*context, asking());
        const auto client = flagged_client(of_a_server);
        pair both(*context, *client.context);
        CHECK_FALSE(both.shake());
        CHECK_FALSE(is_flagged(both));
    }
}

TEST_CASE("server / verify parameters of the application / PARTIAL_CHAIN -> judged as without it",
          "[handshake][SEC-1]") {
    const auto intermediate = issue({.common_name = "Some CA 2", .ca = true}, &the_cast().agents_ca);
    const auto agent = issue(agent_description("deep.example"), &intermediate);
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(trust_in(intermediate)); // not self-signed
    std::vector<std::string> judged;
    for (const bool partial : {false, true}) {
        auto context = server_context();
        if (partial) X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context.get()), X509_V_FLAG_PARTIAL_CHAIN);
        attach(*context, policy);
        const auto client = flagged_client(agent);
        pair both(*context, *client.context);
        both.shake();
        judged.push_back(seen(both));
    }
    CHECK(judged[0] == judged[1]);
}

TEST_CASE("server / verify parameters of the application / a host name, a depth -> they do not judge agents",
          "[handshake][SEC-6]") {
    auto context = server_context();
    X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(context.get()), "customer.example", 0);
    attach(*context, asking());
    const auto client = attached_client();
    pair both(*context, *client);
    CHECK(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("server / store of the application / CRL checks without a CRL -> agents judged by the policy's trust alone",
          "[handshake][SEC-1][RCA-13]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca);
    X509_STORE_set_flags(SSL_CTX_get_cert_store(context.get()), X509_V_FLAG_CRL_CHECK);
    attach(*context, asking());
    const auto client = attached_client();
    pair both(*context, *client);
    CHECK(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
    auto plain = client_context();
    present(*plain, the_cast().customer);
    pair customer(*context, *plain);
    CHECK_FALSE(customer.shake()); // the application's own rule stays
}
