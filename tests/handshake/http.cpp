// SPDX-License-Identifier: Apache-2.0
// What the application behind is told in Client-Cert and Client-Cert-Chain, and of whom.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <reqauth/http.hpp>

#include <algorithm>

using namespace support;
using reqauth::authenticated_by;
using reqauth::client_cert;
using reqauth::client_cert_fields;
using reqauth::no_client_cert;

namespace {

/// byte_sequence is what RFC 9440 wants of a certificate, by OpenSSL's base64 BIO.
std::string byte_sequence(X509& certificate) {
    const owned<BIO> memory(BIO_new(BIO_s_mem()));
    const owned<BIO> base64(BIO_new(BIO_f_base64()));
    BIO_set_flags(base64.get(), BIO_FLAGS_BASE64_NO_NL);
    BIO_push(base64.get(), memory.get());
    REQUIRE(i2d_X509_bio(base64.get(), &certificate) == 1);
    REQUIRE(BIO_flush(base64.get()) == 1);
    BIO_pop(base64.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(memory.get(), &data);
    return ":" + std::string(data, static_cast<std::size_t>(size)) + ":";
}
std::string byte_sequence(const identity& who) { return byte_sequence(*who.certificate); }

reqauth::flagged_peer agent_in(const pair& both) {
    return std::get<reqauth::flagged_peer>(reqauth::peer_of(*both.server.ssl));
}

client_cert of_agent(const pair& both, const reqauth::client_cert_options& options = {}) {
    return reqauth::client_cert_of_agent(agent_in(both), options);
}
client_cert of_customer(const pair& both, const reqauth::client_cert_options& options = {}) {
    return reqauth::client_cert_of_customer(*both.server.ssl, options);
}

std::string why(const client_cert& result) {
    const auto* none = std::get_if<no_client_cert>(&result);
    return none != nullptr ? std::string(to_string(*none))
                           : "by " + std::string(to_string(std::get<client_cert_fields>(result).by));
}

/// with_customers asks everybody whose flag does not count for a customer's certificate.
owned<SSL_CTX> with_customers(SSL_verify_cb callback = nullptr) {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca, callback);
    return context;
}

owned<SSL_CTX> client_with(const identity& who) {
    auto context = client_context();
    present(*context, who);
    return context;
}

} // namespace

TEST_CASE("server / client_cert_of_agent / verified -> the leaf, then its chain without it",
          "[handshake][valgrind][RCA-14]") {
    const identity ca = issue({.common_name = "Agents' second CA", .ca = true}, &the_cast().agents_ca);
    const identity agent = issue(agent_description("crawler.example"), &ca);
    X509* const between[] = {ca.certificate.get()};
    auto policy = agent_policy();
    policy.credential = credential_of(agent, between);
    const auto server = attached_server(asking());
    const auto client = attached_client(policy);
    pair both(*server, *client);
    REQUIRE(both.shake());

    const auto fields = std::get<client_cert_fields>(of_agent(both));
    CHECK(fields.by == authenticated_by::flag);
    CHECK(fields.client_cert == byte_sequence(agent));
    CHECK(fields.client_cert_chain == byte_sequence(ca) + ", " + byte_sequence(the_cast().agents_ca));

    const auto alone = std::get<client_cert_fields>(of_agent(both, {.chain = false}));
    CHECK(alone.client_cert == fields.client_cert);
    CHECK(alone.client_cert_chain.empty());
}

TEST_CASE("server / client_cert_of_agent / resumed, or the leaf is the anchor -> no chain", "[handshake]") {
    const auto server = attached_server(asking());
    visitor client(attached_client());
    {
        pair both(*server, *client.context);
        REQUIRE(both.shake());
        CHECK_FALSE(std::get<client_cert_fields>(of_agent(both)).client_cert_chain.empty());
        both.close();
    }
    pair again(*server, *client.context);
    REQUIRE(reqauth::client::resume(*again.client.ssl, *client.shelf.last));
    REQUIRE(again.shake());
    REQUIRE(agent_in(again).resumed());
    const auto fields = std::get<client_cert_fields>(of_agent(again));
    CHECK(fields.client_cert == byte_sequence(the_cast().agent));
    CHECK(fields.client_cert_chain.empty());

    auto policy = asking();
    policy.when_offered = reqauth::client_auth::request(trust_in(the_cast().agent).with_partial_chains());
    policy.ca_names = false;
    const auto pinned = attached_server(policy);
    const auto plain = attached_client();
    pair direct(*pinned, *plain);
    REQUIRE(direct.shake());
    CHECK(std::get<client_cert_fields>(of_agent(direct)).client_cert_chain.empty());
}

