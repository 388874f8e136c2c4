// SPDX-License-Identifier: Apache-2.0
// Every outcome of a flagged handshake, as the application and the client see it.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <thread>

using namespace support;
using answer = reqauth::server_outcome::answer;

namespace {

reqauth::server_outcome outcome(const pair& both) { return reqauth::server_outcome_of(*both.server.ssl); }
long verify_result(const pair& both) { return SSL_get_verify_result(both.server.ssl.get()); }

reqauth::client_policy without_credential() {
    reqauth::client_policy policy;
    policy.offer = reqauth::offer::always;
    return policy;
}

reqauth::server_policy tolerant() {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(agents()).invalid_is_anonymous();
    return policy;
}

std::string hex_serial(const X509& certificate) {
    const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(&certificate), nullptr), BN_free);
    std::array<unsigned char, 20> octets{};
    std::string text;
    for (int i = 0; i < BN_bn2bin(number.get(), octets.data()); ++i)
        for (const int half :
             {octets.at(static_cast<std::size_t>(i)) >> 4, octets.at(static_cast<std::size_t>(i)) & 15})
            text += "0123456789ABCDEF"[half];
    return text;
}

} // namespace

TEST_CASE("server / peer_of / agent's certificate verified -> flagged_peer with the verified identity",
          "[handshake][valgrind][SEC-1]") {
    for (const auto& policy : {asking(), demanding()}) {
        const auto server = attached_server(policy);
        const auto client = attached_client();
        std::optional<reqauth::flagged_peer> agent;
        {
            pair both(*server, *client);
            REQUIRE(both.shake());
            const auto who = reqauth::peer_of(*both.server.ssl);
            REQUIRE(std::holds_alternative<reqauth::flagged_peer>(who));
            agent = std::get<reqauth::flagged_peer>(who);
            const auto seen_so = outcome(both);
            CHECK(seen_so.offered);
            CHECK(seen_so.accepted);
            CHECK(seen_so.certificate == answer::verified);
            CHECK(seen_so.verify_error == 0);
            CHECK(seen_so.flags == reqauth::flag_set{80});
        }
        // It outlives the SSL.
        CHECK(agent->subject() == "CN=crawler.example");
        CHECK(agent->issuer() == "CN=Agents CA");
        CHECK(agent->serial() == hex_serial(*the_cast().agent.certificate));
        CHECK(ASN1_TIME_cmp_time_t(X509_get0_notAfter(the_cast().agent.certificate.get()),
                                   std::chrono::system_clock::to_time_t(agent->not_after())) == 0);
        REQUIRE(agent->alt_names().size() == 1);
        CHECK(to_string(agent->alt_names()[0]) == "DNS:crawler.example");
        CHECK(X509_cmp(&agent->certificate(), the_cast().agent.certificate.get()) == 0);
        REQUIRE(agent->chain().size() == 2);
        CHECK(X509_cmp(agent->chain()[0], the_cast().agent.certificate.get()) == 0);
        CHECK(X509_cmp(agent->chain()[1], the_cast().agents_ca.certificate.get()) == 0);
        std::array<std::uint8_t, 32> expected{};
        unsigned size = 0;
        REQUIRE(X509_digest(the_cast().agent.certificate.get(), EVP_sha256(), expected.data(), &size) == 1);
        CHECK(agent->thumbprint() == expected);
    }
}

