// SPDX-License-Identifier: Apache-2.0
// Attempts to break the promises of server.hpp and peer.hpp by OpenSSL's calls where nobody expects them. docs/attacks.md
// has each with its result.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <functional>

using namespace support;

namespace {

int admit_all(int, X509_STORE_CTX* chain) {
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    return 1;
}

owned<X509_STORE> store_of(const identity& ca) {
    owned<X509_STORE> store(X509_STORE_new());
    X509_STORE_add_cert(store.get(), ca.certificate.get());
    return store;
}

using parameters =
    std::unique_ptr<X509_VERIFY_PARAM, decltype([](X509_VERIFY_PARAM* all) { X509_VERIFY_PARAM_free(all); })>;

void set_flags(SSL* ssl, unsigned long flags) {
    const parameters own(X509_VERIFY_PARAM_new());
    X509_VERIFY_PARAM_set_flags(own.get(), flags);
    SSL_set1_param(ssl, own.get());
}

/// stage is a listener of two hosts, and what its application's code may reach for.
struct stage {
    stage() : a(server_context()), b(server_context()), plain(server_context()) {
        for (SSL_CTX* context : {a.get(), b.get()}) SSL_CTX_set_post_handshake_auth(context, 1);
        auto policy = asking();
        listener.attach(*a, policy);
        policy.when_offered = reqauth::client_auth::request(trust_in(partners));
        listener.attach(*b, policy);
        ask(*plain, SSL_VERIFY_PEER, the_cast().customers_ca, admit_all);
    }
    static inline const identity partners = issue({.common_name = "Partners CA", .ca = true});
    owned<SSL_CTX> a;
    owned<SSL_CTX> b;
    owned<SSL_CTX> plain;
    reqauth::server listener;
    owned<SSL> agents_ssl;             ///< a server's, on which another agent is a flagged peer
    owned<SSL_SESSION> agents_session; ///< that agent's
};

enum class moment { before, hello, name, alpn, certificate, flight, waiting, verifying, done, after };
constexpr std::array all_moments{moment::before, moment::hello,   moment::name,      moment::alpn, moment::certificate,
                                 moment::flight, moment::waiting, moment::verifying, moment::done, moment::after};

/// meddling is what the application does with its SSL, once, at some moment of a handshake.
struct meddling {
    const char* what;
    std::function<void(SSL*, stage&)> call;
    /// Moments at which OpenSSL itself does not bear it.
    std::vector<moment> not_at = {};
};

const std::vector<meddling>& all_meddling() {
    static const std::vector<moment> inside(all_moments.begin() + 1, all_moments.end() - 1);
    static const std::vector<meddling> all = {
        {"nothing", [](SSL*, stage&) {}},
        {"SSL_set_verify NONE", [](SSL* ssl, stage&) { SSL_set_verify(ssl, SSL_VERIFY_NONE, nullptr); }},
        {"SSL_set_verify PEER, admits all", [](SSL* ssl, stage&) { SSL_set_verify(ssl, SSL_VERIFY_PEER, admit_all); }},
        {"SSL_set_verify NONE, admits all", [](SSL* ssl, stage&) { SSL_set_verify(ssl, SSL_VERIFY_NONE, admit_all); }},
        {"SSL_set1_verify_cert_store, customers'",
         [](SSL* ssl, stage&) { SSL_set1_verify_cert_store(ssl, store_of(the_cast().customers_ca).get()); }},
        {"SSL_set1_param NO_CHECK_TIME", [](SSL* ssl, stage&) { set_flags(ssl, X509_V_FLAG_NO_CHECK_TIME); }},
        {"X509_VERIFY_PARAM_set_time, an hour and a half ago",
         [](SSL* ssl, stage&) { X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl), time(nullptr) - 5400); }},
        {"SSL_set1_param PARTIAL_CHAIN, IGNORE_CRITICAL",
         [](SSL* ssl, stage&) { set_flags(ssl, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_IGNORE_CRITICAL); }},
        {"SSL_set_purpose, SSL_set_trust, any",
         [](SSL* ssl, stage&) {
             SSL_set_purpose(ssl, X509_PURPOSE_ANY);
             SSL_set_trust(ssl, X509_TRUST_EMAIL);
         }},
        {"SSL_set1_host, SSL_set_verify_depth",
         [](SSL* ssl, stage&) {
             SSL_set1_host(ssl, "nobody.example");
             SSL_set_verify_depth(ssl, 0);
         }},
        {"SSL_set_SSL_CTX, other trust", [](SSL* ssl, stage& on) { SSL_set_SSL_CTX(ssl, on.b.get()); }},
        {"SSL_set_SSL_CTX, not attached", [](SSL* ssl, stage& on) { SSL_set_SSL_CTX(ssl, on.plain.get()); }},
        {"SSL_set_SSL_CTX, there and back",
         [](SSL* ssl, stage& on) {
             SSL_set_SSL_CTX(ssl, on.plain.get());
             SSL_set_SSL_CTX(ssl, on.b.get());
             SSL_set_SSL_CTX(ssl, on.a.get());
         }},
        {"SSL_set_session, another agent's", [](SSL* ssl, stage& on) { SSL_set_session(ssl, on.agents_session.get()); },
         inside},
        {"SSL_copy_session_id of an agent's SSL",
         [](SSL* ssl, stage& on) { SSL_copy_session_id(ssl, on.agents_ssl.get()); }, inside},
        {"SSL_set_session_id_context",
         [](SSL* ssl, stage&) { SSL_set_session_id_context(ssl, reinterpret_cast<const unsigned char*>("mine"), 4); }},
        {"SSL_set_num_tickets", [](SSL* ssl, stage&) { SSL_set_num_tickets(ssl, 3); }},
        {"SSL_set_info_callback, none", [](SSL* ssl, stage&) { SSL_set_info_callback(ssl, nullptr); }},
        {"SSL_set_info_callback, another",
         [](SSL* ssl, stage&) { SSL_set_info_callback(ssl, [](const SSL*, int, int) {}); }},
        {"SSL_set_security_level 0", [](SSL* ssl, stage&) { SSL_set_security_level(ssl, 0); }},
        {"SSL_set_verify_result OK", [](SSL* ssl, stage&) { SSL_set_verify_result(ssl, X509_V_OK); }},
        {"SSL_set_options NO_TICKET", [](SSL* ssl, stage&) { SSL_set_options(ssl, SSL_OP_NO_TICKET); }},
        {"SSL_set_max_early_data", [](SSL* ssl, stage&) { SSL_set_max_early_data(ssl, 1024); }},
        {"SSL_add_client_CA",
         [](SSL* ssl, stage&) { SSL_add_client_CA(ssl, the_cast().customers_ca.certificate.get()); }},
        {"SSL_new_session_ticket", [](SSL* ssl, stage&) { SSL_new_session_ticket(ssl); }},
        {"SSL_verify_client_post_handshake",
         [](SSL* ssl, stage&) {
             SSL_verify_client_post_handshake(ssl);
             ERR_clear_error();
         }},
        {"SSL_renegotiate, SSL_key_update",
         [](SSL* ssl, stage&) {
             SSL_renegotiate(ssl);
             SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
             ERR_clear_error();
         }},
        {"SSL_dup, and the copy freed", [](SSL* ssl, stage&) { const owned<SSL> copy(SSL_dup(ssl)); }},
        {"SSL_get1_session into the cache",
         [](SSL* ssl, stage&) {
             const owned<SSL_SESSION> session(SSL_get1_session(ssl));
             if (session != nullptr) SSL_CTX_add_session(SSL_get_SSL_CTX(ssl), session.get());
         }},
        {"peer_of, server_outcome_of",
         [](SSL* ssl, stage&) {
             CHECK_FALSE((SSL_is_init_finished(ssl) != 1 && seen(*ssl).starts_with("flagged")));
             CHECK((SSL_is_init_finished(ssl) == 1 ||
                    reqauth::server_outcome_of(*ssl).certificate != reqauth::server_outcome::answer::verified));
         }},
    };
    return all;
}

