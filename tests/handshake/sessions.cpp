// SPDX-License-Identifier: Apache-2.0
// No session crosses between flagged and unflagged, and only a verified agent gets one. resumption.cpp: where those resume.

#include "support/sessions.hpp"
#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <cstring>

using namespace support;

namespace {

reqauth::client_policy without_credential() {
    reqauth::client_policy policy;
    policy.offer = reqauth::offer::always;
    return policy;
}

owned<SSL_CTX> server_with(tickets how, const reqauth::server_policy& policy) {
    auto context = server_context();
    if (how == tickets::stateful) SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
    attach(*context, policy);
    return context;
}

/// resumed connects with a session, and says whether the server resumed it.
bool resumed(pair& both, SSL_SESSION& session) {
    take_over(session, *both.client.ssl);
    SSL_set_session(both.client.ssl.get(), &session);
    both.shake();
    return SSL_session_reused(both.server.ssl.get()) == 1;
}

// An external PSK, as TLS 1.3 has it.
constexpr unsigned char psk_key[32] = {1, 2, 3};
constexpr char psk_identity[] = "device 7";

SSL_SESSION* psk_session(SSL* ssl) {
    const unsigned char suite[] = {0x13, 0x01}; // TLS_AES_128_GCM_SHA256
    SSL_SESSION* session = SSL_SESSION_new();
    SSL_SESSION_set1_master_key(session, psk_key, sizeof psk_key);
    SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, suite));
    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
    return session;
}

int use_psk(SSL* ssl, const EVP_MD*, const unsigned char** id, std::size_t* size, SSL_SESSION** session) {
    *id = reinterpret_cast<const unsigned char*>(psk_identity);
    *size = sizeof psk_identity - 1;
    *session = psk_session(ssl);
    return 1;
}

int psk_lookups;
int find_psk(SSL* ssl, const unsigned char* identity, std::size_t size, SSL_SESSION** session) {
    ++psk_lookups;
    *session = nullptr;
    if (size == sizeof psk_identity - 1 && std::memcmp(identity, psk_identity, size) == 0) *session = psk_session(ssl);
    return 1;
}

} // namespace

TEST_CASE("server / tickets / flagged handshake -> issued to a verified agent only", "[handshake][valgrind][TLS-2]") {
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const bool has : {true, false}) {
            const auto server = server_with(how, asking());
            const auto client = attached_client(has ? agent_policy() : without_credential());
            session_shelf shelf;
            shelf.serve(*client);
            pair both(*server, *client);
            REQUIRE(both.shake());
            CHECK(seen(both) == (has ? "flagged CN=crawler.example" : "empty"));
            CHECK(both.client.count(kind::new_session_ticket) == (has ? 2 : 0));
            CHECK(shelf.count == (has ? 2 : 0));
        }
}

TEST_CASE("server / tickets / flag ignored -> as without the library", "[handshake]") {
    const auto server = server_with(tickets::stateless, {});
    const auto client = attached_client();
    session_shelf shelf;
    shelf.serve(*client);
    {
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == "ignored");
    }
    if (shelf.count == 0) return; // issuing none is within the rules
    const auto plain = client_context();
    pair both(*server, *plain);
    resumed(both, *shelf.last);
    CHECK(both.server.good());
    CHECK_FALSE(seen(both).starts_with("flagged"));
}

TEST_CASE("server / session of an unflagged handshake / offered with the flag -> full handshake, agent asked",
          "[handshake][valgrind][cve][TLS-2][SEC-1]") {
    // nginx CVE-2025-23419, Apache CVE-2025-23048: a ticket resumed elsewhere skipped client authentication.
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const auto& policy : {asking(), demanding()})
            for (const bool customer_asked : {false, true}) {
                CAPTURE(int(how), customer_asked);
                auto server = server_context();
                if (how == tickets::stateful) SSL_CTX_set_options(server.get(), SSL_OP_NO_TICKET);
                if (customer_asked) ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
                attach(*server, policy);
                auto plain = client_context();
                present(*plain, the_cast().customer);
                session_shelf shelf;
                shelf.serve(*plain);
                {
                    pair first(*server, *plain);
                    REQUIRE(first.shake());
                    first.close();
                }
                REQUIRE(shelf.count > 0);
                {
                    const auto client = attached_client();
                    pair both(*server, *client);
                    CHECK_FALSE(resumed(both, *shelf.last));
                    CHECK(both.server.good());
                    CHECK(both.client.good());
                    CHECK(both.client.count(kind::certificate_request) == 1);
                    CHECK(seen(both) == "flagged CN=crawler.example");
                }
                if (how == tickets::stateful) continue; // OpenSSL uses each of those once
                // It still resumes where it belongs.
                pair again(*server, *plain);
                CHECK(resumed(again, *shelf.last));
                CHECK(seen(again) == "not_offered");
            }
}

