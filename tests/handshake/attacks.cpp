// SPDX-License-Identifier: Apache-2.0
// Attacks that once got through on a server. docs/attacks.md has what else was tried.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

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

namespace {

int on_error = 0; // what the application's cert_verify_callback leaves as the result; 0: what is there
int verified = 99;
int verify_and_go_on(X509_STORE_CTX* verification, void*) {
    verified = X509_verify_cert(verification);
    if (on_error != 0) X509_STORE_CTX_set_error(verification, on_error);
    return 1;
}

// A verification without signatures and times.
int verify_nothing(X509_STORE_CTX* verification, void*) {
    X509_STORE_CTX_set_verify(verification, [](X509_STORE_CTX*) { return 1; });
    X509_verify_cert(verification);
    return 1;
}
int verify_laxly(X509_STORE_CTX* verification, void*) {
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(verification), 0);
    X509_verify_cert(verification);
    return 1;
}
int verify_without_policies(X509_STORE_CTX* verification, void*) {
    X509_VERIFY_PARAM_clear_flags(X509_STORE_CTX_get0_param(verification), X509_V_FLAG_POLICY_CHECK);
    X509_verify_cert(verification);
    return 1;
}
int verify_with_a_callback_that_admits_all(X509_STORE_CTX* verification, void*) {
    X509_STORE_CTX_set_verify_cb(verification, [](int, X509_STORE_CTX*) { return 1; });
    return X509_verify_cert(verification);
}
int verify_twice(X509_STORE_CTX* verification, void*) {
    X509_verify_cert(verification);
    X509_verify_cert(verification); // -1: it has been used
    return 1;
}
int verify_then_clean(X509_STORE_CTX* verification, void*) {
    X509_verify_cert(verification);
    X509_STORE_CTX_set_error(verification, X509_V_ERR_CERT_REJECTED);
    X509_STORE_CTX_cleanup(verification);
    return 1;
}

struct visit_of {
    std::string who;
    std::string resumed; ///< the same of a second visit, with the session of the first; empty: there was none
    long result;
};

visit_of visit_twice(SSL_CTX& server, const identity& who, std::span<X509* const> chain = {}) {
    reqauth::client_policy policy;
    policy.credential = credential_of(who, chain);
    policy.when_unsatisfiable = reqauth::unsatisfiable::present;
    visitor client(attached_client(policy));
    const auto first = visit(server, *client.context);
    visit_of out{first.good ? first.who : "refused: " + first.alert, {}, first.verify_result};
    if (!client.shelf.last) return out;
    const auto second = visit(server, *client.context, {.session = client.shelf.last.get()});
    out.resumed = second.resumed ? second.who : "";
    return out;
}

} // namespace

TEST_CASE("server / X509_verify_cert gives up without a word, the application goes on -> not_witnessed, and no session",
          "[handshake][attack][SEC-1]") {
    const auto root =
        issue({.common_name = "Constrained CA", .ca = true, .name_constraints = "critical,permitted;DNS:example"});
    const auto silent = [&] {
        auto about = agent_description("victim.example");
        about.alt_names = {{GEN_URI, "https://victim.example/"}};
        about.name_is_no_text = true;
        return issue(about, &root);
    }();
    for (const int left : {0, int{X509_V_OK}, int{X509_V_ERR_APPLICATION_VERIFICATION}, int{X509_V_ERR_CERT_REJECTED}})
        for (const bool anonymous : {false, true}) {
            CAPTURE(left, anonymous);
            auto policy = asking();
            policy.when_offered = reqauth::client_auth::request(trust_in(root));
            if (anonymous) policy.when_offered = policy.when_offered.invalid_is_anonymous();
            const auto server = attached_server(policy);
            SSL_CTX_set_cert_verify_callback(server.get(), verify_and_go_on, nullptr);
            on_error = left;
            const auto seen = visit_twice(*server, silent);
            CHECK(verified == -1);
            CHECK(seen.who == "not_witnessed");
            CHECK(seen.resumed.empty());
            CHECK(seen.result != X509_V_OK);
        }
}

