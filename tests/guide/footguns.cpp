// SPDX-License-Identifier: Apache-2.0
// docs/footguns.md, where no other suite shows what it says.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/clock.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <chrono>
#include <cstdio>

using namespace support;
using namespace std::chrono_literals;

namespace {

owned<SSL> end_of(SSL_CTX& context, bool server) {
    owned<SSL> ssl(SSL_new(&context));
    if (server)
        SSL_set_accept_state(ssl.get());
    else
        SSL_set_connect_state(ssl.get());
    return ssl;
}

constexpr const char* agent_seen = "flagged CN=crawler.example";

reqauth::server_policy demanding_of(const reqauth::trust& agents) {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::require(agents);
    return policy;
}

/// earn gives a session of a verified agent.
owned<SSL_SESSION> earn(SSL_CTX& server, visitor& client) {
    REQUIRE(visit(server, *client.context).who == agent_seen);
    REQUIRE(client.shelf.last != nullptr);
    return std::move(client.shelf.last);
}

} // namespace

TEST_CASE("footgun 4 / cert_cb of a client overwritten after attach -> not the credential, but what the SSL_CTX has",
          "[footgun][SEC-6]") {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(agents()).invalid_is_anonymous();
    const auto server = attached_server(policy);
    for (const bool own : {false, true}) {
        auto client = client_context();
        if (own) present(*client, the_cast().customer);
        reqauth::client(agent_policy()).attach(*client);
        SSL_CTX_set_cert_cb(
            client.get(), [](SSL*, void*) { return 1; }, nullptr);
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == (own ? "invalid 20" : "empty"));
        CHECK_FALSE(reqauth::client_outcome_of(*both.client.ssl).requested);
    }
}

TEST_CASE("footgun 4 / info callback set on the SSL in or after a flagged handshake -> the next client there is never "
          "authenticated",
          "[footgun][SEC-6]") {
    const auto server = attached_server(asking());
    const auto agent = attached_client();
    const auto person = client_context();
    for (const bool in_the_middle : {false, true}) {
        auto again = end_of(*server, true);
        SSL* ssl = again.get();
        {
            pair both(std::move(again), end_of(*agent, false));
            if (in_the_middle) {
                both.client.step();
                both.server.give(both.client.take());
                both.server.step();
                SSL_set_info_callback(ssl, [](const SSL*, int, int) {});
                both.client.give(both.server.take());
            }
            REQUIRE(both.shake());
            CHECK(seen(both) == "flagged CN=crawler.example");
            SSL_set_info_callback(ssl, [](const SSL*, int, int) {});
            both.close();
            SSL_up_ref(ssl);
        }
        again.reset(ssl);
        REQUIRE(SSL_clear(ssl) == 1);
        SSL_set_accept_state(ssl);
        pair both(std::move(again), end_of(*person, false));
        CHECK(both.shake()); // peer_of has noticed the end, where the callback did not
        CHECK_FALSE(seen(both).starts_with("flagged"));
    }
}