TEST_CASE("server / client_cert_options / values larger than allowed -> too_large, and none of them", "[handshake]") {
    const auto server = attached_server(asking());
    const auto client = attached_client();
    pair both(*server, *client);
    REQUIRE(both.shake());
    const auto fields = std::get<client_cert_fields>(of_agent(both));
    const std::size_t leaf = fields.client_cert.size();
    const std::size_t all = leaf + fields.client_cert_chain.size();
    CHECK(why(of_agent(both, {.most = all})) == "by flag");
    CHECK(why(of_agent(both, {.most = all - 1})) == "too_large");
    CHECK(why(of_agent(both, {.chain = false, .most = leaf})) == "by flag");
    CHECK(why(of_agent(both, {.chain = false, .most = leaf - 1})) == "too_large");
    CHECK(why(of_agent(both, {.most = 0})) == "too_large");

    auto large = agent_description("large.example");
    large.alt_names.assign(8, {GEN_DNS, std::string(2000, 'x')});
    const identity agent = issue(large, &the_cast().agents_ca);
    auto policy = agent_policy();
    policy.credential = credential_of(agent);
    const auto with_large = attached_client(policy);
    pair heavy(*server, *with_large);
    REQUIRE(heavy.shake());
    CHECK(why(of_agent(heavy)) == "too_large");
    CHECK(why(of_agent(heavy, {.most = 65536})) == "by flag");

    const auto customers = with_customers();
    const auto customer = client_with(the_cast().customer);
    pair other(*customers, *customer);
    REQUIRE(other.shake());
    CHECK(why(of_customer(other, {.most = 100})) == "too_large");
}

TEST_CASE("server / client_cert_of_customer / verified by the application's own trust -> leaf and chain",
          "[handshake][valgrind]") {
    for (const bool attached : {false, true}) {
        const auto server = with_customers();
        if (attached) attach(*server, asking());
        const auto client = client_with(the_cast().customer);
        visitor returning(client_with(the_cast().customer));
        pair both(*server, *client);
        REQUIRE(both.shake());
        const auto fields = std::get<client_cert_fields>(of_customer(both));
        CHECK(fields.by == authenticated_by::application);
        CHECK(fields.client_cert == byte_sequence(the_cast().customer));
        CHECK(fields.client_cert_chain == byte_sequence(the_cast().customers_ca));

        {
            pair first(*server, *returning.context);
            REQUIRE(first.shake());
            first.close();
        }
        pair again(*server, *returning.context);
        REQUIRE(SSL_set_session(again.client.ssl.get(), returning.shelf.last.get()) == 1);
        REQUIRE(again.shake());
        REQUIRE(SSL_session_reused(again.server.ssl.get()) == 1);
        const auto resumed = std::get<client_cert_fields>(of_customer(again));
        CHECK(resumed.client_cert == fields.client_cert);
        CHECK(resumed.client_cert_chain.empty());
    }
}

TEST_CASE("server / client_cert_of_customer / TLS 1.2 -> as ever", "[handshake]") {
    const auto server = with_customers();
    attach(*server, asking());
    const auto client = client_with(the_cast().customer);
    SSL_CTX_set_max_proto_version(client.get(), TLS1_2_VERSION);
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(std::get<client_cert_fields>(of_customer(both)).client_cert == byte_sequence(the_cast().customer));
}

TEST_CASE("server / client_cert_of_customer / an agent -> agent, whatever the verify result and the verify callback",
          "[handshake][RCA-14][SEC-8]") {
    for (const bool verify_result_ok : {false, true}) {
        const auto server = with_customers([](int, X509_STORE_CTX*) { return 1; });
        auto policy = asking();
        policy.verify_result_ok = verify_result_ok;
        attach(*server, policy);
        visitor client(attached_client());
        {
            pair both(*server, *client.context);
            REQUIRE(both.shake());
            REQUIRE((SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK) == verify_result_ok);
            CHECK(why(of_customer(both)) == "agent");
            CHECK(why(of_agent(both)) == "by flag");
            both.close();
        }
        pair again(*server, *client.context);
        REQUIRE(reqauth::client::resume(*again.client.ssl, *client.shelf.last));
        REQUIRE(again.shake());
        REQUIRE(agent_in(again).resumed());
        CHECK(why(of_customer(again)) == "agent");
    }
}

