// SPDX-License-Identifier: Apache-2.0
// Attempts to break what server.hpp promises of sessions. docs/attacks.md has each with its result.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/clock.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <climits>
#include <functional>

using namespace support;
using namespace std::chrono_literals;

namespace {

const std::string flagged_agent = "flagged CN=crawler.example";

/// copy_of a session, as a client that keeps them has it.
owned<SSL_SESSION> copy_of(const SSL_SESSION& session) {
    return owned<SSL_SESSION>(SSL_SESSION_dup(const_cast<SSL_SESSION*>(&session))); // NOLINT: it changes nothing
}

/// tickets_of is how many a flagged client got, and whether the last resumes as an agent.
std::string tickets_of(SSL_CTX& server) {
    visitor agent(attached_client());
    const visited first = visit(server, *agent.context);
    std::string told = first.who + ", " + std::to_string(first.tickets);
    if (agent.shelf.last == nullptr) return told;
    const visited second = visit(server, *agent.context, {.session = agent.shelf.last.get()});
    return told + ", " + second.who + (second.resumed_peer ? " resumed" : "");
}

} // namespace

TEST_CASE("server / the application's settings and callbacks of tickets -> an agent's sessions as promised, no others",
          "[handshake][attempt][TLS-2][SEC-6]") {
    struct row {
        const char* what;
        std::function<void(SSL_CTX&)> set;
        std::string as;
    };
    const row rows[] = {
        {"control", [](SSL_CTX&) {}, flagged_agent + ", 2, " + flagged_agent + " resumed"},
        {"five tickets", [](SSL_CTX& context) { SSL_CTX_set_num_tickets(&context, 5); },
         flagged_agent + ", 5, " + flagged_agent + " resumed"},
        {"no tickets", [](SSL_CTX& context) { SSL_CTX_set_num_tickets(&context, 0); }, flagged_agent + ", 0"},
        {"timeout of nothing, which OpenSSL takes for its own",
         [](SSL_CTX& context) { SSL_CTX_set_timeout(&context, 0); },
         flagged_agent + ", 2, " + flagged_agent + " resumed"},
        {"timeout of a second", [](SSL_CTX& context) { SSL_CTX_set_timeout(&context, 1); }, flagged_agent + ", 0"},
        {"timeout without end", [](SSL_CTX& context) { SSL_CTX_set_timeout(&context, LONG_MAX); },
         flagged_agent + ", 2, " + flagged_agent + " resumed"},
        {"no session cache", [](SSL_CTX& context) { SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_OFF); },
         flagged_agent + ", 2, " + flagged_agent + " resumed"},
        {"sessions kept, and no cache to keep them in",
         [](SSL_CTX& context) {
             SSL_CTX_set_options(&context, SSL_OP_NO_TICKET);
             SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_OFF);
         },
         flagged_agent + ", 2, " + flagged_agent},
        {"a ticket callback that fails",
         [](SSL_CTX& context) {
             SSL_CTX_set_session_ticket_cb(
                 &context, [](SSL*, void*) { return 0; },
                 [](SSL*, SSL_SESSION*, const unsigned char*, std::size_t, SSL_TICKET_STATUS, void*) {
                     return SSL_TICKET_RETURN_USE;
                 },
                 nullptr);
         },
         "handshake_unfinished, 0"},
        {"a ticket callback that ignores every ticket",
         [](SSL_CTX& context) {
             SSL_CTX_set_session_ticket_cb(
                 &context, [](SSL*, void*) { return 1; },
                 [](SSL*, SSL_SESSION*, const unsigned char*, std::size_t, SSL_TICKET_STATUS, void*) {
                     return SSL_TICKET_RETURN_IGNORE_RENEW;
                 },
                 nullptr);
         },
         flagged_agent + ", 2, " + flagged_agent},
        {"a ticket callback that takes the mark off",
         [](SSL_CTX& context) {
             SSL_CTX_set_session_ticket_cb(
                 &context,
                 [](SSL* ssl, void*) { return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), nullptr, 0); },
                 [](SSL*, SSL_SESSION*, const unsigned char*, std::size_t, SSL_TICKET_STATUS, void*) {
                     return SSL_TICKET_RETURN_USE_RENEW;
                 },
                 nullptr);
         },
         flagged_agent + ", 2, not_vouched"},
        {"a new-session callback that lengthens its time",
         [](SSL_CTX& context) {
             SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
             SSL_CTX_sess_set_new_cb(&context, [](SSL*, SSL_SESSION* made) {
                 SSL_SESSION_set_timeout(made, 7L * 86400);
                 return 0;
             });
         },
         flagged_agent + ", 2, " + flagged_agent + " resumed"},
    };
    ROWS(one.what, rows, const row& one) {
        CAPTURE(one.what);
        const auto server = attached_server(asking());
        one.set(*server);
        CHECK(tickets_of(*server) == one.as);
    }
}