TEST_CASE("footgun 6 / SSL_CTX_set_cert_verify_callback that calls X509_verify_cert -> agents as without it",
          "[footgun]") {
    const auto server = attached_server(asking());
    SSL_CTX_set_cert_verify_callback(
        server.get(), [](X509_STORE_CTX* verification, void*) { return X509_verify_cert(verification); }, nullptr);
    const auto client = attached_client();
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("footgun 8 / early data of an agent -> read before anybody is known, and marked on a connection that is",
          "[footgun][FLAG-11][TLS-4]") {
    auto server = server_context();
    SSL_CTX_set_max_early_data(server.get(), 1000);
    attach(*server, asking());
    visitor agent(attached_client());
    const auto session = earn(*server, agent);
    const visited again = visit(*server, *agent.context, {.session = session.get(), .early_data = true});
    CHECK(again.early_data.read == "GET /");
    CHECK(again.early_data.during == "handshake_unfinished");
    CHECK(again.who == agent_seen);
    CHECK(again.early_peer);
}

TEST_CASE("footgun 8 / early data with a session from before the flag -> rejected with the flag; without it, as before",
          "[footgun][FLAG-11]") {
    auto server = server_context();
    SSL_CTX_set_max_early_data(server.get(), 1000);
    attach(*server, asking());
    for (const bool flagged : {false, true}) {
        static SSL_SESSION* kept = nullptr;
        kept = nullptr;
        const auto plain = client_context();
        SSL_CTX_set_session_cache_mode(plain.get(), SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(plain.get(), [](SSL*, SSL_SESSION* session) {
            if (kept != nullptr) return 0;
            kept = session;
            return 1;
        });
        pair first(*server, *plain);
        REQUIRE(first.shake());
        first.close();
        REQUIRE(kept != nullptr);
        const owned<SSL_SESSION> session(kept);

        const auto visiting = flagged ? attached_client() : client_context();
        pair both(*server, *visiting);
        take_over(*session, *both.client.ssl);
        REQUIRE(SSL_set_session(both.client.ssl.get(), session.get()) == 1);
        std::size_t size = 0;
        REQUIRE(SSL_write_early_data(both.client.ssl.get(), "early", 5, &size) == 1);
        both.server.give(both.client.take());
        char buffer[16];
        const int read = SSL_read_early_data(both.server.ssl.get(), buffer, sizeof buffer, &size);
        CHECK(read == (flagged ? SSL_READ_EARLY_DATA_FINISH : SSL_READ_EARLY_DATA_SUCCESS));
        CHECK(SSL_get_early_data_status(both.server.ssl.get()) ==
              (flagged ? SSL_EARLY_DATA_REJECTED : SSL_EARLY_DATA_ACCEPTED));
    }
}

TEST_CASE(
    "footgun 9 / CRL that runs out, certificate that does, trust of another time -> sessions go by the real clock",
    "[footgun][TLS-2]") {
    {
        const stopped_clock clock;
        const auto agents_crl = crl(the_cast().agents_ca, {.next_update = 600});
        const auto server = attached_server(demanding_of(agents().with_crls(agents_crl)));
        visitor agent(attached_client());
        const auto session = earn(*server, agent);
        clock.set(601s);
        CHECK(visit(*server, *agent.context, {.session = session.get()}).resumed_peer);
        CHECK(visit(*server, *agent.context).alert == "internal error");
        const auto renewed = std::move(agent.shelf.last);
        clock.set(3601s);
        CHECK(visit(*server, *agent.context, {.session = renewed.get()}).alert == "internal error");
    }
    // A trust that lives before the agent's end takes it, and no session comes of it.
    const identity ca = issue({.common_name = "Old CA", .ca = true, .not_before = -20000});
    auto about = agent_description("crawler.example");
    about.not_before = -20000;
    about.not_after = -3600;
    const identity expired = issue(about, &ca);
    auto offering = agent_policy();
    offering.credential = credential_of(expired);
    visitor agent(attached_client(offering));
    const auto then = std::chrono::system_clock::now() - 7200s;
    const auto server = attached_server(demanding_of(trust_in(ca).with_time(then)));
    const visited late = visit(*server, *agent.context);
    CHECK(late.who == agent_seen);
    CHECK(late.tickets == 0);
}

TEST_CASE("footgun 11 / anchors in a hashed directory -> not compared at attach; those of a file are",
          "[footgun][RCA-13]") {
    const temporary_directory here;
    const X509& ca = *the_cast().agents_ca.certificate;
    char name[16];
    std::snprintf(name, sizeof name, "%08lx.0",
                  X509_NAME_hash_ex(X509_get_subject_name(&ca), nullptr, nullptr, nullptr));
    const auto file = here.write(name, pem(ca));
    auto by_directory = server_context();
    REQUIRE(SSL_CTX_load_verify_dir(by_directory.get(), here.path().c_str()) == 1);
    CHECK_NOTHROW(attach(*by_directory, asking()));
    auto by_file = server_context();
    REQUIRE(SSL_CTX_load_verify_file(by_file.get(), file.c_str()) == 1);
    CHECK(failure_of([&] { attach(*by_file, asking()); }) == reqauth::errc::shared_anchor);
}

TEST_CASE("footgun 12 / an intermediate as anchor -> unknown_ca, unless its root is an anchor too", "[footgun]") {
    const auto intermediate = issue({.common_name = "Agents CA 2", .ca = true}, &the_cast().agents_ca);
    const auto agent = issue(agent_description("deep.example"), &intermediate);
    X509* const chain[] = {intermediate.certificate.get(), the_cast().agents_ca.certificate.get()};
    auto offering = agent_policy();
    offering.credential = credential_of(agent, chain);
    const auto client = attached_client(offering);
    for (const bool with_root : {false, true}) {
        std::string anchors = pem(*intermediate.certificate);
        if (with_root) anchors += pem(*the_cast().agents_ca.certificate);
        reqauth::server_policy policy;
        policy.when_offered = reqauth::client_auth::request(reqauth::trust::from_pem(anchors));
        const auto server = attached_server(policy);
        pair both(*server, *client);
        CHECK(both.shake() == with_root);
        CHECK(alert_to_client(both) == (with_root ? "none" : "unknown CA"));
    }
}

TEST_CASE(
    "footgun 12 / an agent's own certificate as anchor -> it sends none where the request names it, unless ca_names "
    "is off",
    "[footgun]") {
    auto policy = asking();
    policy.when_offered = reqauth::client_auth::request(trust_in(the_cast().agent).with_partial_chains());
    for (const bool named : {true, false}) {
        policy.ca_names = named;
        const auto server = attached_server(policy);
        const auto client = attached_client();
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == (named ? "empty" : agent_seen));
    }
}

TEST_CASE("footgun 13 / a comment with BEGIN CERTIFICATE in trust -> malformed", "[footgun]") {
    const std::string good = pem(*the_cast().agents_ca.certificate);
    CHECK(reqauth::trust::from_pem("the agents' CA\n" + good).size() == 1);
    CHECK(failure_of([&] { (void)reqauth::trust::from_pem("the BEGIN CERTIFICATE line\n" + good); }) ==
          reqauth::errc::malformed);
}

TEST_CASE("footgun 14 / anchors with more than 60,000 octets of names -> contradiction, unless ca_names is off",
          "[footgun]") {
    const auto key = make_key();
    const std::string long_name(50, 'x');
    std::string many;
    for (int i = 0; i < 1000; ++i)
        many += pem(*issue({.common_name = long_name + std::to_string(i), .ca = true}, nullptr, key.get()).certificate);
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(reqauth::trust::from_pem(many));
    const auto server = server_context();
    CHECK(failure_of([&] { attach(*server, policy); }) == reqauth::errc::names_too_long);
    policy.ca_names = false;
    CHECK_NOTHROW(attach(*server, policy));
}

TEST_CASE("footgun 15 / beside_required and request, empty Certificate -> comes in, unauthenticated",
          "[footgun][SEC-7]") {
    auto server = server_context();
    ask(*server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, the_cast().customers_ca);
    auto policy = asking();
    policy.beside_required = true;
    attach(*server, policy);
    reqauth::client_policy lost;
    lost.offer = reqauth::offer::always;
    const auto client = attached_client(lost);
    pair both(*server, *client);
    CHECK(both.shake());
    CHECK(seen(both) == "empty");
}

TEST_CASE("footgun 25 / switch of SSL_CTX without its verify mode -> the first one's decides who is asked",
          "[footgun][SEC-5][SEC-7]") {
    static bool carry = false;
    const auto www = server_context();
    const auto api = server_context();
    ask(*api, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, the_cast().customers_ca);
    SSL_CTX_set_tlsext_servername_callback(
        www.get(), +[](SSL* ssl, int*, void* other) -> int {
            const auto* host = static_cast<SSL_CTX*>(other);
            SSL_set_SSL_CTX(ssl, static_cast<SSL_CTX*>(other));
            if (carry) SSL_set_verify(ssl, SSL_CTX_get_verify_mode(host), SSL_CTX_get_verify_callback(host));
            return SSL_TLSEXT_ERR_OK;
        });
    SSL_CTX_set_tlsext_servername_arg(www.get(), api.get());
    reqauth::server listener;
    listener.attach(*www, asking());
    listener.attach(*api, asking());
    for (const bool carried : {false, true}) {
        carry = carried;
        const auto person = client_context();
        CHECK(visit(*www, *person, {.name = "api.example"}).good == !carried);
        // The library goes by what the SSL asks for: where that is nothing of everyone, it asks agents.
        const auto agent = flagged_client(the_cast().agent);
        const visited offered = visit(*www, *agent.context, {.name = "api.example"});
        CHECK(offered.good == !carried);
        CHECK(offered.who == (carried ? "handshake_unfinished" : agent_seen));
    }
}

TEST_CASE("footgun 26 / a CRL issued anew -> each agent's session ends once, and nobody is refused",
          "[footgun][SEC-4]") {
    const auto server = server_context();
    reqauth::server listener;
    const auto where = listener.attach(*server, demanding_of(agents().with_crls(crl(the_cast().agents_ca))));
    visitor agent(attached_client());
    const auto session = earn(*server, agent);
    listener.replace({{where, demanding_of(agents().with_crls(crl(the_cast().agents_ca, {.this_update = -60})))}});
    const visited once = visit(*server, *agent.context, {.session = session.get()});
    CHECK(once.full());
    CHECK(once.who == agent_seen);
    const auto anew = std::move(agent.shelf.last);
    CHECK(visit(*server, *agent.context, {.session = anew.get()}).resumed_peer);
}

TEST_CASE(
    "footgun 27 / one server name that leads to two SSL_CTXs -> a session of the other is not_vouched, or refused",
    "[footgun][SEC-1]") {
    for (const bool require : {false, true}) {
        const auto first = server_context();
        const auto second = server_context();
        reqauth::server listener;
        listener.attach(*first, asking());
        auto other = require ? demanding() : asking();
        other.ca_names = false;
        listener.attach(*second, other);
        visitor agent(attached_client());
        const auto session = earn(*first, agent);
        SSL_CTX_set_tlsext_servername_arg(first.get(), second.get());
        SSL_CTX_set_tlsext_servername_callback(
            first.get(), +[](SSL* ssl, int*, void* to) -> int {
                SSL_set_SSL_CTX(ssl, static_cast<SSL_CTX*>(to));
                return SSL_TLSEXT_ERR_OK;
            });
        const visited crossed = visit(*first, *agent.context, {.session = session.get()});
        CHECK(crossed.resumed);
        CHECK(crossed.good == !require);
        CHECK(crossed.who == (require ? "handshake_unfinished" : "not_vouched"));
        CHECK(crossed.alert == (require ? "certificate required" : "none"));
    }
}

TEST_CASE("footgun 30 / peer_of in an info callback, at HANDSHAKE_DONE -> handshake_unfinished; afterwards the agent",
          "[footgun]") {
    static std::string then;
    const auto server = attached_server(asking());
    SSL_CTX_set_info_callback(server.get(), [](const SSL* ssl, int event, int) {
        if (event == SSL_CB_HANDSHAKE_DONE) then = seen(*ssl);
    });
    const auto agent = attached_client();
    pair both(*server, *agent);
    REQUIRE(both.shake());
    CHECK(then == "handshake_unfinished");
    CHECK(seen(both) == "flagged CN=crawler.example");
}