TEST_CASE("server / session of an unflagged handshake / offered with the flag and no credential -> empty, or refused",
          "[handshake][cve][TLS-2][SEC-1]") {
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const bool require : {false, true}) {
            auto server = server_context();
            if (how == tickets::stateful) SSL_CTX_set_options(server.get(), SSL_OP_NO_TICKET);
            ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
            attach(*server, require ? demanding() : asking());
            auto plain = client_context();
            present(*plain, the_cast().customer);
            session_shelf shelf;
            shelf.serve(*plain);
            {
                pair first(*server, *plain);
                REQUIRE(first.shake());
                first.close();
            }
            const auto client = attached_client(without_credential());
            pair both(*server, *client);
            CHECK_FALSE(resumed(both, *shelf.last));
            CHECK(seen(both) == (require ? "handshake_unfinished" : "empty"));
            CHECK(alert_to_client(both) == (require ? "certificate required" : "none"));
        }
}

TEST_CASE("server / session and retry / offered with the flag -> full handshake", "[handshake][TLS-2][TLS-1]") {
    const auto server = server_with(tickets::stateless, asking());
    const auto plain = client_context();
    session_shelf shelf;
    shelf.serve(*plain);
    {
        pair first(*server, *plain);
        REQUIRE(first.shake());
        first.close();
    }
    REQUIRE(shelf.count > 0);
    SSL_CTX_set1_groups_list(server.get(), "P-256");
    const auto client = attached_client();
    SSL_CTX_set1_groups_list(client.get(), "X25519:P-256");
    pair both(*server, *client);
    CHECK_FALSE(resumed(both, *shelf.last));
    CHECK(both.client.count(kind::hello_retry_request) == 1);
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("server / session and retry, flag in one ClientHello only -> the second decides, and the flag never resumes",
          "[handshake][cve][TLS-1][TLS-2][SEC-1]") {
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const bool flag_comes_late : {true, false}) {
            CAPTURE(int(how), flag_comes_late);
            const auto server = server_with(how, demanding());
            auto plain = client_context();
            session_shelf shelf;
            shelf.serve(*plain);
            {
                pair first(*server, *plain);
                REQUIRE(first.shake());
                first.close();
            }
            REQUIRE(shelf.count > 0);
            SSL_CTX_set1_groups_list(server.get(), "P-256");
            auto context = client_context();
            present(*context, the_cast().agent);
            SSL_CTX_set1_groups_list(context.get(), "X25519:P-256");
            using lines = std::vector<line>;
            bad_peer peer(std::move(context), {{in::client_hello, flag_comes_late ? lines{std::nullopt, flags({80})}
                                                                                  : lines{flags({80}), std::nullopt}}});
            pair both(*server, *peer.context);
            const bool was_resumed = resumed(both, *shelf.last);
            REQUIRE(both.client.count(kind::hello_retry_request) == 1);
            CHECK(both.server.good());
            CHECK(seen(both) == (flag_comes_late ? "flagged CN=crawler.example" : "not_offered"));
            if (flag_comes_late) CHECK_FALSE(was_resumed);
            CHECK(both.client.count(kind::certificate_request) == (flag_comes_late ? 1 : 0));
        }
}

