// SPDX-License-Identifier: Apache-2.0
// The flag in a ClientHello with early data (FLAG-11): what it asks for is as in any other.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/clock.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

using namespace support;

namespace {

/// with_early_data takes early data, and has given a session to a client without the flag.
struct with_early_data {
    explicit with_early_data(const reqauth::server_policy& policy) {
        SSL_CTX_set_max_early_data(server.get(), 1024);
        attach(*server, policy);
        shelf.serve(*plain);
        pair first(*server, *plain);
        REQUIRE(first.shake());
        first.close();
        REQUIRE(shelf.count > 0);
    }
    owned<SSL_CTX> server = server_context();
    owned<SSL_CTX> plain = client_context();
    session_shelf shelf;
};

} // namespace

TEST_CASE(
    "server / ClientHello with early data, without the flag -> resumed, early data accepted as without the library",
    "[handshake][FLAG-11][RCA-15]") {
    with_early_data host(demanding());
    pair both(*host.server, *host.plain);
    const early found = shake_early(both, *host.shelf.last);
    CHECK(found.good);
    CHECK(found.resumed);
    CHECK(found.read == "GET /");
    CHECK(seen(both) == "not_offered");
}

TEST_CASE("server / ClientHello with early data, flag accepted -> early data rejected, agent asked in a full handshake",
          "[handshake][FLAG-11][TLS-2][TLS-4][SEC-1]") {
    for (const auto& policy : {asking(), demanding()}) {
        with_early_data host(policy);
        const auto client = flagged_client(the_cast().agent);
        pair both(*host.server, *client.context);
        const early found = shake_early(both, *host.shelf.last);
        INFO(both.server.failure << " " << both.client.failure);
        CHECK(found.good);
        CHECK_FALSE(found.resumed);
        CHECK(found.read.empty());
        CHECK(both.client.count(kind::certificate_request) == 1);
        CHECK(seen(both) == "flagged CN=crawler.example");
        CHECK(both.client.first(kind::certificate_request)->find(62) == flags({80}));
        CHECK(both.client.count(kind::new_session_ticket) > 0); // its own, for its own scope
        CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_ERR_APPLICATION_VERIFICATION);
    }
}

TEST_CASE("server / ClientHello with early data, impostor -> refused as in any other", "[handshake][FLAG-11][SEC-1]") {
    with_early_data host(asking());
    // Not even where the application's own trust would take it.
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(host.server.get()), the_cast().customers_ca.certificate.get()) ==
            1);
    const auto client = flagged_client(the_cast().customer);
    pair both(*host.server, *client.context);
    const early found = shake_early(both, *host.shelf.last);
    CHECK_FALSE(found.good);
    CHECK(found.read.empty());
    CHECK(alert_to_client(both) == "unknown CA");
    CHECK_FALSE(seen(both).starts_with("flagged"));
}

TEST_CASE("server / ClientHello with early data, nothing to present -> empty, or certificate_required",
          "[handshake][FLAG-11][SEC-1]") {
    for (const bool require : {false, true}) {
        with_early_data host(require ? demanding() : asking());
        const auto client = empty_handed_client();
        pair both(*host.server, *client.context);
        const early found = shake_early(both, *host.shelf.last);
        CHECK(found.good == !require);
        CHECK(found.read.empty());
        CHECK(seen(both) == (require ? "handshake_unfinished" : "empty"));
        CHECK(alert_to_client(both) == (require ? "certificate required" : "none"));
    }
}

TEST_CASE("server / ClientHello with early data, flag ignored or other flags -> seen, and no peer of ours",
          "[handshake][FLAG-11]") {
    with_early_data host({});
    auto context = client_context();
    present(*context, the_cast().agent);
    const bad_peer client(std::move(context), {{in::client_hello, {flags({3, 80})}}});
    pair both(*host.server, *client.context);
    const early found = shake_early(both, *host.shelf.last);
    CHECK(found.good);
    CHECK_FALSE(seen(both).starts_with("flagged"));
    CHECK(reqauth::server_outcome_of(*both.server.ssl).offered);
    CHECK(reqauth::server_outcome_of(*both.server.ssl).flags == reqauth::flag_set{3, 80});
}

TEST_CASE("client / ClientHello with early data -> it has the flag, and the resumption is no refusal",
          "[handshake][FLAG-11][RCA-1]") {
    auto server = server_context(); // without the library
    SSL_CTX_set_max_early_data(server.get(), 1024);
    const auto client = attached_client();
    session_shelf shelf;
    shelf.serve(*client);
    {
        pair first(*server, *client);
        REQUIRE(first.shake());
        first.close();
    }
    REQUIRE(shelf.count > 0);
    pair both(*server, *client);
    const early found = shake_early(both, *shelf.last);
    CHECK(found.good);
    CHECK(found.resumed);
    CHECK(found.read == "GET /");
    CHECK(both.client.first(kind::client_hello)->find(62) == flags({80}));
    const auto outcome = reqauth::client_outcome_of(*both.client.ssl);
    CHECK(outcome.offered);
    CHECK_FALSE(outcome.requested);
    CHECK(outcome.sent == reqauth::client_outcome::answer::none);
}