TEST_CASE("server / client_cert_of_customer / accepted flag and no agent -> agent, after a post-handshake request too",
          "[handshake][RCA-14]") {
    const auto server = server_context();
    ask(*server, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, the_cast().customers_ca);
    attach(*server, asking());
    reqauth::client_policy policy;
    policy.offer = reqauth::offer::always;
    const auto client = attached_client(policy);
    present(*client, the_cast().customer);
    SSL_CTX_set_post_handshake_auth(client.get(), 1);
    pair both(*server, *client);
    REQUIRE(both.shake());
    REQUIRE(seen(both) == "empty");
    CHECK(why(of_customer(both)) == "agent");
    REQUIRE(SSL_verify_client_post_handshake(both.server.ssl.get()) == 1);
    REQUIRE(SSL_do_handshake(both.server.ssl.get()) == 1);
    both.run();
    REQUIRE(SSL_get0_peer_certificate(both.server.ssl.get()) != nullptr);
    REQUIRE(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
    CHECK(why(of_customer(both)) == "agent");
}

TEST_CASE("server / client_cert_of_customer / an agent's session that the application brings elsewhere -> agent",
          "[handshake][RCA-14][SEC-8]") {
    auto policy = asking();
    policy.verify_result_ok = true;
    const auto server = attached_server(policy);
    visitor client(attached_client());
    static owned<SSL_SESSION> brought;
    static owned<SSL_SESSION> presented;
    {
        pair both(*server, *client.context);
        REQUIRE(both.shake());
        brought.reset(SSL_get1_session(both.server.ssl.get()));
        both.close();
    }
    // No library here: OpenSSL resumes whatever the application finds.
    const auto elsewhere = server_context();
    SSL_CTX_set_psk_find_session_callback(elsewhere.get(),
                                          [](SSL*, const unsigned char*, std::size_t, SSL_SESSION** session) {
                                              SSL_SESSION_up_ref(brought.get());
                                              *session = brought.get();
                                              return 1;
                                          });
    const auto plain = client_context();
    presented = std::move(client.shelf.last);
    SSL_CTX_set_psk_use_session_callback(
        plain.get(), [](SSL*, const EVP_MD*, const unsigned char** id, std::size_t* size, SSL_SESSION** session) {
            static const unsigned char name[] = {'a', 'g', 'e', 'n', 't'};
            SSL_SESSION_up_ref(presented.get());
            *id = name;
            *size = sizeof name;
            *session = presented.get();
            return 1;
        });
    pair both(*elsewhere, *plain);
    REQUIRE(both.shake());
    brought.reset();
    presented.reset();
    REQUIRE(SSL_session_reused(both.server.ssl.get()) == 1);
    REQUIRE(SSL_get0_peer_certificate(both.server.ssl.get()) != nullptr);
    // The session has kept the result that is no customer's; and were it another, the mark is still there.
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_ERR_APPLICATION_VERIFICATION);
    SSL_set_verify_result(both.server.ssl.get(), X509_V_OK);
    CHECK(why(of_customer(both)) == "agent");
    CHECK(reqauth::is_agents_session(*SSL_get_session(both.server.ssl.get())));
}

TEST_CASE("server / client_cert_of_customer / an SSL that served others before -> nothing of them",
          "[handshake][SEC-1]") {
    const auto server = with_customers();
    auto policy = asking();
    policy.session_id_context = own_id_context();
    attach(*server, policy);
    visitor returning(client_with(the_cast().customer));
    {
        pair first(*server, *returning.context);
        REQUIRE(first.shake());
        first.close();
    }
    const identity other =
        issue({.common_name = "other.example", .extended_key_usage = "clientAuth"}, &the_cast().customers_ca);
    const auto client = client_with(other);
    const auto agent = attached_client();
    owned<SSL> ssl(SSL_new(server.get()));
    const auto next = [&](SSL_CTX& context, SSL_SESSION* session, const auto& look) {
        SSL_set_bio(ssl.get(), nullptr, nullptr);
        SSL_set_accept_state(ssl.get());
        owned<SSL> from(SSL_new(&context));
        SSL_set_connect_state(from.get());
        if (session != nullptr) REQUIRE(SSL_set_session(from.get(), session) == 1);
        pair both(std::move(ssl), std::move(from));
        REQUIRE(both.shake());
        look(both);
        both.close();
        REQUIRE(SSL_clear(both.server.ssl.get()) == 1);
        ssl = std::move(both.server.ssl);
    };
    next(*agent, nullptr, [](const pair& both) { CHECK(why(of_customer(both)) == "agent"); });
    next(*client, nullptr, [&](const pair& both) {
        const auto fields = std::get<client_cert_fields>(of_customer(both));
        CHECK(fields.client_cert == byte_sequence(other));
        CHECK_FALSE(fields.client_cert_chain.empty());
    });
    next(*returning.context, returning.shelf.last.get(), [](const pair& both) {
        REQUIRE(SSL_session_reused(both.server.ssl.get()) == 1);
        const auto fields = std::get<client_cert_fields>(of_customer(both));
        CHECK(fields.client_cert == byte_sequence(the_cast().customer));
        CHECK(fields.client_cert_chain.empty());
    });
    const auto nobody = client_context();
    next(*nobody, nullptr, [](const pair& both) { CHECK(why(of_customer(both)) == "no_certificate"); });
}

