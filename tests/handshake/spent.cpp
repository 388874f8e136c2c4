// SPDX-License-Identifier: Apache-2.0
// What a peer can make a server spend: once for each ClientHello, and nothing that outlives the handshake.
// tests/cost counts the instructions.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/client_hello.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <map>
#include <set>

using namespace support;

namespace {

/// stores are the X509_STOREs that were in force on a connection's SSL, and those of them that are gone.
std::map<X509_STORE*, bool> stores;

void store_goes(void* parent, void* seen, CRYPTO_EX_DATA*, int, long, void*) {
    if (seen != nullptr) stores[static_cast<X509_STORE*>(parent)] = true;
}

void look_at_store(const SSL* ssl, int, int) {
    static const int slot =
        CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_X509_STORE, 0, nullptr, nullptr, nullptr, store_goes);
    X509_STORE* store = nullptr;
    SSL_get0_verify_cert_store(const_cast<SSL*>(ssl), &store); // NOLINT: only looked at
    if (store == nullptr || X509_STORE_get_ex_data(store, slot) != nullptr) return;
    X509_STORE_set_ex_data(store, slot, &stores);
    stores[store] = false;
}

void look_and_pass_on(const SSL* ssl, int event, int value);

/// on_top is an info callback that the application puts on an SSL in the middle of the handshake.
enum class on_top { none, chaining, alone };

struct found_callback {
    void (*below)(const SSL*, int, int) = nullptr;
};
found_callback found;

void look_and_pass_on(const SSL* ssl, int event, int value) {
    look_at_store(ssl, event, value);
    if (found.below != nullptr) found.below(ssl, event, value);
}

/// keeper is a server whose policy has a store of its own, that `replaced` takes out of force.
struct keeper {
    explicit keeper(const std::function<void(reqauth::server_policy&)>& change = {}) {
        stores.clear();
        found = {};
        reqauth::server_policy policy = asking();
        if (change) change(policy);
        where = server.attach(*context, policy);
        SSL_CTX_set_info_callback(context.get(), look_at_store);
    }

    /// let_go says whether some store was in force, and all are gone with another policy.
    bool let_go() {
        server.replace({{where, asking()}});
        if (stores.empty()) return false;
        for (const auto& [store, gone] : stores)
            if (!gone) return false;
        return true;
    }

    reqauth::server server;
    owned<SSL_CTX> context = server_context();
    reqauth::attachment where;
};

void put_on_top(SSL* ssl, on_top how) {
    found.below = how == on_top::chaining ? SSL_get_info_callback(ssl) : nullptr;
    if (how != on_top::none) SSL_set_info_callback(ssl, look_and_pass_on);
}

} // namespace