/// The application's callbacks call it at their moment.
struct running {
    const meddling* what = nullptr;
    moment when = moment::before;
    stage* on = nullptr;
    bool done = false;
    void at(moment now, SSL* ssl) {
        if (when != now || done) return;
        done = true;
        what->call(ssl, *on);
    }
} now_running;

void let_meddle(SSL_CTX& context) {
    SSL_CTX_set_client_hello_cb(
        &context,
        [](SSL* ssl, int*, void*) {
            now_running.at(moment::hello, ssl);
            return SSL_CLIENT_HELLO_SUCCESS;
        },
        nullptr);
    SSL_CTX_set_tlsext_servername_callback(
        &context, +[](SSL* ssl, int*, void*) {
            now_running.at(moment::name, ssl);
            return SSL_TLSEXT_ERR_OK;
        });
    SSL_CTX_set_alpn_select_cb(
        &context,
        [](SSL* ssl, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned, void*) {
            now_running.at(moment::alpn, ssl);
            *out = in + 1;
            *size = in[0];
            return SSL_TLSEXT_ERR_OK;
        },
        nullptr);
    SSL_CTX_set_cert_cb(
        &context,
        [](SSL* ssl, void*) {
            now_running.at(moment::certificate, ssl);
            return 1;
        },
        nullptr);
    SSL_CTX_set_cert_verify_callback(
        &context,
        [](X509_STORE_CTX* chain, void*) {
            now_running.at(moment::verifying,
                           static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx())));
            return X509_verify_cert(chain);
        },
        nullptr);
    SSL_CTX_set_info_callback(&context, [](const SSL* ssl, int event, int) {
        SSL* own = const_cast<SSL*>(ssl); // NOLINT: as OpenSSL's own tests do
        if (event == SSL_CB_ACCEPT_LOOP && SSL_get_state(ssl) == TLS_ST_SW_ENCRYPTED_EXTENSIONS)
            now_running.at(moment::flight, own);
        if (event == SSL_CB_HANDSHAKE_DONE) now_running.at(moment::done, own);
    });
}

