// SPDX-License-Identifier: Apache-2.0
// docs/oauth.md at work.

#include "catch.hpp"
#include "guide/application.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <reqauth/oauth.hpp>

// What the document defines.
namespace oauth_guide {
namespace oauth = reqauth::oauth;
oauth::decision judge(const SSL& ssl, std::string_view verified_claims);
std::string answer(const SSL& ssl, std::string_view verified_claims);
oauth::policy for_agents_and_customers();
oauth::client_certificate certificate_for(const SSL& ssl, bool this_request_came_early);
oauth::token_claims from_endpoint(std::string_view json);
oauth::token_claims from_values(const std::optional<std::string>& thumbprint, const std::vector<std::string>& others);
bool may_pass(const oauth::decision& made, bool (*proof_holds)(const std::string& jkt));
oauth::client_certificate behind_a_proxy(const SSL& from_proxy, const std::vector<oauth::thumbprint>& proxies,
                                         const std::vector<std::string_view>& client_cert_fields);
std::string confirmation_for(const reqauth::flagged_peer& client);
reqauth::server_policy for_any_certificate();
oauth::policy for_unvouched_clients();
std::string token_endpoint(const SSL& ssl, std::string_view metadata_of_the_client_id);
} // namespace oauth_guide

using namespace support;
namespace oauth = reqauth::oauth;
using oauth::cause;

namespace {

std::string claims_for(const identity& who) {
    return R"({"sub":"a","cnf":{"x5t#S256":")" + oauth::x5t_s256(*who.certificate) + "\"}}";
}

const identity& agent() { return the_cast().agent; }

cause judged(const oauth::client_certificate& shown, std::string_view claims, const oauth::policy& how) {
    return check_binding(shown, oauth::token_claims::from_jwt(claims), how).why;
}

} // namespace

TEST_CASE("oauth.md / judge, answer -> an agent's token is taken, a browser gets the description", "[guide]") {
    const auto server = attached_server(asking());
    const auto client = attached_client(), browser = client_context();
    pair both(*server, *client), other(*server, *browser);
    REQUIRE(both.shake());
    REQUIRE(other.shake());
    CHECK(oauth_guide::answer(*both.server.ssl, claims_for(agent())) == "200");
    CHECK(oauth_guide::judge(*both.server.ssl, claims_for(the_cast().other_agent)).why == cause::mismatch);
    CHECK(
        oauth_guide::answer(*other.server.ssl, claims_for(agent())) ==
        "401\r\nWWW-Authenticate: Bearer realm=\"shop\", error=\"invalid_token\", error_description=\"the token is "
        "bound to the client certificate that it was issued to, and this connection has none: the client did not offer "
        "the TLS flag request_client_auth, so the server did not ask; connect with TLS 1.3, offer the flag, and "
        "present "
        "that certificate, which must not have expired\"");
    CHECK(oauth_guide::judge(*both.server.ssl, "{}").why == cause::unbound);
    const auto who = reqauth::peer_of(*both.server.ssl);
    CHECK("{\"sub\":\"a\",\"cnf\":" + oauth_guide::confirmation_for(std::get<reqauth::flagged_peer>(who)) + "}" ==
          claims_for(agent()));
}

TEST_CASE("oauth.md / whose certificates, proxies -> a customer's where both serve, a proxy's word and not its own",
          "[guide]") {
    auto server = server_context();
    ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
    attach(*server, asking());
    auto client = client_context();
    present(*client, the_cast().customer);
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(judged(oauth::client_certificate::of(*both.server.ssl), claims_for(the_cast().customer),
                 oauth_guide::for_agents_and_customers()) == cause::bound);

    oauth::thumbprint proxy{};
    REQUIRE(X509_digest(the_cast().customer.certificate.get(), EVP_sha256(), proxy.data(), nullptr) == 1);
    oauth::policy how(oauth::unbound_tokens::refuse);
    how.by_flagged = false;
    how.by_forwarded = true;
    std::string text = pem(*agent().certificate); // its base64, without the lines around it
    text = text.substr(text.find('\n') + 1);
    text = text.substr(0, text.find('-'));
    std::erase(text, '\n');
    const std::string field = ":" + text + ":";
    const auto with = [&](const std::vector<oauth::thumbprint>& proxies, const std::vector<std::string_view>& fields,
                          const identity& who) {
        return judged(oauth_guide::behind_a_proxy(*both.server.ssl, proxies, fields), claims_for(who), how);
    };
    CHECK(with({proxy}, {field}, agent()) == cause::bound);
    CHECK(with({proxy}, {field, field}, agent()) == cause::missing_certificate);
    CHECK(with({proxy}, {}, the_cast().customer) == cause::missing_certificate);
    CHECK(with({}, {field}, agent()) == cause::wrong_outcome);
}

