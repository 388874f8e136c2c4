// SPDX-License-Identifier: Apache-2.0
// Tokens bound to what real connections show: which certificate counts, and which never does.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <reqauth/oauth.hpp>

#include <openssl/evp.h>

using namespace support;
namespace oauth = reqauth::oauth;
using oauth::client_certificate;
using oauth::trusted_hop;

namespace {

/// x5t is the value as an authorization server computes it: not by the library.
std::string x5t(const identity& who) {
    std::array<unsigned char, 32> digest{};
    std::array<unsigned char, 45> text{};
    REQUIRE(X509_digest(who.certificate.get(), EVP_sha256(), digest.data(), nullptr) == 1);
    EVP_EncodeBlock(text.data(), digest.data(), 32);
    std::string out(text.begin(), text.end() - 2);
    for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
    return out;
}

oauth::thumbprint digest_of(const identity& who) {
    oauth::thumbprint digest{};
    REQUIRE(X509_digest(who.certificate.get(), EVP_sha256(), digest.data(), nullptr) == 1);
    return digest;
}

oauth::token_claims token_for(const identity& who) {
    return oauth::token_claims::from_jwt(R"({"sub":"a","cnf":{"x5t#S256":")" + x5t(who) + "\"}}");
}

enum class by { flagged, own, either, forwarded };
oauth::policy serving(by whom) {
    oauth::policy how(oauth::unbound_tokens::refuse);
    how.by_flagged = whom == by::flagged || whom == by::either;
    how.by_own = whom == by::own || whom == by::either;
    how.by_forwarded = whom == by::forwarded;
    return how;
}

std::string answer(const oauth::decision& made) {
    return std::string(to_string(made.why)) + " " + std::to_string(made.status) +
           (made.certificate ? " " + std::string(to_string(*made.certificate)) : "");
}
std::string answer(const client_certificate& shown, const identity& who, by whom = by::flagged) {
    return answer(check_binding(shown, token_for(who), serving(whom)));
}
std::string answer(const pair& both, const identity& who, by whom = by::flagged) {
    return answer(client_certificate::of(*both.server.ssl), who, whom);
}

const identity& agent() { return the_cast().agent; }
const identity& customer() { return the_cast().customer; }

/// for_both asks customers, and answers the flag.
owned<SSL_CTX> for_both(const reqauth::server_policy& policy = asking(), SSL_verify_cb callback = nullptr) {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca, callback);
    attach(*context, policy);
    return context;
}

/// without_flag presents `who`, whatever the request names, and offers no flag.
owned<SSL_CTX> without_flag(const identity& who) {
    auto context = client_context();
    present(*context, who);
    return context;
}

int admit(int, X509_STORE_CTX*) { return 1; }

int say_ok_without_verifying(X509_STORE_CTX* judged, void*) {
    X509_STORE_CTX_set_error(judged, X509_V_OK);
    return 1;
}

} // namespace

TEST_CASE("server / x5t_s256 / agent's certificate, by peer, X509 and DER -> the one value", "[handshake][MTLS-1]") {
    const auto server = attached_server(asking());
    const auto client = attached_client();
    pair both(*server, *client);
    REQUIRE(both.shake());
    const auto who = reqauth::peer_of(*both.server.ssl);
    const auto& peer = std::get<reqauth::flagged_peer>(who);
    unsigned char* der = nullptr;
    const int size = i2d_X509(agent().certificate.get(), &der);
    REQUIRE(size > 0);
    CHECK(oauth::x5t_s256(peer) == x5t(agent()));
    CHECK(oauth::x5t_s256(*agent().certificate) == x5t(agent()));
    CHECK(oauth::x5t_s256({der, static_cast<std::size_t>(size)}) == x5t(agent()));
    CHECK(oauth::x5t_s256(peer).size() == 43);
    OPENSSL_free(der);
}

TEST_CASE("server / bound token / one host for agents and browsers -> served under the flag, and nobody else is asked",
          "[handshake][MTLS-2][MTLS-3][MTLS-4][MTLS-6]") {
    const auto server = attached_server(asking());
    {
        const auto client = attached_client();
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(answer(both, agent()) == "bound 200");
        CHECK(answer(both, the_cast().other_agent) == "mismatch 401");
        // The issue's signature: a peer is enough.
        CHECK(answer(check_binding(reqauth::peer_of(*both.server.ssl), token_for(agent()), serving(by::flagged))) ==
              "bound 200");
        // The client's side shows no client's certificate.
        CHECK(answer(client_certificate::of(*both.client.ssl), the_cast().server, by::either) ==
              "missing_certificate 401 not_offered");
    }
    const auto browser = client_context();
    pair both(*server, *browser);
    REQUIRE(both.shake());
    CHECK(both.client.count(kind::certificate_request) == 0);
    CHECK(answer(both, agent()) == "missing_certificate 401 not_offered");
    CHECK(check_binding(client_certificate::of(*both.server.ssl), token_for(agent()), serving(by::flagged))
              .www_authenticate.find("did not offer the TLS flag request_client_auth") != std::string::npos);
}

