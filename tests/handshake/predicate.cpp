// SPDX-License-Identifier: Apache-2.0
// The predicate that decides from what the ClientHello said.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <optional>
#include <stdexcept>

using namespace support;

namespace {

struct heard {
    std::optional<std::string> server_name;
    reqauth::flag_set flags;
};

/// noting keeps what the predicate was told, and says `answer`.
reqauth::server_options noting(std::vector<heard>& kept, bool answer) {
    reqauth::server_options options;
    options.accept = [&kept, answer](const reqauth::client_hello& hello) {
        heard said{std::nullopt, hello.flags};
        if (hello.server_name) said.server_name = std::string(*hello.server_name);
        kept.push_back(std::move(said));
        return answer;
    };
    return options;
}

} // namespace

TEST_CASE("server / predicate / name and flags in ClientHello -> it sees them, once", "[handshake][FLAG-10]") {
    std::vector<heard> kept;
    const auto server = attached_server(asking(), noting(kept, true));
    auto policy = agent_policy();
    policy.further_flags = {3, 2039};
    const auto client = attached_client(policy);
    pair both(*server, *client);
    SSL_set_tlsext_host_name(both.client.ssl.get(), "Shop.Example");
    REQUIRE(both.shake());
    REQUIRE(kept.size() == 1);
    CHECK(kept[0].server_name == "Shop.Example");
    CHECK(kept[0].flags == reqauth::flag_set{3, 80, 2039});
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("server / predicate / no name -> it sees none", "[handshake]") {
    std::vector<heard> kept;
    const auto server = attached_server(asking(), noting(kept, true));
    const auto client = attached_client();
    pair both(*server, *client);
    REQUIRE(both.shake());
    REQUIRE(kept.size() == 1);
    CHECK_FALSE(kept[0].server_name.has_value());
}

TEST_CASE("server / predicate / client without the flag, or with others only -> not called", "[handshake][RCA-15]") {
    std::vector<heard> kept;
    const auto server = attached_server(asking(), noting(kept, true));
    const auto plain = client_context();
    pair unflagged(*server, *plain);
    CHECK(unflagged.shake());
    reqauth::client_policy others;
    others.further_flags = {3};
    const auto with_others = attached_client(others);
    pair other_flags(*server, *with_others);
    CHECK(other_flags.shake());
    CHECK(kept.empty());
}

TEST_CASE("server / predicate / says no -> ignored, and the context's own client authentication",
          "[handshake][valgrind]") {
    std::vector<heard> kept;
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca);
    attach(*context, demanding(), noting(kept, false));
    const auto client = flagged_client(the_cast().customer);
    pair both(*context, *client.context);
    REQUIRE(both.shake());
    CHECK(kept.size() == 1);
    CHECK(seen(both) == "ignored");
    CHECK_FALSE(both.client.first(kind::certificate_request)->find(62).has_value());
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
}

TEST_CASE("server / predicate / by server name -> accepted for one name, ignored for another", "[handshake]") {
    reqauth::server_options options;
    options.accept = [](const reqauth::client_hello& hello) { return hello.server_name == "crawl.example"; };
    const auto server = attached_server(asking(), options);
    const auto client = attached_client();
    for (const char* name : {"crawl.example", "www.example"}) {
        pair both(*server, *client);
        SSL_set_tlsext_host_name(both.client.ssl.get(), name);
        REQUIRE(both.shake());
        CHECK(seen(both) == (std::string(name) == "crawl.example" ? "flagged CN=crawler.example" : "ignored"));
    }
}

TEST_CASE("server / predicate / throws -> internal_error, other_peer", "[handshake][valgrind][SEC-2][SEC-3]") {
    for (const bool standard : {true, false}) {
        reqauth::server_options options;
        options.accept = [standard](const reqauth::client_hello&) -> bool {
            if (standard) throw std::runtime_error("the database is away");
            throw 42;
        };
        const auto server = attached_server(asking(), options);
        {
            const auto client = attached_client();
            pair both(*server, *client);
            CHECK_FALSE(both.shake());
            CHECK(alert_to_client(both) == "internal error");
            CHECK(seen(both) == "handshake_unfinished");
        }
        const auto plain = client_context();
        pair both(*server, *plain);
        CHECK(both.shake());
        CHECK(seen(both) == "not_offered");
    }
}

TEST_CASE("server / predicate / retry -> decided by the second ClientHello", "[handshake][TLS-1]") {
    int calls = 0;
    reqauth::server_options options;
    options.accept = [&calls](const reqauth::client_hello&) { return ++calls == 2; };
    const auto server = attached_server(asking(), options);
    const auto client = attached_client();
    SSL_CTX_set1_groups_list(client.get(), "X25519:P-256");
    SSL_CTX_set1_groups_list(server.get(), "P-256");
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(both.client.count(kind::hello_retry_request) == 1);
    CHECK(calls == 2);
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("server / predicate / with sessions offered -> once per ClientHello", "[handshake]") {
    static owned<SSL_SESSION> session;
    std::vector<heard> kept;
    const auto server = attached_server(asking(), noting(kept, true));
    const auto plain = client_context();
    SSL_CTX_set_session_cache_mode(plain.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(plain.get(), [](SSL*, SSL_SESSION* made) {
        session.reset(made);
        return 1;
    });
    pair first(*server, *plain);
    REQUIRE(first.shake());
    REQUIRE(session != nullptr);
    const auto client = attached_client();
    pair second(*server, *client);
    take_over(*session, *second.client.ssl);
    SSL_set_session(second.client.ssl.get(), session.get());
    SSL_set_tlsext_host_name(second.client.ssl.get(), "shop.example");
    REQUIRE(second.shake());
    REQUIRE(kept.size() == 1);
    CHECK(kept[0].server_name == "shop.example");
    CHECK(seen(second) == "flagged CN=crawler.example");
    session.reset();
}
