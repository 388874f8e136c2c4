// SPDX-License-Identifier: Apache-2.0
// Malformed tls_flags bodies in every message that can carry the extension, to both sides (FLAG-5).

#include "catch.hpp"
#include "conformance/conversations.hpp"

using namespace support;

namespace {

struct malformed_body {
    const char* what;
    std::string body;
};

std::vector<malformed_body> malformed_bodies() {
    return {
        {"no octet", ""},
        {"length zero", octets({0})},
        {"length zero, data after it", octets({0, 1})},
        {"length longer than the data", octets({2, 1})},
        {"length shorter than the data", octets({1, 1, 1})},
        {"length without data", octets({1})},
        {"one zero octet", octets({1, 0})},
        {"all zero", octets({3, 0, 0, 0})},
        {"trailing zero", octets({2, 1, 0})},
        {"flag 80 and a trailing zero", octets({12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0})},
        {"256 octets, length zero", std::string(1, '\0') + std::string(256, '\1')},
        {"256 octets, length 255", std::string(257, '\xff')},
        {"255 octets, the last zero", std::string(255, '\xff') + std::string(1, '\0')},
    };
}

struct named_message {
    unsigned message;
    const char* name;
};

} // namespace

TEST_CASE("both sides / before malformed bodies / sane conversation -> flagged_peer", "[conformance]") {
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}

TEST_CASE("client / SH, HRR, EE, CR, CT, NST / malformed tls_flags -> illegal_parameter", "[conformance][FLAG-5]") {
    for (const auto& [message, name] : std::vector<named_message>{{in::server_hello, "ServerHello"},
                                                                  {in::retry, "HelloRetryRequest"},
                                                                  {in::encrypted_extensions, "EncryptedExtensions"},
                                                                  {in::certificate_request, "CertificateRequest"},
                                                                  {in::certificate, "Certificate"},
                                                                  {in::ticket, "NewSessionTicket"}})
        for (const auto& [what, body] : malformed_bodies()) {
            CAPTURE(name, what);
            with_bad_server conversation({{message, {body}}});
            CHECK(conversation.answer() == "illegal parameter");
            CHECK(conversation.peer.said[message] > 0);
            CHECK(conversation.both->client.failed);
        }
}

TEST_CASE("client / CR, NST / flag never offered, malformed tls_flags -> illegal_parameter", "[conformance][FLAG-5]") {
    for (const auto& [message, name] :
         std::vector<named_message>{{in::certificate_request, "CertificateRequest"}, {in::ticket, "NewSessionTicket"}})
        for (const auto& [what, body] : malformed_bodies()) {
            CAPTURE(name, what);
            with_bad_server conversation({{message, {body}}}, {});
            CHECK(conversation.answer() == "illegal parameter");
            CHECK(conversation.peer.said[message] > 0);
        }
}

TEST_CASE("client / HelloRetryRequest / flag never offered, malformed tls_flags -> illegal_parameter",
          "[conformance][FLAG-5]") {
    for (const auto& [what, body] : malformed_bodies()) {
        CAPTURE(what);
        with_bad_server conversation({}, {});
        a_retry(*conversation.peer.context, *conversation.ours);
        pair both(*conversation.peer.context, *conversation.ours);
        bool inserted = false;
        both.to_client = [&, &malformed = body](std::string& records) {
            if (!inserted) inserted = insert_extension(records, {62, malformed});
        };
        both.run();
        CHECK(inserted);
        CHECK(alert_to_server(both) == "illegal parameter");
    }
}

// The documented exception: OpenSSL itself answers before it hands the extension to anybody.
TEST_CASE("client / ServerHello / flag never offered, tls_flags there -> unsupported_extension",
          "[conformance][FLAG-5][FLAG-7]") {
    for (const std::string& body : {std::string(), octets({1, 0}), flags({80}), flags({3})}) {
        CAPTURE(body.size());
        with_bad_server conversation({}, {});
        bool inserted = false;
        pair both(*conversation.peer.context, *conversation.ours);
        both.to_client = [&](std::string& records) {
            if (!inserted) inserted = insert_extension(records, {62, body});
        };
        both.run();
        CHECK(inserted);
        CHECK(alert_to_server(both) == "unsupported extension");
    }
}

TEST_CASE("server / ClientHello / malformed tls_flags -> illegal_parameter", "[conformance][FLAG-5]") {
    for (const auto& [what, body] : malformed_bodies()) {
        CAPTURE(what);
        with_bad_client conversation({{in::client_hello, {body}}});
        CHECK(conversation.answer() == "illegal parameter");
        CHECK(conversation.both->server.failed);
        CHECK_FALSE(server_side(*conversation.both).offered);
        CHECK(seen(*conversation.both) == "handshake_unfinished");
    }
}

TEST_CASE("server / second ClientHello / malformed tls_flags -> illegal_parameter", "[conformance][FLAG-5]") {
    for (const auto& [what, body] : malformed_bodies()) {
        CAPTURE(what);
        with_bad_client conversation({{in::client_hello, {flags({80}), body}}});
        a_retry(*conversation.ours, *conversation.peer.context);
        pair both(*conversation.ours, *conversation.peer.context);
        both.run();
        CHECK(both.client.count(kind::hello_retry_request) == 1);
        CHECK(alert_to_client(both) == "illegal parameter");
    }
}

TEST_CASE("server / Certificate / malformed tls_flags -> illegal_parameter", "[conformance][FLAG-5]") {
    for (const auto& [what, body] : malformed_bodies()) {
        CAPTURE(what);
        with_bad_client conversation({{in::client_hello, {flags({80})}}, {in::certificate, {body}}});
        CHECK(conversation.answer() == "illegal parameter");
        CHECK(conversation.peer.said[in::certificate] == 1);
        CHECK(seen(*conversation.both) == "handshake_unfinished");
    }
}

TEST_CASE("server / ClientHello of TLS 1.2 / malformed tls_flags -> ignored", "[conformance][FLAG-5][FLAG-9][TLS-5]") {
    for (const auto& [what, body] : malformed_bodies()) {
        CAPTURE(what);
        auto context = client_context();
        SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
        bad_peer peer(std::move(context), {{in::client_hello, {body}}}, 62, in::client_hello);
        const auto ours = attached_server(asking());
        pair both(*ours, *peer.context);
        CHECK(both.shake());
        CHECK(peer.said[in::client_hello] == 1);
        CHECK(seen(both) == "not_offered");
    }
}

TEST_CASE("both sides / after malformed bodies / sane conversation -> flagged_peer", "[conformance]") {
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}
