// SPDX-License-Identifier: Apache-2.0
// Certificates that nobody vouches for: who comes in with one, and who does not.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <reqauth/oauth.hpp>

#include <algorithm>

using namespace support;
using reqauth::client_auth;
using reqauth::trust;
using reqauth::unvouched_of;

namespace {

reqauth::server_policy taking(const trust& whom = agents()) {
    reqauth::server_policy policy;
    policy.when_offered = client_auth::request(whom).or_unvouched();
    return policy;
}

const identity& self_signed() {
    static const identity who = issue({.common_name = "self.example", .extended_key_usage = "clientAuth"});
    return who;
}

/// met is a connection in words: what peer_of says, and "unvouched" or the alert.
std::string met(const reqauth::server_policy& policy, const identity& who, const identity* intermediate = nullptr) {
    const auto server = attached_server(policy);
    const bad_peer client = flagged_client(who);
    SSL_CTX_set_security_level(client.context.get(), 0);
    if (intermediate != nullptr)
        REQUIRE(SSL_CTX_add1_chain_cert(client.context.get(), intermediate->certificate.get()) == 1);
    pair both(*server, *client.context);
    const bool up = both.shake();
    const auto unvouched = unvouched_of(*both.server.ssl);
    if (!up) {
        CHECK_FALSE(unvouched);
        return "refused: " + alert_to_client(both);
    }
    CHECK(SSL_get_verify_result(both.server.ssl.get()) != X509_V_OK);
    CHECK(reqauth::is_of_agent(*both.server.ssl));
    if (unvouched) CHECK(X509_cmp(&unvouched->certificate(), who.certificate.get()) == 0);
    return seen(both) + (unvouched ? ", unvouched" : "");
}

/// one_line is the base64 of a PEM block.
std::string one_line(std::string pem) {
    pem.erase(0, pem.find('\n'));
    pem.erase(pem.find("-----"));
    std::erase(pem, '\n');
    return pem;
}

} // namespace

//= MTLS-7
TEST_CASE("server / or_unvouched / each kind of certificate -> who vouches for it", "[handshake][valgrind][MTLS-7]") {
    const cast& all = the_cast();
    const identity unknown = issue({.common_name = "unknown.example"}, &all.customers_ca);
    const identity expired = issue({.common_name = "old.example", .not_before = -7200, .not_after = -3600});
    const identity early = issue({.common_name = "early.example", .not_before = 3600});
    const identity of_server = issue({.common_name = "server.example", .extended_key_usage = "serverAuth"});
    const identity same_name = issue({.common_name = "Agents CA", .ca = true});
    const identity impostor = issue(agent_description("crawler.example"), &same_name);
    const identity sub_ca = issue({.common_name = "Sub CA", .ca = true}, &all.customers_ca);
    const identity below = issue({.common_name = "below.example"}, &sub_ca);
    const identity is_ca = issue({.common_name = "self CA", .ca = true});
    const identity weak = issue({.common_name = "curve.example", .key = key_type::secp256k1});

    CHECK(met(taking(), all.agent) == "flagged CN=crawler.example");
    CHECK(met(taking(), self_signed()) == "invalid 18, unvouched");
    CHECK(met(taking(), unknown) == "invalid 20, unvouched");
    CHECK(met(taking(), unknown, &all.customers_ca) == "invalid 19, unvouched");
    CHECK(met(taking(), below, &sub_ca) == "invalid 20, unvouched");
    // What else is wrong refuses.
    CHECK(met(taking(), all.expired_agent) == "refused: certificate expired");
    CHECK(met(taking(), expired) == "refused: certificate expired");
    CHECK(met(taking(), early) == "refused: bad certificate");
    CHECK(met(taking(), of_server) == "refused: unsupported certificate");
    CHECK(met(taking(), is_ca) == "refused: unsupported certificate"); // its key is for signing certificates
    CHECK(met(taking(), impostor).starts_with("refused: "));
    CHECK(met(taking(), impostor, &same_name).starts_with("refused: "));
    CHECK(met(taking(), below, &all.agents_ca) == "invalid 20, unvouched"); // a certificate that is not in its chain
    // Nobody else is one.
    CHECK(met(asking(), self_signed()) == "refused: unknown CA");
    auto lax = asking();
    lax.when_offered = lax.when_offered.invalid_is_anonymous();
    CHECK(met(lax, self_signed()) == "invalid 18");
    // And with nobody's trust everybody is.
    for (const identity* who : {&all.agent, &self_signed(), &unknown})
        CHECK(met(taking(trust::nobody()), *who).ends_with(", unvouched"));
    CHECK(met(taking(trust::nobody()), all.expired_agent).starts_with("refused: "));
}

