// SPDX-License-Identifier: Apache-2.0
// SSL objects used again, and copies of them: nothing stale (SEC-2, SEC-3, SEC-6).

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

using namespace support;

namespace {

int pass_on(int ok, X509_STORE_CTX*) { return ok; }

owned<SSL> fresh(SSL_CTX& client) {
    owned<SSL> ssl(SSL_new(&client));
    SSL_set_connect_state(ssl.get());
    return ssl;
}

/// cleared gives the server's SSL of a connection, ready for the next.
owned<SSL> cleared(pair& both) {
    REQUIRE(SSL_clear(both.server.ssl.get()) == 1);
    SSL_set_bio(both.server.ssl.get(), nullptr, nullptr);
    return std::move(both.server.ssl);
}

/// settings_of are what an application can read back.
struct settings {
    int mode;
    SSL_verify_cb callback;
    std::vector<std::string> ca_names;
    friend bool operator==(const settings&, const settings&) = default;
};

settings settings_of(const SSL& ssl) {
    settings now{SSL_get_verify_mode(&ssl), SSL_get_verify_callback(&ssl), {}};
    if (const auto* names = SSL_get_client_CA_list(&ssl); names != nullptr)
        for (int i = 0; i < sk_X509_NAME_num(names); ++i) {
            char text[256];
            X509_NAME_oneline(sk_X509_NAME_value(names, i), text, sizeof text);
            now.ca_names.emplace_back(text);
        }
    return now;
}

void with_random_of(std::string& records, const std::string& hello) {
    edit_first_message(records, [&](std::string& body) { body.replace(2, 32, hello.substr(2, 32)); });
}

} // namespace

TEST_CASE("server / SSL_clear after a verified agent / unflagged client -> not_offered, no request, settings as before",
          "[handshake][valgrind][SEC-2][SEC-6]") {
    for (const int mode : {SSL_VERIFY_NONE, SSL_VERIFY_PEER}) {
        CAPTURE(mode);
        auto context = server_context();
        ask(*context, mode, the_cast().customers_ca, pass_on);
        attach(*context, demanding());
        const owned<SSL> untouched(SSL_new(context.get()));
        const auto agent = attached_client();
        pair first(*context, *agent);
        REQUIRE(first.shake());
        REQUIRE(seen(first) == "flagged CN=crawler.example");
        CHECK(settings_of(*first.server.ssl) == settings_of(*untouched)); // already after the handshake

        auto customer_context = client_context();
        present(*customer_context, the_cast().customer);
        pair second(cleared(first), fresh(*customer_context));
        CHECK_FALSE(seen(second).starts_with("flagged"));
        CHECK(settings_of(*second.server.ssl) == settings_of(*untouched));
        REQUIRE(second.shake());
        CHECK(seen(second) == "not_offered");
        CHECK(SSL_get_num_tickets(second.server.ssl.get()) == SSL_get_num_tickets(untouched.get()));
        CHECK(second.client.count(kind::new_session_ticket) == SSL_get_num_tickets(untouched.get()));
        CHECK_FALSE(reqauth::server_outcome_of(*second.server.ssl).offered);
        CHECK(reqauth::server_outcome_of(*second.server.ssl).flags.empty());
        CHECK(second.client.count(kind::certificate_request) == (mode == SSL_VERIFY_NONE ? 0 : 1));
        if (mode == SSL_VERIFY_PEER) {
            CHECK(SSL_get_verify_result(second.server.ssl.get()) == X509_V_OK);
            CHECK_FALSE(second.client.first(kind::certificate_request)->find(62).has_value());
            auto agent_unflagged = client_context();
            present(*agent_unflagged, the_cast().agent);
            pair third(cleared(second), fresh(*agent_unflagged));
            CHECK_FALSE(third.shake());
            CHECK(alert_to_client(third) == "unknown CA"); // the application's store judges
        }
    }
}