/// meddled lets a client come in while the application meddles.
void meddle(pair& both) {
    SSL_set_tlsext_host_name(both.client.ssl.get(), "server.example");
    SSL_set_alpn_protos(both.client.ssl.get(), reinterpret_cast<const unsigned char*>("\x02h2"), 3);
    SSL* ssl = both.server.ssl.get();
    now_running.at(moment::before, ssl);
    both.client.step();
    both.server.give(both.client.take());
    both.server.step();
    now_running.at(moment::waiting, ssl);
    both.run();
    if (both.server.good()) now_running.at(moment::after, ssl);
    ERR_clear_error();
    both.run();
}

} // namespace

TEST_CASE("server / OpenSSL's calls on its SSL, at any moment of a flagged handshake -> never another's flagged_peer",
          "[handshake][attempt][SEC-1][SEC-3]") {
    const auto& who = the_cast();
    const identity namesake = issue(agent_description("crawler.example"), &who.customers_ca);
    auto other_policy = agent_policy();
    other_policy.credential = credential_of(who.other_agent);
    const auto other = attached_client(other_policy);
    const auto plain = client_context();
    const struct {
        const identity* client;
        bad_peer presents;
    } visitors[] = {{&who.agent, flagged_client(who.agent)},
                    {&who.expired_agent, flagged_client(who.expired_agent)},
                    {&who.customer, flagged_client(who.customer)},
                    {&namesake, flagged_client(namesake)}};
    std::size_t flagged = 0;
    for (const meddling& what : all_meddling())
        for (const moment when : all_moments) {
            if (std::ranges::find(what.not_at, when) != what.not_at.end()) continue;
            stage on;
            {
                pair both(*on.a, *other);
                REQUIRE(both.shake());
                REQUIRE(seen(both) == "flagged CN=other.example");
                on.agents_session.reset(SSL_get1_session(both.server.ssl.get()));
                on.agents_ssl = std::move(both.server.ssl);
                both.server.ssl = owned<SSL>(SSL_new(on.a.get()));
                SSL_set_msg_callback(on.agents_ssl.get(), nullptr);
            }
            let_meddle(*on.a);
            for (const auto& [client, presents] : visitors) {
                CAPTURE(what.what, int(when), client == &who.agent, client == &who.expired_agent);
                session_shelf shelf;
                shelf.serve(*presents.context);
                now_running = {&what, when, &on, false};
                pair both(*on.a, *presents.context);
                meddle(both);
                const std::string came_to = seen(both);
                const bool good_agent = client == &who.agent;
                const auto rightly = [&](const std::string& seen_as) {
                    return !seen_as.starts_with("flagged") || (good_agent && seen_as == "flagged CN=crawler.example");
                };
                CHECK(rightly(came_to));
                flagged += came_to.starts_with("flagged");
                if (shelf.last == nullptr) continue;
                now_running = {};
                both.close();
                for (const bool flag : {true, false}) {
                    pair again(*on.a, flag ? *presents.context : *plain);
                    SSL_set_tlsext_host_name(again.client.ssl.get(), "server.example");
                    SSL_set_session(again.client.ssl.get(),
                                    owned<SSL_SESSION>(SSL_SESSION_dup(shelf.last.get())).get());
                    again.run();
                    CHECK((flag ? rightly(seen(again)) : !seen(again).starts_with("flagged")));
                }
            }
        }
    CHECK(flagged > all_meddling().size()); // or the above shows nothing
}