TEST_CASE("server / X509_verify_cert, and the application says otherwise after it -> no flagged_peer, and no session",
          "[handshake][attack][SEC-1][SEC-8]") {
    using callback = int (*)(X509_STORE_CTX*, void*);
    struct row {
        const char* what;
        callback how;
        int left;
        bool flagged;
    };
    for (const auto& [what, how, left, flagged] : std::initializer_list<row>{
             {"goes on", verify_and_go_on, 0, true},
             {"leaves another error", verify_and_go_on, X509_V_ERR_CERT_REJECTED, false},
             {"leaves OK, so that the agent would be a customer", verify_and_go_on, X509_V_OK, true},
             {"skips signatures and times", verify_nothing, 0, false},
             {"lowers the security level", verify_laxly, 0, false},
             {"skips the last check", verify_without_policies, 0, false},
             {"has a callback of its own", verify_with_a_callback_that_admits_all, 0, false},
             {"verifies twice", verify_twice, 0, false},
             {"rejects, and cleans up", verify_then_clean, 0, false}}) {
        CAPTURE(what);
        on_error = left;
        const auto server = attached_server(asking());
        SSL_CTX_set_cert_verify_callback(server.get(), how, nullptr);
        const auto seen = visit_twice(*server, the_cast().agent);
        CHECK(seen.who.starts_with("flagged") == flagged);
        CHECK(seen.resumed.starts_with("flagged") == flagged);
        CHECK(seen.result != X509_V_OK);
    }
}

TEST_CASE("server / a CRL of the issuer that cannot be used / a CA that it revokes -> refused, and attach warns",
          "[handshake][attack][SEC-1]") {
    struct row {
        const char* what;
        bool renewed;
        crl_description about;
    };
    for (auto& [what, renewed, about] :
         std::vector<row>{{"rollover: for the new key", false, {}},
                          {"renewal: for the old serial number", true, {.by_serial = true}}}) {
        CAPTURE(what);
        const auto old = issue({.common_name = "Rolled CA", .ca = true});
        const auto now = issue({.common_name = "Rolled CA", .ca = true}, nullptr, renewed ? old.key.get() : nullptr);
        const identity& issuing = renewed ? now : old;
        const identity& listing = renewed ? old : now;
        const auto sub = issue({.common_name = "Sub CA", .ca = true}, &issuing);
        const auto stolen = issue(agent_description("stolen.example"), &sub);
        about.revoked = {sub.certificate.get()};
        const auto anchors = renewed ? pem(*now.certificate) : pem(*old.certificate) + pem(*now.certificate);
        const auto trust = reqauth::trust::from_pem(anchors).with_crls(crl(listing, about)).with_crls(crl(sub));
        X509* chain[] = {sub.certificate.get()};
        auto policy = asking();
        for (const auto& judged : {trust, trust.with_crls_for_every_ca()}) {
            policy.when_offered = reqauth::client_auth::request(judged);
            auto server = server_context();
            const auto attached = reqauth::server().attach(*server, policy);
            REQUIRE(attached.warnings.size() == 1);
            CHECK(attached.warnings[0].find("Rolled CA") != std::string::npos);
            CHECK(visit_twice(*server, stolen, chain).who == "refused: internal error");
        }
        // One that says nothing of the CA refuses as well: nobody can tell.
        about.revoked.clear();
        policy.when_offered = reqauth::client_auth::request(
            reqauth::trust::from_pem(anchors).with_crls(crl(listing, about)).with_crls(crl(sub)));
        CHECK(visit_twice(*attached_server(policy), stolen, chain).who == "refused: internal error");
    }
    // For other certificates of the CA: of leaves alone.
    const auto sub = issue({.common_name = "Sub CA", .ca = true}, &the_cast().agents_ca);
    const auto agent = issue(agent_description("crawler.example"), &sub);
    X509* chain[] = {sub.certificate.get()};
    auto policy = asking();
    policy.when_offered = reqauth::client_auth::request(
        agents().with_crls(crl(the_cast().agents_ca, {.for_leaves = true})).with_crls(crl(sub)));
    CHECK(visit_twice(*attached_server(policy), agent, chain).who.starts_with("refused"));
    // No CRL of that name: forgiven, as before.
    policy.when_offered = reqauth::client_auth::request(agents().with_crls(crl(sub)));
    CHECK(visit_twice(*attached_server(policy), agent, chain).who == "flagged CN=crawler.example");
}

