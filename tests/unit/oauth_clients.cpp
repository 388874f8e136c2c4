// SPDX-License-Identifier: Apache-2.0
// Clients that authenticate with a certificate (RFC 8705, section 2): names, registrations, answers.

#include "catch.hpp"

#include "../../lib/oauth/base64.hpp"
#include "../../lib/oauth/registered_name.hpp"
#include "support/pki.hpp"

#include <reqauth/error.hpp>
#include <reqauth/oauth.hpp>

#include <nlohmann/json.hpp>

#include <string>

namespace oauth = reqauth::oauth;
using namespace std::string_literals;
using nlohmann::json;
using oauth::client_cause;

namespace {

/// attribute is one of a subject; `joined` stands in the relative name of the one before.
struct attribute {
    const char* type;
    int kind;
    std::string value;
    bool joined = false;
};
using subject = std::vector<attribute>;

support::identity client_of(const subject& is, const std::vector<support::alt_name>& names = {}) {
    support::description about{.common_name = "replaced"};
    about.alt_names = names;
    support::identity made = support::issue(about);
    const reqauth::detail::name_handle name(X509_NAME_new());
    for (const attribute& one : is)
        REQUIRE(X509_NAME_add_entry_by_txt(name.get(), one.type, one.kind,
                                           reinterpret_cast<const unsigned char*>(one.value.data()),
                                           static_cast<int>(one.value.size()), -1, one.joined ? -1 : 0) == 1);
    X509_set_subject_name(made.certificate.get(), name.get());
    X509_sign(made.certificate.get(), made.key.get(), EVP_sha256());
    return made;
}

std::string der_of(const X509& certificate) {
    std::string der(static_cast<std::size_t>(i2d_X509(&certificate, nullptr)), '\0');
    auto* at = reinterpret_cast<unsigned char*>(der.data());
    i2d_X509(&certificate, &at);
    return der;
}

std::string base64(const std::string& octets) {
    std::string text((octets.size() + 2) / 3 * 4 + 1, '\0');
    text.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                                         reinterpret_cast<const unsigned char*>(octets.data()),
                                                         static_cast<int>(octets.size()))));
    return text;
}

oauth::client_certificate shows(const support::identity& who) {
    const std::string field = ":" + base64(der_of(*who.certificate)) + ":";
    const std::string_view fields[] = {field};
    return oauth::client_certificate::forwarded(oauth::trusted_hop::vouched_for_by_application(), fields);
}

constexpr oauth::served by_proxy{.by_flagged = false, .by_own = false, .by_forwarded = true};

json by_name(const std::string& member, const json& value) {
    return {{"token_endpoint_auth_method", "tls_client_auth"}, {member, value}};
}
json by_jwks(const json& keys) {
    return {{"token_endpoint_auth_method", "self_signed_tls_client_auth"}, {"jwks", {{"keys", keys}}}};
}

client_cause judged(const support::identity& who, const json& metadata) {
    return authenticate_client(shows(who), oauth::registered_client::from_metadata(metadata.dump()), by_proxy).why;
}

client_cause by_subject(const subject& is, const std::string& registered) {
    return judged(client_of(is), by_name("tls_client_auth_subject_dn", registered));
}

constexpr int utf8 = MBSTRING_UTF8;

} // namespace