TEST_CASE("server / bound token / no certificate under the flag -> 401 with the reason", "[handshake][MTLS-4]") {
    const auto offering = flagged_client(agent());
    const auto empty = empty_handed_client();
    {
        const auto server = attached_server(asking());
        pair both(*server, *empty.context);
        REQUIRE(both.shake());
        CHECK(answer(both, agent(), by::either) == "missing_certificate 401 empty");
    }
    {
        const auto server = attached_server({});
        pair both(*server, *offering.context);
        REQUIRE(both.shake());
        CHECK(answer(both, agent(), by::either) == "missing_certificate 401 ignored");
    }
    {
        reqauth::server_policy lenient;
        lenient.when_offered = reqauth::client_auth::request(agents()).invalid_is_anonymous();
        const auto server = attached_server(lenient);
        const auto impostor = flagged_client(customer());
        pair both(*server, *impostor.context);
        REQUIRE(both.shake());
        REQUIRE(SSL_get0_peer_certificate(both.server.ssl.get()) != nullptr);
        CHECK(answer(both, customer(), by::either) == "missing_certificate 401 invalid");
    }
    {
        const auto server = attached_server(asking());
        pair both(*server, *offering.context);
        CHECK(answer(both, agent()) == "too_early 425"); // the handshake has not begun
        both.server.give(both.client.take());
        CHECK(answer(both, agent()) == "too_early 425");
    }
}

TEST_CASE("server / bound token / a certificate of the other outcome -> refused, unless the policy serves both",
          "[handshake][RCA-14][MTLS-6]") {
    const auto server = for_both();
    {
        const auto client = without_flag(customer());
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(answer(both, customer(), by::flagged) == "wrong_outcome 401");
        CHECK(answer(both, customer(), by::own) == "bound 200");
        CHECK(answer(both, customer(), by::either) == "bound 200");
        CHECK(answer(both, customer(), by::forwarded) == "wrong_outcome 401");
        CHECK(answer(both, agent(), by::either) == "mismatch 401");
        // A peer says nothing of the application's own authentication.
        CHECK(answer(client_certificate::of(reqauth::peer_of(*both.server.ssl)), customer(), by::either) ==
              "missing_certificate 401 not_offered");
    }
    const auto client = attached_client();
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(answer(both, agent(), by::own) == "wrong_outcome 401");
    CHECK(answer(both, agent(), by::forwarded) == "wrong_outcome 401");
    CHECK(answer(both, agent(), by::either) == "bound 200");
}

TEST_CASE("server / bound token / a certificate that nobody verified -> as if there were none",
          "[handshake][MTLS-2][SEC-8]") {
    for (const bool with_ok : {false, true}) {
        auto policy = asking();
        policy.verify_result_ok = with_ok;
        {
            // The application lets it pass, and OpenSSL keeps the error.
            const auto server = for_both(policy, admit);
            const auto client = without_flag(agent());
            pair both(*server, *client);
            REQUIRE(both.shake());
            REQUIRE(SSL_get0_peer_certificate(both.server.ssl.get()) != nullptr);
            CHECK(answer(both, agent(), by::either) == "missing_certificate 401 not_offered");
        }
        {
            // An agent's that the library's own callback never saw is neither an agent's nor a customer's.
            auto server = server_context();
            ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
            SSL_CTX_set_cert_verify_callback(server.get(), say_ok_without_verifying, nullptr);
            attach(*server, policy);
            const auto client = flagged_client(the_cast().customer);
            pair both(*server, *client.context);
            REQUIRE(both.shake());
            CHECK(answer(both, customer(), by::either) == "missing_certificate 401 not_witnessed");
        }
        {
            // Of a verified agent OpenSSL may say X509_V_OK: it stays an agent's.
            const auto server = for_both(policy);
            const auto client = attached_client();
            pair both(*server, *client);
            REQUIRE(both.shake());
            CHECK(answer(both, agent(), by::own) == "wrong_outcome 401");
        }
    }
}

