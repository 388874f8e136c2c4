// SPDX-License-Identifier: Apache-2.0
// A client without the flag sees exactly the handshake that it would see without the library (RCA-15).

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <algorithm>

using namespace support;

namespace {

using flight = std::vector<std::pair<kind, std::vector<extension>>>;

/// told is what the server sent: each message's type and its extensions, key shares' and tickets' random octets aside.
flight told(const pair& both) {
    constexpr std::uint16_t key_share = 51;
    flight all;
    for (const auto& message : both.client.messages) {
        if (message.sent) continue;
        auto extensions = message.extensions();
        for (auto& each : extensions)
            if (each.type == key_share) each.body.resize(4); // the group and the length stay
        all.emplace_back(message.type, std::move(extensions));
    }
    return all;
}

std::vector<std::size_t> sizes(const pair& both, std::initializer_list<kind> of) {
    std::vector<std::size_t> found;
    for (const auto& message : both.client.messages)
        if (!message.sent && std::find(of.begin(), of.end(), message.type) != of.end())
            found.push_back(message.body.size());
    return found;
}

int choose_first(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned, void*) {
    *out = in + 1;
    *size = in[0];
    return SSL_TLSEXT_ERR_OK;
}

/// contexts with what applications set: each is compared with and without the library.
using setup = void (*)(SSL_CTX&);
const std::vector<std::pair<const char*, setup>> setups = {
    {"plain", [](SSL_CTX&) {}},
    {"asks", [](SSL_CTX& context) { ask(context, SSL_VERIFY_PEER, the_cast().customers_ca); }},
    {"requires",
     [](SSL_CTX& context) {
         ask(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, the_cast().customers_ca);
     }},
    {"asks after the handshake only",
     [](SSL_CTX& context) { ask(context, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, the_cast().customers_ca); }},
    {"stateful tickets", [](SSL_CTX& context) { SSL_CTX_set_options(&context, SSL_OP_NO_TICKET); }},
    {"no tickets, ALPN",
     [](SSL_CTX& context) {
         SSL_CTX_set_num_tickets(&context, 0);
         SSL_CTX_set_alpn_select_cb(&context, choose_first, nullptr);
     }},
    {"another curve, so a retry", [](SSL_CTX& context) { SSL_CTX_set1_groups_list(&context, "P-384"); }},
    {"at most TLS 1.2 for this client", [](SSL_CTX&) {}},
};

owned<SSL_CTX> plain_client(std::string_view what) {
    auto client = client_context();
    present(*client, the_cast().customer);
    SSL_CTX_set1_groups_list(client.get(), "X25519:P-384:P-256");
    SSL_CTX_set_alpn_protos(client.get(), reinterpret_cast<const unsigned char*>("\2h2"), 3);
    if (what.starts_with("at most TLS 1.2")) SSL_CTX_set_max_proto_version(client.get(), TLS1_2_VERSION);
    return client;
}

} // namespace

TEST_CASE("server / client without the flag / any configuration -> the same flight as without the library",
          "[handshake][valgrind][RCA-15][FLAG-9]") {
    ROWS(what, setups, const auto& [what, configure]) {
        CAPTURE(what);
        auto without = server_context();
        configure(*without);
        auto with = server_context();
        configure(*with);
        attach(*with, demanding());
        const auto client = plain_client(what);
        pair before(*without, *client);
        pair after(*with, *client);
        REQUIRE(before.shake());
        REQUIRE(after.shake());
        CHECK(seen(after) == "not_offered");
        CHECK(SSL_get_verify_result(after.server.ssl.get()) == SSL_get_verify_result(before.server.ssl.get()));
        CHECK(SSL_version(after.server.ssl.get()) == SSL_version(before.server.ssl.get()));
        CHECK(after.client.count(kind::certificate_request) == before.client.count(kind::certificate_request));
        if (std::string_view(what).starts_with("at most TLS 1.2")) {
            std::vector<kind> a, b;
            for (const auto& message : before.client.messages) a.push_back(message.type);
            for (const auto& message : after.client.messages) b.push_back(message.type);
            CHECK(a == b);
            CHECK(after.client.first(kind::server_hello)->extensions() ==
                  before.client.first(kind::server_hello)->extensions());
            continue;
        }
        for (const auto& message : after.client.messages) CHECK_FALSE(message.find(62).has_value());
        CHECK(told(after) == told(before));
        const auto fixed = {kind::server_hello, kind::encrypted_extensions, kind::certificate_request,
                            kind::certificate, kind::finished};
        CHECK(sizes(after, fixed) == sizes(before, fixed));
    }
}

TEST_CASE("server / client without the flag / library that asks agents -> no CertificateRequest, no tls_flags",
          "[handshake][RCA-15][RCA-8]") {
    const auto server = attached_server(demanding());
    const auto client = client_context();
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(both.client.count(kind::certificate_request) == 0);
    CHECK(both.client.messages.size() >= 6);
    for (const auto& message : both.client.messages) CHECK_FALSE(message.find(62).has_value());
}

TEST_CASE("server / client without the flag / wrong certificate -> the same alert as without the library",
          "[handshake][RCA-15]") {
    std::vector<std::string> alerts;
    for (const bool with : {false, true}) {
        auto server = server_context();
        ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
        if (with) attach(*server, asking());
        auto client = client_context();
        present(*client, the_cast().agent);
        pair both(*server, *client);
        CHECK_FALSE(both.shake());
        alerts.push_back(alert_to_client(both));
    }
    CHECK(alerts[0] == "unknown CA");
    CHECK(alerts[1] == alerts[0]);
}

TEST_CASE("server / client without the flag / its sessions -> resume as without the library", "[handshake][RCA-15]") {
    static owned<SSL_SESSION> session;
    for (const bool stateful : {false, true})
        for (const bool asks : {false, true}) {
            CAPTURE(stateful, asks);
            auto server = server_context();
            if (stateful) SSL_CTX_set_options(server.get(), SSL_OP_NO_TICKET);
            if (asks) ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
            attach(*server, demanding());
            auto client = client_context();
            present(*client, the_cast().customer);
            SSL_CTX_set_session_cache_mode(client.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
            SSL_CTX_sess_set_new_cb(client.get(), [](SSL*, SSL_SESSION* made) {
                session.reset(made);
                return 1;
            });
            {
                pair first(*server, *client);
                REQUIRE(first.shake());
                first.close();
            }
            REQUIRE(session != nullptr);
            pair second(*server, *client);
            take_over(*session, *second.client.ssl);
            SSL_set_session(second.client.ssl.get(), session.get());
            REQUIRE(second.shake());
            CHECK(SSL_session_reused(second.server.ssl.get()) == 1);
            CHECK(SSL_get_verify_result(second.server.ssl.get()) == X509_V_OK);
            CHECK(seen(second) == "not_offered");
            session.reset();
        }
}