TEST_CASE("server / attach / extensions of the server's role alone -> unequal_extensions, before memory is touched",
          "[handshake][attack][SEC-6]") {
    const auto parse = [](SSL*, unsigned, const unsigned char*, std::size_t, int*, void*) { return 1; };
    const auto one = server_context();
    const auto more = server_context();
    REQUIRE(SSL_CTX_add_server_custom_ext(more.get(), 60000, nullptr, nullptr, nullptr, parse, nullptr) == 1);
    reqauth::server listener;
    listener.attach(*one, asking());
    std::string text;
    CHECK(failure_of([&] { listener.attach(*more, asking()); }, &text) == reqauth::errc::unequal_extensions);
    CHECK(text.find("60000") != text.npos);
    // What threw has changed nothing.
    CHECK(SSL_CTX_has_client_custom_ext(more.get(), 62) == 0);
    CHECK(SSL_CTX_add_server_custom_ext(more.get(), 18, nullptr, nullptr, nullptr, parse, nullptr) == 1);
}

TEST_CASE("server / attach / serverinfo with SCTs on one SSL_CTX -> each has as many extensions, and none on the wire",
          "[handshake][attack][valgrind][SEC-6][RCA-15]") {
    // serverinfo registers type 18, which OpenSSL also knows itself: nothing tells that it is there.
    const unsigned char info[] = {0, 18, 0, 4, 1, 2, 3, 4};
    static SSL_CTX* other;
    for (const bool first_has : {false, true}) {
        const auto one = server_context();
        const auto two = server_context();
        REQUIRE(SSL_CTX_use_serverinfo((first_has ? one : two).get(), info, sizeof info) == 1);
        other = two.get();
        SSL_CTX_set_client_hello_cb(
            one.get(),
            [](SSL* ssl, int*, void*) {
                SSL_set_SSL_CTX(ssl, other);
                return SSL_CLIENT_HELLO_SUCCESS;
            },
            nullptr);
        reqauth::server listener;
        listener.attach(*one, asking());
        listener.attach(*two, asking());
        for (const auto& context : {&one, &two})
            CHECK(SSL_CTX_add_server_custom_ext(context->get(), 18, nullptr, nullptr, nullptr, nullptr, nullptr) == 0);
        const auto agent = attached_client();
        const auto person = client_context();
        for (const auto& client : {&agent, &person}) {
            pair both(*one, **client);
            CHECK(both.shake()); // valgrind sees a list that is too short
            CHECK_FALSE(both.client.first(kind::encrypted_extensions)->find(18).has_value());
        }
    }
}

TEST_CASE("server / attach / no certificate, or none with its key -> unsuitable_context, and TLS 1.2 goes on",
          "[handshake][attack][RCA-15]") {
    for (const bool certificate : {false, true}) {
        owned<SSL_CTX> server(SSL_CTX_new(TLS_server_method()));
        SSL_CTX_set_cipher_list(server.get(), "aNULL:@SECLEVEL=0");
        SSL_CTX_set_dh_auto(server.get(), 1);
        if (certificate) REQUIRE(SSL_CTX_use_certificate(server.get(), the_cast().server.certificate.get()) == 1);
        CHECK(failure_of([&] { attach(*server, asking()); }) == reqauth::errc::unsuitable_context);
        owned<SSL_CTX> client(SSL_CTX_new(TLS_client_method()));
        SSL_CTX_set_cipher_list(client.get(), "aNULL:@SECLEVEL=0");
        pair both(*server, *client);
        CHECK(both.shake());
        CHECK(SSL_version(both.client.ssl.get()) == TLS1_2_VERSION);
        reqauth::server_options vouched;
        vouched.certificate_is_chosen_by_callback = true;
        CHECK_NOTHROW(attach(*server, asking(), vouched));
    }
}

