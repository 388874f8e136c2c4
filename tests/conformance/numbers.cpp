// SPDX-License-Identifier: Apache-2.0
// Other extension types and flag numbers, one SSL_CTX for both roles, and octets recorded in the open.

#include "catch.hpp"
#include "conformance/conversations.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace support;

namespace {

struct numbers {
    reqauth::extension_type extension;
    reqauth::flag_number flag;
};

reqauth::server_options options_with(const numbers& use) {
    reqauth::server_options options;
    options.extension = use.extension;
    options.flag = use.flag;
    return options;
}

reqauth::client_policy agent_with(const numbers& use) {
    auto policy = agent_policy();
    policy.extension = use.extension;
    policy.flag = use.flag;
    return policy;
}

/// cloudflare_body is what the recorded Cloudflare client sent, after `fe01 000c`.
const std::string cloudflare_body = octets({0x0b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
constexpr numbers experiment{65025, 80};

owned<SSL_CTX> context_for_both_roles(const reqauth::client_policy& policy) {
    owned<SSL_CTX> context(SSL_CTX_new(TLS_method()));
    REQUIRE(context != nullptr);
    present(*context, the_cast().server);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), the_cast().server_ca.certificate.get());
    X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(context.get()), "server.example", 0);
    attach(*context, asking());
    reqauth::client(policy).attach(*context);
    return context;
}

/// recorded_hello finds the record with the ClientHello that carries extension 65025 in a capture.
std::string recorded_hello(const std::string& capture) {
    const std::string start = octets({0x16, 0x03, 0x01});
    for (auto at = capture.find(start); at != std::string::npos; at = capture.find(start, at + 1)) {
        if (at + 5 > capture.size()) break;
        const auto size = static_cast<std::size_t>(static_cast<unsigned char>(capture[at + 3])) << 8U |
                          static_cast<unsigned char>(capture[at + 4]);
        const std::string record = capture.substr(at, 5 + size);
        if (record.size() == 5 + size &&
            record.find(octets({0xfe, 0x01, 0, 0x0c}) + cloudflare_body) != std::string::npos)
            return record;
    }
    return {};
}

} // namespace

TEST_CASE("both sides / before other numbers / sane conversation -> flagged_peer", "[conformance]") {
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}

TEST_CASE("both sides / settings / other extension type and flag numbers -> used on the wire",
          "[conformance][FLAG-1][FLAG-2][RCA-1][RCA-2]") {
    for (const numbers& use : {experiment, numbers{62, 0}, numbers{62, 7}, numbers{62, 2039}, numbers{0xff00, 8}}) {
        CAPTURE(use.extension, use.flag);
        const auto server = attached_server(asking(), options_with(use));
        const auto client = attached_client(agent_with(use));
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
        CHECK(both.client.first(kind::client_hello)->find(use.extension) == flags({use.flag}));
        REQUIRE(both.client.first(kind::certificate_request) != nullptr);
        CHECK(both.client.first(kind::certificate_request)->find(use.extension) == flags({use.flag}));
        CHECK(client_side(both).acknowledged);
        CHECK(client_side(both).server_flags == reqauth::flag_set{use.flag});
    }
}

TEST_CASE("both sides / settings / numbers differ -> not offered, ordinary handshake", "[conformance][RCA-8][RCA-15]") {
    for (const numbers& use : {experiment, numbers{62, 81}}) {
        const auto server = attached_server(demanding());
        const auto client = attached_client(agent_with(use));
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == "not_offered");
        CHECK(both.client.count(kind::certificate_request) == 0);
    }
}

TEST_CASE("client / every message / extension 65025, malformed or flag there -> illegal_parameter",
          "[conformance][FLAG-5][RCA-10]") {
    for (const unsigned message : {in::server_hello, in::retry, in::encrypted_extensions, in::certificate, in::ticket})
        for (const std::string& body : {std::string(), octets({1, 0}), flags({80}), flags({1})}) {
            if (message == in::ticket && body == flags({1})) continue; // an unknown flag is welcome there
            CAPTURE(message, body.size());
            with_bad_server conversation({{message, {body}}}, agent_with(experiment), experiment.extension);
            CHECK(conversation.answer() == "illegal parameter");
        }
}

TEST_CASE("server / ClientHello, Certificate / extension 65025, malformed or flag there -> illegal_parameter",
          "[conformance][FLAG-5][RCA-11]") {
    for (const std::string& body : {std::string(), octets({1, 0}), octets({2, 1})}) {
        with_bad_client conversation({{in::client_hello, {body}}}, asking(), options_with(experiment), 65025);
        CHECK(conversation.answer() == "illegal parameter");
    }
    for (const std::string& body : {std::string(), octets({1, 0}), flags({80}), flags({1})}) {
        with_bad_client conversation({{in::client_hello, {flags({80})}}, {in::certificate, {body}}}, asking(),
                                     options_with(experiment), 65025);
        CHECK(conversation.answer() == "illegal parameter");
        CHECK(conversation.peer.said[in::certificate] == 1);
    }
}