TEST_CASE("server / client_cert_of_customer / nobody was verified -> no_certificate, not_verified, or unfinished",
          "[handshake][SEC-1]") {
    const auto server = with_customers([](int, X509_STORE_CTX*) { return 1; });
    const auto anybody = client_context();
    {
        pair both(*server, *anybody);
        CHECK(why(of_customer(both)) == "handshake_unfinished");
        REQUIRE(both.shake());
        CHECK(why(of_customer(both)) == "no_certificate");
        // A client's connection has the server's certificate, and that one is verified.
        CHECK(why(reqauth::client_cert_of_customer(*both.client.ssl)) == "no_certificate");
    }
    const auto stranger = client_with(the_cast().agent);
    pair both(*server, *stranger);
    REQUIRE(both.shake());
    CHECK(why(of_customer(both)) == "not_verified");

    const auto strict = with_customers();
    const auto refused = client_with(the_cast().agent);
    pair failed(*strict, *refused);
    CHECK_FALSE(failed.shake());
    CHECK(why(of_customer(failed)) == "handshake_unfinished");
}

TEST_CASE("server / is_client_cert_field / every spelling that ends in the same variable -> removed", "[handshake]") {
    for (const auto* name : {"Client-Cert", "client-cert", "CLIENT-CERT", "cLIENT-cERT", "Client_Cert", "client_cert",
                             "CLIENT_CERT", "Client.Cert", "Client!Cert", "Client-Cert-Chain", "client_cert_chain",
                             "Client_Cert-Chain", "client-cert_CHAIN", "CLIENT~CERT'CHAIN"})
        CHECK(reqauth::is_client_cert_field(name));
    for (const auto* name :
         {"", "Client", "Client-Cer", "Client-Certs", "ClientCert", "X-Client-Cert", "-Client-Cert", "Client-Cert-",
          "Client-Cert-Chains", "Client-Cert-Chai", "Client--Cert", "Clienu-Cert", "Client0Cert", "Host"})
        CHECK_FALSE(reqauth::is_client_cert_field(name));
    CHECK_FALSE(reqauth::is_client_cert_field(std::string_view("Client-Cert\0", 12)));
}

TEST_CASE("server / is_spelling_of / a field of one's own -> the same folding, of either name", "[handshake][attack]") {
    for (const auto* name : {"X-Agent", "x-agent", "X_AGENT", "x.agent",
                             "X\xe9"
                             "Agent"})
        CHECK(reqauth::is_spelling_of(name, "X-Agent"));
    CHECK(reqauth::is_spelling_of("X-Agent", "x_agent"));
    for (const auto* name : {"", "XAgent", "X-Agents", "X--Agent", "X-Agen", "X0Agent"})
        CHECK_FALSE(reqauth::is_spelling_of(name, "X-Agent"));
}

TEST_CASE("server / quoted / any octets -> one string of a header field, of JSON, of a line", "[handshake][cve]") {
    using namespace std::string_literals;
    CHECK(reqauth::quoted("") == "\"\"");
    CHECK(reqauth::quoted("CN=crawler.example") == "\"CN=crawler.example\"");
    CHECK(reqauth::quoted("a\\2Cb") == R"("a\\2Cb")");
    CHECK(reqauth::quoted("a\"b\\") == R"("a\"b\\")");
    CHECK(reqauth::quoted("\r\nSet-Cookie: x\0\x7f\xff"s) == R"("\\0D\\0ASet-Cookie: x\\00\\7F\\FF")");
    for (int c = 0; c < 256; ++c) {
        const std::string out = reqauth::quoted(std::string(1, static_cast<char>(c)));
        CAPTURE(c);
        CHECK(out.front() == '"');
        CHECK(out.back() == '"');
        CHECK(std::all_of(out.begin(), out.end(), [](char each) { return each >= 0x20 && each < 0x7f; }));
        CHECK((out.size() == 3 || (out.size() == 4 && out[1] == '\\') ||
               (out.size() == 6 && out.substr(1, 2) == R"(\\)")));
    }
}