TEST_CASE("server / attach / one key in two encodings is an anchor for both -> shared_anchor",
          "[handshake][attack][RCA-13]") {
    const auto key = make_key();
    const owned<EVP_PKEY> compressed(EVP_PKEY_dup(key.get()));
    REQUIRE(EVP_PKEY_set_utf8_string_param(compressed.get(), OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                           "compressed") == 1);
    const auto plain = issue({.common_name = "Shared CA", .ca = true}, nullptr, key.get());
    const auto short_one = issue({.common_name = "Shared CA", .ca = true}, nullptr, compressed.get());
    for (const identity* of_customers : {&plain, &short_one})
        for (const identity* of_agents : {&plain, &short_one}) {
            auto server = server_context();
            ask(*server, SSL_VERIFY_PEER, *of_customers);
            auto policy = asking();
            policy.when_offered = reqauth::client_auth::request(trust_in(*of_agents));
            CHECK(failure_of([&] { attach(*server, policy); }) == reqauth::errc::shared_anchor);
        }
}

namespace {

using info_callback = void (*)(const SSL*, int, int);
info_callback found_there = nullptr;
int depth = 0;
int deepest = 0;
int calls_of_context = 0;
void chaining(const SSL* ssl, int event, int value) {
    if (++depth > deepest) deepest = depth;
    if (found_there != nullptr && depth < 100) found_there(ssl, event, value);
    --depth;
}
void of_the_context(const SSL*, int, int) { ++calls_of_context; }

} // namespace

TEST_CASE("server / info callback of the application that chains to ours / SSL_clear, SSL_dup -> never within itself",
          "[handshake][attack][SEC-6]") {
    for (const bool with_context : {false, true})
        for (const bool flag : {true, false}) {
            CAPTURE(with_context, flag);
            found_there = nullptr;
            deepest = calls_of_context = 0;
            const auto server = attached_server(asking());
            if (with_context) SSL_CTX_set_info_callback(server.get(), of_the_context);
            SSL_CTX_set_tlsext_servername_callback(
                server.get(), +[](SSL* ssl, int*, void*) {
                    if (SSL_get_info_callback(ssl) != chaining) {
                        found_there = SSL_get_info_callback(ssl);
                        SSL_set_info_callback(ssl, chaining);
                    }
                    return int{SSL_TLSEXT_ERR_OK};
                });
            const auto client = flag ? attached_client() : client_context();
            owned<SSL> reused(SSL_new(server.get()));
            for (int connection = 0; connection < 4; ++connection) {
                const int before = calls_of_context;
                owned<SSL> to(SSL_new(client.get()));
                SSL_set_tlsext_host_name(to.get(), "server.example");
                SSL_set_connect_state(to.get());
                SSL_set_accept_state(reused.get());
                pair both(std::move(reused), std::move(to));
                REQUIRE(both.shake());
                CHECK(seen(both) == (flag ? "flagged CN=crawler.example" : "not_offered"));
                CHECK(deepest <= 2);
                // The chain that the application made goes through ours, to the one of the SSL_CTX, until SSL_dup.
                if (with_context && flag && connection < 3) CHECK(calls_of_context > before);
                both.close();
                reused = std::move(both.server.ssl);
                if (connection == 2) {
                    // A copy has our callback, or the application's that calls ours.
                    SSL_clear(reused.get());
                    reused.reset(SSL_dup(reused.get()));
                } else {
                    SSL_clear(reused.get());
                }
            }
        }
}