namespace {

/// agents_host takes early data of agents, whose sessions OpenSSL keeps or, without its care against replay, not.
struct agents_host {
    explicit agents_host(tickets how, const reqauth::server_policy& policy = demanding()) {
        nodes.join(*server, how);
        attach(*server, policy);
        const visited first = visit(*server, *client.context);
        REQUIRE(first.who == "flagged CN=crawler.example");
        REQUIRE(client.shelf.last != nullptr);
    }
    fleet nodes;
    owned<SSL_CTX> server = server_context();
    visitor client{attached_client()};
};

} // namespace

TEST_CASE("server / early data of a resumed agent -> nobody's as it comes, and marked when the handshake has ended",
          "[handshake][valgrind][TLS-4][FLAG-11][RCA-16][SEC-1]") {
    for (const auto how : {tickets::early_data, tickets::early_data_stateless}) {
        CAPTURE(int(how));
        agents_host host(how);
        for (int round = 0; round < 3; ++round) {
            const owned<SSL_SESSION> session = std::move(host.client.shelf.last);
            REQUIRE(session != nullptr);
            CHECK(SSL_SESSION_get_max_early_data(session.get()) == 1024);
            const visited again =
                visit(*host.server, *host.client.context, {.session = session.get(), .early_data = true});
            CHECK(again.good);
            CHECK(again.resumed);
            CHECK(again.early_data.read == "GET /");
            CHECK(again.early_data.during == "handshake_unfinished");
            CHECK(again.who == "flagged CN=crawler.example");
            CHECK(again.early_peer);
            CHECK(again.resumed_peer);
            CHECK(again.verify_result == X509_V_ERR_APPLICATION_VERIFICATION);
        }
        const owned<SSL_SESSION> session = std::move(host.client.shelf.last);
        const visited without = visit(*host.server, *host.client.context, {.session = session.get()});
        CHECK(without.resumed_peer);
        CHECK_FALSE(without.early_peer);
    }
}

TEST_CASE("server / early data of an agent's session under another name, or without the flag -> rejected",
          "[handshake][cve][TLS-4][TLS-2]") {
    for (const auto how : {tickets::early_data, tickets::early_data_stateless})
        for (const bool with_flag : {true, false}) {
            CAPTURE(int(how), with_flag);
            agents_host host(how);
            const owned<SSL_SESSION> session = std::move(host.client.shelf.last);
            const visitor other(client_context());
            const visited again =
                visit(*host.server, with_flag ? *host.client.context : *other.context,
                      {.name = with_flag ? "b.example" : nullptr, .session = session.get(), .early_data = true});
            CHECK(again.full());
            CHECK(again.early_data.read.empty());
            CHECK(again.who == (with_flag ? "flagged CN=crawler.example" : "not_offered"));
            CHECK_FALSE(again.early_peer);
            CHECK(again.has_certificate == with_flag);
        }
}

TEST_CASE("server / refuse_early_data -> an agent's early data rejected, the handshake resumes",
          "[handshake][TLS-4][SEC-6]") {
    for (const auto how : {tickets::early_data, tickets::early_data_stateless}) {
        CAPTURE(int(how));
        auto policy = demanding();
        policy.refuse_early_data = true;
        agents_host host(how, policy);
        const owned<SSL_SESSION> session = std::move(host.client.shelf.last);
        CHECK(SSL_SESSION_get_max_early_data(session.get()) == 0);
        const visited again = visit(*host.server, *host.client.context, {.session = session.get()});
        CHECK(again.resumed_peer);
        CHECK_FALSE(again.early_peer);
        // A client that tries even so.
        const owned<SSL_SESSION> renewed = std::move(host.client.shelf.last);
        REQUIRE(renewed != nullptr);
        SSL_SESSION_set_max_early_data(renewed.get(), 1024);
        const visited early_again =
            visit(*host.server, *host.client.context, {.session = renewed.get(), .early_data = true});
        CHECK(early_again.good);
        CHECK(early_again.early_data.read.empty());
        CHECK(early_again.resumed_peer);
        CHECK_FALSE(early_again.early_peer);
        // The others' early data is their own affair.
        visitor other(client_context());
        visit(*host.server, *other.context);
        const owned<SSL_SESSION> others = std::move(other.shelf.last);
        REQUIRE(others != nullptr);
        CHECK(visit(*host.server, *other.context, {.session = others.get(), .early_data = true}).early_data.read ==
              "GET /");
    }
}

TEST_CASE(
    "server / early data that a session's end or a HelloRetryRequest overtakes -> rejected, agent asked or resumed",
    "[handshake][TLS-4]") {
    for (const auto how : {tickets::early_data, tickets::early_data_stateless}) {
        CAPTURE(int(how));
        {
            const stopped_clock clock;
            agents_host host(how);
            const owned<SSL_SESSION> session = std::move(host.client.shelf.last);
            clock.set(std::chrono::seconds(3601));
            SSL_SESSION_set_timeout(session.get(), 100000);
            const visited late =
                visit(*host.server, *host.client.context, {.session = session.get(), .early_data = true});
            CHECK(late.full());
            CHECK(late.early_data.read.empty());
            CHECK(late.who == "flagged CN=crawler.example");
            CHECK_FALSE(late.early_peer);
        }
        agents_host host(how);
        const owned<SSL_SESSION> session = std::move(host.client.shelf.last);
        const visited retried =
            visit(*host.server, *host.client.context, {.session = session.get(), .retry = true, .early_data = true});
        CHECK(retried.good);
        CHECK(retried.retried);
        CHECK(retried.early_data.read.empty());
        CHECK(retried.who == "flagged CN=crawler.example");
        CHECK_FALSE(retried.early_peer);
    }
}