//= MTLS-8
TEST_CASE("oauth clients / a subject is compared as a name", "[MTLS-8]") {
    const subject plain{{"C", utf8, "DE"}, {"O", utf8, "Example, Inc"}, {"CN", utf8, "client"}};
    const subject joined{{"C", utf8, "DE"}, {"CN", utf8, "client"}, {"UID", utf8, "7", true}};
    struct row {
        subject is;
        std::string registered;
        bool fits;
    };
    const auto row = GENERATE_COPY(values<struct row>({
        {plain, R"(CN=client,O=Example\, Inc,C=DE)", true},
        {plain, R"(cn=client, o=Example\2C Inc, c=DE)", true},
        {plain, R"(2.5.4.3=client,2.5.4.10=Example\, Inc,C=DE)", true},
        {plain, R"(CN=CLIENT,O=example\,  inc,C=de)", true}, // RFC 5280, section 7.1
        {plain, R"(CN=#0c06636c69656e74,O=Example\, Inc,C=DE)", true},
        {plain, R"(CN=#1306636C69656E74,O=Example\, Inc,C=DE)", true}, // a PrintableString
        {plain, R"(C=DE,O=Example\, Inc,CN=client)", false},           // the other way round
        {plain, R"(CN=client,O=Example\, Inc)", false},
        {plain, R"(CN=client,O=Example\, Inc,C=DE,C=DE)", false},
        {plain, R"(CN=client2,O=Example\, Inc,C=DE)", false},
        {plain, R"(O=client,CN=Example\, Inc,C=DE)", false},
        {plain, R"(CN=client+O=Example\, Inc,C=DE)", false},
        {joined, "CN=client+UID=7,C=DE", true},
        {joined, "UID=7+CN=client,C=DE", true},
        {joined, "CN=client,UID=7,C=DE", false},
        {{{"CN", utf8, "a,CN=b"}}, "CN=a,CN=b", false},
        {{{"CN", utf8, "a,CN=b"}}, R"(CN=a\,CN\=b)", true},
        {{{"CN", V_ASN1_PRINTABLESTRING, "client"}}, "CN=client", true},
        {{{"CN", V_ASN1_BMPSTRING, "\0c\0l\0i"s}}, "CN=cli", true},
        {{{"CN", utf8, "clïent"}}, "CN=clïent", true},
        {{{"CN", utf8, "clïent"}}, R"(CN=cl\C3\AFent)", true},
        {{{"CN", V_ASN1_UTF8STRING, "client\0.evil"s}}, "CN=client", false},
        {{{"CN", V_ASN1_UTF8STRING, "client\0.evil"s}}, R"(CN=client\00.evil)", true},
        {{{"DC", V_ASN1_IA5STRING, "example"}, {"DC", V_ASN1_IA5STRING, "client"}}, "DC=client,DC=example", true},
        {{{"CN", utf8, " client "}}, R"(CN=\ client\ )", true},
        {{}, "CN=client", false},
    }));
    CAPTURE(row.registered);
    CHECK(by_subject(row.is, row.registered) == (row.fits ? client_cause::authenticated : client_cause::other_subject));
}

TEST_CASE("oauth clients / a subject that is none is refused when it is registered", "[MTLS-8]") {
    const auto text = GENERATE(values<std::string>({"",
                                                    "client",
                                                    "CN",
                                                    "CN=",
                                                    "=client",
                                                    "CN=client,",
                                                    ",CN=client",
                                                    "CN=client+",
                                                    "XX=client",
                                                    "CN=\"client\"",
                                                    "CN=a;O=b",
                                                    "CN=a<b",
                                                    R"(CN=a\)",
                                                    R"(CN=a\x)",
                                                    R"(CN=a\0)",
                                                    "CN=#",
                                                    "CN=#0",
                                                    "CN=#0c0663",
                                                    "CN=#0500",
                                                    "CN=a\0b"s,
                                                    "/CN=client/O=Example",
                                                    std::string(5000, 'a')}));
    CAPTURE(text);
    CHECK(reqauth::detail::subject_in(text) == nullptr);
}