TEST_CASE("server / handshake is over, connection open / policy replaced -> nothing of the earlier one is held",
          "[handshake][attack][SEC-10]") {
    keeper kept;
    SECTION("flag and certificate") {
        const auto client = attached_client();
        pair both(*kept.context, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
        CHECK(kept.let_go());
        CHECK(seen(both) == "flagged CN=crawler.example");
    }
    SECTION("flag and no certificate") {
        const auto client = empty_handed_client();
        pair both(*kept.context, *client.context);
        REQUIRE(both.shake());
        CHECK(kept.let_go());
    }
    SECTION("flag and a certificate of nobody's") {
        const auto client = flagged_client(the_cast().customer);
        pair both(*kept.context, *client.context);
        CHECK_FALSE(both.shake());
        CHECK(kept.let_go());
    }
    SECTION("after a HelloRetryRequest") {
        REQUIRE(SSL_CTX_set1_groups_list(kept.context.get(), "P-256") == 1);
        const auto client = attached_client();
        REQUIRE(SSL_CTX_set1_groups_list(client.get(), "X25519:P-256") == 1);
        pair both(*kept.context, *client);
        REQUIRE(both.shake());
        REQUIRE(both.client.first(kind::hello_retry_request) != nullptr);
        CHECK(kept.let_go());
    }
    SECTION("several at once, and each replaced") {
        const auto client = attached_client();
        std::vector<std::unique_ptr<pair>> open;
        for (int i = 0; i < 4; ++i) {
            open.push_back(std::make_unique<pair>(*kept.context, *client));
            REQUIRE(open.back()->shake());
            CHECK(kept.let_go());
        }
        CHECK(stores.size() >= 1);
    }
    SECTION("SSL_clear") {
        const auto client = attached_client();
        pair both(*kept.context, *client);
        REQUIRE(both.shake());
        both.close();
        REQUIRE(SSL_clear(both.server.ssl.get()) == 1);
        CHECK(kept.let_go());
    }
    SECTION("SSL_dup of it") {
        const auto client = attached_client();
        pair both(*kept.context, *client);
        REQUIRE(both.shake());
        const owned<SSL> copy(SSL_dup(both.server.ssl.get()));
        CHECK(kept.let_go());
    }
}

TEST_CASE("server / handshake refused for want of a certificate, SSL kept / policy replaced -> nothing of it is held",
          "[handshake][attack][SEC-10]") {
    keeper kept([](auto& policy) { policy = demanding(); });
    const auto client = empty_handed_client();
    pair both(*kept.context, *client.context);
    CHECK_FALSE(both.shake());
    CHECK(alert_to_client(both) == "certificate required");
    CHECK(kept.let_go());
}

TEST_CASE("server / resumed and early data, connection open / policy replaced -> nothing of the earlier one is held",
          "[handshake][attack][SEC-10]") {
    for (const bool early_data : {false, true}) {
        CAPTURE(early_data);
        keeper kept;
        if (early_data) SSL_CTX_set_max_early_data(kept.context.get(), 1000);
        visitor agent(attached_client());
        REQUIRE(visit(*kept.context, *agent.context).good);
        pair both(*kept.context, *agent.context);
        if (early_data) {
            CHECK(shake_early(both, *agent.shelf.last).good);
        } else {
            take_over(*agent.shelf.last, *both.client.ssl);
            REQUIRE(SSL_set_session(both.client.ssl.get(), agent.shelf.last.get()) == 1);
            REQUIRE(both.shake());
        }
        CHECK(SSL_session_reused(both.server.ssl.get()) == 1);
        CHECK(kept.let_go());
        CHECK(seen(both) == "flagged CN=crawler.example");
    }
}

TEST_CASE("server / info callback of the application's put on top of ours / policy replaced -> nothing of it is held",
          "[handshake][attack][SEC-10]") {
    for (const on_top how : {on_top::none, on_top::chaining, on_top::alone})
        for (const bool by_server_name : {true, false})
            for (const bool certificate : {true, false}) {
                CAPTURE(static_cast<int>(how), by_server_name, certificate);
                keeper kept;
                static on_top wanted;
                wanted = how;
                SSL_CTX_set_tlsext_servername_callback(
                    kept.context.get(), +[](SSL* ssl, int*, void*) {
                        put_on_top(ssl, wanted);
                        return SSL_TLSEXT_ERR_OK;
                    });
                if (!by_server_name) {
                    SSL_CTX_set_tlsext_servername_callback(kept.context.get(), nullptr);
                    SSL_CTX_set_keylog_callback(kept.context.get(), [](const SSL* ssl, const char* line) {
                        // The last of the server's flight.
                        if (std::string_view(line).starts_with("SERVER_TRAFFIC_SECRET_0"))
                            put_on_top(const_cast<SSL*>(ssl), wanted); // NOLINT: as an application may
                    });
                }
                const auto agent = attached_client();
                const auto nobody = empty_handed_client();
                pair both(*kept.context, certificate ? *agent : *nobody.context);
                SSL_set_tlsext_host_name(both.client.ssl.get(), "server.example");
                REQUIRE(both.shake());
                const std::string who = seen(both);
                CHECK(who == (certificate ? "flagged CN=crawler.example" : "empty"));
                CHECK(kept.let_go());
                CHECK(seen(both) == who);
            }
}

TEST_CASE("server / handshake under way / policy replaced -> the store is held until it ends",
          "[handshake][attack][SEC-10]") {
    keeper kept;
    const auto client = attached_client();
    pair both(*kept.context, *client);
    both.client.step();
    both.server.give(both.client.take());
    both.server.step();
    CHECK_FALSE(kept.let_go());
    both.client.give(both.server.take());
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
    CHECK(kept.let_go());
}

TEST_CASE(
    "server / agents one after another, at once, given up, under a list of the application's -> each is shown all "
    "CA names",
    "[handshake][RCA-13][SEC-10]") {
    keeper kept;
    const auto client = attached_client();
    // Read by the client: what its CertificateRequest named.
    const auto named = [](pair& both) { return sk_X509_NAME_num(SSL_get0_peer_CA_list(both.client.ssl.get())); };
    const auto fresh = [&] { return std::make_unique<pair>(*kept.context, *client); };
    const auto first = fresh();
    REQUIRE(first->shake());
    const int all = named(*first);
    CHECK(all == 1);
    // A list that came back serves the next, whoever was in between.
    std::vector<std::unique_ptr<pair>> open;
    for (int i = 0; i < 3; ++i) {
        auto given_up = fresh();
        given_up->client.step();
        given_up->server.give(given_up->client.take());
        given_up->server.step();
        auto replaced = fresh();
        replaced->client.step();
        replaced->server.give(replaced->client.take());
        replaced->server.step();
        SSL_set_client_CA_list(replaced->server.ssl.get(), sk_X509_NAME_new_null());
        replaced->client.give(replaced->server.take());
        REQUIRE(replaced->shake());
        CHECK(named(*replaced) == all);
        CHECK(sk_X509_NAME_num(SSL_get_client_CA_list(replaced->server.ssl.get())) == 0);
        given_up.reset();
        open.push_back(fresh());
        open.back()->client.step();
        open.back()->server.give(open.back()->client.take());
        open.back()->server.step();
    }
    for (const auto& one : open) {
        one->client.give(one->server.take());
        REQUIRE(one->shake());
        CHECK(named(*one) == all);
        CHECK(seen(*one) == "flagged CN=crawler.example");
        CHECK(sk_X509_NAME_num(SSL_get_client_CA_list(one->server.ssl.get())) <= 0);
    }
}

TEST_CASE("server / ClientHello of 64 KiB / predicate -> asked once, and with no name that OpenSSL would not take",
          "[handshake][attack][SEC-10][SEC-6]") {
    static std::vector<std::optional<std::string>> asked;
    reqauth::server_options options;
    options.accept = [](const reqauth::client_hello& hello) {
        asked.emplace_back(hello.server_name);
        return true;
    };
    const auto server = attached_server(asking(), options);
    const std::string flagged = flags({80});
    for (const client_hello_shape& about :
         {client_hello_shape{.identities = 9000, .flags = flagged},
          client_hello_shape{.identities = 250, .identity_size = 200, .flags = flagged},
          client_hello_shape{.identities = 4500, .unknown = 8000, .flags = flagged},
          client_hello_shape{.identities = 100, .server_name = 255, .flags = flagged},
          client_hello_shape{.identities = 100, .server_name = 256, .flags = flagged},
          client_hello_shape{.identities = 9, .server_name = 60000, .flags = flagged}}) {
        CAPTURE(about.identities, about.unknown, about.server_name);
        asked.clear();
        for (const bool complete : {true, false}) {
            endpoint end(owned<SSL>(SSL_new(server.get())));
            SSL_set_accept_state(end.ssl.get());
            end.give(client_hello(about, std::string(32, complete ? 'c' : 'f'),
                                  complete ? std::optional(x25519_share()) : std::nullopt));
            end.step();
            CHECK(end.failed == (!complete || about.server_name > 255));
        }
        REQUIRE(asked.size() == 2);
        for (const auto& name : asked) {
            CHECK(name.has_value() == (about.server_name == 255));
            if (name) CHECK(name->size() == 255);
        }
    }
}
