// SPDX-License-Identifier: Apache-2.0
// Both sides on connections of OpenSSL's own QUIC: what is true over TCP is true here.

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/quic_connections.hpp"
#include "support/sessions.hpp"

#include <string>
#include <vector>

#if HAS_QUIC

using reqauth::errc;
using support::owned;
using support::quic_listener;
using support::quic_pair;
using support::the_cast;
using answer = reqauth::client_outcome::answer;
using verdict = reqauth::client_outcome::verdict;

namespace {

owned<SSL_CTX> quic_server() { return support::server_context(the_cast().server, OSSL_QUIC_server_method()); }
owned<SSL_CTX> quic_client() { return support::client_context(OSSL_QUIC_client_method()); }

owned<SSL_CTX> quic_server(const reqauth::server_policy& policy) {
    auto context = quic_server();
    support::attach(*context, policy);
    return context;
}

owned<SSL_CTX> quic_client(const reqauth::client_policy& policy) {
    auto context = quic_client();
    reqauth::client(policy).attach(*context);
    return context;
}

std::string seen(const quic_pair& both) { return support::seen(*both.server); }

/// other_agent has an agent's certificate of a CA that the server does not trust, and shows it.
reqauth::client_policy other_agent() {
    static const support::identity ca = support::issue({.common_name = "Other CA", .ca = true});
    static const support::identity agent = support::issue(support::agent_description("impostor.example"), &ca);
    reqauth::client_policy policy;
    policy.credential = support::credential_of(agent);
    policy.when_unsatisfiable = reqauth::unsatisfiable::present;
    return policy;
}

} // namespace

TEST_CASE("QUIC / full handshake -> an agent is known, by its own account and the server's", "[quic][RCA-2][RCA-12]") {
    int told = 0;
    reqauth::server_options options;
    options.observe = [&](const SSL& ssl, const auto&) { told += support::seen(ssl).starts_with("flagged") ? 1 : 0; };
    reqauth::server server(options);
    const auto at_server = quic_server();
    server.attach(*at_server, support::asking());
    reqauth::client_policy policy = support::agent_policy();
    std::vector<std::string> journal;
    policy.observe = [&](const SSL&, const reqauth::client_outcome& how) {
        journal.push_back(std::string(to_string(how.sent)) + " " + std::string(to_string(how.judged)));
    };
    reqauth::client client(policy);
    const auto at_client = quic_client();
    client.attach(*at_client);
    quic_listener at(*at_server);
    quic_pair both(at, *at_client);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
    CHECK(told == 1);
    CHECK(SSL_get_verify_result(both.server.get()) == X509_V_ERR_APPLICATION_VERIFICATION);
    CHECK(both.exchange("GET /") == "GET /");
    const auto outcome = reqauth::last_outcome_of(*both.client);
    CHECK(outcome.offered);
    CHECK(outcome.acknowledged);
    CHECK(outcome.sent == answer::flag);
    CHECK(outcome.judged == verdict::ticket);
    CHECK(journal == std::vector<std::string>{"flag awaited", "flag ticket"});
    CHECK(server.counters().verified == 1);
    CHECK(client.counters().presented == 1);
    // A person at the same server.
    const auto person = quic_client();
    quic_pair other(at, *person);
    REQUIRE(other.shake());
    CHECK(seen(other) == "not_offered");
    CHECK(SSL_get_signature_nid(other.client.get(), nullptr) == 0);
}

