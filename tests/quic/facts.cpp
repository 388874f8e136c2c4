// SPDX-License-Identifier: Apache-2.0
// Which SSL each callback of a connection of QUIC gets: the connection, with which records are kept, or the one of TLS
// inside it; and how the one leads to the other. The library leans on these; an OpenSSL that differs is noticed here.

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/quic_connections.hpp"
#include "support/sessions.hpp"

#include <map>
#include <set>
#include <string>

#if HAS_QUIC

using support::owned;

namespace {

/// seen is which SSLs each callback got, by its name.
std::map<std::string, std::set<const SSL*>> seen;

void note(const SSL* ssl, const std::string& name) {
    seen[(SSL_is_server(ssl) == 1 ? "server " : "client ") + name].insert(ssl);
}

const SSL* of(X509_STORE_CTX* verification) {
    return static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
}

int add(SSL* ssl, unsigned, unsigned, const unsigned char** out, std::size_t* size, X509*, std::size_t, int*, void*) {
    static constexpr unsigned char nothing = 0;
    note(ssl, "extension add");
    *out = &nothing;
    *size = 1;
    return 1;
}

int parse(SSL* ssl, unsigned, unsigned message, const unsigned char*, std::size_t, X509*, std::size_t, int*, void*) {
    note(ssl, "extension parse");
    const unsigned char* body = nullptr;
    std::size_t size = 0;
    if (message == SSL_EXT_CLIENT_HELLO && SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_key_share, &body, &size) == 1)
        note(ssl, "ClientHello can be read");
    return 1;
}

void watch(SSL_CTX& context) {
    SSL_CTX_set_info_callback(
        &context, [](const SSL* ssl, int event, int) { note(ssl, (event & SSL_CB_ALERT) != 0 ? "alert" : "info"); });
    SSL_CTX_set_keylog_callback(&context, [](const SSL* ssl, const char*) { note(ssl, "keylog"); });
    SSL_CTX_set_msg_callback(&context, [](int, int, int type, const void*, std::size_t, SSL* ssl, void*) {
        if (type == SSL3_RT_HANDSHAKE) note(ssl, "message");
    });
    SSL_CTX_set_cert_cb(
        &context,
        [](SSL* ssl, void*) {
            note(ssl, "certificate");
            return 1;
        },
        nullptr);
    SSL_CTX_set_client_cert_cb(&context, [](SSL* ssl, X509**, EVP_PKEY**) {
        note(ssl, "client certificate");
        return 0;
    });
    SSL_CTX_set_client_hello_cb(
        &context,
        [](SSL* ssl, int*, void*) {
            note(ssl, "ClientHello");
            return SSL_CLIENT_HELLO_SUCCESS;
        },
        nullptr);
    SSL_CTX_set_tlsext_servername_callback(
        &context, +[](SSL* ssl, int*, void*) -> int {
            note(ssl, "servername");
            return SSL_TLSEXT_ERR_OK;
        });
    SSL_CTX_set_psk_find_session_callback(&context,
                                          [](SSL* ssl, const unsigned char*, std::size_t, SSL_SESSION** session) {
                                              note(ssl, "PSK");
                                              *session = nullptr;
                                              return 1;
                                          });
    SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_session_ticket_cb(
        &context,
        [](SSL* ssl, void*) {
            note(ssl, "ticket made");
            return 1;
        },
        [](SSL* ssl, SSL_SESSION*, const unsigned char*, std::size_t, SSL_TICKET_STATUS, void*) {
            note(ssl, "ticket read");
            return SSL_TICKET_RETURN_USE;
        },
        nullptr);
    const int asks = SSL_CTX_get_verify_mode(&context);
    SSL_CTX_set_verify(&context, asks, [](int ok, X509_STORE_CTX* verification) {
        note(of(verification), "verify");
        return ok;
    });
    SSL_CTX_set_cert_verify_callback(
        &context,
        [](X509_STORE_CTX* verification, void*) {
            note(of(verification), "verification");
            return X509_verify_cert(verification);
        },
        nullptr);
    REQUIRE(SSL_CTX_add_custom_ext(&context, 62,
                                   SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS |
                                       SSL_EXT_TLS1_3_CERTIFICATE_REQUEST | SSL_EXT_TLS1_3_NEW_SESSION_TICKET,
                                   add, nullptr, nullptr, parse, nullptr) == 1);
}

} // namespace