TEST_CASE("server / application without an id context / session offered with the flag -> full handshake, no failure",
          "[handshake][TLS-2][SEC-6]") {
    owned<SSL_CTX> server(SSL_CTX_new(TLS_server_method()));
    present(*server, the_cast().server);
    attach(*server, demanding());
    const auto plain = client_context();
    session_shelf shelf;
    shelf.serve(*plain);
    {
        pair first(*server, *plain);
        REQUIRE(first.shake());
        first.close();
    }
    {
        const auto client = attached_client();
        pair both(*server, *client);
        CHECK_FALSE(resumed(both, *shelf.last));
        CHECK(seen(both) == "flagged CN=crawler.example");
    }
    pair again(*server, *plain);
    CHECK(resumed(again, *shelf.last));
    CHECK(seen(again) == "not_offered");
}

TEST_CASE("server / SSL_new_session_ticket after a flagged handshake / offered with or without the flag -> resumes a "
          "verified agent only",
          "[handshake][valgrind][cve][TLS-2][SEC-1]") {
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const bool has : {true, false}) {
            CAPTURE(int(how), has);
            const auto server = server_with(how, asking());
            const auto client = attached_client(has ? agent_policy() : without_credential());
            session_shelf shelf;
            shelf.serve(*client);
            {
                pair both(*server, *client);
                REQUIRE(both.shake());
                if (SSL_new_session_ticket(both.server.ssl.get()) == 1) SSL_do_handshake(both.server.ssl.get());
                both.run();
                both.close();
            }
            if (shelf.count == 0) continue; // the best answer
            const auto plain = client_context();
            pair unflagged(*server, *plain);
            CHECK_FALSE(resumed(unflagged, *shelf.last));
            CHECK(unflagged.server.good());
            CHECK(seen(unflagged) == "not_offered");
            CHECK(SSL_get0_peer_certificate(unflagged.server.ssl.get()) == nullptr);
            pair flagged_again(*server, *client);
            CHECK(resumed(flagged_again, *shelf.last) == has);
            CHECK(flagged_again.server.good());
            CHECK(seen(flagged_again) == (has ? "flagged CN=crawler.example" : "empty"));
        }
}

TEST_CASE("server / SSL_get1_session of a flagged connection, and the server's cache -> a verified agent's only",
          "[handshake][TLS-2]") {
    for (const bool has : {true, false}) {
        const auto server = server_with(tickets::stateful, asking());
        SSL_CTX_set_session_cache_mode(server.get(), SSL_SESS_CACHE_SERVER);
        const auto client = attached_client(has ? agent_policy() : without_credential());
        owned<SSL_SESSION> kept;
        {
            pair both(*server, *client);
            REQUIRE(both.shake());
            kept.reset(SSL_get1_session(both.client.ssl.get()));
            both.close();
        }
        REQUIRE(kept != nullptr);
        CHECK(SSL_SESSION_is_resumable(kept.get()) == (has ? 1 : 0));
        CHECK(SSL_CTX_sess_number(server.get()) == (has ? 2 : 0));
        if (!has) continue;
        const auto plain = client_context();
        pair unflagged(*server, *plain);
        CHECK_FALSE(resumed(unflagged, *kept));
        CHECK(unflagged.server.good());
        CHECK(SSL_get0_peer_certificate(unflagged.server.ssl.get()) == nullptr);
    }
}

TEST_CASE("server / psk_find_session overwritten after attach / session of a customer with the flag -> not_vouched",
          "[handshake][SEC-1][SEC-6]") {
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const bool require : {false, true}) {
            CAPTURE(int(how), require);
            auto server = server_context();
            if (how == tickets::stateful) SSL_CTX_set_options(server.get(), SSL_OP_NO_TICKET);
            ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
            attach(*server, require ? demanding() : asking());
            SSL_CTX_set_psk_find_session_callback(server.get(), find_psk);
            auto plain = client_context();
            present(*plain, the_cast().customer);
            session_shelf shelf;
            shelf.serve(*plain);
            {
                pair first(*server, *plain);
                REQUIRE(first.shake());
                first.close();
            }
            REQUIRE(shelf.count > 0);
            const auto client = flagged_client(the_cast().agent);
            pair both(*server, *client.context);
            take_over(*shelf.last, *both.client.ssl);
            SSL_set_session(both.client.ssl.get(), shelf.last.get());
            CHECK(both.shake() == !require);
            if (require) {
                CHECK(alert_to_client(both) == "certificate required");
                CHECK(seen(both) == "handshake_unfinished");
            } else {
                REQUIRE(SSL_session_reused(both.server.ssl.get()) == 1);
                CHECK(seen(both) == "not_vouched");
                CHECK(SSL_get_verify_result(both.server.ssl.get()) != X509_V_OK); // nor a customer
                CHECK(reqauth::server_outcome_of(*both.server.ssl).certificate !=
                      reqauth::server_outcome::answer::verified);
            }
        }
}