TEST_CASE("server / peer_of / before and during the handshake -> handshake_unfinished or not_offered, never a peer",
          "[handshake][SEC-1]") {
    const auto server = attached_server(asking());
    const auto client = attached_client();
    pair both(*server, *client);
    CHECK_FALSE(seen(both).starts_with("flagged"));
    both.client.step();
    both.server.give(both.client.take());
    both.server.step();
    CHECK(seen(both) == "handshake_unfinished");
    CHECK(outcome(both).certificate == answer::awaited);
    both.client.give(both.server.take());
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("server / request / empty Certificate -> goes on, other_peer empty", "[handshake][valgrind]") {
    const auto server = attached_server(asking());
    const auto client = attached_client(without_credential());
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(seen(both) == "empty");
    CHECK(outcome(both).accepted);
    CHECK(outcome(both).certificate == answer::empty);
}

TEST_CASE("server / require / empty Certificate -> certificate_required", "[handshake][valgrind]") {
    const auto server = attached_server(demanding());
    const auto client = attached_client(without_credential());
    pair both(*server, *client);
    CHECK_FALSE(both.shake());
    CHECK(alert_to_client(both) == "certificate required");
    CHECK(seen(both) == "handshake_unfinished");
    CHECK(outcome(both).certificate != answer::verified);
}

TEST_CASE("server / request, require / certificate of another CA -> unknown_ca", "[handshake][valgrind][SEC-1]") {
    for (const auto& policy : {asking(), demanding()}) {
        const auto server = attached_server(policy);
        const auto client = flagged_client(the_cast().customer);
        pair both(*server, *client.context);
        CHECK_FALSE(both.shake());
        CHECK(alert_to_client(both) == "unknown CA");
        CHECK(seen(both) == "handshake_unfinished");
        CHECK(outcome(both).certificate == answer::invalid);
        CHECK(outcome(both).verify_error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    }
}

TEST_CASE("server / request / expired certificate -> certificate_expired", "[handshake][valgrind]") {
    const auto server = attached_server(asking());
    const auto client = flagged_client(the_cast().expired_agent);
    pair both(*server, *client.context);
    CHECK_FALSE(both.shake());
    CHECK(alert_to_client(both) == "certificate expired");
    CHECK(outcome(both).certificate == answer::invalid);
    CHECK(outcome(both).verify_error == X509_V_ERR_CERT_HAS_EXPIRED);
}

TEST_CASE("server / request / certificate not yet valid -> refused", "[handshake]") {
    const auto early = issue({.common_name = "early.example", .extended_key_usage = "clientAuth", .not_before = 3600},
                             &the_cast().agents_ca);
    const auto server = attached_server(asking());
    const auto client = flagged_client(early);
    pair both(*server, *client.context);
    CHECK_FALSE(both.shake());
    CHECK(alert_to_client(both) == "bad certificate");
    CHECK(outcome(both).verify_error == X509_V_ERR_CERT_NOT_YET_VALID);
}

TEST_CASE("server / request / certificate without clientAuth -> refused", "[handshake][SEC-1]") {
    const auto of_a_server =
        issue({.common_name = "server-only.example", .extended_key_usage = "serverAuth"}, &the_cast().agents_ca);
    const auto server = attached_server(asking());
    const auto client = flagged_client(of_a_server);
    pair both(*server, *client.context);
    CHECK_FALSE(both.shake());
    CHECK(alert_to_client(both) == "unsupported certificate");
    CHECK(outcome(both).verify_error == X509_V_ERR_INVALID_PURPOSE);
}

TEST_CASE("server / invalid_is_anonymous / bad chain -> goes on, other_peer invalid", "[handshake][valgrind][SEC-8]") {
    const auto server = attached_server(tolerant());
    for (const auto& [who, error] : {std::pair{&the_cast().customer, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
                                     std::pair{&the_cast().expired_agent, X509_V_ERR_CERT_HAS_EXPIRED}}) {
        const auto client = flagged_client(*who);
        pair both(*server, *client.context);
        REQUIRE(both.shake());
        CHECK(seen(both) == "invalid " + std::to_string(error));
        CHECK(outcome(both).certificate == answer::invalid);
        CHECK(outcome(both).verify_error == error);
        CHECK(verify_result(both) != X509_V_OK);
    }
    const auto good = attached_client();
    pair both(*server, *good);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("server / invalid_is_anonymous / empty Certificate -> other_peer empty", "[handshake]") {
    const auto server = attached_server(tolerant());
    const auto client = attached_client(without_credential());
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(seen(both) == "empty");
}

TEST_CASE("server / invalid_is_anonymous / Certificate changed on the way -> fatal", "[handshake][SEC-1]") {
    const auto server = attached_server(tolerant());
    const auto client = flagged_client(the_cast().customer);
    pair both(*server, *client.context);
    std::size_t flights = 0;
    both.to_server = [&](std::string& records) {
        if (!records.empty() && ++flights == 2) records.back() = static_cast<char>(records.back() ^ 1);
    };
    CHECK_FALSE(both.shake());
    CHECK(flights >= 2);
    CHECK(seen(both) == "handshake_unfinished");
}

TEST_CASE("server / bad chains, many in a row / each -> refused", "[handshake][valgrind][cve]") {
    // HAProxy: one X509 leaked per ignored error. The leak checker judges.
    const auto server = attached_server(tolerant());
    const auto client = flagged_client(the_cast().customer);
    for (int i = 0; i < 5; ++i) {
        pair both(*server, *client.context);
        REQUIRE(both.shake());
        CHECK(seen(both) == "invalid 20");
    }
}

TEST_CASE("server / none / flag offered -> ignored, no request", "[handshake][valgrind]") {
    const auto server = attached_server({});
    const auto client = attached_client();
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(seen(both) == "ignored");
    CHECK(both.client.count(kind::certificate_request) == 0);
    CHECK(outcome(both).offered);
    CHECK_FALSE(outcome(both).accepted);
    CHECK(outcome(both).certificate == answer::not_asked);
    CHECK_FALSE(reqauth::client_outcome_of(*both.client.ssl).requested);
}

TEST_CASE(
    "server / require / fatal user_canceled before the Certificate, which OpenSSL passes over -> judged all the same",
    "[handshake][SEC-1][SEC-2]") {
    for (const bool customer : {false, true}) {
        auto context = server_context();
        ask(*context, SSL_VERIFY_NONE, the_cast().customers_ca);
        attach(*context, demanding());
        auto policy = without_credential();
        policy.when_unsatisfiable = reqauth::unsatisfiable::present;
        if (customer) policy.credential = credential_of(the_cast().customer);
        const auto client = attached_client(policy);
        pair both(*context, *client);
        int flights = 0;
        both.to_server = [&](std::string& records) { // in the clear, as anybody on the way could send it
            if (!records.empty() && ++flights == 2) records.insert(0, octets({21, 3, 3, 0, 2, 2, 90}));
        };
        CHECK_FALSE(both.shake());
        CHECK(flights >= 2);
        CHECK(both.server.alert_received == 90);
        CHECK_FALSE(both.server.good());
        CHECK(alert_to_client(both) == (customer ? "unknown CA" : "certificate required"));
    }
}

TEST_CASE("server / SSL_CTX requires a certificate of everyone / flag offered -> ignored, its own trust",
          "[handshake][valgrind][SEC-7]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, the_cast().customers_ca);
    attach(*context, asking());
    {
        const auto client = flagged_client(the_cast().customer);
        pair both(*context, *client.context);
        REQUIRE(both.shake());
        CHECK(seen(both) == "ignored");
        CHECK(verify_result(both) == X509_V_OK);
        CHECK_FALSE(both.client.first(kind::certificate_request)->find(62).has_value());
    }
    {
        const auto client = flagged_client(the_cast().agent);
        pair both(*context, *client.context);
        CHECK_FALSE(both.shake());
        CHECK(alert_to_client(both) == "unknown CA");
    }
    {
        const auto client = attached_client(without_credential());
        pair both(*context, *client);
        CHECK_FALSE(both.shake());
        CHECK(alert_to_client(both) == "certificate required");
    }
}

TEST_CASE("server / this SSL requires a certificate / flag offered -> ignored", "[handshake][SEC-7]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_NONE, the_cast().customers_ca);
    attach(*context, asking());
    const auto client = attached_client(without_credential());
    pair both(*context, *client);
    SSL_set_verify(both.server.ssl.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    CHECK_FALSE(both.shake());
    CHECK(alert_to_client(both) == "certificate required");
}

TEST_CASE("server / SSL_CTX requires, beside_required / agents and customers -> each under its own trust",
          "[handshake][valgrind][SEC-7][SEC-8][RCA-13][RCA-14]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, the_cast().customers_ca);
    auto policy = asking();
    policy.beside_required = true;
    attach(*context, policy);
    {
        const auto client = attached_client();
        pair both(*context, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
        CHECK(verify_result(both) == X509_V_ERR_APPLICATION_VERIFICATION);
    }
    {
        const auto client = flagged_client(the_cast().customer);
        pair both(*context, *client.context);
        CHECK_FALSE(both.shake());
        CHECK(alert_to_client(both) == "unknown CA");
    }
    for (const auto* who : {&the_cast().customer, &the_cast().agent}) {
        auto client = client_context();
        present(*client, *who);
        pair both(*context, *client);
        CHECK(both.shake() == (who == &the_cast().customer));
        CHECK_FALSE(seen(both).starts_with("flagged"));
    }
    {
        const auto client = client_context();
        pair both(*context, *client);
        CHECK_FALSE(both.shake());
        CHECK(alert_to_client(both) == "certificate required");
    }
    {
        // An agent that lost its certificate comes in, unauthenticated: the policy only requests.
        const auto client = attached_client(without_credential());
        pair both(*context, *client);
        CHECK(both.shake());
        CHECK(seen(both) == "empty");
        CHECK(verify_result(both) != X509_V_OK);
    }
}

TEST_CASE("server / SSL_CTX only requests a certificate / flag offered -> accepted, under the agents' trust",
          "[handshake][RCA-13]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca);
    attach(*context, asking());
    {
        const auto client = attached_client();
        pair both(*context, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
        CHECK(both.client.first(kind::certificate_request)->find(62) == flags({80}));
    }
    const auto client = flagged_client(the_cast().customer);
    pair both(*context, *client.context);
    CHECK_FALSE(both.shake());
    CHECK(alert_to_client(both) == "unknown CA");
}

TEST_CASE("server / CertificateRequest / ca_names on, off -> names of the agents' anchors, or none", "[handshake]") {
    constexpr std::uint16_t certificate_authorities = 47;
    auto context = server_context();
    ask(*context, SSL_VERIFY_NONE, the_cast().customers_ca);
    attach(*context, asking());
    const auto client = attached_client();
    {
        pair both(*context, *client);
        REQUIRE(both.shake());
        const auto names = both.client.first(kind::certificate_request)->find(certificate_authorities);
        REQUIRE(names.has_value());
        CHECK(names->find("Agents CA") != std::string::npos);
        CHECK(names->find("Customers CA") == std::string::npos);
    }
    auto policy = asking();
    policy.ca_names = false;
    auto silent_context = server_context();
    ask(*silent_context, SSL_VERIFY_NONE, the_cast().customers_ca);
    attach(*silent_context, policy);
    pair both(*silent_context, *client);
    REQUIRE(both.shake());
    CHECK_FALSE(both.client.first(kind::certificate_request)->find(certificate_authorities).has_value());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("server / peer_of / keys of every usual kind, with an intermediate -> flagged_peer and its whole chain",
          "[handshake]") {
    const auto intermediate = issue({.common_name = "Agents CA 2", .ca = true}, &the_cast().agents_ca);
    const auto server = attached_server(demanding());
    for (const key_type type : {key_type::p256, key_type::rsa, key_type::ed25519}) {
        auto about = agent_description("deep.example");
        about.key = type;
        const auto agent = issue(about, &intermediate);
        auto policy = agent_policy();
        X509* const chain[] = {intermediate.certificate.get()};
        policy.credential = credential_of(agent, chain);
        const auto client = attached_client(policy);
        pair both(*server, *client);
        REQUIRE(both.shake());
        const auto who = reqauth::peer_of(*both.server.ssl);
        REQUIRE(std::holds_alternative<reqauth::flagged_peer>(who));
        const auto& chain_seen = std::get<reqauth::flagged_peer>(who).chain();
        REQUIRE(chain_seen.size() == 3);
        CHECK(X509_cmp(chain_seen[0], agent.certificate.get()) == 0);
        CHECK(X509_cmp(chain_seen[1], intermediate.certificate.get()) == 0);
        CHECK(X509_cmp(chain_seen[2], the_cast().agents_ca.certificate.get()) == 0);
    }
}

TEST_CASE("server / peer_of / chain of [own leaf, somebody else's certificate] -> the verified leaf's identity",
          "[handshake][cve][SEC-1]") {
    // Keycloak CVE-2023-2422: identity taken from a certificate other than the verified leaf.
    auto policy = agent_policy();
    X509* const chain[] = {the_cast().other_agent.certificate.get()};
    policy.credential = credential_of(the_cast().agent, chain);
    const auto client = attached_client(policy);
    const auto server = attached_server(asking());
    pair both(*server, *client);
    REQUIRE(both.shake());
    std::size_t shown = 0;
    for (const auto& message : both.client.messages)
        if (message.sent && message.type == kind::certificate) shown = message.certificates();
    CHECK(shown == 2);
    CHECK(seen(both) == "flagged CN=crawler.example");
    const auto who = std::get<reqauth::flagged_peer>(reqauth::peer_of(*both.server.ssl));
    CHECK(to_string(who.alt_names().at(0)) == "DNS:crawler.example");
    CHECK(who.chain().size() == 2);
}

TEST_CASE("server / peer_of / chain of [customer's leaf, agent's certificate] -> refused", "[handshake][cve][SEC-1]") {
    const auto client = flagged_client(the_cast().customer);
    SSL_CTX_add1_chain_cert(client.context.get(), the_cast().agent.certificate.get());
    SSL_CTX_add1_chain_cert(client.context.get(), the_cast().agents_ca.certificate.get());
    const auto server = attached_server(asking());
    pair both(*server, *client.context);
    CHECK_FALSE(both.shake());
    CHECK(alert_to_client(both) == "unknown CA");
}

TEST_CASE("server / flagged_peer / NUL, non-ASCII, comma, quote, newline in names -> escaped, none cut short",
          "[handshake][cve]") {
    // Envoy CVE-2025-66220 and others: a NUL inside a SAN cut the match short.
    using namespace std::string_literals;
    description about{.common_name = "a,b\"c\\d\n\xc3\xa9",
                      .alt_names = {{GEN_DNS, "good.example\0.evil.example"s},
                                    {GEN_DNS, "a,DNS:b.example"},
                                    {GEN_DNS, "a\"\r\nx: y\\\xff"},
                                    {GEN_URI, "https://crawler.example/,about"},
                                    {GEN_EMAIL, "ops@crawler.example"},
                                    {GEN_IPADD, octets({192, 0, 2, 1})},
                                    {GEN_IPADD, octets({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})},
                                    {GEN_IPADD, octets({1, 2, 3})},
                                    {GEN_DNS, std::string(2000, 'x')},
                                    {GEN_DNS, ""}},
                      .extended_key_usage = "clientAuth"};
    auto policy = agent_policy();
    const auto agent = issue(about, &the_cast().agents_ca);
    policy.credential = credential_of(agent);
    const auto client = attached_client(policy);
    const auto server = attached_server(asking());
    pair both(*server, *client);
    REQUIRE(both.shake());
    const auto who = std::get<reqauth::flagged_peer>(reqauth::peer_of(*both.server.ssl));
    const auto printable = [](const std::string& text) {
        return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
    };
    CHECK(printable(who.subject()));
    CHECK(who.subject() == "CN=a\\2Cb\\22c\\5Cd\\0A\\C3\\A9");
    std::vector<std::string> names;
    for (const auto& name : who.alt_names()) {
        CHECK(printable(name.value));
        CHECK(name.value.find_first_of("\",") == std::string::npos);
        names.push_back(to_string(name));
    }
    REQUIRE(names.size() == about.alt_names.size());
    CHECK(names[0] == "DNS:good.example\\00.evil.example");
    CHECK(names[1] == "DNS:a\\2CDNS:b.example");
    CHECK(names[2] == "DNS:a\\22\\0D\\0Ax: y\\5C\\FF");
    CHECK(names[3] == "URI:https://crawler.example/\\2Cabout");
    CHECK(names[4] == "email:ops@crawler.example");
    CHECK(names[5] == "IP:192.0.2.1");
    CHECK(names[6].starts_with("IP:2001:"));
    CHECK(names[8] == "DNS:" + std::string(2000, 'x'));
    CHECK(names[9] == "DNS:");
}

TEST_CASE("both sides / over sockets, blocking, a thread each / flag offered -> flagged_peer", "[handshake]") {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    const auto server_side = attached_server(asking());
    const auto client_side = attached_client();
    owned<SSL> server(SSL_new(server_side.get()));
    owned<SSL> client(SSL_new(client_side.get()));
    REQUIRE(SSL_set_fd(server.get(), ends[0]) == 1);
    REQUIRE(SSL_set_fd(client.get(), ends[1]) == 1);
    bool connected = false;
    std::thread other_end([&] {
        connected = SSL_connect(client.get()) == 1 && SSL_write(client.get(), "hello", 5) == 5;
        SSL_shutdown(client.get());
        ::shutdown(ends[1], SHUT_WR);
    });
    const bool accepted = SSL_accept(server.get()) == 1;
    char buffer[16];
    const int got = accepted ? SSL_read(server.get(), buffer, sizeof buffer) : 0;
    if (!accepted) ::shutdown(ends[0], SHUT_RDWR);
    other_end.join();
    CHECK(accepted);
    CHECK(connected);
    CHECK(got == 5);
    CHECK(seen(*server) == "flagged CN=crawler.example");
    server.reset();
    client.reset();
    ::close(ends[0]);
    ::close(ends[1]);
}