TEST_CASE("server / a session whose time the application lengthens, a clock that goes back -> the verification's end "
          "counts",
          "[handshake][attempt][TLS-2][SEC-1]") {
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const bool back : {false, true}) {
            CAPTURE(int(how), back);
            const stopped_clock clock;
            fleet nodes;
            auto server = server_context();
            nodes.join(*server, how);
            reqauth::server_options options;
            options.max_session_age = 600s;
            attach(*server, asking(), options);
            SSL_CTX_set_session_ticket_cb(
                server.get(),
                [](SSL* ssl, void*) {
                    SSL_SESSION_set_timeout(SSL_get_session(ssl), 7L * 86400);
                    return 1;
                },
                [](SSL*, SSL_SESSION*, const unsigned char*, std::size_t, SSL_TICKET_STATUS, void*) {
                    return SSL_TICKET_RETURN_USE_RENEW;
                },
                nullptr);
            visitor agent(attached_client());
            REQUIRE(visit(*server, *agent.context).who == flagged_agent);
            const auto come = [&] { return visit(*server, *agent.context, {.session = agent.shelf.last.get()}); };
            if (back) {
                clock.set(-300s);
                CHECK(come().who == flagged_agent);
                clock.set(0s);
            }
            clock.set(550s);
            CHECK(come().resumed_peer);
            clock.set(599s + 2s);
            const visited late = come();
            CHECK_FALSE(late.resumed_peer);
            CHECK((late.who == flagged_agent || late.who == "not_vouched"));
        }
}

TEST_CASE("server / SSL_new_session_ticket of who was not verified -> a session that makes nobody an agent",
          "[handshake][attempt][TLS-2][SEC-1]") {
    const auto& who = the_cast();
    struct row {
        const char* what;
        const identity* client; ///< null: an empty Certificate
        bool lax, not_witnessed, ignored;
    };
    const row rows[] = {{"empty", nullptr, false, false, false},
                        {"invalid", &who.customer, true, false, false},
                        {"not witnessed", &who.agent, false, true, false},
                        {"ignored", &who.agent, false, false, true}};
    for (const row& one : rows)
        for (const auto how : all_tickets) {
            CAPTURE(one.what, int(how));
            fleet nodes;
            auto server = server_context();
            nodes.join(*server, how);
            auto policy = asking();
            if (one.lax) policy.when_offered = policy.when_offered.invalid_is_anonymous();
            if (one.ignored) policy.when_offered = reqauth::client_auth::none();
            attach(*server, policy);
            if (one.not_witnessed)
                SSL_CTX_set_cert_verify_callback(
                    server.get(), [](X509_STORE_CTX*, void*) { return 1; }, nullptr);
            bad_peer client = one.client != nullptr ? flagged_client(*one.client) : empty_handed_client();
            session_shelf shelf;
            shelf.serve(*client.context);
            pair both(*server, *client.context);
            REQUIRE(both.shake());
            CHECK_FALSE(seen(both).starts_with("flagged"));
            CHECK(shelf.count == 0);
            SSL_new_session_ticket(both.server.ssl.get());
            SSL_do_handshake(both.server.ssl.get());
            both.run();
            both.close();
            if (shelf.last == nullptr) continue;
            for (const bool flag : {true, false}) {
                const auto plain = client_context();
                pair again(*server, flag ? *client.context : *plain);
                const auto session = copy_of(*shelf.last);
                SSL_set_session(again.client.ssl.get(), session.get());
                again.run();
                CHECK_FALSE((SSL_session_reused(again.server.ssl.get()) == 1 && seen(again).starts_with("flagged")));
                CHECK_FALSE((SSL_session_reused(again.server.ssl.get()) == 1 &&
                             SSL_get0_peer_certificate(again.server.ssl.get()) != nullptr &&
                             SSL_get_verify_result(again.server.ssl.get()) == X509_V_OK));
            }
        }
}

