// SPDX-License-Identifier: Apache-2.0
// attach: what clashes is an error that changes nothing (SEC-6), and the application's callbacks go on.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <algorithm>

using namespace support;
using reqauth::errc;

namespace {

void add_extension(SSL_CTX& context, unsigned type) {
    REQUIRE(SSL_CTX_add_custom_ext(&context, type, SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_3_ONLY, nullptr, nullptr,
                                   nullptr, nullptr, nullptr) == 1);
}

/// works_plainly: an ordinary client connects, and nothing of ours is on the wire.
void check_works_plainly(SSL_CTX& server) {
    const auto client = client_context();
    pair both(server, *client);
    CHECK(both.shake());
    CHECK(seen(both) == "not_offered");
}

void check_answers_the_flag(SSL_CTX& server) {
    const auto client = attached_client();
    pair both(server, *client);
    CHECK(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

void check_one_line(const std::string& text) {
    CHECK_FALSE(text.empty());
    CHECK(text.find('\n') == std::string::npos);
}

} // namespace

TEST_CASE("server / attach / extension type taken -> extension_taken, nothing changed", "[handshake][SEC-6]") {
    auto context = server_context();
    add_extension(*context, 62);
    std::string text;
    CHECK(failure_of([&] { attach(*context, asking()); }, &text) == errc::extension_taken);
    CHECK(text.find("62") != std::string::npos);
    check_one_line(text);
    check_works_plainly(*context);
    // Under another number it is as good as new.
    reqauth::server_options options;
    options.extension = 65025;
    attach(*context, asking(), options);
    auto policy = agent_policy();
    policy.extension = 65025;
    const auto client = attached_client(policy);
    pair both(*context, *client);
    CHECK(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("server / attach / attached already -> already_attached, the first goes on", "[handshake][SEC-6]") {
    auto context = server_context();
    reqauth::server listener;
    listener.attach(*context, asking());
    reqauth::server_options elsewhere;
    elsewhere.extension = 65025;
    reqauth::server another(elsewhere);
    CHECK(failure_of([&] { listener.attach(*context, {}); }) == errc::already_attached);
    CHECK(failure_of([&] { another.attach(*context, {}); }) == errc::already_attached);
    CHECK(SSL_CTX_has_client_custom_ext(context.get(), 65025) == 0);
    check_answers_the_flag(*context);
}

TEST_CASE("server / attach / other custom extensions than the listener's first context -> unequal_extensions",
          "[handshake][cve][SEC-5][SEC-6]") {
    reqauth::server listener;
    auto first = server_context();
    add_extension(*first, 4711);
    listener.attach(*first, asking());
    auto fewer = server_context();
    auto more = server_context();
    add_extension(*more, 4711);
    add_extension(*more, 4712);
    auto other = server_context();
    add_extension(*other, 4712);
    for (SSL_CTX* context : {fewer.get(), more.get(), other.get()}) {
        std::string text;
        CHECK(failure_of([&] { listener.attach(*context, asking()); }, &text) == errc::unequal_extensions);
        check_one_line(text);
        CHECK(SSL_CTX_has_client_custom_ext(context, 62) == 0);
        check_works_plainly(*context);
    }
    // The same list is right, and what was refused can still get it.
    add_extension(*fewer, 4711);
    listener.attach(*fewer, asking());
    check_answers_the_flag(*fewer);
    check_answers_the_flag(*first);
    attach(*more, asking()); // a listener of its own
    check_answers_the_flag(*more);
}

TEST_CASE("server / attach / at most TLS 1.2, or DTLS -> unsuitable_context, nothing changed",
          "[handshake][FLAG-9][SEC-6]") {
    auto old = server_context();
    SSL_CTX_set_max_proto_version(old.get(), TLS1_2_VERSION);
    std::string text;
    CHECK(failure_of([&] { attach(*old, asking()); }, &text) == errc::unsuitable_context);
    check_one_line(text);
    CHECK(SSL_CTX_has_client_custom_ext(old.get(), 62) == 0);
    check_works_plainly(*old);
    SSL_CTX_set_max_proto_version(old.get(), 0);
    attach(*old, asking());
    check_answers_the_flag(*old);

    auto without_13 = server_context();
    SSL_CTX_set_options(without_13.get(), SSL_OP_NO_TLSv1_3);
    CHECK(failure_of([&] { attach(*without_13, asking()); }) == errc::unsuitable_context);

    const owned<SSL_CTX> datagrams(SSL_CTX_new(DTLS_server_method()));
    present(*datagrams, the_cast().server);
    CHECK(failure_of([&] { attach(*datagrams, asking()); }) == errc::unsuitable_context);
    CHECK(SSL_CTX_has_client_custom_ext(datagrams.get(), 62) == 0);
}

TEST_CASE("server / attach / certificate that TLS 1.3 cannot use -> unsuitable_context, TLS 1.2 clients still served",
          "[handshake][SEC-6]") {
    const auto on_another_curve =
        issue({.common_name = "server.example", .key = key_type::secp256k1}, &the_cast().server_ca);
    auto context = server_context(on_another_curve);
    SSL_CTX_set1_groups_list(context.get(), "P-256");
    const auto serves = [&] {
        const auto client = client_context();
        SSL_CTX_set_verify(client.get(), SSL_VERIFY_NONE, nullptr);
        SSL_CTX_set1_groups_list(client.get(), "P-256:secp256k1");
        pair both(*context, *client);
        const bool good = both.shake();
        UNSCOPED_INFO(both.server.failure << both.client.failure);
        return good && SSL_version(both.server.ssl.get()) == TLS1_2_VERSION;
    };
    const bool served_before = serves();
    // OpenSSL 4.0 serves no such certificate under TLS 1.2 either.
    CHECK((served_before || OpenSSL_version_num() >= 0x40000000UL));
    CHECK(failure_of([&] { attach(*context, asking()); }) == errc::unsuitable_context);
    CHECK(serves() == served_before);
    CHECK(SSL_CTX_has_client_custom_ext(context.get(), 62) == 0);

    reqauth::server_options options;
    options.certificate_is_chosen_by_callback = true;
    SSL_CTX_set_cert_cb(
        context.get(),
        [](SSL* ssl, void*) {
            return SSL_use_certificate(ssl, the_cast().server.certificate.get()) == 1 &&
                           SSL_use_PrivateKey(ssl, the_cast().server.key.get()) == 1
                       ? 1
                       : 0;
        },
        nullptr);
    attach(*context, asking(), options);
}

TEST_CASE("server / settings / what cannot be -> contradiction or out_of_range, nothing changed",
          "[handshake][SEC-6]") {
    reqauth::server_options options;
    options.flag = 2040;
    CHECK(failure_of([&] { reqauth::server listener(options); }) == errc::out_of_range);

    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::require(agents()).invalid_is_anonymous();
    auto context = server_context();
    std::string text;
    CHECK(failure_of([&] { attach(*context, policy); }, &text) == errc::contradiction);
    check_one_line(text);
    CHECK(SSL_CTX_has_client_custom_ext(context.get(), 62) == 0);
    attach(*context, asking());
    check_answers_the_flag(*context);
}

TEST_CASE("server / attach / more CA names than a CertificateRequest holds -> names_too_long; without names it works",
          "[handshake][SEC-6]") {
    const auto key = make_key();
    std::string many = pem(*the_cast().agents_ca.certificate);
    for (int i = 0; i < 900; ++i)
        many += pem(*issue({.common_name = "Authority " + std::to_string(i) + std::string(50, 'x'), .ca = true},
                           nullptr, key.get())
                         .certificate);
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(reqauth::trust::from_pem(many));
    auto context = server_context();
    CHECK(failure_of([&] { attach(*context, policy); }) == errc::names_too_long);
    CHECK(SSL_CTX_has_client_custom_ext(context.get(), 62) == 0);
    policy.ca_names = false;
    attach(*context, policy);
    check_answers_the_flag(*context);
}

TEST_CASE("server / attach / extension type that OpenSSL handles itself -> an error, nothing changed",
          "[handshake][SEC-6]") {
    reqauth::server_options options;
    options.extension = TLSEXT_TYPE_key_share;
    auto context = server_context();
    CHECK_NOTHROW(failure_of([&] { attach(*context, asking(), options); }));
    attach(*context, asking());
    check_answers_the_flag(*context);
}

TEST_CASE("server / the server object is gone -> its SSL_CTXs go on; attached later than an SSL was made -> that SSL "
          "is plain",
          "[handshake][SEC-3]") {
    auto context = server_context();
    owned<SSL> early(SSL_new(context.get()));
    SSL_set_accept_state(early.get());
    {
        reqauth::server listener;
        listener.attach(*context, demanding());
        reqauth::server moved = std::move(listener);
    }
    check_answers_the_flag(*context);
    const auto client = attached_client();
    owned<SSL> to(SSL_new(client.get()));
    SSL_set_connect_state(to.get());
    pair both(std::move(early), std::move(to));
    CHECK(both.shake());
    CHECK_FALSE(seen(both).starts_with("flagged"));
}

TEST_CASE("client / attach / clashes -> errors that change nothing", "[handshake][SEC-6][FLAG-9]") {
    {
        auto context = client_context();
        add_extension(*context, 62);
        CHECK(failure_of([&] { reqauth::client(agent_policy()).attach(*context); }) == errc::extension_taken);
        const auto server = server_context();
        pair both(*server, *context);
        CHECK(both.shake());
    }
    {
        auto context = attached_client();
        CHECK(failure_of([&] { reqauth::client(agent_policy()).attach(*context); }) == errc::already_attached);
        const auto server = attached_server(asking());
        pair both(*server, *context);
        CHECK(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
    }
    const owned<SSL_CTX> datagrams(SSL_CTX_new(DTLS_client_method()));
    CHECK(failure_of([&] { reqauth::client(agent_policy()).attach(*datagrams); }) == errc::unsuitable_context);

    {
        auto strict = client_context();
        SSL_CTX_set_security_level(strict.get(), 5); // P-256 is too short for it
        CHECK(failure_of([&] { reqauth::client(agent_policy()).attach(*strict); }) == errc::key_unusable);
        CHECK(SSL_CTX_has_client_custom_ext(strict.get(), 62) == 0);
    }

    auto policy = agent_policy();
    policy.further_flags = {80};
    CHECK(failure_of([&] { reqauth::client crawler(policy); }) == errc::contradiction);
    policy = agent_policy();
    policy.flag = 2040;
    CHECK(failure_of([&] { reqauth::client crawler(policy); }) == errc::out_of_range);
}

namespace {

std::vector<std::string> events;
void note(const SSL* ssl, int where, int value) {
    events.push_back(std::to_string(where) + " " + std::to_string(value) + " " + SSL_state_string_long(ssl));
}

} // namespace

TEST_CASE("server / info callback of the application, on SSL_CTX or SSL / flagged connection -> every event, as "
          "without the library",
          "[handshake][SEC-6]") {
    for (const bool on_ssl : {false, true}) {
        CAPTURE(on_ssl);
        std::vector<std::vector<std::string>> heard;
        for (const bool with : {false, true}) {
            auto context = server_context();
            if (with)
                attach(*context, asking());
            else
                ask(*context, SSL_VERIFY_PEER, the_cast().agents_ca);
            SSL_CTX_set_num_tickets(context.get(), 0); // as the library does for agents
            if (!on_ssl) SSL_CTX_set_info_callback(context.get(), note);
            const auto client = flagged_client(the_cast().agent);
            pair both(*context, *client.context);
            if (on_ssl) SSL_set_info_callback(both.server.ssl.get(), note);
            events.clear();
            REQUIRE(both.shake());
            heard.push_back(events);
            if (with) CHECK(seen(both) == "flagged CN=crawler.example");
        }
        CHECK_FALSE(heard[0].empty());
        CHECK(heard[1] == heard[0]);
    }
}

TEST_CASE("server / info callback of the application / failing flagged connection -> it hears of the alert",
          "[handshake][SEC-6]") {
    auto context = server_context();
    attach(*context, asking());
    SSL_CTX_set_info_callback(context.get(), note);
    const auto client = flagged_client(the_cast().customer);
    pair both(*context, *client.context);
    events.clear();
    CHECK_FALSE(both.shake());
    const std::string alert =
        std::to_string(SSL_CB_WRITE_ALERT) + " " + std::to_string(SSL3_AL_FATAL << 8 | SSL_AD_UNKNOWN_CA);
    CHECK(
        std::any_of(events.begin(), events.end(), [&](const std::string& event) { return event.starts_with(alert); }));
}

TEST_CASE("server / callbacks of the application / flagged and unflagged clients -> each runs as before",
          "[handshake][SEC-6]") {
    static int names, protocols, certificates, keylogs, hellos;
    names = protocols = certificates = keylogs = hellos = 0;
    auto context = server_context();
    SSL_CTX_set_tlsext_servername_callback(
        context.get(), +[](SSL*, int*, void*) -> int {
            ++names;
            return SSL_TLSEXT_ERR_OK;
        });
    SSL_CTX_set_alpn_select_cb(
        context.get(),
        [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned, void*) {
            ++protocols;
            *out = in + 1;
            *size = in[0];
            return SSL_TLSEXT_ERR_OK;
        },
        nullptr);
    SSL_CTX_set_cert_cb(
        context.get(),
        [](SSL*, void*) {
            ++certificates;
            return 1;
        },
        nullptr);
    SSL_CTX_set_keylog_callback(context.get(), [](const SSL*, const char*) { ++keylogs; });
    SSL_CTX_set_client_hello_cb(
        context.get(),
        [](SSL*, int*, void*) {
            ++hellos;
            return SSL_CLIENT_HELLO_SUCCESS;
        },
        nullptr);
    attach(*context, asking());
    int turn = 0;
    for (const bool offers : {true, false}) {
        ++turn;
        const auto client = offers ? attached_client() : client_context();
        SSL_CTX_set_alpn_protos(client.get(), reinterpret_cast<const unsigned char*>("\2h2"), 3);
        pair both(*context, *client);
        SSL_set_tlsext_host_name(both.client.ssl.get(), "server.example");
        CHECK(both.shake());
        CHECK(names == turn);
        CHECK(protocols == turn);
        CHECK(certificates == turn);
        CHECK(hellos == turn);
        CHECK(keylogs >= turn * 4);
        CHECK(seen(both) == (offers ? "flagged CN=crawler.example" : "not_offered"));
    }
}

TEST_CASE("server / client_hello_cb and cert_cb of the application suspend / flag offered -> flagged_peer, one "
          "predicate call",
          "[handshake][SEC-6]") {
    static int hellos, certificates;
    hellos = certificates = 0;
    int predicates = 0;
    auto context = server_context();
    SSL_CTX_set_client_hello_cb(
        context.get(),
        [](SSL*, int*, void*) { return ++hellos == 1 ? SSL_CLIENT_HELLO_RETRY : SSL_CLIENT_HELLO_SUCCESS; }, nullptr);
    SSL_CTX_set_cert_cb(
        context.get(), [](SSL*, void*) { return ++certificates == 1 ? -1 : 1; }, nullptr);
    reqauth::server_options options;
    options.accept = [&predicates](const reqauth::client_hello&) { return ++predicates > 0; };
    attach(*context, asking(), options);
    const auto client = attached_client();
    pair both(*context, *client);
    for (int i = 0; i < 4 && !both.server.done; ++i) both.run();
    REQUIRE(both.shake());
    CHECK(hellos == 2);
    CHECK(certificates == 2);
    CHECK(predicates == 1);
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE(
    "server / cert_cb of the application sets verification late / flag offered -> whatever it set, no wrong trust",
    "[handshake][SEC-1][SEC-7]") {
    // The decision comes after cert_cb: a server that requires a certificate there ignores the flag.
    auto context = server_context();
    ask(*context, SSL_VERIFY_NONE, the_cast().customers_ca);
    SSL_CTX_set_cert_cb(
        context.get(),
        [](SSL* ssl, void*) {
            SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
            return 1;
        },
        nullptr);
    attach(*context, asking());
    const auto customer = flagged_client(the_cast().customer);
    pair good(*context, *customer.context);
    CHECK(good.shake());
    CHECK(seen(good) == "ignored");
    const auto agent = flagged_client(the_cast().agent);
    pair bad(*context, *agent.context);
    CHECK_FALSE(bad.shake());
}