//= MTLS-8
TEST_CASE("oauth clients / a subjectAltName is compared by its kind", "[MTLS-8]") {
    struct row {
        support::alt_name is;
        std::string kind;
        std::string registered;
        bool fits;
    };
    const auto row = GENERATE(values<struct row>({
        {{GEN_DNS, "client.example"}, "dns", "client.example", true},
        {{GEN_DNS, "client.example"}, "dns", "Client.EXAMPLE", true},
        {{GEN_DNS, "client.example"}, "dns", "client.example.", false},
        {{GEN_DNS, "client.example"}, "dns", "example", false},
        {{GEN_DNS, "*.example"}, "dns", "client.example", false},
        {{GEN_DNS, "client.example\0.evil"s}, "dns", "client.example", false},
        {{GEN_URI, "client.example"}, "dns", "client.example", false},
        {{GEN_URI, "https://client.example/A"}, "uri", "https://client.example/A", true},
        {{GEN_URI, "https://client.example/A"}, "uri", "HTTPS://Client.Example/A", true},
        {{GEN_URI, "https://client.example/A"}, "uri", "https://client.example/a", false},
        {{GEN_URI, "https://User@client.example"}, "uri", "https://User@CLIENT.example", true},
        {{GEN_URI, "https://User@client.example"}, "uri", "https://user@client.example", false},
        {{GEN_URI, "https://a.example/@B"}, "uri", "https://a.example/@b", false},
        {{GEN_URI, "spiffe://trust/a"}, "uri", "spiffe://TRUST/a", true},
        {{GEN_URI, "urn:uuid:A"}, "uri", "URN:uuid:A", true},
        {{GEN_URI, "urn:uuid:A"}, "uri", "urn:uuid:a", false},
        {{GEN_IPADD, "\300\0\2\1"s}, "ip", "192.0.2.1", true},
        {{GEN_IPADD, "\300\0\2\1"s}, "ip", "192.0.2.2", false},
        {{GEN_IPADD, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"s}, "ip", "2001:db8::1", true},
        {{GEN_IPADD, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"s}, "ip", "2001:0DB8:0:0:0:0:0:1", true},
        {{GEN_DNS, "192.0.2.1"}, "ip", "192.0.2.1", false},
        {{GEN_EMAIL, "Bot@client.example"}, "email", "Bot@CLIENT.example", true},
        {{GEN_EMAIL, "Bot@client.example"}, "email", "bot@client.example", false},
        {{GEN_EMAIL, "Bot@client.example"}, "email", "client.example", false},
    }));
    CAPTURE(row.kind, row.registered);
    const auto who = client_of({{"CN", utf8, row.registered}}, {{GEN_DNS, "another.example"}, row.is});
    CHECK(judged(who, by_name("tls_client_auth_san_" + row.kind, row.registered)) ==
          (row.fits ? client_cause::authenticated : client_cause::other_alt_name));
}

TEST_CASE("oauth clients / without a subjectAltName the subject is none", "[MTLS-8]") {
    CHECK(judged(client_of({{"CN", utf8, "client.example"}}), by_name("tls_client_auth_san_dns", "client.example")) ==
          client_cause::other_alt_name);
}

//= MTLS-8
TEST_CASE("oauth clients / self-signed: the very certificate, and the first of an x5c", "[MTLS-8]") {
    const auto who = client_of({{"CN", utf8, "client"}});
    const auto renewed = client_of({{"CN", utf8, "client"}});
    const auto x5c = [](const support::identity& one) { return base64(der_of(*one.certificate)); };
    const json of_who{{"kty", "EC"}, {"x5c", json::array({x5c(who), x5c(renewed)})}};
    CHECK(judged(who, by_jwks(json::array({of_who}))) == client_cause::authenticated);
    CHECK(judged(renewed, by_jwks(json::array({of_who}))) == client_cause::not_registered);
    CHECK(judged(renewed, by_jwks(json::array({of_who, json{{"x5c", json::array({x5c(renewed)})}}}))) ==
          client_cause::authenticated);
    CHECK(judged(who, by_jwks(json::array({json{{"kty", "EC"}}, of_who}))) == client_cause::authenticated);
}

TEST_CASE("oauth clients / metadata that says nothing usable is refused, with what to do", "[MTLS-8]") {
    struct row {
        std::string text;
        std::string cause;
        std::string remedy;
    };
    const json no_method{{"tls_client_auth_san_dns", "a.example"}};
    json two = by_name("tls_client_auth_san_dns", "a.example");
    two["tls_client_auth_subject_dn"] = "CN=a";
    json elsewhere{{"token_endpoint_auth_method", "self_signed_tls_client_auth"}, {"jwks_uri", "https://a.example/"}};
    const auto row = GENERATE_COPY(values<struct row>({
        {"", "no JSON object", "give one"},
        {"[]", "no JSON object", "give one"},
        {"{", "no JSON object", "give one"},
        {std::string(1024 * 1024 + 1, ' '), "1 MiB", "take out"},
        {no_method.dump(), "token_endpoint_auth_method", "tls_client_auth or self_signed_tls_client_auth"},
        {R"({"token_endpoint_auth_method":"client_secret_basic"})", "token_endpoint_auth_method", "tls_client_auth"},
        {R"({"token_endpoint_auth_method":1})", "no string", "give one"},
        {R"({"token_endpoint_auth_method":"tls_client_auth"})", "no name", "tls_client_auth_subject_dn"},
        {two.dump(), "tls_client_auth_san_dns and tls_client_auth_subject_dn", "take the other out"},
        {by_name("tls_client_auth_san_dns", 1).dump(), "no string", "give one"},
        {by_name("tls_client_auth_san_dns", "").dump(), "no such name", "client.example"},
        {by_name("tls_client_auth_san_dns", "a b").dump(), "no such name", "client.example"},
        {by_name("tls_client_auth_san_ip", "192.0.2").dump(), "no such name", "192.0.2.1"},
        {by_name("tls_client_auth_san_ip", "2001:db8::1%eth0").dump(), "no such name", "192.0.2.1"},
        {by_name("tls_client_auth_subject_dn", "client").dump(), "no distinguished name", "RFC 4514"},
        {by_name("tls_client_auth_san_other", "a").dump(), "not known", "_uri"},
        {elsewhere.dump(), "no jwks", "jwks_uri"},
        {by_jwks(1).dump(), "no JWK Set", "x5c"},
        {by_jwks(json::array()).dump(), "no key of jwks has a certificate", "x5c"},
        {by_jwks(json::array({1})).dump(), "no object", "x5c"},
        {by_jwks(json::array({json{{"x5c", "MII"}}})).dump(), "no list", "x5c"},
        {by_jwks(json::array({json{{"x5c", json::array({"MIIB"})}}})).dump(), "does not begin with a certificate",
         "x5c"},
        {by_jwks(json::array({json{{"x5c", json::array({""})}}})).dump(), "does not begin with a certificate", "x5c"},
    }));
    CAPTURE(row.text.substr(0, 200));
    try {
        (void)oauth::registered_client::from_metadata(row.text);
        FAIL("it was taken");
    } catch (const reqauth::error& why) {
        CHECK(why.cause().find(row.cause) != std::string::npos);
        CHECK(why.remedy().find(row.remedy) != std::string::npos);
    }
}

//= MTLS-8
TEST_CASE("oauth clients / the answer is RFC 6749's invalid_client", "[MTLS-8]") {
    const auto shown = shows(client_of({{"CN", utf8, "client"}}));
    const auto client =
        oauth::registered_client::from_metadata(by_name("tls_client_auth_subject_dn", "CN=other").dump());
    const auto none = oauth::client_certificate::of(reqauth::other_peer{.why = reqauth::reason::not_offered});
    struct row {
        oauth::client_certificate shown;
        oauth::served how;
        client_cause why;
        std::string words;
    };
    const auto row = GENERATE_COPY(values<struct row>({
        {shown, by_proxy, client_cause::other_subject, "another subject"},
        {shown, {}, client_cause::wrong_outcome, "offer the TLS flag"},
        {none, {}, client_cause::missing_certificate, "did not offer the TLS flag"},
        {none, by_proxy, client_cause::missing_certificate, "shows none"},
    }));
    const auto made = authenticate_client(row.shown, client, row.how);
    CHECK(made.why == row.why);
    CHECK_FALSE(made.authenticated());
    CHECK(made.status == 401);
    CHECK(made.description.find(row.words) != std::string::npos);
    const json body = json::parse(made.body);
    CHECK(body.size() == 2);
    CHECK(body.value("error", "") == "invalid_client");
    CHECK(body.value("error_description", "") == made.description);
}

TEST_CASE("oauth clients / while the handshake goes on it is too early", "[MTLS-8][TLS-4]") {
    const auto client = oauth::registered_client::from_metadata(by_name("tls_client_auth_subject_dn", "CN=a").dump());
    const auto early = oauth::client_certificate::of(reqauth::other_peer{.why = reqauth::reason::handshake_unfinished});
    const auto made = authenticate_client(early, client);
    CHECK(made.why == client_cause::too_early);
    CHECK(made.status == 425);
    CHECK(made.body.empty());
}