namespace {

/// setting is one of the application's, made while a flagged handshake waits for the client's Certificate.
struct setting {
    const char* what;
    std::function<void(SSL*)> set;
    std::function<bool(SSL*)> there;
};

const std::vector<setting>& all_settings() {
    static const owned<X509_STORE> store = store_of(the_cast().customers_ca);
    static const auto noticed = [](const SSL*, int, int) {};
    static const std::vector<setting> all = {
        {"verify mode", [](SSL* ssl) { SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, nullptr); },
         [](SSL* ssl) { return SSL_get_verify_mode(ssl) == (SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE); }},
        {"verify callback", [](SSL* ssl) { SSL_set_verify(ssl, SSL_VERIFY_PEER, admit_all); },
         [](SSL* ssl) {
             return SSL_get_verify_callback(ssl) == admit_all && SSL_get_verify_mode(ssl) == SSL_VERIFY_PEER;
         }},
        {"verify store", [](SSL* ssl) { SSL_set1_verify_cert_store(ssl, store.get()); },
         [](SSL* ssl) {
             X509_STORE* now = nullptr;
             SSL_get0_verify_cert_store(ssl, &now);
             return now == store.get();
         }},
        {"client CA list",
         [](SSL* ssl) {
             STACK_OF(X509_NAME)* names = sk_X509_NAME_new_null();
             sk_X509_NAME_push(names, X509_NAME_dup(X509_get_subject_name(the_cast().customers_ca.certificate.get())));
             SSL_set_client_CA_list(ssl, names);
         },
         [](SSL* ssl) { return sk_X509_NAME_num(SSL_get_client_CA_list(ssl)) == 1; }},
        {"number of tickets", [](SSL* ssl) { SSL_set_num_tickets(ssl, 5); },
         [](SSL* ssl) { return SSL_get_num_tickets(ssl) == 5; }},
        {"max_early_data", [](SSL* ssl) { SSL_set_max_early_data(ssl, 77); },
         [](SSL* ssl) { return SSL_get_max_early_data(ssl) == 77; }},
        {"info callback", [](SSL* ssl) { SSL_set_info_callback(ssl, noticed); },
         [](SSL* ssl) { return SSL_get_info_callback(ssl) == static_cast<void (*)(const SSL*, int, int)>(noticed); }},
    };
    return all;
}

} // namespace