TEST_CASE("OpenSSL QUIC / callbacks -> get the connection, but for a client's certificate callback", "[quic]") {
    const auto server = support::server_context(support::the_cast().server, OSSL_QUIC_server_method());
    support::ask(*server, SSL_VERIFY_PEER, support::the_cast().agents_ca);
    const auto client = support::client_context(OSSL_QUIC_client_method());
    watch(*server);
    watch(*client);
    support::session_shelf shelf;
    shelf.serve(*client);
    support::quic_listener at(*server);
    for (const bool with : {false, true}) {
        CAPTURE(with);
        seen.clear();
        support::quic_pair both(at, *client);
        SSL_set_tlsext_host_name(both.client.get(), "server.example");
        if (with) support::present(*client, support::the_cast().agent);
        const owned<SSL_SESSION> session = std::move(shelf.last);
        if (session != nullptr) REQUIRE(SSL_set_session(both.client.get(), session.get()) == 1);
        REQUIRE(both.shake());
        both.settle();
        CHECK((SSL_session_reused(both.client.get()) == 1) == with);
        for (const auto& [name, ssls] : seen) {
            CAPTURE(name, ssls.size());
            const SSL* connection = name.starts_with("server") ? both.server.get() : both.client.get();
            if (name == "client certificate" || name == "server ticket read") // of the library's
                CHECK(!ssls.contains(connection));
            else
                CHECK(ssls == std::set<const SSL*>{connection});
        }
        CHECK(seen.contains("server ClientHello can be read"));
        CHECK(seen.contains(with ? "server PSK" : "client certificate"));
        both.close();
    }
}

TEST_CASE("OpenSSL QUIC / alert that goes out -> the info callback gets the TLS object, whose parameters are the "
          "connection's",
          "[quic]") {
    const auto client = support::client_context(OSSL_QUIC_client_method());
    for (const bool servers : {true, false}) {
        CAPTURE(servers);
        const auto server = support::server_context(servers ? support::the_cast().server : support::the_cast().agent,
                                                    OSSL_QUIC_server_method());
        if (servers)
            support::ask(*server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, support::the_cast().agents_ca);
        for (SSL_CTX* each : {server.get(), client.get()})
            SSL_CTX_set_info_callback(each, [](const SSL* ssl, int event, int) {
                if (event != SSL_CB_WRITE_ALERT) return;
                note(ssl, "alert");
                seen["parameters"].insert(reinterpret_cast<const SSL*>(SSL_get0_param(const_cast<SSL*>(ssl))));
            });
        seen.clear();
        support::quic_listener at(*server);
        support::quic_pair both(at, *client);
        CHECK_FALSE(both.shake());
        both.settle();
        SSL* connection = servers ? both.server.get() : both.client.get();
        REQUIRE(connection != nullptr);
        const auto& got = seen[servers ? "server alert" : "client alert"];
        CHECK(got.size() == 1);
        CHECK_FALSE(got.contains(connection));
        CHECK(seen["parameters"] == std::set<const SSL*>{reinterpret_cast<SSL*>(SSL_get0_param(connection))});
    }
}

TEST_CASE("OpenSSL QUIC / SSL_new, SSL_set_SSL_CTX of a server -> there are none", "[quic]") {
    const auto server = support::server_context(support::the_cast().server, OSSL_QUIC_server_method());
    CHECK(owned<SSL>(SSL_new(server.get())) == nullptr);
    const auto client = support::client_context(OSSL_QUIC_client_method());
    support::quic_listener at(*server);
    support::quic_pair both(at, *client);
    REQUIRE(both.shake());
    CHECK(SSL_set_SSL_CTX(both.server.get(), support::server_context().get()) == nullptr);
    CHECK(SSL_get_SSL_CTX(both.server.get()) == server.get());
}

#else

TEST_CASE("OpenSSL QUIC / is there", "[quic]") { SKIP_BECAUSE(support::no_quic); }

#endif
