// SPDX-License-Identifier: Apache-2.0
// Servers and clients whose handshakes an event loop carries (SSL_set_quic_tls_cbs), on SSL_CTXs as for TCP. What does not
// depend on QUIC is in scripts/quic-matrix.

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#if HAS_QUIC

using support::owned;
using support::the_cast;
using support::wire;
using verdict = reqauth::client_outcome::verdict;

namespace {

owned<SSL> made(SSL_CTX& context, bool server) {
    owned<SSL> ssl(SSL_new(&context));
    if (server)
        SSL_set_accept_state(ssl.get());
    else
        SSL_set_connect_state(ssl.get());
    return ssl;
}

} // namespace

TEST_CASE("QUIC of an event loop / 0-RTT -> for whom the session is, marked, and refused where the policy says",
          "[quic][FLAG-11][TLS-2][TLS-4]") {
    struct row {
        const char* name;
        bool refuse;
        bool flag_then;
        const char* server_name;
        bool resumes;
        bool early;
    };
    const row rows[] = {
        {"agent", false, true, "server.example", true, true},
        {"agent, refuse_early_data", true, true, "server.example", true, false},
        {"session without the flag", false, false, "server.example", false, false},
        {"another name", false, true, "b.example", false, false},
    };
    for (const auto how : {support::tickets::early_data, support::tickets::early_data_stateless})
        ROWS(std::string(each.name) + (how == support::tickets::early_data ? "" : ", stateless"), rows,
             const row& each) {
            const auto server = support::server_context();
            auto policy = support::asking();
            policy.refuse_early_data = each.refuse;
            support::attach(*server, policy);
            support::fleet keys;
            keys.join(*server, how);
            SSL_CTX_set_max_early_data(server.get(), 0xffffffff);
            support::visitor agent(support::attached_client());
            {
                support::pair first(made(*server, true), made(*agent.context, false), wire::quic);
                SSL_set_tlsext_host_name(first.client.ssl.get(), "server.example");
                REQUIRE(support::crypto_stream::allow_early(*first.server.ssl));
                REQUIRE(first.shake());
                CHECK(support::seen(first) == "flagged CN=crawler.example");
                CHECK(reqauth::client_outcome_of(*first.client.ssl).judged == verdict::ticket);
                first.close();
            }
            const owned<SSL_SESSION> session = std::move(agent.shelf.last);
            REQUIRE(session != nullptr);
            const auto person = support::client_context();
            support::pair again(made(*server, true), made(each.flag_then ? *agent.context : *person, false),
                                wire::quic);
            SSL_set_tlsext_host_name(again.client.ssl.get(), each.server_name);
            if (each.flag_then) support::take_over(*session, *again.client.ssl);
            SSL_set_session(again.client.ssl.get(), session.get());
            for (const auto* side : {&again.server, &again.client})
                CHECK(support::crypto_stream::allow_early(*side->ssl) == (side == &again.server || !each.refuse));
            REQUIRE(again.shake());
            CHECK((SSL_session_reused(again.server.ssl.get()) == 1) == each.resumes);
            CHECK(again.server.crypto->early_keys == each.early);
            CHECK(support::seen(again) == (each.flag_then ? "flagged CN=crawler.example" : "not_offered"));
            const reqauth::peer who = reqauth::peer_of(*again.server.ssl);
            if (const auto* known = std::get_if<reqauth::flagged_peer>(&who)) {
                CHECK(known->resumed() == each.resumes);
                CHECK(known->from_early_data() == each.early);
            }
        }
}

TEST_CASE("QUIC of an event loop / refused -> the observer and the counters know, and the event loop has the alert",
          "[quic][SEC-2]") {
    int told = -1;
    reqauth::server_options options;
    options.observe = [&](const SSL&, const auto& what) {
        if (const auto* refusal = std::get_if<reqauth::refusal>(&what)) told = refusal->alert;
    };
    reqauth::server server(options);
    const auto context = support::server_context();
    server.attach(*context, support::demanding());
    reqauth::client_policy nothing;
    nothing.offer = reqauth::offer::always;
    const auto client = support::attached_client(nothing);
    support::pair both(made(*context, true), made(*client, false), wire::quic);
    CHECK_FALSE(both.shake());
    CHECK(both.client.alert_received == SSL_AD_CERTIFICATE_REQUIRED);
    CHECK(told == SSL_AD_CERTIFICATE_REQUIRED);
    CHECK(server.counters().refused == 1);
    CHECK(support::seen(both) == "handshake_unfinished");
    CHECK(reqauth::client_outcome_of(*both.client.ssl).judged == verdict::awaited);
}

TEST_CASE("QUIC of an event loop / an SSL_CTX switched by server name -> the final one decides", "[quic][SEC-5]") {
    reqauth::server server;
    const auto a = support::server_context();
    const auto b = support::server_context();
    server.attach(*a, {});
    server.attach(*b, support::asking());
    SSL_CTX_set_tlsext_servername_arg(a.get(), b.get());
    SSL_CTX_set_tlsext_servername_callback(
        a.get(), +[](SSL* ssl, int*, void* other) -> int {
            const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
            if (name != nullptr && std::string_view(name) == "b.example")
                SSL_set_SSL_CTX(ssl, static_cast<SSL_CTX*>(other));
            return SSL_TLSEXT_ERR_OK;
        });
    const auto client = support::attached_client();
    for (const bool to_b : {false, true}) {
        support::pair both(made(*a, true), made(*client, false), wire::quic);
        const char* name = to_b ? "b.example" : "a.example";
        SSL_set_tlsext_host_name(both.client.ssl.get(), name);
        REQUIRE(both.shake());
        CHECK(support::seen(both) == (to_b ? "flagged CN=crawler.example" : "ignored"));
    }
}

TEST_CASE("QUIC of an event loop / callbacks that suspend, several in one thread -> each has its own outcome",
          "[quic][SEC-6]") {
    const auto server = support::attached_server(support::asking());
    int waits = 0;
    SSL_CTX_set_cert_cb(
        server.get(), [](SSL*, void* left) { return *static_cast<int*>(left) > 0 ? -1 : 1; }, &waits);
    auto policy = support::agent_policy();
    policy.chained_certificate_callback = {[](SSL*, void* left) { return *static_cast<int*>(left) > 0 ? -1 : 1; },
                                           &waits};
    const auto agent = support::attached_client(policy);
    const auto person = support::client_context();
    waits = 1;
    std::vector<std::unique_ptr<support::pair>> all;
    for (int i = 0; i < 6; ++i) {
        all.push_back(std::make_unique<support::pair>(made(*server, true), made(i % 2 == 0 ? *agent : *person, false),
                                                      wire::quic));
        CHECK_FALSE(all.back()->shake());
    }
    waits = 0;
    for (int i = 5; i >= 0; --i) {
        support::pair& both = *all[static_cast<std::size_t>(i)];
        both.server.step(); // whose certificate is there now
        REQUIRE(both.shake());
        CHECK(support::seen(both) == (i % 2 == 0 ? "flagged CN=crawler.example" : "not_offered"));
    }
}

#endif
