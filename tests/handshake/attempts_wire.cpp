// SPDX-License-Identifier: Apache-2.0
// Attempts to break the promises of server.hpp and flags.hpp with ClientHellos that no ordinary client sends.
// docs/attacks.md has each with its result.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <openssl/err.h>

#include <cstring>
#include <functional>

using namespace support;

namespace {

std::string two_octets(std::size_t value) {
    return octets({static_cast<int>(value >> 8U), static_cast<int>(value & 0xffU)});
}

/// hello_of is the first flight of a client: one record with its ClientHello.
std::string hello_of(SSL_CTX& client, const char* name = "server.example", SSL_SESSION* session = nullptr) {
    owned<SSL> ssl(SSL_new(&client));
    SSL_set_connect_state(ssl.get());
    if (name != nullptr) SSL_set_tlsext_host_name(ssl.get(), name);
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>("\x02h2"), 3);
    if (session != nullptr) {
        take_over(*session, *ssl);
        SSL_set_session(ssl.get(), session);
    }
    endpoint side(std::move(ssl));
    side.step();
    return side.take();
}

/// answered gives a server octets, and says what it made of them.
std::string answered(SSL_CTX& server, const std::string& flight) {
    owned<SSL> ssl(SSL_new(&server));
    SSL_set_accept_state(ssl.get());
    endpoint side(std::move(ssl));
    side.give(flight);
    side.step();
    CHECK_FALSE(seen(*side.ssl).starts_with("flagged"));
    CHECK(reqauth::server_outcome_of(*side.ssl).certificate != reqauth::server_outcome::answer::verified);
    return side.failed                                  ? "alert " + std::to_string(side.alert_sent)
           : side.count(kind::certificate_request) > 0  ? "asked"
           : side.count(kind::encrypted_extensions) > 0 ? "not asked"
                                                        : "waits";
}

/// with_extensions gives the ClientHello's list of extensions to `change`.
void with_extensions(std::string& flight, const std::function<void(std::string&)>& change) {
    edit_first_message(flight, [&](std::string& body) {
        std::size_t at = 2 + 32;
        at += 1 + static_cast<unsigned char>(body[at]);
        at += 2 + (static_cast<std::size_t>(static_cast<unsigned char>(body[at])) << 8U |
                   static_cast<unsigned char>(body[at + 1]));
        at += 1 + static_cast<unsigned char>(body[at]);
        std::string list = body.substr(at + 2);
        change(list);
        body = body.substr(0, at) + two_octets(list.size()) + list;
    });
}

std::string extension_with(unsigned type, const std::string& body) {
    return two_octets(type) + two_octets(body.size()) + body;
}

std::string in_records_of(const std::string& flight, std::size_t size) {
    std::string made;
    for (std::size_t at = 5; at < flight.size(); at += size) {
        const std::string part = flight.substr(at, size);
        made += flight.substr(0, 3) + two_octets(part.size()) + part;
    }
    return made;
}

} // namespace

TEST_CASE("server / a flagged ClientHello, each of its octets changed, cut anywhere -> no crash, never a flagged_peer",
          "[handshake][attempt][SEC-1][SEC-3][FLAG-5]") {
    fleet nodes;
    reqauth::server_options options;
    int asked = 0;
    options.accept = [&](const reqauth::client_hello& hello) {
        ++asked;
        return !hello.server_name || hello.server_name->size() < 256;
    };
    auto server = server_context();
    nodes.join(*server, tickets::stateless);
    attach(*server, demanding(), options);
    const auto client = attached_client();
    visitor agent(attached_client());
    for (SSL_CTX* one : {client.get(), agent.context.get()}) SSL_CTX_set1_groups_list(one, "P-256"); // short ones
    REQUIRE(visit(*server, *agent.context, {.name = "server.example"}).who == "flagged CN=crawler.example");
    const std::string plain = hello_of(*client);
    const std::string with_session = hello_of(*agent.context, "server.example", agent.shelf.last.get());
    REQUIRE(answered(*server, plain) == "asked");
    REQUIRE(answered(*server, with_session) == "not asked");
    for (const std::string& hello : {plain, with_session})
        for (std::size_t at = 0; at < hello.size(); ++at)
            for (const int change : {0x00, 0x01, 0x80, 0xff}) {
                std::string spoilt = hello;
                spoilt[at] = static_cast<char>(change == 0 ? 0 : spoilt[at] ^ change);
                answered(*server, spoilt);
            }
    for (const std::string& hello : {plain, with_session})
        for (std::size_t size = 0; size < hello.size(); size += 3) {
            answered(*server, hello.substr(0, size));
            if (size < 9) continue;
            std::string shorter = hello; // with lengths that fit
            edit_first_message(shorter, [&](std::string& body) { body.resize(size - 9); });
            answered(*server, shorter);
        }
    ERR_clear_error();
    CHECK(asked > 100);
    CHECK(sane_conversation() == "flagged CN=crawler.example");
}