TEST_CASE("server / the application's own settings, made in the middle of a flagged handshake -> still there after it",
          "[handshake][attempt][SEC-6]") {
    for (const setting& one : all_settings())
        for (const bool refuse_early_data : {false, true}) {
            auto policy = asking();
            policy.refuse_early_data = refuse_early_data;
            const auto context = attached_server(policy);
            const auto agent = attached_client();
            CAPTURE(one.what, refuse_early_data);
            pair both(*context, *agent);
            both.client.step();
            both.server.give(both.client.take());
            both.server.step();
            REQUIRE_FALSE(both.server.done);
            one.set(both.server.ssl.get());
            both.run();
            CHECK(one.there(both.server.ssl.get()));
        }
}

namespace {

owned<SSL> fresh(SSL_CTX& context, bool server) {
    owned<SSL> ssl(SSL_new(&context));
    server ? SSL_set_accept_state(ssl.get()) : SSL_set_connect_state(ssl.get());
    return ssl;
}

std::string shaken(pair& both) { return both.shake() ? seen(both) : "alert " + alert_to_client(both); }

/// way is one through a handshake that OpenSSL offers and few take.
struct way {
    const char* what;
    std::function<std::string()> go;
    std::string as;
};

std::string nobody(const std::string& seen_as) { return seen_as.starts_with("flagged") ? seen_as : "nobody"; }

const std::string flagged_agent = "flagged CN=crawler.example";

std::string by_psk(const reqauth::server_policy& policy) {
    // TLS 1.2's callbacks, which OpenSSL uses in TLS 1.3 as well.
    const auto server = attached_server(policy);
    SSL_CTX_set_psk_server_callback(server.get(), [](SSL*, const char*, unsigned char* key, unsigned) -> unsigned {
        std::fill_n(key, 32, static_cast<unsigned char>(9));
        return 32;
    });
    SSL_CTX_set_ciphersuites(server.get(), "TLS_AES_128_GCM_SHA256"); // the only one for such a PSK
    const auto client = attached_client();
    SSL_CTX_set_psk_client_callback(
        client.get(), [](SSL*, const char*, char* who, unsigned, unsigned char* key, unsigned) -> unsigned {
            std::copy_n("me", 3, who);
            std::fill_n(key, 32, static_cast<unsigned char>(9));
            return 32;
        });
    pair both(*server, *client);
    const std::string as = shaken(both);
    return SSL_session_reused(both.server.ssl.get()) == 1 ? as : "no PSK, " + as;
}

int cookie(SSL*, unsigned char* octets, std::size_t* size) {
    *size = 3;
    std::copy_n("abc", 3, octets);
    return 1;
}

std::string by_stateless_retry(SSL_CTX& client, bool another_ssl) {
    const auto server = attached_server(asking());
    SSL_CTX_set_stateless_cookie_generate_cb(server.get(), cookie);
    SSL_CTX_set_stateless_cookie_verify_cb(server.get(), [](SSL*, const unsigned char* octets, std::size_t size) {
        return size == 3 && octets[0] == 'a' ? 1 : 0;
    });
    pair both(*server, client);
    SSL_clear_options(both.client.ssl.get(), SSL_OP_ENABLE_MIDDLEBOX_COMPAT); // SSL_stateless reads one record
    both.client.step();
    both.server.give(both.client.take());
    if (SSL_stateless(both.server.ssl.get()) != 0) return "no retry";
    both.client.give(both.server.take());
    both.client.step();
    if (another_ssl) {
        pair second(fresh(*server, true), fresh(client, false));
        second.server.give(both.client.take());
        if (SSL_stateless(second.server.ssl.get()) != 1) return "no cookie";
        both.server.ssl.swap(second.server.ssl);
        SSL_set_msg_callback(both.server.ssl.get(), nullptr);
        return shaken(both);
    }
    both.server.give(both.client.take());
    if (SSL_stateless(both.server.ssl.get()) == 1) return shaken(both);
    both.client.give(both.server.take());
    both.client.step();
    return "alert " + alert_to_client(both);
}

const std::vector<way>& all_ways() {
    static const std::vector<way> all = {
        {"SSL_set_accept_state in the middle, then a client without the flag",
         [] {
             const auto server = attached_server(demanding());
             const auto agent = attached_client();
             const auto plain = client_context();
             pair first(*server, *agent);
             first.client.step();
             first.server.give(first.client.take());
             first.server.step();
             SSL_set_accept_state(first.server.ssl.get());
             SSL_set_bio(first.server.ssl.get(), nullptr, nullptr);
             pair second(std::move(first.server.ssl), fresh(*plain, false));
             second.shake(); // OpenSSL itself does not bear it
             return nobody(seen(second));
         },
         "nobody"},
        {"SSL_set_accept_state after it, then a client without the flag",
         [] {
             const auto server = attached_server(demanding());
             const auto agent = attached_client();
             const auto plain = client_context();
             pair first(*server, *agent);
             if (shaken(first) != flagged_agent) return std::string("first");
             SSL_set_accept_state(first.server.ssl.get());
             if (seen(first).starts_with("flagged")) return std::string("stale");
             SSL_set_bio(first.server.ssl.get(), nullptr, nullptr);
             pair second(std::move(first.server.ssl), fresh(*plain, false));
             second.shake();
             return nobody(seen(second));
         },
         "nobody"},
        {"SSL_stateless, flag in both ClientHellos", [] { return by_stateless_retry(*attached_client(), false); },
         flagged_agent},
        {"SSL_stateless, no flag", [] { return by_stateless_retry(*client_context(), false); }, "not_offered"},
        {"SSL_stateless, flag in the first ClientHello only",
         [] {
             bad_peer client(client_context(), {{in::client_hello, {flags({80}), std::nullopt}}});
             return by_stateless_retry(*client.context, false);
         },
         "not_offered"},
        // SSL_stateless forgets the first, as another process would.
        {"SSL_stateless, other flags in the second",
         [] {
             bad_peer client(client_context(), {{in::client_hello, {flags({80}), flags({80, 3})}}});
             return by_stateless_retry(*client.context, false);
         },
         "alert illegal parameter"},
        {"SSL_stateless, the second ClientHello on another SSL, as in another process",
         [] { return by_stateless_retry(*attached_client(), true); }, flagged_agent},
        {"an external PSK of TLS 1.2's callbacks, request", [] { return by_psk(asking()); }, "not_vouched"},
        {"an external PSK of TLS 1.2's callbacks, require", [] { return by_psk(demanding()); },
         "alert certificate required"},
        {"one SSL_CTX on both ends of a connection",
         [] {
             owned<SSL_CTX> context(SSL_CTX_new(TLS_method()));
             present(*context, the_cast().server);
             X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), the_cast().server_ca.certificate.get());
             X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(context.get()), "server.example", 0);
             reqauth::server().attach(*context, asking());
             reqauth::client(agent_policy()).attach(*context);
             pair both(fresh(*context, true), fresh(*context, false));
             SSL_set_verify(both.client.ssl.get(), SSL_VERIFY_PEER, nullptr);
             const std::string as = shaken(both);
             return seen(*both.client.ssl) == "not_offered" ? as : "a client's peer";
         },
         flagged_agent},
        {"one SSL, a server's first and a client's then, and the other way",
         [] {
             owned<SSL_CTX> context(SSL_CTX_new(TLS_method()));
             present(*context, the_cast().server);
             X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), the_cast().server_ca.certificate.get());
             X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(context.get()), "server.example", 0);
             reqauth::server().attach(*context, asking());
             reqauth::client(agent_policy()).attach(*context);
             const auto server = attached_server(asking());
             const auto agent = attached_client();
             owned<SSL> ssl(SSL_new(context.get()));
             std::string all;
             for (const bool as_server : {true, false, true, false}) {
                 as_server ? SSL_set_accept_state(ssl.get()) : SSL_set_connect_state(ssl.get());
                 SSL_set_verify(ssl.get(), as_server ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
                 pair both(as_server ? std::move(ssl) : fresh(*server, true),
                           as_server ? fresh(*agent, false) : std::move(ssl));
                 all += shaken(both) == flagged_agent ? "+" : "-";
                 both.close();
                 ssl = std::move(as_server ? both.server.ssl : both.client.ssl);
                 SSL_clear(ssl.get());
                 SSL_set_bio(ssl.get(), nullptr, nullptr);
             }
             return all;
         },
         "++++"},
        {"SSL_set_SSL_CTX before the handshake, to an attached one",
         [] {
             const auto plain = server_context();
             const auto attached = attached_server(demanding());
             const auto agent = attached_client();
             owned<SSL> ssl = fresh(*plain, true);
             SSL_set_SSL_CTX(ssl.get(), attached.get());
             pair both(std::move(ssl), fresh(*agent, false));
             return shaken(both);
         },
         flagged_agent},
        {"the same, with a session that a customer got there",
         [] {
             auto plain = server_context();
             const auto attached = attached_server(demanding());
             const auto customer = client_context();
             session_shelf shelf;
             shelf.serve(*customer);
             pair first(*plain, *customer);
             first.shake();
             first.close();
             owned<SSL> ssl = fresh(*plain, true);
             SSL_set_SSL_CTX(ssl.get(), attached.get());
             bad_peer agent = flagged_client(the_cast().agent);
             pair both(std::move(ssl), fresh(*agent.context, false));
             SSL_set_session(both.client.ssl.get(), shelf.last.get());
             return shaken(both);
         },
         "alert certificate required"},
        {"SSL_clear after an agent, then TLS 1.2 with renegotiation",
         [] {
             const auto server = server_context();
             ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
             attach(*server, asking());
             const auto agent = attached_client();
             pair first(*server, *agent);
             if (shaken(first) != flagged_agent) return std::string("first");
             SSL_clear(first.server.ssl.get());
             SSL_set_bio(first.server.ssl.get(), nullptr, nullptr);
             auto context = client_context();
             present(*context, the_cast().customer);
             SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
             bad_peer customer(std::move(context), {{in::client_hello, {flags({80})}}}, 62, in::all);
             pair second(std::move(first.server.ssl), fresh(*customer.context, false));
             std::string as = shaken(second);
             SSL_renegotiate(second.server.ssl.get());
             SSL_do_handshake(second.server.ssl.get());
             second.run();
             const owned<X509> shown(SSL_get1_peer_certificate(second.server.ssl.get()));
             as += shown != nullptr && X509_cmp(shown.get(), the_cast().customer.certificate.get()) == 0 ? ", customer"
                                                                                                         : "";
             return as + ", " + std::to_string(SSL_get_verify_result(second.server.ssl.get())) + ", " + seen(second);
         },
         "not_offered, customer, 0, not_offered"},
        {"TLS 1.3 taken away after attach",
         [] {
             const auto server = attached_server(demanding());
             SSL_CTX_set_max_proto_version(server.get(), TLS1_2_VERSION);
             const auto agent = attached_client();
             pair both(*server, *agent);
             return shaken(both);
         },
         "not_offered"},
        {"data before the client's Certificate, SSL_write_early_data",
         [] {
             const auto server = attached_server(demanding());
             SSL_CTX_set_max_early_data(server.get(), 1024);
             const auto agent = attached_client();
             pair both(*server, *agent);
             SSL* ssl = both.server.ssl.get();
             both.client.step();
             both.server.give(both.client.take());
             char buffer[8];
             std::size_t size = 0;
             if (SSL_read_early_data(ssl, buffer, sizeof buffer, &size) != SSL_READ_EARLY_DATA_FINISH)
                 return std::string("reading");
             if (SSL_write_early_data(ssl, "early", 5, &size) != 1) return std::string("writing");
             const std::string during = seen(both);
             const std::string as = shaken(both);
             return during + ", " + as + ", " + both.client.data;
         },
         "handshake_unfinished, " + flagged_agent + ", early"},
        {"SSL_set_session NULL after it",
         [] {
             const auto server = attached_server(asking());
             const auto agent = attached_client();
             pair both(*server, *agent);
             both.shake();
             SSL_set_session(both.server.ssl.get(), nullptr);
             return nobody(seen(both));
         },
         "nobody"},
    };
    return all;
}

} // namespace