TEST_CASE("server / bound token / a certificate asked for after a flagged handshake -> none of either outcome",
          "[handshake][MTLS-2][TLS-3]") {
    auto server = server_context();
    ask(*server, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, the_cast().customers_ca);
    attach(*server, asking());
    const auto client = attached_client();
    present(*client, customer());
    SSL_CTX_set_post_handshake_auth(client.get(), 1);
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(answer(both, agent()) == "bound 200");
    REQUIRE(SSL_verify_client_post_handshake(both.server.ssl.get()) == 1);
    REQUIRE(SSL_do_handshake(both.server.ssl.get()) == 1);
    both.run();
    REQUIRE(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
    CHECK(answer(both, agent(), by::either) == "missing_certificate 401 not_witnessed");
    CHECK(answer(both, customer(), by::either) == "missing_certificate 401 not_witnessed");
}

TEST_CASE("server / bound token / resumed agent or customer -> served as on the connection that was resumed",
          "[handshake][MTLS-6][RCA-16]") {
    const auto server = for_both();
    visitor crawler(attached_client());
    visitor shopper(without_flag(customer()));
    for (visitor* each : {&crawler, &shopper}) {
        REQUIRE(visit(*server, *each->context).full());
        const owned<SSL_SESSION> session = std::move(each->shelf.last);
        REQUIRE(session != nullptr);
        pair both(*server, *each->context);
        SSL_set_session(both.client.ssl.get(), session.get());
        REQUIRE(both.shake());
        REQUIRE(SSL_session_reused(both.server.ssl.get()) == 1);
        const bool is_agent = each == &crawler;
        CHECK(answer(both, is_agent ? agent() : customer(), is_agent ? by::flagged : by::own) == "bound 200");
        CHECK(answer(both, is_agent ? agent() : customer(), is_agent ? by::own : by::flagged) == "wrong_outcome 401");
    }
}

TEST_CASE("server / bound token / early data on the connection -> 425, until the application vouches for the request",
          "[handshake][TLS-4]") {
    auto server = for_both();
    SSL_CTX_set_max_early_data(server.get(), 1024);
    visitor crawler(attached_client());
    visitor shopper(without_flag(customer()));
    for (visitor* each : {&crawler, &shopper}) {
        REQUIRE(visit(*server, *each->context).full());
        const owned<SSL_SESSION> session = std::move(each->shelf.last);
        REQUIRE(session != nullptr);
        pair both(*server, *each->context);
        const early found = shake_early(both, *session);
        REQUIRE(found.good);
        REQUIRE(found.read == "GET /");
        const identity& who = each == &crawler ? agent() : customer();
        CHECK(answer(both, who, by::either) == "too_early 425");
        CHECK(answer(client_certificate::after_handshake(*both.server.ssl), who, by::either) == "bound 200");
        if (each == &shopper) continue;
        const auto peer = reqauth::peer_of(*both.server.ssl);
        CHECK(answer(client_certificate::of(peer), who) == "too_early 425");
        CHECK(answer(client_certificate::after_handshake(peer), who) == "bound 200");
    }
}

TEST_CASE("server / trusted_hop / by its certificate -> only one that the application's own authentication verified",
          "[handshake][MTLS-2]") {
    const oauth::thumbprint proxies[] = {digest_of(agent()), digest_of(customer())};
    const auto server = for_both(asking(), admit);
    const auto is_hop = [&](SSL_CTX& client, std::span<const oauth::thumbprint> among) {
        pair both(*server, client);
        REQUIRE(both.shake());
        return trusted_hop::by_certificate(*both.server.ssl, among).has_value();
    };
    CHECK(is_hop(*without_flag(customer()), proxies));
    CHECK_FALSE(is_hop(*without_flag(customer()), std::span(proxies).first(1)));
    CHECK_FALSE(is_hop(*without_flag(customer()), {}));
    CHECK_FALSE(is_hop(*without_flag(agent()), proxies)); // nobody verified it
    CHECK_FALSE(is_hop(*attached_client(), proxies));     // an agent is no proxy
    CHECK_FALSE(is_hop(*client_context(), proxies));
    {
        pair both(*server, *without_flag(customer()));
        CHECK_FALSE(trusted_hop::by_certificate(*both.server.ssl, proxies).has_value()); // before the handshake
    }
    // What a proxy sent in early data may come twice.
    SSL_CTX_set_max_early_data(server.get(), 1024);
    visitor proxy(without_flag(customer()));
    REQUIRE(visit(*server, *proxy.context).full());
    const owned<SSL_SESSION> session = std::move(proxy.shelf.last);
    pair both(*server, *proxy.context);
    REQUIRE(shake_early(both, *session).read == "GET /");
    CHECK_FALSE(trusted_hop::by_certificate(*both.server.ssl, proxies).has_value());
}