TEST_CASE("QUIC / certificates of the application's own -> answer no acknowledged request, and any other",
          "[quic][RCA-3][RCA-12]") {
    for (const bool acknowledged : {true, false}) {
        CAPTURE(acknowledged);
        const auto server = acknowledged ? quic_server(support::asking()) : quic_server();
        if (!acknowledged) support::ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
        quic_listener at(*server);
        for (const bool by_callback : {false, true}) {
            CAPTURE(by_callback);
            const auto client = quic_client();
            if (by_callback)
                SSL_CTX_set_client_cert_cb(client.get(), [](SSL*, X509** certificate, EVP_PKEY** key) {
                    *certificate = the_cast().customer.certificate.get();
                    *key = the_cast().customer.key.get();
                    X509_up_ref(*certificate);
                    EVP_PKEY_up_ref(*key);
                    return 1;
                });
            else
                support::present(*client, the_cast().customer);
            reqauth::client(support::agent_policy()).attach(*client);
            quic_pair both(at, *client);
            REQUIRE(both.shake());
            const auto outcome = reqauth::client_outcome_of(*both.client);
            CHECK(outcome.acknowledged == acknowledged);
            CHECK(outcome.sent == (acknowledged ? answer::flag : answer::other));
            const owned<X509> shown(SSL_get1_peer_certificate(both.server.get()));
            const auto& expected = acknowledged ? the_cast().agent : the_cast().customer;
            CHECK(X509_cmp(shown.get(), expected.certificate.get()) == 0);
            CHECK(seen(both) == (acknowledged ? "flagged CN=crawler.example" : "not_offered"));
            if (!by_callback) // its own are back
                CHECK(SSL_get_certificate(both.client.get()) == the_cast().customer.certificate.get());
        }
    }
}

TEST_CASE("QUIC / refused -> the alert is known on both sides, and nobody is authenticated", "[quic][RCA-14][SEC-2]") {
    struct row {
        const char* name;
        reqauth::client_policy client;
        reqauth::server_policy server;
        int alert; ///< -1: it goes on
        const char* seen;
    };
    reqauth::client_policy nothing;
    nothing.offer = reqauth::offer::always;
    auto lenient = support::asking();
    lenient.when_offered = reqauth::client_auth::request(support::agents()).invalid_is_anonymous();
    const row rows[] = {
        {"impostor", other_agent(), support::asking(), SSL_AD_UNKNOWN_CA, "handshake_unfinished"},
        {"impostor, goes on", other_agent(), lenient, -1, "invalid 20"},
        {"nothing to show", nothing, support::asking(), -1, "empty"},
        {"nothing to show where one must", nothing, support::demanding(), SSL_AD_CERTIFICATE_REQUIRED,
         "handshake_unfinished"},
    };
    ROWS(each.name, rows, const row& each) {
        int told = -1;
        reqauth::server_options options;
        const SSL* about = nullptr;
        options.observe = [&](const SSL& ssl, const auto& what) {
            about = &ssl;
            if (const auto* refusal = std::get_if<reqauth::refusal>(&what)) told = refusal->alert;
        };
        reqauth::server answering(options);
        const auto server = quic_server();
        answering.attach(*server, each.server);
        reqauth::client client(each.client);
        const auto context = quic_client();
        client.attach(*context);
        quic_listener at(*server);
        quic_pair both(at, *context);
        CHECK(both.shake() == (each.alert < 0));
        both.settle();
        CHECK(both.alert_to_client() == each.alert);
        REQUIRE(both.server != nullptr);
        CHECK(seen(both) == each.seen);
        CHECK(told == each.alert);
        CHECK(about == both.server.get());
        CHECK(answering.counters().refused == (each.alert >= 0 ? 1U : 0U));
        const auto outcome = reqauth::last_outcome_of(*both.client);
        CHECK(outcome.acknowledged);
        CHECK((outcome.judged == verdict::refused) == (each.alert >= 0));
        CHECK((outcome.alert_received ? int{*outcome.alert_received} : -1) == each.alert);
        CHECK(client.counters().refused == (each.alert >= 0 ? 1U : 0U));
        CHECK(reqauth::last_outcome_of(*both.client).judged == outcome.judged);
        CHECK(client.counters().refused == (each.alert >= 0 ? 1U : 0U)); // once
    }
}