TEST_CASE("server / tls_flags in odd ClientHellos -> by its contents alone, once",
          "[handshake][attempt][FLAG-1][FLAG-5][FLAG-9][SEC-3]") {
    static int calls;
    static std::optional<std::string> name;
    reqauth::server_options options;
    options.accept = [](const reqauth::client_hello& hello) {
        ++calls;
        name = hello.server_name ? std::optional<std::string>(*hello.server_name) : std::nullopt;
        return true;
    };
    const auto server = attached_server(asking(), options);
    const auto client = client_context();
    const std::string hello = hello_of(*client);
    const auto adding = [&](const std::string& front, const std::string& back) {
        std::string made = hello;
        with_extensions(made, [&](std::string& list) { list = front + list + back; });
        return made;
    };
    const std::string ours = extension_with(62, flags({80}));
    std::string every(256, '\xff');
    std::string thousand;
    for (unsigned type = 40000; type < 45000; ++type) thousand += extension_with(type, "");
    const struct {
        const char* what;
        std::string hello;
        std::string as;
        int calls;
    } rows[] = {
        {"control", adding("", ours), "asked", 1},
        {"before all others", adding(ours, ""), "asked", 1},
        {"twice", adding(ours, ours), "alert 47", 0},
        {"twice, the second of other flags", adding(ours, extension_with(62, flags({8}))), "alert 47", 0},
        {"every flag that there is", adding("", extension_with(62, every)), "asked", 1},
        {"every flag, and a length of one less", adding("", extension_with(62, '\xfe' + every.substr(1))), "alert 47",
         0},
        {"as many zero octets as fit", adding("", extension_with(62, '\xff' + std::string(255, '\0'))), "alert 47", 0},
        {"no octet", adding("", extension_with(62, "")), "alert 47", 0},
        {"60 KB of octets", in_records_of(adding("", extension_with(62, std::string(60000, '\x01'))), 16000),
         "alert 47", 0},
        {"5,000 unknown extensions before and after",
         in_records_of(adding(thousand, ours + extension_with(45000, "")), 16000), "asked", 1},
        {"in records of one octet", in_records_of(adding("", ours), 1), "asked", 1},
        {"in records of seven octets", in_records_of(adding(thousand, ours), 7), "asked", 1},
        {"the earlier experiment's number", adding("", extension_with(0xfe01, flags({80}))), "not asked", 0},
        {"flag 80 written from the other end",
         adding("", extension_with(62, octets({11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128}))), "not asked", 0},
        {"with the end cut off", adding("", ours.substr(0, ours.size() - 1)), "alert 50", 0},
    };
    ROWS(row.what, rows, const auto& row) {
        CAPTURE(row.what);
        calls = 0;
        name = "none";
        CHECK(answered(*server, row.hello) == row.as);
        CHECK(calls == row.calls);
        if (row.calls == 1) CHECK(name == "server.example");
    }

    // Names as they are on the wire.
    auto flagged = empty_handed_client();
    for (const std::string& wanted :
         {std::string(255, 'a'), std::string("A.Server.EXAMPLE."), std::string("\xff\xfe\x01"),
          std::string("127.0.0.1"), std::string("a\r\nb, \"")}) {
        calls = 0;
        CHECK(answered(*server, hello_of(*flagged.context, wanted.c_str())) == "asked");
        CHECK(name == wanted);
        CHECK(calls == 1);
    }
    CHECK(answered(*server, hello_of(*flagged.context, nullptr)) == "asked");
    CHECK_FALSE(name.has_value());
}