TEST_CASE("server / a session's octets, each changed, as from a cache that others share -> never another agent",
          "[handshake][attempt][TLS-2][SEC-3]") {
    // docs/footguns.md 28: who can write to the cache is trusted. Whatever damages it must not crash, or make another.
    const auto server = server_context();
    SSL_CTX_set_options(server.get(), SSL_OP_NO_TICKET);
    static std::map<std::string, std::string> cache;
    static std::size_t change;
    static bool changing;
    cache.clear();
    changing = false;
    SSL_CTX_set_session_cache_mode(server.get(), SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(server.get(), [](SSL*, SSL_SESSION* made) {
        unsigned size = 0;
        const unsigned char* id = SSL_SESSION_get_id(made, &size);
        std::string octets(static_cast<std::size_t>(i2d_SSL_SESSION(made, nullptr)), '\0');
        auto* out = reinterpret_cast<unsigned char*>(octets.data());
        i2d_SSL_SESSION(made, &out);
        cache[std::string(reinterpret_cast<const char*>(id), size)] = octets;
        return 0;
    });
    SSL_CTX_sess_set_get_cb(server.get(), [](SSL*, const unsigned char* id, int size, int* copy) -> SSL_SESSION* {
        *copy = 0;
        const auto found = cache.find({reinterpret_cast<const char*>(id), static_cast<std::size_t>(size)});
        if (found == cache.end()) return nullptr;
        std::string octets = found->second;
        if (changing && change < octets.size()) octets[change] = static_cast<char>(octets[change] ^ 0x01);
        const auto* in = reinterpret_cast<const unsigned char*>(octets.data());
        return d2i_SSL_SESSION(nullptr, &in, static_cast<long>(octets.size()));
    });
    attach(*server, asking());
    visitor agent(attached_client());
    REQUIRE(visit(*server, *agent.context).who == flagged_agent);
    const owned<SSL_SESSION> session = copy_of(*agent.shelf.last);
    REQUIRE(visit(*server, *agent.context, {.session = copy_of(*session).get()}).resumed_peer);
    std::size_t longest = 0;
    for (const auto& [id, octets] : cache) longest = std::max(longest, octets.size());
    changing = true;
    std::size_t differed = 0;
    for (change = 0; change < longest; ++change) {
        pair both(*server, *agent.context);
        const auto presented = copy_of(*session);
        take_over(*presented, *both.client.ssl);
        SSL_set_session(both.client.ssl.get(), presented.get());
        both.run();
        CHECK((seen(both) == flagged_agent || !seen(both).starts_with("flagged")));
        differed += SSL_session_reused(both.server.ssl.get()) != 1 || seen(both) != flagged_agent;
    }
    CHECK(differed > longest / 4);
    ERR_clear_error();
}

TEST_CASE(
    "server / an agent's session as an external PSK of the application's -> nobody under another name, without the "
    "flag, or too late",
    "[handshake][attempt][TLS-2][SEC-1]") {
    // OpenSSL looks at no session id context there: only the mark stands against it.
    static owned<SSL_SESSION> kept;
    reqauth::server_options options;
    options.max_session_age = 600s;
    options.chained_psk_find_session = [](SSL*, const unsigned char*, std::size_t, SSL_SESSION** session) {
        *session = kept != nullptr ? SSL_SESSION_dup(kept.get()) : nullptr;
        return 1;
    };
    kept.reset();
    const stopped_clock clock;
    const auto server = attached_server(demanding(), options);
    visitor agent(attached_client());
    {
        pair first(*server, *agent.context);
        SSL_set_tlsext_host_name(first.client.ssl.get(), "a.example");
        REQUIRE(first.shake());
        REQUIRE(agent.shelf.last != nullptr);
        // The client's copy has the same key; the server's has the mark.
        kept.reset(SSL_SESSION_dup(SSL_get0_session(first.server.ssl.get())));
        first.close();
    }
    const auto come = [&](const char* name) {
        return visit(*server, *agent.context, {.name = name, .session = agent.shelf.last.get()});
    };
    CHECK_FALSE(come("b.example").resumed_peer);
    clock.set(601s);
    CHECK_FALSE(come("a.example").resumed_peer);
    const auto plain = client_context();
    CHECK(visit(*server, *plain, {.name = "a.example", .session = agent.shelf.last.get()}).who != flagged_agent);
    kept.reset();
}