TEST_CASE("QUIC / the client refuses its server -> counted and told of once, with the connection", "[quic][SEC-9]") {
    const auto server = support::server_context(the_cast().agent, OSSL_QUIC_server_method());
    support::attach(*server, support::asking());
    auto policy = support::agent_policy();
    std::vector<const SSL*> told;
    policy.observe = [&](const SSL& ssl, const reqauth::client_outcome& how) {
        told.push_back(how.offered ? &ssl : nullptr);
    };
    reqauth::client client(policy);
    const auto context = quic_client();
    client.attach(*context);
    quic_listener at(*server);
    quic_pair both(at, *context);
    CHECK_FALSE(both.shake());
    CHECK(told == std::vector<const SSL*>{both.client.get()});
    CHECK(client.counters().handshakes == 1);
    CHECK(client.counters().offered == 1);
    CHECK(client.counters().presented == 0);
}

TEST_CASE("QUIC / session of an agent -> resumes for the agent under the same name, and for nobody else",
          "[quic][TLS-2][RCA-16]") {
    struct row {
        const char* name;
        bool flag;
        const char* server_name;
        bool reloaded;
        bool resumes;
    };
    const row rows[] = {
        {"again", true, "server.example", false, true},
        {"another name", true, "b.example", false, false},
        {"without the flag", false, "server.example", false, false},
        {"other trust", true, "server.example", true, false},
    };
    ROWS(each.name, rows, const row& each) {
        reqauth::server server;
        const auto context = quic_server();
        const auto attachment = server.attach(*context, support::asking());
        quic_listener at(*context);
        support::visitor agent(quic_client(support::agent_policy()));
        {
            quic_pair first(at, *agent.context);
            SSL_set_tlsext_host_name(first.client.get(), "server.example");
            REQUIRE(first.shake());
            first.settle();
            first.close();
        }
        const owned<SSL_SESSION> session = std::move(agent.shelf.last);
        REQUIRE(session != nullptr);
        if (each.reloaded) {
            auto other = support::asking();
            other.when_offered = reqauth::client_auth::request(support::trust_in(the_cast().customers_ca));
            server.replace({{attachment, other}});
        }
        const auto person = quic_client();
        quic_pair again(at, each.flag ? *agent.context : *person);
        SSL_set_tlsext_host_name(again.client.get(), each.server_name);
        if (each.flag) support::take_over(*session, *again.client);
        REQUIRE(SSL_set_session(again.client.get(), session.get()) == 1);
        REQUIRE(again.shake());
        CHECK((SSL_session_reused(again.server.get()) == 1) == each.resumes);
        const std::string agent_in_full = each.reloaded ? "empty" : "flagged CN=crawler.example";
        CHECK(seen(again) == (!each.flag ? "not_offered" : agent_in_full));
        const reqauth::peer who = reqauth::peer_of(*again.server);
        if (const auto* known = std::get_if<reqauth::flagged_peer>(&who)) CHECK(known->resumed() == each.resumes);
        const auto outcome = reqauth::client_outcome_of(*again.client);
        CHECK(outcome.resumed == each.resumes);
        CHECK((outcome.judged == verdict::resumed) == each.resumes);
    }
}

