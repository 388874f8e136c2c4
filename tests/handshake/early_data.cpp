// SPDX-License-Identifier: Apache-2.0
// The flag in a ClientHello with early data (FLAG-11): what it asks for is as in any other.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

using namespace support;

namespace {

struct early {
    std::string read; ///< early data that the server accepted
    bool resumed = false;
    bool good = false;
};

/// shake_early has the client send early data with `session`, and the server read what it accepts.
early shake_early(pair& both, SSL_SESSION& session) {
    early found;
    SSL_set_session(both.client.ssl.get(), &session);
    std::size_t written = 0;
    REQUIRE(SSL_write_early_data(both.client.ssl.get(), "GET /", 5, &written) == 1);
    bool finished = false;
    for (int round = 0; round < 10; ++round) {
        both.server.give(both.client.take());
        while (!finished) {
            char buffer[64];
            std::size_t size = 0;
            const int status = SSL_read_early_data(both.server.ssl.get(), buffer, sizeof buffer, &size);
            if (status == SSL_READ_EARLY_DATA_ERROR) break;
            found.read.append(buffer, size);
            finished = status == SSL_READ_EARLY_DATA_FINISH;
        }
        if (finished) both.server.step();
        both.client.give(both.server.take());
        both.client.step();
    }
    found.resumed = SSL_session_reused(both.server.ssl.get()) == 1;
    found.good = both.shake();
    return found;
}

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
        const auto client = attached_client();
        pair both(*host.server, *client);
        const early found = shake_early(both, *host.shelf.last);
        INFO(both.server.failure << " " << both.client.failure);
        CHECK(found.good);
        CHECK_FALSE(found.resumed);
        CHECK(found.read.empty());
        CHECK(both.client.count(kind::certificate_request) == 1);
        CHECK(seen(both) == "flagged CN=crawler.example");
        CHECK(reqauth::client_outcome_of(*both.client.ssl).acknowledged);
        CHECK(both.client.count(kind::new_session_ticket) == 0);
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
        reqauth::client_policy policy;
        policy.offer = reqauth::offer::always;
        const auto client = attached_client(policy);
        pair both(*host.server, *client);
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
    auto policy = agent_policy();
    policy.further_flags = {3};
    const auto client = attached_client(policy);
    pair both(*host.server, *client);
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