TEST_CASE("server / numbers of flag and extension at their ends -> they work, or attach says no",
          "[handshake][attempt][FLAG-1][FLAG-2][SEC-6]") {
    for (const auto& [extension, flag] :
         std::vector<std::pair<unsigned, unsigned>>{{62, 0}, {62, 2039}, {0xffff, 80}, {0x0a0a, 7}, {0xfe01, 2000}}) {
        CAPTURE(extension, flag);
        reqauth::server_options options;
        options.extension = static_cast<reqauth::extension_type>(extension);
        options.flag = static_cast<reqauth::flag_number>(flag);
        const auto server = attached_server(asking(), options);
        auto policy = agent_policy();
        policy.extension = options.extension;
        policy.flag = options.flag;
        const auto client = attached_client(policy);
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
        CHECK(reqauth::server_outcome_of(*both.server.ssl).flags == reqauth::flag_set{options.flag});
    }
    // OpenSSL knows these, parses them itself, and hands them to nobody.
    for (const unsigned extension :
         {0U, 10U, 13U, 16U, 21U, 22U, 23U, 35U, 41U, 42U, 43U, 44U, 45U, 47U, 49U, 50U, 51U}) {
        CAPTURE(extension);
        reqauth::server_options options;
        options.extension = static_cast<reqauth::extension_type>(extension);
        std::optional<reqauth::errc> failed;
        try {
            attached_server(asking(), options);
        } catch (const reqauth::error& e) {
            failed = e.code();
        }
        CHECK((failed == reqauth::errc::contradiction || failed == reqauth::errc::extension_taken));
    }
}

TEST_CASE(
    "server / retry / the second ClientHello with other flags and another Random -> illegal_parameter all the same",
    "[handshake][attempt][TLS-1]") {
    for (const bool other_random : {false, true}) {
        CAPTURE(other_random);
        const auto server = attached_server(asking());
        auto client = client_context();
        bad_peer retried(std::move(client), {{in::client_hello, {flags({80}), flags({80, 3})}}});
        SSL_CTX_set1_groups_list(server.get(), "P-256");
        SSL_CTX_set1_groups_list(retried.context.get(), "X25519:P-256");
        pair both(*server, *retried.context);
        int flight = 0;
        both.to_server = [&](std::string& records) {
            if (records.empty() || ++flight != 1 || !other_random) return;
            edit_first_message(records, [](std::string& body) { body[2] = static_cast<char>(body[2] ^ 1); });
        };
        CHECK_FALSE(both.shake());
        CHECK(both.client.count(kind::hello_retry_request) == 1);
        CHECK(both.server.alert_sent == SSL_AD_ILLEGAL_PARAMETER);
    }
}

TEST_CASE("server / other flags alone, with sessions, retries and TLS 1.2 -> as a client without the extension",
          "[handshake][attempt][RCA-15][TLS-5]") {
    struct shape {
        bool good, resumed, asked, again;
        std::size_t tickets;
        bool operator==(const shape&) const = default;
    };
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION})
        for (const bool asks : {false, true})
            for (const bool retry : {false, true}) {
                CAPTURE(version, asks, retry);
                std::vector<std::vector<shape>> all;
                for (const bool attached : {false, true}) {
                    const auto server = server_context();
                    if (asks) ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
                    if (attached) attach(*server, demanding());
                    auto context = client_context();
                    SSL_CTX_set_max_proto_version(context.get(), version);
                    if (asks) present(*context, the_cast().customer);
                    bad_peer client(std::move(context), {{in::client_hello, {flags({8, 79, 81})}}});
                    session_shelf shelf;
                    shelf.serve(*client.context);
                    all.emplace_back();
                    for (int i = 0; i < 3; ++i) {
                        pair both(*server, *client.context);
                        if (retry) {
                            SSL_set1_groups_list(both.client.ssl.get(), "X25519:P-256");
                            SSL_set1_groups_list(both.server.ssl.get(), "P-256");
                        }
                        if (shelf.last != nullptr) SSL_set_session(both.client.ssl.get(), shelf.last.get());
                        const bool good = both.shake();
                        all.back().push_back({good, SSL_session_reused(both.server.ssl.get()) == 1,
                                              both.client.count(kind::certificate_request) > 0,
                                              SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK,
                                              both.client.count(kind::new_session_ticket)});
                        CHECK(seen(both) == "not_offered");
                        CHECK_FALSE(reqauth::server_outcome_of(*both.server.ssl).offered);
                        both.close();
                    }
                }
                CHECK(all[0] == all[1]);
            }
}

namespace {

constexpr unsigned char psk_key[32] = {7};

SSL_SESSION* psk_of_a(SSL* ssl) {
    const unsigned char suite[] = {0x13, 0x01};
    SSL_SESSION* session = SSL_SESSION_new();
    SSL_SESSION_set1_master_key(session, psk_key, sizeof psk_key);
    SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, suite));
    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
    return session;
}