TEST_CASE("server / subject, subjectAltName / written to inject -> ends no header, line or list, whoever wrote it",
          "[handshake][cve]") {
    // Each octet in each place that a certificate has for text.
    std::string all;
    for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
    const std::string header = "x\r\nClient-Cert: :AAAA:\r\n\r\n";
    const std::string json = R"(","admin":true,"x":"\u0022)";
    description about = agent_description("crawler.example");
    about.alt_names.clear();
    for (const auto& value : {all, header, json})
        for (const int type : {GEN_DNS, GEN_URI, GEN_EMAIL}) about.alt_names.push_back({type, value});
    for (const auto& name : {"\xc2\xa0\xc3\xa9\r\n\"\\,;<>+=#" + json, header}) {
        about.common_name = name;
        const identity agent = issue(about, &the_cast().agents_ca);
        auto policy = agent_policy();
        policy.credential = credential_of(agent);
        const auto server = attached_server(asking());
        const auto client = attached_client(policy);
        pair both(*server, *client);
        REQUIRE(both.shake());
        const auto who = agent_in(both);
        std::vector<std::string> texts = {who.subject(), who.issuer(), who.serial()};
        for (const auto& each : who.alt_names()) texts.push_back(to_string(each));
        REQUIRE(texts.size() == 3 + about.alt_names.size());
        for (const auto& text : texts) {
            CAPTURE(text);
            CHECK(std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
            CHECK(text.find('"') == std::string::npos);
            CHECK(text.find("\\u") == std::string::npos);
            const std::string out = reqauth::quoted(text);
            // The only quotation marks are the first octet and the last, and every backslash is one of a pair.
            CHECK(std::count(out.begin(), out.end(), '"') == 2);
            CHECK(std::count(out.begin(), out.end(), '\\') == 2 * std::count(text.begin(), text.end(), '\\'));
        }
    }
}

TEST_CASE("http / written_as / each format -> the certificate, as others write it", "[handshake]") {
    using reqauth::cert_format;
    const identity who = issue({.common_name = "a \"b\", c;d",
                                .alt_names = {{GEN_DNS, "a.example"},
                                              {GEN_URI, "spiffe://a.example/x;DNS=\"evil\""},
                                              {GEN_EMAIL, "a@a.example"}}});
    X509& certificate = *who.certificate;
    const std::string as_pem = pem(certificate);
    CHECK(written_as(certificate, cert_format::client_cert) == byte_sequence(certificate));
    CHECK(written_as(certificate, cert_format::pem) == as_pem);
    const std::string escaped = written_as(certificate, cert_format::escaped_pem);
    CHECK(escaped.starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
    std::string unescaped;
    for (std::size_t at = 0; at < escaped.size(); ++at)
        if (escaped[at] == '%') {
            unescaped += static_cast<char>(std::stoi(escaped.substr(at + 1, 2), nullptr, 16));
            at += 2;
        } else {
            unescaped += escaped[at];
        }
    CHECK(unescaped == as_pem);

    std::array<unsigned char, 32> digest{};
    REQUIRE(X509_digest(&certificate, EVP_sha256(), digest.data(), nullptr) == 1);
    std::string hex;
    for (const unsigned char octet : digest) {
        hex += "0123456789abcdef"[octet >> 4];
        hex += "0123456789abcdef"[octet & 15];
    }
    const std::string thumbprint = written_as(certificate, cert_format::x5t_s256);
    CHECK(thumbprint.size() == 43);
    CHECK(thumbprint.find_first_of("+/=") == std::string::npos);
    CHECK(written_as(certificate, cert_format::xfcc) ==
          "Hash=" + hex + ";Cert=\"" + escaped +
              R"(";Subject="CN=a \\22b\\22\\2C c\\3Bd";DNS="a.example";URI="spiffe://a.example/x;DNS=\"evil\"")");
}