TEST_CASE("server / SSL_clear after failed flagged handshakes / unflagged client -> as new", "[handshake][SEC-2]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca, pass_on);
    attach(*context, demanding());
    const owned<SSL> untouched(SSL_new(context.get()));
    const auto impostor = flagged_client(the_cast().customer);
    reqauth::client_policy empty_handed;
    empty_handed.offer = reqauth::offer::always;
    const auto without = attached_client(empty_handed);
    bad_peer malformed(client_context(), {{in::client_hello, {flags({80})}}, {in::certificate, {flags({80})}}});
    present(*malformed.context, the_cast().agent);
    for (SSL_CTX* client : {impostor.context.get(), without.get(), malformed.context.get()}) {
        pair first(*context, *client);
        CHECK_FALSE(first.shake());
        auto customer = client_context();
        present(*customer, the_cast().customer);
        pair second(cleared(first), fresh(*customer));
        CHECK(settings_of(*second.server.ssl) == settings_of(*untouched));
        REQUIRE(second.shake());
        CHECK(seen(second) == "not_offered");
        CHECK(SSL_get_verify_result(second.server.ssl.get()) == X509_V_OK);
        CHECK_FALSE(second.client.first(kind::certificate_request)->find(62).has_value());
    }
}

TEST_CASE("server / SSL_clear in the middle of a flagged handshake / unflagged client -> as new",
          "[handshake][SEC-2]") {
    const auto context = attached_server(demanding());
    const auto agent = attached_client();
    pair first(*context, *agent);
    first.client.step();
    first.server.give(first.client.take());
    first.server.step();
    REQUIRE(seen(first) == "handshake_unfinished");
    const auto plain = client_context();
    pair second(cleared(first), fresh(*plain));
    CHECK_FALSE(seen(second).starts_with("flagged"));
    REQUIRE(second.shake());
    CHECK(seen(second) == "not_offered");
    CHECK(second.client.count(kind::certificate_request) == 0);
    CHECK(SSL_get_verify_mode(second.server.ssl.get()) == SSL_VERIFY_NONE);
}

TEST_CASE("server / SSL_clear after a verified agent / unflagged ClientHello with the same random -> not_offered",
          "[handshake][SEC-2]") {
    const auto context = attached_server(demanding());
    const auto agent = attached_client();
    pair first(*context, *agent);
    REQUIRE(first.shake());
    const std::string hello = first.client.first(kind::client_hello)->body;
    const auto plain = client_context();
    pair second(cleared(first), fresh(*plain));
    bool changed = false;
    second.to_server = [&](std::string& records) {
        if (changed || records.empty()) return;
        with_random_of(records, hello);
        changed = true;
    };
    second.run(); // cannot end well: the transcripts differ
    REQUIRE(changed);
    CHECK(second.server.first(kind::client_hello)->body.substr(2, 32) == hello.substr(2, 32));
    CHECK(second.server.count(kind::certificate_request) == 0);
    CHECK_FALSE(reqauth::server_outcome_of(*second.server.ssl).offered);
    CHECK_FALSE(seen(second).starts_with("flagged"));
}

TEST_CASE("server / SSL_clear / flagged, unflagged and failing clients in turn -> each judged anew",
          "[handshake][SEC-2]") {
    const auto context = attached_server(asking());
    const auto agent = attached_client();
    const auto plain = client_context();
    const auto impostor = flagged_client(the_cast().customer);
    auto both = std::make_unique<pair>(*context, *agent);
    for (int turn = 0; turn < 3; ++turn) {
        REQUIRE(both->shake());
        CHECK(seen(*both) == "flagged CN=crawler.example");
        both = std::make_unique<pair>(cleared(*both), fresh(*plain));
        REQUIRE(both->shake());
        CHECK(seen(*both) == "not_offered");
        both = std::make_unique<pair>(cleared(*both), fresh(*impostor.context));
        CHECK_FALSE(both->shake());
        CHECK_FALSE(seen(*both).starts_with("flagged"));
        both = std::make_unique<pair>(cleared(*both), fresh(*agent));
    }
}

