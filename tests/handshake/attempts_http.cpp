// SPDX-License-Identifier: Apache-2.0
// Attempts to break the promises of http.hpp. docs/attacks.md has each with its result.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <reqauth/http.hpp>

#include <openssl/x509_vfy.h>

#include <algorithm>

using namespace support;

namespace {

std::string of_customer(const SSL& ssl) {
    const auto fields = reqauth::client_cert_of_customer(ssl);
    const auto* none = std::get_if<reqauth::no_client_cert>(&fields);
    return none != nullptr ? std::string(reqauth::to_string(*none)) : "fields";
}

} // namespace

TEST_CASE("server / client_cert_of_customer / an agent by every door, a certificate that nobody verified -> no fields",
          "[handshake][attempt][RCA-14][SEC-8]") {
    const auto& who = the_cast();
    for (const bool verify_result_ok : {false, true})
        for (const bool admits_all : {false, true})
            for (const bool tls12 : {false, true}) {
                CAPTURE(verify_result_ok, admits_all, tls12);
                const auto server = server_context();
                ask(*server, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, who.customers_ca,
                    admits_all ? +[](int, X509_STORE_CTX*) { return 1; } : nullptr);
                if (tls12) SSL_CTX_set_verify(server.get(), SSL_VERIFY_PEER, SSL_CTX_get_verify_callback(server.get()));
                auto policy = asking();
                policy.verify_result_ok = verify_result_ok;
                attach(*server, policy);
                for (const identity* one : {&who.agent, &who.customer, &who.expired_agent}) {
                    bad_peer client = flagged_client(*one);
                    if (tls12) SSL_CTX_set_max_proto_version(client.context.get(), TLS1_2_VERSION);
                    pair both(*server, *client.context);
                    CHECK(of_customer(*both.server.ssl) == "handshake_unfinished");
                    const bool good = both.shake();
                    CAPTURE(one == &who.agent, one == &who.customer, good);
                    const std::string found = of_customer(*both.server.ssl);
                    // Under TLS 1.2 there is no flag: a customer is one, and nobody else.
                    CHECK((found == "fields") == (good && tls12 && one == &who.customer));
                    CHECK(of_customer(*both.client.ssl) == "no_certificate");
                    SSL_set_verify_result(both.server.ssl.get(), X509_V_OK); // as code of the application may
                    if (!tls12) CHECK(of_customer(*both.server.ssl) != "fields");
                }
            }
}

TEST_CASE("server / client_cert_options / to the octet -> all of it, or none", "[handshake][attempt]") {
    const auto server = attached_server(asking());
    const auto client = attached_client();
    pair both(*server, *client);
    REQUIRE(both.shake());
    const reqauth::peer peer = reqauth::peer_of(*both.server.ssl);
    const auto& agent = std::get<reqauth::flagged_peer>(peer);
    for (const bool chain : {false, true}) {
        reqauth::client_cert_options options;
        options.chain = chain;
        options.most = SIZE_MAX;
        const auto whole = std::get<reqauth::client_cert_fields>(reqauth::client_cert_of_agent(agent, options));
        CHECK(whole.client_cert_chain.empty() == !chain);
        const std::size_t size = whole.client_cert.size() + whole.client_cert_chain.size();
        for (const std::size_t most : {std::size_t{0}, std::size_t{1}, whole.client_cert.size() - 1, size - 1, size}) {
            CAPTURE(chain, most, size);
            options.most = most;
            const auto given = reqauth::client_cert_of_agent(agent, options);
            CHECK(std::holds_alternative<reqauth::client_cert_fields>(given) == (most == size));
        }
    }
}

TEST_CASE("server / names of header fields, quoted text / odd octets -> removed, or one string",
          "[handshake][attempt]") {
    using namespace std::string_literals;
    for (const std::string& name : {"Client\0Cert"s,
                                    "client\xe2\x80\x90"
                                    "cert"s,
                                    "CLIENT CERT"s, "client\tcert-chain"s, "\xc7lient-cert"s, "client-cert "s,
                                    "-client-cert"s, "client--cert"s, ""s}) {
        CAPTURE(name);
        // One octet in place of a hyphen is folded; what no variable of CGI's would be named alike is another field.
        const bool alike = name.size() == 11 || name.size() == 17;
        const bool folds = alike && name[0] != '\xc7';
        CHECK(reqauth::is_client_cert_field(name) == folds);
    }
    for (int octet = 0; octet < 256; ++octet) {
        const char c = static_cast<char>(octet);
        const bool text = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        CHECK(reqauth::is_client_cert_field("Client"s + c + "Cert") == !text);
        CHECK(reqauth::is_spelling_of("X"s + c + "A", "x-a") == !text);
        const std::string quoted = reqauth::quoted("a"s + c + "b");
        CHECK((quoted.front() == '"' && quoted.back() == '"' &&
               std::ranges::all_of(quoted, [](char q) { return q >= 0x20 && q < 0x7f; })));
        // The only quotes that end it are the outer ones.
        std::size_t ends = 0;
        for (std::size_t at = 1; at + 1 < quoted.size(); ++at) {
            if (quoted[at] == '\\')
                ++at;
            else if (quoted[at] == '"')
                ++ends;
        }
        CHECK(ends == 0);
    }
    const std::string large = reqauth::quoted(std::string(1U << 20U, '\xff'));
    CHECK(large.size() == 2 + (std::size_t{4} << 20U));
}