namespace {

// What of the application's could decide about an agent's certificate beside the store.
struct setting {
    const char* what;
    void (*apply)(SSL*);
};
X509_VERIFY_PARAM* parameters_of(SSL* ssl) { return SSL_get0_param(ssl); }
const std::array settings {
    setting{"a host", [](SSL* ssl) { X509_VERIFY_PARAM_set1_host(parameters_of(ssl), "customer.example", 0); }},
        setting{"an e-mail address",
                [](SSL* ssl) { X509_VERIFY_PARAM_set1_email(parameters_of(ssl), "a@customer.example", 0); }},
        setting{"an address", [](SSL* ssl) { X509_VERIFY_PARAM_set1_ip_asc(parameters_of(ssl), "192.0.2.1"); }},
        setting{"purpose any", [](SSL* ssl) { SSL_set_purpose(ssl, X509_PURPOSE_ANY); }},
        setting{"purpose server", [](SSL* ssl) { SSL_set_purpose(ssl, X509_PURPOSE_SSL_SERVER); }},
        setting{"trust of mail", [](SSL* ssl) { SSL_set_trust(ssl, X509_TRUST_EMAIL); }},
        setting{"no times",
                [](SSL* ssl) { X509_VERIFY_PARAM_set_flags(parameters_of(ssl), X509_V_FLAG_NO_CHECK_TIME); }},
        setting{"another time", [](SSL* ssl) { X509_VERIFY_PARAM_set_time(parameters_of(ssl), 1000); }},
        setting{"an explicit policy",
                [](SSL* ssl) {
                    X509_VERIFY_PARAM_set_flags(parameters_of(ssl),
                                                X509_V_FLAG_POLICY_CHECK | X509_V_FLAG_EXPLICIT_POLICY);
                    X509_VERIFY_PARAM_add0_policy(parameters_of(ssl), OBJ_txt2obj("1.2.3.4", 1));
                }},
        setting{"CRLs", [](SSL* ssl) { X509_VERIFY_PARAM_set_flags(parameters_of(ssl), X509_V_FLAG_CRL_CHECK); }},
        setting{"depth 0", [](SSL* ssl) { SSL_set_verify_depth(ssl, 0); }},
        setting{"level 5 of authentication", [](SSL* ssl) { X509_VERIFY_PARAM_set_auth_level(parameters_of(ssl), 5); }},
        setting{"level -1 of authentication",
                [](SSL* ssl) { X509_VERIFY_PARAM_set_auth_level(parameters_of(ssl), 0); }},
        setting{"DANE-EE for the agent's key",
                [](SSL* ssl) {
                    SSL_CTX_dane_enable(SSL_get_SSL_CTX(ssl));
                    SSL_dane_enable(ssl, nullptr);
                    const auto pin = pin_of(*the_cast().expired_agent.key);
                    SSL_CTX_dane_mtype_set(SSL_get_SSL_CTX(ssl), EVP_sha256(), 1, 1);
                    SSL_dane_tlsa_add(ssl, 3, 1, 1, pin.data(), pin.size());
                }},
        setting{"DANE-EE for another's key",
                [](SSL* ssl) {
                    SSL_CTX_dane_enable(SSL_get_SSL_CTX(ssl));
                    SSL_dane_enable(ssl, nullptr);
                    const auto pin = pin_of(*the_cast().customer.key);
                    SSL_dane_tlsa_add(ssl, 3, 1, 1, pin.data(), pin.size());
                }},
        setting{"DANE-TA for another's CA",
                [](SSL* ssl) {
                    SSL_CTX_dane_enable(SSL_get_SSL_CTX(ssl));
                    SSL_dane_enable(ssl, nullptr);
                    const auto pin = pin_of(*the_cast().customers_ca.key);
                    SSL_dane_tlsa_add(ssl, 2, 1, 1, pin.data(), pin.size());
                }},
        setting{"DANE-TA for the agents' CA",
                [](SSL* ssl) {
                    SSL_CTX_dane_enable(SSL_get_SSL_CTX(ssl));
                    SSL_dane_enable(ssl, nullptr);
                    const auto pin = pin_of(*the_cast().agents_ca.key);
                    SSL_dane_tlsa_add(ssl, 2, 1, 1, pin.data(), pin.size());
                }},
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
        setting{"an expected raw key", [](SSL* ssl) {
                    SSL_CTX_dane_enable(SSL_get_SSL_CTX(ssl));
                    SSL_dane_enable(ssl, nullptr);
                    SSL_add_expected_rpk(ssl, the_cast().expired_agent.key.get());
                }},
#endif
};

std::string judged_beside(const setting& own, const reqauth::trust& trust, const identity& who, bool permissive) {
    auto policy = asking();
    policy.when_offered = reqauth::client_auth::request(trust);
    policy.ca_names = false;
    const auto server = attached_server(policy);
    on_error = 0;
    if (permissive) SSL_CTX_set_cert_verify_callback(server.get(), verify_and_go_on, nullptr);
    const auto client = flagged_client(who);
    pair both(*server, *client.context);
    own.apply(both.server.ssl.get());
    const bool good = both.shake();
    if (const auto who_came = reqauth::peer_of(*both.server.ssl);
        std::holds_alternative<reqauth::flagged_peer>(who_came))
        CHECK(std::get<reqauth::flagged_peer>(who_came).chain().size() ==
              (trust.size() == 1 && trust.digest() == agents().digest() ? 2U : 1U));
    return good ? seen(both) : "refused";
}

} // namespace