//= MTLS-7
TEST_CASE("server / or_unvouched / what passes as anonymous beside it is no unvouched_client", "[handshake][MTLS-7]") {
    auto lax = taking();
    lax.when_offered = lax.when_offered.invalid_is_anonymous();
    const identity expired = issue({.common_name = "old.example", .not_before = -7200, .not_after = -3600});
    const identity same_name = issue({.common_name = "Agents CA", .ca = true});
    const identity impostor = issue(agent_description("crawler.example"), &same_name);
    CHECK(met(lax, self_signed()) == "invalid 18, unvouched");
    CHECK(met(lax, expired) == "invalid 10");
    CHECK(met(lax, the_cast().expired_agent) == "invalid 10");
    CHECK_FALSE(met(lax, impostor).ends_with("unvouched"));
}

//= MTLS-7
TEST_CASE("server / or_unvouched / revocation lists -> what they are about refuses, whatever is left out of its chain",
          "[handshake][MTLS-7]") {
    const cast& all = the_cast();
    const identity sub_ca = issue({.common_name = "Sub CA", .ca = true}, &all.agents_ca);
    const identity below = issue(agent_description("below.example"), &sub_ca);
    const X509* revoked[] = {below.certificate.get()};
    const trust listed = agents().with_crls(crl(all.agents_ca)).with_crls(crl(sub_ca, {.revoked = {revoked[0]}}));
    CHECK(met(taking(listed), all.agent) == "flagged CN=crawler.example");
    CHECK(met(taking(listed), below, &sub_ca) == "refused: certificate revoked");
    CHECK(met(taking(listed), below).starts_with("refused: "));
    CHECK(met(taking(listed), self_signed()) == "invalid 18, unvouched");
    CHECK(met(taking(listed), all.customer) == "invalid 20, unvouched");
}

//= MTLS-7
TEST_CASE("server / or_unvouched / the key is not theirs -> refused", "[handshake][MTLS-7][SEC-1]") {
    const auto server = attached_server(taking(trust::nobody()));
    const identity thief = stolen(self_signed());
    const auto client = flagged_client(thief);
    pair both(*server, *client.context);
    CHECK_FALSE(both.shake());
    CHECK_FALSE(unvouched_of(*both.server.ssl));
}

//= MTLS-7
TEST_CASE("server / or_unvouched / an empty Certificate, and a client without the flag -> nobody",
          "[handshake][MTLS-7]") {
    for (const bool required : {false, true}) {
        auto policy = taking();
        if (required) policy.when_offered = client_auth::require(agents()).or_unvouched();
        const auto server = attached_server(policy);
        const auto empty = empty_handed_client();
        pair both(*server, *empty.context);
        CHECK(both.shake() == !required);
        CHECK_FALSE(unvouched_of(*both.server.ssl));
        const auto person = client_context();
        pair other(*server, *person);
        REQUIRE(other.shake());
        CHECK_FALSE(unvouched_of(*other.server.ssl));
        CHECK(other.client.count(kind::certificate_request) == 0);
        CHECK(met(policy, self_signed()) == "invalid 18, unvouched");
    }
}

//= MTLS-7
TEST_CASE("server / or_unvouched / the request names no CAs", "[handshake][MTLS-7]") {
    auto policy = taking();
    policy.ca_names = true;
    const auto server = attached_server(policy);
    const auto client = flagged_client(self_signed());
    pair both(*server, *client.context);
    REQUIRE(both.shake());
    CHECK(sk_X509_NAME_num(SSL_get0_peer_CA_list(both.client.ssl.get())) <= 0);
}

//= MTLS-7
//= SEC-4
TEST_CASE("server / or_unvouched / its sessions are nobody's", "[handshake][MTLS-7][SEC-4]") {
    const auto server = attached_server(taking());
    const auto client = flagged_client(self_signed());
    session_shelf shelf;
    shelf.serve(*client.context);
    pair first(*server, *client.context);
    REQUIRE(first.shake());
    first.close();
    CHECK(shelf.last == nullptr);
}

//= MTLS-7
TEST_CASE("server / or_unvouched / after a post-handshake request it is over", "[handshake][MTLS-7]") {
    auto policy = taking();
    policy.beside_customers = true;
    const auto server = server_context();
    ask(*server, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, the_cast().customers_ca);
    attach(*server, policy);
    const auto client = flagged_client(self_signed());
    SSL_CTX_set_post_handshake_auth(client.context.get(), 1);
    pair both(*server, *client.context);
    REQUIRE(both.shake());
    REQUIRE(unvouched_of(*both.server.ssl));
    // The client now presents another one.
    REQUIRE(SSL_use_certificate(both.client.ssl.get(), the_cast().customer.certificate.get()) == 1);
    REQUIRE(SSL_use_PrivateKey(both.client.ssl.get(), the_cast().customer.key.get()) == 1);
    REQUIRE(SSL_verify_client_post_handshake(both.server.ssl.get()) == 1);
    REQUIRE(SSL_do_handshake(both.server.ssl.get()) == 1);
    both.run();
    REQUIRE(X509_cmp(SSL_get0_peer_certificate(both.server.ssl.get()), the_cast().customer.certificate.get()) == 0);
    CHECK_FALSE(unvouched_of(*both.server.ssl));
}

