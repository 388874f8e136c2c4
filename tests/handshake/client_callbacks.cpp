// SPDX-License-Identifier: Apache-2.0
// Info callbacks of the application's that call the one that they find, around a client's.

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <algorithm>

using namespace support;

namespace {

using callback = void (*)(const SSL*, int, int);

/// remembering is an application's info callback that calls the one that was there before it, each with a number.
template <int Number> struct remembering {
    static inline callback before = nullptr;
    static inline int events = 0;
    static inline int starts = 0;
    static inline int depth = 0;
    static inline int deepest = 0;

    static void call(const SSL* ssl, int event, int value) {
        deepest = std::max(deepest, ++depth);
        ++events;
        if (event == SSL_CB_HANDSHAKE_START) ++starts;
        if (before != nullptr && depth < 1000) before(ssl, event, value);
        --depth;
    }
    static void reset() {
        before = nullptr;
        events = starts = depth = deepest = 0;
    }
    static void on(SSL* ssl) {
        if (SSL_get_info_callback(ssl) == call) return;
        before = SSL_get_info_callback(ssl);
        SSL_set_info_callback(ssl, call);
    }
    static void on_over_context(SSL* ssl) {
        before = SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl));
        SSL_set_info_callback(ssl, call);
    }
    static void on(SSL_CTX& context) {
        before = SSL_CTX_get_info_callback(&context);
        SSL_CTX_set_info_callback(&context, call);
    }
};

using mine = remembering<1>;
using older = remembering<2>;

void reset() {
    mine::reset();
    older::reset();
}

owned<SSL> connecting(SSL_CTX& client) {
    owned<SSL> ssl(SSL_new(&client));
    SSL_set_connect_state(ssl.get());
    return ssl;
}

owned<SSL> accepting(SSL_CTX& server) {
    owned<SSL> ssl(SSL_new(&server));
    SSL_set_accept_state(ssl.get());
    return ssl;
}

owned<SSL> taken(owned<SSL> ssl) {
    REQUIRE(SSL_clear(ssl.get()) == 1);
    SSL_set_bio(ssl.get(), nullptr, nullptr);
    return ssl;
}

} // namespace

TEST_CASE(
    "client / info callback of the SSL that calls the one it finds / SSL used again and copied -> each event once",
    "[handshake][attack][SEC-6]") {
    const auto server = attached_server(asking());
    for (const bool over_context : {false, true}) {
        CAPTURE(over_context);
        reset();
        const auto client = client_context();
        older::on(*client);
        reqauth::client(agent_policy()).attach(*client);
        owned<SSL> ssl = connecting(*client);
        for (int i = 0; i < 4; ++i) {
            CAPTURE(i);
            if (over_context)
                mine::on_over_context(ssl.get());
            else
                mine::on(ssl.get());
            if (i == 2) {
                ssl.reset(SSL_dup(ssl.get()));
                SSL_set_connect_state(ssl.get());
            }
            pair both(accepting(*server), std::move(ssl));
            REQUIRE(both.shake());
            CHECK(seen(both) == "flagged CN=crawler.example");
            CHECK(mine::starts == i + 1);
            CHECK(mine::deepest == 1);
            if (over_context) CHECK(older::starts == i + 1);
            ssl = taken(std::move(both.client.ssl));
            SSL_set_connect_state(ssl.get());
        }
    }
}

TEST_CASE("client / info callback set again after attach, in callbacks, after the handshake -> ends, and sessions are "
          "marked",
          "[handshake][attack][SEC-6]") {
    const auto server = attached_server(asking());
    const auto visits = [&](SSL_CTX& client) {
        session_shelf shelf;
        shelf.serve(client);
        REQUIRE(visit(*server, client).full());
        REQUIRE(shelf.last != nullptr);
        const visited again = visit(*server, client, {.session = shelf.last.get(), .as_it_is = true});
        CHECK(again.resumed);
        CHECK(mine::deepest <= 2);
        CHECK(mine::starts == 2);
    };
    SECTION("the same on the SSL_CTX before and after attach") {
        reset();
        const auto client = client_context();
        mine::on(*client);
        reqauth::client(agent_policy()).attach(*client);
        mine::on(*client);
        REQUIRE(mine::before != nullptr);
        visits(*client);
    }
    SECTION("on the SSL_CTX after attach") {
        reset();
        const auto client = attached_client();
        mine::on(*client);
        visits(*client);
        CHECK(mine::deepest == 1);
    }
    SECTION("one that looks each time for whom to call") {
        reset();
        const auto client = client_context();
        static int depth;
        static int deepest;
        depth = deepest = 0;
        SSL_CTX_set_info_callback(client.get(), [](const SSL* ssl, int event, int value) {
            deepest = std::max(deepest, ++depth);
            if (depth < 1000) SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl))(ssl, event, value);
            --depth;
        });
        reqauth::client(agent_policy()).attach(*client);
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(deepest <= 2);
    }
    SECTION("after each handshake of a reused SSL, over whatever is there") {
        reset();
        const auto client = attached_client();
        owned<SSL> ssl = connecting(*client);
        SSL_set_info_callback(ssl.get(), [](const SSL*, int, int) {}); // does not call ours: it is wrapped
        for (int i = 0; i < 4; ++i) {
            pair both(accepting(*server), std::move(ssl));
            REQUIRE(both.shake());
            mine::on(both.client.ssl.get());
            ssl = taken(std::move(both.client.ssl));
            SSL_set_connect_state(ssl.get());
        }
        CHECK(mine::deepest <= 2);
    }
}

TEST_CASE(
    "client and server of one SSL_CTX / info callback that calls the one it finds / one SSL in both roles -> ends",
    "[handshake][attack][SEC-6]") {
    reset();
    owned<SSL_CTX> context(SSL_CTX_new(TLS_method()));
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), the_cast().server_ca.certificate.get());
    X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(context.get()), "server.example", 0);
    SSL_CTX_set_session_id_context(context.get(), own_id_context().data(), 11);
    present(*context, the_cast().server);
    older::on(*context);
    attach(*context, asking());
    reqauth::client(agent_policy()).attach(*context);
    const auto plain = client_context();
    const auto agent = attached_client();
    owned<SSL> ssl(SSL_new(context.get()));
    for (int i = 0; i < 9; ++i) {
        CAPTURE(i);
        mine::on(ssl.get());
        if (i % 3 == 1) {
            SSL_set_connect_state(ssl.get());
            pair both(accepting(*context), std::move(ssl));
            REQUIRE(both.shake());
            CHECK(seen(both) == "flagged CN=crawler.example");
            ssl = taken(std::move(both.client.ssl));
        } else {
            SSL_set_accept_state(ssl.get());
            pair both(std::move(ssl), connecting(i % 3 == 0 ? *plain : *agent));
            REQUIRE(both.shake());
            CHECK(seen(both) == (i % 3 == 0 ? "not_offered" : "flagged CN=crawler.example"));
            ssl = taken(std::move(both.server.ssl));
        }
        CHECK(mine::starts >= i + 1);
        CHECK(mine::deepest <= 2);
        CHECK(older::deepest <= 2);
    }
}