TEST_CASE("server / ways through a handshake that few take -> the peer that this very connection verified, or nobody",
          "[handshake][attempt][SEC-1][SEC-2][TLS-1][TLS-5]") {
    for (const way& one : all_ways()) {
        CAPTURE(one.what);
        CHECK(one.go() == one.as);
        ERR_clear_error();
    }
}

TEST_CASE("server / verify_result_ok, and events that come after the handshake -> still the agent, and X509_V_OK",
          "[handshake][attempt][SEC-8]") {
    for (const bool resumed : {false, true}) {
        CAPTURE(resumed);
        auto policy = asking();
        policy.verify_result_ok = true;
        const auto server = attached_server(policy);
        visitor agent(attached_client());
        if (resumed) visit(*server, *agent.context);
        pair both(*server, *agent.context);
        owned<SSL_SESSION> session = std::move(agent.shelf.last);
        if (resumed) {
            take_over(*session, *both.client.ssl);
            SSL_set_session(both.client.ssl.get(), session.get());
        }
        REQUIRE(both.shake());
        REQUIRE(SSL_session_reused(both.server.ssl.get()) == (resumed ? 1 : 0));
        const auto check = [&](const char* after) {
            CAPTURE(after);
            CHECK(seen(both) == flagged_agent);
            CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
        };
        check("the handshake");
        REQUIRE(SSL_new_session_ticket(both.server.ssl.get()) == 1);
        SSL_do_handshake(both.server.ssl.get());
        both.run();
        check("SSL_new_session_ticket");
        SSL_key_update(both.server.ssl.get(), SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(both.server.ssl.get());
        both.run();
        check("SSL_key_update");
        // The client answers nothing, so nothing has been said of anybody else.
        SSL_key_update(both.client.ssl.get(), SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(both.client.ssl.get());
        both.run();
        check("the client's key update");
    }
}

TEST_CASE(
    "server / SSL freed, or its transport gone, after any flight of a flagged handshake -> nothing is left behind",
    "[handshake][attempt][valgrind][SEC-3]") {
    // The leak checker judges, and the address sanitizer.
    const auto server = attached_server(demanding());
    const auto agent = attached_client();
    for (int flights = 0; flights < 8; ++flights)
        for (const bool dup : {false, true}) {
            pair both(*server, *agent);
            for (int i = 0; i < flights; ++i) {
                endpoint& from = i % 2 == 0 ? both.client : both.server;
                endpoint& to = i % 2 == 0 ? both.server : both.client;
                from.step();
                to.give(from.take());
            }
            if (dup) {
                const owned<SSL> copy(SSL_dup(both.server.ssl.get()));
                both.server.ssl.reset();
                CHECK((flights >= 4 || !seen(*copy).starts_with("flagged")));
                both.server.ssl = fresh(*server, true);
            }
        }
    CHECK(sane_conversation() == flagged_agent);
}