TEST_CASE("server / SSL_clear after a flagged hello that offered a session / unflagged sessions -> no failed handshake",
          "[handshake][TLS-2][SEC-6]") {
    for (const bool told : {true, false}) {
        CAPTURE(told);
        auto policy = asking();
        if (told) policy.session_id_context = own_id_context();
        const auto context = attached_server(policy);
        const auto plain = client_context();
        session_shelf shelf;
        shelf.serve(*plain);
        {
            pair first(*context, *plain);
            REQUIRE(first.shake());
            first.close();
        }
        REQUIRE(shelf.count > 0);
        owned<SSL_SESSION> before = std::move(shelf.last);
        const auto agent = attached_client();
        pair flagged_pair(*context, *agent);
        take_over(*before, *flagged_pair.client.ssl);
        SSL_set_session(flagged_pair.client.ssl.get(), before.get());
        REQUIRE(flagged_pair.shake());
        REQUIRE(seen(flagged_pair) == "flagged CN=crawler.example");
        pair again(cleared(flagged_pair), fresh(*plain));
        take_over(*before, *again.client.ssl);
        SSL_set_session(again.client.ssl.get(), before.get());
        REQUIRE(again.shake());
        CHECK(seen(again) == "not_offered");
        if (told) CHECK(SSL_session_reused(again.server.ssl.get()) == 1);
        REQUIRE(shelf.last != nullptr);
        again.close();
        // What an SSL of its own resumes afterwards is never more than a customer's session.
        pair later(*context, *plain);
        take_over(*shelf.last, *later.client.ssl);
        SSL_set_session(later.client.ssl.get(), shelf.last.get());
        REQUIRE(later.shake());
        CHECK(seen(later) == "not_offered");
    }
}

TEST_CASE("server / SSL_dup before the handshake -> both answer the flag", "[handshake][valgrind][SEC-3][SEC-6]") {
    const auto context = attached_server(asking());
    const auto agent = attached_client();
    owned<SSL> original(SSL_new(context.get()));
    SSL_set_accept_state(original.get());
    owned<SSL> copy(SSL_dup(original.get()));
    REQUIRE(copy != nullptr);
    REQUIRE(copy != original);
    pair by_copy(std::move(copy), fresh(*agent));
    CHECK(by_copy.shake());
    CHECK(seen(by_copy) == "flagged CN=crawler.example");
    CHECK_FALSE(seen(*original).starts_with("flagged"));
    pair by_original(std::move(original), fresh(*agent));
    CHECK(by_original.shake());
    CHECK(seen(by_original) == "flagged CN=crawler.example");
}

TEST_CASE("server / SSL_dup of a cleared SSL that had a verified agent -> nothing stale",
          "[handshake][valgrind][SEC-2][SEC-3]") {
    const auto context = attached_server(demanding());
    const auto agent = attached_client();
    const auto plain = client_context();
    pair first(*context, *agent);
    REQUIRE(first.shake());
    owned<SSL> original = cleared(first);
    owned<SSL> copy(SSL_dup(original.get()));
    REQUIRE(copy != nullptr);
    CHECK_FALSE(seen(*copy).starts_with("flagged"));
    original.reset();
    pair unflagged(std::move(copy), fresh(*plain));
    REQUIRE(unflagged.shake());
    CHECK(seen(unflagged) == "not_offered");
    CHECK(unflagged.client.count(kind::certificate_request) == 0);
    pair again(cleared(unflagged), fresh(*agent));
    REQUIRE(again.shake());
    CHECK(seen(again) == "flagged CN=crawler.example");
}

TEST_CASE("client / SSL_clear after a flagged connection / next server does not ask -> outcome of the new one",
          "[handshake][valgrind][SEC-2]") {
    const auto agent = attached_client();
    const auto asks = attached_server(asking());
    const auto asks_nobody = server_context();
    const auto asks_everybody = [] {
        auto context = server_context();
        ask(*context, SSL_VERIFY_PEER, the_cast().agents_ca);
        return context;
    }();
    pair first(*asks, *agent);
    REQUIRE(first.shake());
    REQUIRE(reqauth::client_outcome_of(*first.client.ssl).acknowledged);
    owned<SSL> client = std::move(first.client.ssl);
    for (SSL_CTX* next : {asks_nobody.get(), asks_everybody.get(), asks_nobody.get()}) {
        REQUIRE(SSL_clear(client.get()) == 1);
        SSL_set_bio(client.get(), nullptr, nullptr);
        owned<SSL> server(SSL_new(next));
        SSL_set_accept_state(server.get());
        pair both(std::move(server), std::move(client));
        REQUIRE(both.shake());
        const auto outcome = reqauth::client_outcome_of(*both.client.ssl);
        CHECK(outcome.offered);
        CHECK_FALSE(outcome.acknowledged);
        CHECK(outcome.server_flags.empty());
        CHECK(outcome.requested == (next == asks_everybody.get()));
        CHECK(outcome.sent == (next == asks_everybody.get() ? reqauth::client_outcome::answer::empty
                                                            : reqauth::client_outcome::answer::none));
        client = std::move(both.client.ssl);
    }
}