TEST_CASE("server / external PSK through chained_psk_find_session / flag offered -> no flagged_peer",
          "[handshake][valgrind][SEC-1][SEC-6]") {
    for (const bool require : {false, true}) {
        reqauth::server_options options;
        options.chained_psk_find_session = find_psk;
        const auto server = attached_server(require ? demanding() : asking(), options);
        {
            const auto client = attached_client();
            SSL_CTX_set_psk_use_session_callback(client.get(), use_psk);
            SSL_CTX_set_ciphersuites(client.get(), "TLS_AES_128_GCM_SHA256");
            pair both(*server, *client);
            psk_lookups = 0;
            CHECK(both.shake() == !require);
            CHECK(psk_lookups > 0);
            CHECK(seen(both) == (require ? "handshake_unfinished" : "not_vouched"));
            CHECK(alert_to_client(both) == (require ? "certificate required" : "none"));
        }
        const auto plain = client_context();
        SSL_CTX_set_psk_use_session_callback(plain.get(), use_psk);
        SSL_CTX_set_ciphersuites(plain.get(), "TLS_AES_128_GCM_SHA256");
        pair both(*server, *plain);
        CHECK(both.shake());
        CHECK(SSL_session_reused(both.server.ssl.get()) == 1);
        CHECK(seen(both) == "not_offered");
    }
}

TEST_CASE("server / chained_psk_find_session / identities that it does not know -> ordinary handshakes",
          "[handshake][SEC-6]") {
    reqauth::server_options options;
    options.chained_psk_find_session = [](SSL*, const unsigned char*, std::size_t, SSL_SESSION** session) {
        ++psk_lookups;
        *session = nullptr;
        return 1;
    };
    const auto server = attached_server(asking(), options);
    const auto plain = client_context();
    session_shelf shelf;
    shelf.serve(*plain);
    {
        pair first(*server, *plain);
        REQUIRE(first.shake());
        first.close();
    }
    psk_lookups = 0;
    {
        pair second(*server, *plain);
        CHECK(resumed(second, *shelf.last));
    }
    CHECK(psk_lookups == 1);
    const auto client = attached_client();
    pair third(*server, *client);
    CHECK_FALSE(resumed(third, *shelf.last));
    CHECK(seen(third) == "flagged CN=crawler.example");
}

TEST_CASE("server / two contexts of one listener, shared ticket keys / customer's session offered with the flag there "
          "-> full handshake",
          "[handshake][cve][TLS-2][SEC-1]") {
    // HAProxy 2026, rustls 2025: settings that differ shared tickets.
    unsigned char keys[80];
    for (unsigned char& octet : keys) octet = 7;
    auto a = server_context();
    auto b = server_context();
    ask(*a, SSL_VERIFY_PEER, the_cast().customers_ca);
    for (SSL_CTX* context : {a.get(), b.get()}) SSL_CTX_set_tlsext_ticket_keys(context, keys, sizeof keys);
    reqauth::server listener;
    listener.attach(*a, asking());
    listener.attach(*b, demanding());
    auto plain = client_context();
    present(*plain, the_cast().customer);
    session_shelf shelf;
    shelf.serve(*plain);
    {
        pair first(*a, *plain);
        REQUIRE(first.shake());
        first.close();
    }
    const auto client = attached_client();
    pair both(*b, *client);
    CHECK_FALSE(resumed(both, *shelf.last));
    CHECK(both.server.good());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("client / failed handshake -> leaves no session", "[handshake][cve]") {
    // curl CVE-2024-0853: a session kept after a failed check.
    const auto server = attached_server(demanding());
    const auto client = attached_client(without_credential());
    session_shelf shelf;
    shelf.serve(*client);
    pair both(*server, *client);
    CHECK_FALSE(both.shake());
    CHECK(shelf.count == 0);
}