TEST_CASE(
    "server / DANE, names, purposes and what else the application set on its SSL -> decide nothing about an agent",
    "[handshake][attack][SEC-1][SEC-6]") {
    const auto alone = trust_in(the_cast().expired_agent).with_partial_chains();
    for (const setting& own : settings)
        for (const bool permissive : {false, true}) {
            CAPTURE(own.what, permissive);
            CHECK(judged_beside(own, agents(), the_cast().agent, permissive) == "flagged CN=crawler.example");
            for (const identity* bad : {&the_cast().expired_agent, &the_cast().customer})
                CHECK_FALSE(judged_beside(own, agents(), *bad, permissive).starts_with("flagged"));
            CHECK_FALSE(judged_beside(own, alone, the_cast().expired_agent, permissive).starts_with("flagged"));
            if (!permissive) CHECK(judged_beside(own, alone, the_cast().expired_agent, false) == "refused");
            const auto revoking =
                agents().with_crls(crl(the_cast().agents_ca, {.revoked = {the_cast().agent.certificate.get()}}));
            CHECK_FALSE(judged_beside(own, revoking, the_cast().agent, permissive).starts_with("flagged"));
        }
}

TEST_CASE(
    "server / a raw public key in place of an agent's certificate -> nobody, also where the application expects it",
    "[handshake][attack][not-before][SEC-1]") {
#if OPENSSL_VERSION_NUMBER < 0x30200000L
    SKIP_BECAUSE("OpenSSL has raw public keys from 3.2 on");
#else
    const unsigned char raw[] = {TLSEXT_cert_type_rpk};
    for (const bool expected : {false, true})
        for (const bool required : {false, true})
            for (const bool permissive : {false, true}) {
                CAPTURE(expected, required, permissive);
                const auto server = attached_server(required ? demanding() : asking());
                SSL_CTX_dane_enable(server.get());
                SSL_CTX_set1_client_cert_type(server.get(), raw, sizeof raw);
                on_error = 0;
                if (permissive) SSL_CTX_set_cert_verify_callback(server.get(), verify_and_go_on, nullptr);
                const auto client = flagged_client(the_cast().agent);
                SSL_CTX_set1_client_cert_type(client.context.get(), raw, sizeof raw);
                pair both(*server, *client.context);
                SSL_dane_enable(both.server.ssl.get(), nullptr);
                if (expected) SSL_add_expected_rpk(both.server.ssl.get(), the_cast().agent.key.get());
                CHECK(both.shake() == permissive);
                CHECK_FALSE(seen(both).starts_with("flagged"));
                CHECK(seen(both) != "empty");
            }
#endif
}