TEST_CASE("client / SSL_clear after a flagged connection / application sets another certificate -> that one is sent",
          "[handshake][RCA-12][SEC-6]") {
    const auto agent = attached_client();
    present(*agent, the_cast().customer);
    const auto asks = attached_server(asking());
    pair first(*asks, *agent);
    REQUIRE(first.shake());
    REQUIRE(reqauth::client_outcome_of(*first.client.ssl).sent == reqauth::client_outcome::answer::flag);
    owned<SSL> client = std::move(first.client.ssl);
    REQUIRE(SSL_clear(client.get()) == 1);
    SSL_set_bio(client.get(), nullptr, nullptr);
    REQUIRE(SSL_use_certificate(client.get(), the_cast().other_agent.certificate.get()) == 1);
    REQUIRE(SSL_use_PrivateKey(client.get(), the_cast().other_agent.key.get()) == 1);
    auto asks_everybody = server_context();
    ask(*asks_everybody, SSL_VERIFY_PEER, the_cast().agents_ca);
    owned<SSL> server(SSL_new(asks_everybody.get()));
    SSL_set_accept_state(server.get());
    pair both(std::move(server), std::move(client));
    REQUIRE(both.shake());
    const owned<X509> shown(SSL_get1_peer_certificate(both.server.ssl.get()));
    REQUIRE(shown != nullptr);
    CHECK(X509_cmp(shown.get(), the_cast().other_agent.certificate.get()) == 0);
}

TEST_CASE("client / SSL_dup before the handshake -> both offer", "[handshake][SEC-3][SEC-6]") {
    const auto agent = attached_client();
    const auto server = attached_server(asking());
    owned<SSL> original = fresh(*agent);
    owned<SSL> copy(SSL_dup(original.get()));
    REQUIRE(copy != nullptr);
    for (owned<SSL>* each : {&copy, &original}) {
        owned<SSL> accepting(SSL_new(server.get()));
        SSL_set_accept_state(accepting.get());
        pair both(std::move(accepting), std::move(*each));
        CHECK(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
    }
}

TEST_CASE("server / SSL_clear after a ClientHello that failed over its session / the same again, and one without the "
          "session -> judged anew",
          "[handshake][SEC-1][SEC-2]") {
    // The application fails the lookup of sessions, and its own info callback hides from libreqauth that the next
    // handshake begins: nothing but the ClientHello itself tells it from the last.
    static int asked;
    static bool failing;
    static bool wanted;
    reqauth::server_options options;
    options.accept = [](const reqauth::client_hello&) {
        ++asked;
        return wanted;
    };
    options.chained_psk_find_session = [](SSL* ssl, const unsigned char*, std::size_t, SSL_SESSION** session) {
        *session = nullptr;
        if (!failing) return 1;
        SSL_set_info_callback(ssl, [](const SSL*, int, int) {}); // hides this handshake's end, too
        return 0;
    };
    const auto server = attached_server(asking(), options);
    const auto agent = attached_client();
    session_shelf shelf;
    shelf.serve(*agent);
    failing = false;
    wanted = true;
    {
        pair first(*server, *agent);
        REQUIRE(first.shake());
        first.close();
        REQUIRE(shelf.last != nullptr);
    }
    for (const bool with_session : {true, false}) {
        CAPTURE(with_session);
        failing = true;
        wanted = true;
        asked = 0;
        const auto other = attached_client(); // one that has had no failure with the session
        pair second(*server, *other);
        REQUIRE(SSL_set_session(second.client.ssl.get(), owned<SSL_SESSION>(SSL_SESSION_dup(shelf.last.get())).get()) ==
                1);
        std::string hello;
        second.to_server = [&](std::string& records) {
            if (hello.empty()) hello = records;
        };
        CHECK_FALSE(second.shake());
        REQUIRE(asked == 1);

        failing = false;
        wanted = false;
        owned<SSL> again = cleared(second);
        pair third(std::move(again), fresh(*agent));
        std::string random;
        third.to_server = [&](std::string& records) {
            if (records.empty() || !random.empty()) return;
            random = hello;
            if (with_session)
                records = hello;
            else
                with_random_of(records, second.client.first(kind::client_hello)->body);
        };
        third.run(); // cannot end well: the transcripts differ
        CHECK(asked == 2);
        CHECK_FALSE(reqauth::server_outcome_of(*third.server.ssl).accepted);
        CHECK(third.client.count(kind::certificate_request) == 0);
    }
}