int lookups_of_a;
int find_psk_of_a(SSL* ssl, const unsigned char*, std::size_t, SSL_SESSION** session) {
    ++lookups_of_a;
    *session = psk_of_a(ssl);
    return 1;
}

int use_psk_of_a(SSL* ssl, const EVP_MD*, const unsigned char** id, std::size_t* size, SSL_SESSION** session) {
    *id = reinterpret_cast<const unsigned char*>("device 7");
    *size = 8;
    *session = psk_of_a(ssl);
    return 1;
}

} // namespace

TEST_CASE("server / a ClientHello laid out to go on where another server's ended, in the same memory -> the other "
          "server's psk_find_session is not asked",
          "[handshake][attempt][SEC-1][SEC-6]") {
    // What a thread remembers of the last ClientHello with a PSK is told from this one by addresses and by the Random,
    // and all of these a client can have alike: an SSL that was freed comes again, and so does its buffer.
    reqauth::server_options with_devices;
    with_devices.chained_psk_find_session = find_psk_of_a;
    const auto a = attached_server(asking(), with_devices);
    const auto b = attached_server(asking());
    const auto device = client_context();
    SSL_CTX_set_psk_use_session_callback(device.get(), use_psk_of_a);
    int reached = 0;
    for (const std::size_t shift : {14U, 12U, 13U, 15U, 16U, 18U})
        for (int attempt = 0; attempt < 10; ++attempt) {
            const std::string for_a = hello_of(*device);
            std::string for_b = for_a; // the same Random
            with_extensions(for_b, [&](std::string& list) {
                list = extension_with(40000, std::string(shift - 4, 'x')) +
                       list; // behind an identity of 8, its age, a length
            });
            answered(*a, for_a);
            lookups_of_a = 0;
            answered(*b, for_b);
            reached += lookups_of_a;
        }
    CHECK(reached == 0);
}

TEST_CASE("server / a flagged ClientHello laid out to go on where an earlier one ended / a customer's session -> not "
          "resumed",
          "[handshake][attempt][TLS-2][SEC-1]") {
    static int calls;
    reqauth::server_options options;
    options.accept = [](const reqauth::client_hello&) {
        ++calls;
        return true;
    };
    const auto server = attached_server(asking(), options);
    const auto customer = client_context();
    session_shelf shelf;
    shelf.serve(*customer);
    pair first(*server, *customer);
    SSL_set_tlsext_host_name(first.client.ssl.get(), "server.example");
    REQUIRE(first.shake());
    first.close();
    REQUIRE(shelf.last != nullptr);
    const unsigned char* ticket = nullptr;
    std::size_t size = 0;
    SSL_SESSION_get0_ticket(shelf.last.get(), &ticket, &size);
    auto flagged = empty_handed_client();
    // As long as an identity with its age and the next one's length: what moves it behind where the one before ended.
    const bad_peer shifting(owned<SSL_CTX>((SSL_CTX_up_ref(flagged.context.get()), flagged.context.get())),
                            {{in::client_hello, {std::string(size + 6 - 4, 'x')}}}, 40000, in::client_hello);
    for (int attempt = 0; attempt < 10; ++attempt) {
        const bool other_random = attempt % 2 != 0;
        const bool unflagged = attempt % 4 > 1; // the one before
        CAPTURE(attempt, other_random, unflagged);
        const std::string second = hello_of(*flagged.context, "server.example", shelf.last.get());
        std::string before = second;
        with_extensions(before, [&](std::string& list) {
            const auto at = list.find(two_octets(40000) + two_octets(size + 2));
            REQUIRE(at != list.npos);
            list.erase(at, size + 6);
            if (!unflagged) return;
            const std::string ours = extension_with(62, flags({80}));
            list.replace(list.find(ours), ours.size(), extension_with(40001, std::string(ours.size() - 4, 'x')));
        });
        if (other_random)
            edit_first_message(before, [](std::string& body) { body[2] = static_cast<char>(body[2] ^ 1); });
        answered(*server, before);
        calls = 0;
        const std::string as = answered(*server, second);
        // The same Random cannot come twice but on purpose.
        CHECK((as == "asked" || (!other_random && as == "alert 47")));
        CHECK((calls == 1 || as == "alert 47"));
    }
}