//= MTLS-7
TEST_CASE("server / or_unvouched / the SSL is used again, and nobody comes -> nobody", "[handshake][MTLS-7]") {
    const auto server = attached_server(taking());
    const auto client = flagged_client(self_signed());
    pair first(*server, *client.context);
    REQUIRE(first.shake());
    REQUIRE(unvouched_of(*first.server.ssl));
    REQUIRE(SSL_clear(first.server.ssl.get()) == 1);
    SSL_set_bio(first.server.ssl.get(), nullptr, nullptr);
    CHECK_FALSE(unvouched_of(*first.server.ssl));
    const auto person = client_context();
    owned<SSL> ssl(SSL_new(person.get()));
    SSL_set_connect_state(ssl.get());
    pair second(std::move(first.server.ssl), std::move(ssl));
    REQUIRE(second.shake());
    CHECK_FALSE(unvouched_of(*second.server.ssl));
}

//= MTLS-7
TEST_CASE("server / or_unvouched / the application's verify callback takes what is wrong -> no unvouched_client",
          "[handshake][MTLS-7][SEC-1]") {
    // It has the times not looked at.
    auto context = server_context();
    SSL_CTX_set_cert_verify_callback(
        context.get(),
        [](X509_STORE_CTX* verification, void*) {
            X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(verification), X509_V_FLAG_NO_CHECK_TIME);
            X509_verify_cert(verification);
            return 1;
        },
        nullptr);
    attach(*context, taking());
    const identity expired = issue({.common_name = "old.example", .not_before = -7200, .not_after = -3600});
    const auto client = flagged_client(expired);
    pair both(*context, *client.context);
    both.shake();
    CHECK_FALSE(unvouched_of(*both.server.ssl));
}

TEST_CASE("server / trust::nobody without or_unvouched -> contradiction", "[handshake][MTLS-7]") {
    reqauth::server_policy policy;
    policy.when_offered = client_auth::request(trust::nobody());
    std::string text;
    CHECK(failure_of([&] { attached_server(policy); }, &text) == reqauth::errc::contradiction);
    CHECK(text.find("no trust anchor") != std::string::npos);
    CHECK_NOTHROW(attached_server(taking(trust::nobody())));
}

//= MTLS-7
//= MTLS-8
TEST_CASE("oauth / an unvouched client / binds tokens and is known by its very certificate, where the policy says so",
          "[handshake][MTLS-7][MTLS-8]") {
    namespace oauth = reqauth::oauth;
    const auto server = attached_server(taking());
    const auto client = flagged_client(self_signed());
    pair both(*server, *client.context);
    REQUIRE(both.shake());
    const auto shown = oauth::client_certificate::of(*both.server.ssl);
    const auto bound =
        oauth::token_claims::from_jwt(R"({"cnf":{"x5t#S256":")" + oauth::x5t_s256(*self_signed().certificate) + "\"}}");
    const auto another = oauth::token_claims::from_jwt(R"({"cnf":{"x5t#S256":")" +
                                                       oauth::x5t_s256(*the_cast().agent.certificate) + "\"}}");
    oauth::policy how(oauth::unbound_tokens::refuse);
    CHECK(check_binding(shown, bound, how).why == oauth::cause::wrong_outcome);
    how.by_unvouched = true;
    CHECK(check_binding(shown, bound, how).why == oauth::cause::bound);
    CHECK(check_binding(shown, another, how).why == oauth::cause::mismatch);
    // peer_of knows no agent there.
    CHECK(check_binding(reqauth::peer_of(*both.server.ssl), bound, how).why == oauth::cause::missing_certificate);

    const auto by_name = oauth::registered_client::from_metadata(
        R"({"token_endpoint_auth_method":"tls_client_auth","tls_client_auth_subject_dn":"CN=self.example"})");
    CHECK(authenticate_client(shown, by_name, how).why == oauth::client_cause::not_vouched);
    CHECK(authenticate_client(shown, by_name).why == oauth::client_cause::wrong_outcome);
    const auto by_itself = oauth::registered_client::from_metadata(
        R"({"token_endpoint_auth_method":"self_signed_tls_client_auth","jwks":{"keys":[{"x5c":[")" +
        one_line(pem(*self_signed().certificate)) + "\"]}]}}");
    CHECK(authenticate_client(shown, by_itself, how).authenticated());
    CHECK_FALSE(authenticate_client(shown, by_itself).authenticated());
}