TEST_CASE("one SSL_CTX for both roles / as server, as client, with itself / flag offered -> flagged_peer",
          "[conformance][RCA-1][RCA-2][SEC-6]") {
    const auto both_roles = context_for_both_roles(agent_policy());
    const auto server = attached_server(asking());
    const auto client = attached_client();
    for (const auto& [accepting, connecting] :
         {std::pair{both_roles.get(), client.get()}, std::pair{server.get(), both_roles.get()},
          std::pair{both_roles.get(), both_roles.get()}}) {
        pair both(*accepting, *connecting);
        CHECK(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
        CHECK(client_side(both).sent == reqauth::client_outcome::answer::flag);
        CHECK(seen(*both.client.ssl) == "not_offered"); // not a server's connection
    }
}

TEST_CASE("one SSL_CTX for both roles / it never offers / as server and as client -> rules of each role",
          "[conformance][RCA-9][FLAG-5][SEC-6]") {
    const auto both_roles = context_for_both_roles({});
    const auto client = attached_client();
    {
        pair both(*both_roles, *client);
        CHECK(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
    }
    for (const std::string& body : {flags({80}), octets({1, 0})}) {
        bad_peer peer(server_context(), {{in::certificate_request, {body}}});
        ask(*peer.context, SSL_VERIFY_PEER, the_cast().agents_ca);
        pair both(*peer.context, *both_roles);
        both.run();
        CHECK_FALSE(both.client.first(kind::client_hello)->find(62).has_value());
        CHECK(alert_to_server(both) == "illegal parameter");
    }
}

TEST_CASE("one SSL_CTX / only a server is attached / it serves as client -> offers nothing, and connects",
          "[conformance][RCA-6][SEC-6]") {
    owned<SSL_CTX> context(SSL_CTX_new(TLS_method()));
    present(*context, the_cast().server);
    attach(*context, asking());
    const auto server = attached_server(demanding());
    pair both(*server, *context);
    CHECK(both.shake());
    CHECK_FALSE(both.client.first(kind::client_hello)->find(62).has_value());
    CHECK(seen(both) == "not_offered");
}

TEST_CASE("server / ClientHello / octets of the recorded Cloudflare client -> flag 80 on extension 65025",
          "[conformance][FLAG-1][FLAG-2][RCA-1]") {
    const auto body = std::span(reinterpret_cast<const std::uint8_t*>(cloudflare_body.data()), cloudflare_body.size());
    const auto decoded = reqauth::decode(body);
    REQUIRE(decoded);
    CHECK(decoded.flags == reqauth::flag_set{80});
    const auto encoded = reqauth::encode({80});
    CHECK(std::equal(body.begin(), body.end(), encoded.body().begin(), encoded.body().end()));

    with_bad_client conversation({{in::client_hello, {cloudflare_body}}}, asking(), options_with(experiment), 65025);
    REQUIRE(conversation.run());
    CHECK(seen(*conversation.both) == "flagged CN=crawler.example");
    CHECK(conversation.both->client.first(kind::certificate_request)->find(65025) == cloudflare_body);
}

TEST_CASE("client / ClientHello / set to extension 65025 -> the octets of the recorded Cloudflare client",
          "[conformance][FLAG-3][RCA-1]") {
    with_bad_server conversation({{in::certificate_request, {cloudflare_body}}}, agent_with(experiment), 65025);
    REQUIRE(conversation.run());
    CHECK(conversation.both->client.first(kind::client_hello)->find(65025) == cloudflare_body);
    CHECK(client_side(*conversation.both).acknowledged);
}

TEST_CASE("server / ClientHello / recorded by Cloudflare's demonstration -> read correctly, and answered",
          "[conformance][RCA-1][RCA-2]") {
    const char* vectors = std::getenv("REQAUTH_VECTORS");
    const auto file = std::filesystem::path(vectors != nullptr ? vectors : "") / "cloudflare-demonstration.pcapng";
    std::ifstream in(file, std::ios::binary);
    if (vectors == nullptr || !in)
        SKIP_BECAUSE("no cloudflare-demonstration.pcapng in the directory that REQAUTH_VECTORS names");
    const std::string hello = recorded_hello({std::istreambuf_iterator<char>(in), {}});
    REQUIRE_FALSE(hello.empty());

    const auto context = attached_server(asking(), options_with(experiment));
    owned<SSL> ssl(SSL_new(context.get()));
    SSL_set_accept_state(ssl.get());
    endpoint server(std::move(ssl));
    server.give(hello);
    server.step();
    CHECK_FALSE(server.failed);
    CHECK(server.alert_sent == endpoint::no_alert);
    const auto outcome = reqauth::server_outcome_of(*server.ssl);
    CHECK(outcome.offered);
    CHECK(outcome.accepted);
    CHECK(outcome.flags == reqauth::flag_set{80});
    CHECK(outcome.certificate == reqauth::server_outcome::answer::awaited);
    REQUIRE(server.first(kind::certificate_request) != nullptr);
    CHECK(server.first(kind::certificate_request)->find(65025) == cloudflare_body);
    CHECK(seen(*server.ssl) == "handshake_unfinished");
}

TEST_CASE("both sides / after other numbers / sane conversation -> flagged_peer", "[conformance]") {
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}