TEST_CASE("oauth.md / early data -> 425 for what came early, and served what came after", "[guide]") {
    auto server = attached_server(asking());
    SSL_CTX_set_max_early_data(server.get(), 1024);
    visitor crawler(attached_client());
    REQUIRE(visit(*server, *crawler.context).full());
    const owned<SSL_SESSION> session = std::move(crawler.shelf.last);
    pair both(*server, *crawler.context);
    REQUIRE(shake_early(both, *session).read == "GET /");
    const oauth::policy how(oauth::unbound_tokens::refuse);
    CHECK(judged(oauth_guide::certificate_for(*both.server.ssl, true), claims_for(agent()), how) == cause::too_early);
    CHECK(judged(oauth_guide::certificate_for(*both.server.ssl, false), claims_for(agent()), how) == cause::bound);
}

TEST_CASE("oauth.md / introspection, values, DPoP -> as the document says", "[guide]") {
    const auto server = attached_server(asking());
    const auto client = attached_client();
    pair both(*server, *client);
    REQUIRE(both.shake());
    const auto shown = oauth::client_certificate::of(*both.server.ssl);
    const oauth::policy how(oauth::unbound_tokens::refuse);
    const auto why = [&](const oauth::token_claims& claims) { return check_binding(shown, claims, how).why; };
    const std::string x5t = oauth::x5t_s256(*agent().certificate);
    CHECK(why(oauth_guide::from_endpoint(R"({"active":true,)" + claims_for(agent()).substr(1))) == cause::bound);
    CHECK(why(oauth_guide::from_endpoint(claims_for(agent()))) == cause::inactive);
    CHECK(why(oauth_guide::from_values(x5t, {})) == cause::bound);
    CHECK(why(oauth_guide::from_values(x5t, {"kid"})) == cause::confirmation_not_understood);
    CHECK(why(oauth_guide::from_values({}, {"kid"})) == cause::confirmation_not_understood);
    CHECK(why(oauth_guide::from_values({}, {})) == cause::unbound);

    const auto made = check_binding(
        shown, oauth::token_claims::from_jwt(R"({"cnf":{"x5t#S256":")" + x5t + R"(","jkt":")" + x5t + "\"}}"), how);
    CHECK_FALSE(made.accepted());
    CHECK(oauth_guide::may_pass(made, [](const std::string& jkt) { return jkt.size() == 43; }));
    CHECK_FALSE(oauth_guide::may_pass(made, [](const std::string&) { return false; }));
}

TEST_CASE("oauth guide / certificates that nobody vouches for / bind tokens, and authenticate at the token endpoint",
          "[guide][MTLS-7][MTLS-8]") {
    const auto server = attached_server(oauth_guide::for_any_certificate());
    const identity self = issue({.common_name = "self.example"});
    const auto client = flagged_client(self);
    pair both(*server, *client.context);
    REQUIRE(both.shake());
    const auto shown = oauth::client_certificate::of(*both.server.ssl);
    CHECK(judged(shown, claims_for(self), oauth_guide::for_unvouched_clients()) == cause::bound);
    CHECK(judged(shown, claims_for(agent()), oauth_guide::for_unvouched_clients()) == cause::mismatch);
    std::string x5c = pem(*self.certificate);
    x5c.erase(0, x5c.find('\n'));
    x5c.erase(x5c.find("-----"));
    std::erase(x5c, '\n');
    CHECK(oauth_guide::token_endpoint(
              *both.server.ssl,
              R"({"token_endpoint_auth_method":"self_signed_tls_client_auth","jwks":{"keys":[{"x5c":[")" + x5c +
                  "\"]}]}}") == "200");
    CHECK(oauth_guide::token_endpoint(
              *both.server.ssl,
              R"({"token_endpoint_auth_method":"tls_client_auth","tls_client_auth_subject_dn":"CN=self.example"})")
              .starts_with("401"));
}