TEST_CASE("QUIC / HelloRetryRequest -> as without", "[quic][TLS-1]") {
    const auto server = quic_server(support::asking());
    SSL_CTX_set1_groups_list(server.get(), "P-256");
    const auto client = quic_client(support::agent_policy());
    SSL_CTX_set1_groups_list(client.get(), "X25519:P-256");
    quic_listener at(*server);
    quic_pair both(at, *client);
    REQUIRE(both.shake());
    CHECK(both.seen.count(support::kind::hello_retry_request) == 1);
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("QUIC / several connections in one thread, and callbacks that suspend -> each has its own outcome",
          "[quic][RCA-12][SEC-6]") {
    // Each waits twice for its certificate callback, while the others go on. It sets a certificate of its own.
    struct state {
        int waits = 2;
        const SSL* got = nullptr;
    };
    static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    auto policy = support::agent_policy();
    policy.chained_certificate_callback = {[](SSL* ssl, void*) {
                                               auto* mine = static_cast<state*>(SSL_get_ex_data(ssl, slot));
                                               if (mine == nullptr) return 0;
                                               mine->got = ssl;
                                               if (mine->waits-- > 0) return -1;
                                               SSL_use_certificate(ssl, the_cast().customer.certificate.get());
                                               SSL_use_PrivateKey(ssl, the_cast().customer.key.get());
                                               return 1;
                                           },
                                           nullptr};
    auto impostor = other_agent();
    impostor.chained_certificate_callback = policy.chained_certificate_callback;
    auto never = policy;
    never.offer = reqauth::offer::never;
    const auto server = quic_server(support::asking());
    const owned<SSL_CTX> contexts[] = {quic_client(policy), quic_client(impostor), quic_client(never)};
    quic_listener at(*server);
    std::vector<state> states(9);
    std::vector<std::unique_ptr<quic_pair>> all;
    for (std::size_t i = 0; i < states.size(); ++i) {
        all.push_back(std::make_unique<quic_pair>(at, *contexts[i % 3]));
        SSL_set_ex_data(all.back()->client.get(), slot, &states[i]);
        // One after another, that each knows its server.
        while (all.back()->server == nullptr) all.back()->step();
    }
    for (int round = 0; round < 60; ++round)
        for (const auto& each : all) each->step();
    for (std::size_t i = 0; i < states.size(); ++i) {
        CAPTURE(i);
        const quic_pair& both = *all[i];
        const auto outcome = reqauth::last_outcome_of(*both.client);
        const bool asked = i % 3 != 2;
        CHECK(states[i].got == (asked ? both.client.get() : nullptr));
        CHECK(outcome.offered == asked);
        CHECK(outcome.sent == (asked ? answer::flag : answer::none));
        CHECK((outcome.judged == verdict::refused) == (i % 3 == 1));
        const char* const expected[] = {"flagged CN=crawler.example", "handshake_unfinished", "not_offered"};
        CHECK(seen(both) == expected[i % 3]);
    }
}

TEST_CASE("QUIC / a server's SSL_CTXs for QUIC and for TCP -> one server, and sessions go over where keys do",
          "[quic][TLS-2]") {
    reqauth::server server;
    const auto quic = quic_server();
    const auto tcp = support::server_context();
    server.attach(*quic, support::asking());
    server.attach(*tcp, support::asking());
    support::fleet keys;
    for (SSL_CTX* each : {quic.get(), tcp.get()}) keys.join(*each, support::tickets::stateless);
    support::visitor agent(support::attached_client());
    REQUIRE(support::visit(*tcp, *agent.context, {}).who == "flagged CN=crawler.example");
    const owned<SSL_SESSION> session = std::move(agent.shelf.last);
    const auto client = quic_client(support::agent_policy());
    quic_listener at(*quic);
    quic_pair both(at, *client);
    support::take_over(*session, *both.client);
    SSL_set_session(both.client.get(), session.get());
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("QUIC / attach to an SSL_CTX that is for something else -> unsuitable_context", "[quic][FLAG-9]") {
    reqauth::server server;
    const reqauth::client client(support::agent_policy());
    std::string text;
    const auto refused = [&](const auto& call) { return support::failure_of(call, &text) == errc::unsuitable_context; };
    for (const SSL_METHOD* method : {OSSL_QUIC_client_method(), OSSL_QUIC_client_thread_method()}) {
        const auto context = support::client_context(method);
        CHECK(refused([&] { server.attach(*context, support::asking()); }));
        CHECK(text.find("for clients") != std::string::npos);
    }
    const auto for_servers = quic_server();
    CHECK(refused([&] { client.attach(*for_servers); }));
    CHECK(text.find("for servers") != std::string::npos);
    const auto threaded = support::client_context(OSSL_QUIC_client_thread_method());
    CHECK(refused([&] { client.attach(*threaded); }));
    CHECK(text.find("threads of OpenSSL's") != std::string::npos);
    // Nothing is left of it.
    server.attach(*for_servers, support::asking());
    CHECK(support::failure_of([&] { server.attach(*for_servers, support::asking()); }) == errc::already_attached);
}

#endif
