// SPDX-License-Identifier: Apache-2.0
// Who may come, of those whose chain verifies (RCA-14).

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <openssl/err.h>

using namespace support;
using reqauth::errc;
using reqauth::trust;
using alt = reqauth::subject_alt_name::kind;
using names = std::vector<alt_name>;

namespace {

const identity& operator_a() {
    static const identity made = issue({.common_name = "Operator A", .ca = true});
    return made;
}
const identity& operator_b() {
    static const identity made = issue({.common_name = "Operator B", .ca = true});
    return made;
}

trust both_operators() {
    const reqauth::named_text files[] = {{"/etc/agents/a.pem", pem(*operator_a().certificate)},
                                         {"/etc/agents/b.pem", pem(*operator_b().certificate)}};
    return trust::from_texts(files);
}

std::string thumbprint_of(const X509& certificate) {
    unsigned char digest[32];
    unsigned int size = 0;
    X509_digest(&certificate, EVP_sha256(), digest, &size);
    std::string text;
    for (const unsigned char octet : digest) {
        char two[4];
        std::snprintf(two, sizeof two, "%02X", octet);
        text += (text.empty() ? "" : ":") + std::string(two);
    }
    return text;
}

identity agent_of(const identity& ca, const names& all) {
    auto about = agent_description("agent");
    about.alt_names = all;
    return issue(about, &ca);
}

owned<SSL_CTX> server_with(const trust& agents, bool invalid_passes = false) {
    reqauth::server_policy policy;
    policy.when_offered = invalid_passes ? reqauth::client_auth::request(agents).invalid_is_anonymous()
                                         : reqauth::client_auth::require(agents);
    return attached_server(policy);
}

owned<SSL_CTX> client_with(const identity& who) {
    reqauth::client_policy policy;
    policy.credential = credential_of(who);
    return attached_client(policy);
}

alt_name dns(std::string name) { return {GEN_DNS, std::move(name)}; }
alt_name uri(std::string name) { return {GEN_URI, std::move(name)}; }

/// row is a leaf of operator A, unless it is B's, under rules.
struct row {
    const char* name;
    std::string rules;
    names all;
    bool comes = false;
    bool of_b = false;
};

const row rows[] = {
    // DNS
    {"exact", "allow dns crawler.example", {dns("crawler.example")}, true},
    {"another", "allow dns crawler.example", {dns("evil.example")}},
    {"letter case, in both", "allow dns Crawler.EXAMPLE", {dns("cRAWLER.example")}, true},
    {"a name that ends so", "allow dns crawler.example", {dns("x.crawler.example")}},
    {"a name that begins so", "allow dns crawler.example", {dns("crawler.example.org")}},
    {"one that it lacks", "allow dns crawler.example", {}},
    {"every name is allowed", "allow dns a.example\nallow dns b.example", {dns("a.example"), dns("b.example")}, true},
    {"one of two names is", "allow dns a.example", {dns("a.example"), dns("b.example")}},
    {"a name of another kind beside it", "allow dns a.example", {dns("a.example"), {GEN_EMAIL, "x@b.example"}}, true},
    {"a name of another kind alone", "allow dns a.example", {{GEN_EMAIL, "a.example"}}},
    {"the same octets as a URI", "allow uri crawler:x", {dns("crawler:x")}},
    // One label, wild
    {"wild", "allow dns *.crawl.example", {dns("n1.crawl.example")}, true},
    {"wild, letter case", "allow dns *.Crawl.example", {dns("N1.CRAWL.example")}, true},
    {"wild, no label", "allow dns *.crawl.example", {dns("crawl.example")}},
    {"wild, an empty label", "allow dns *.crawl.example", {dns(".crawl.example")}},
    {"wild, two labels", "allow dns *.crawl.example", {dns("a.b.crawl.example")}},
    {"wild, another domain that ends so", "allow dns *.crawl.example", {dns("a.evilcrawl.example")}},
    // What cannot be compared
    {"NUL", "allow dns crawler.example", {dns(std::string("crawler.example\0.evil.example", 29))}},
    {"NUL at the end", "allow dns crawler.example", {dns(std::string("crawler.example\0", 16))}},
    {"NUL, wild", "allow dns *.crawl.example", {dns(std::string("evil\0.crawl.example", 19))}},
    {"NUL, and denied alone", "deny dns evil.example", {dns(std::string("crawler.example\0", 16))}},
    {"a wildcard in the certificate, allowed wild", "allow dns *.crawl.example", {dns("*.crawl.example")}},
    {"a wildcard in the certificate, denied what it covers", "deny dns a.crawl.example", {dns("*.crawl.example")}},
    {"a part of a label, wild in the certificate", "allow dns *.crawl.example", {dns("n*.crawl.example")}},
    {"IDN as xn--", "allow dns xn--bcher-kva.example", {dns("xn--bcher-kva.example")}, true},
    {"IDN in UTF-8",
     "allow dns xn--bcher-kva.example",
     {dns("b\xc3\xbc"
          "cher.example")}},
    {"IDN in UTF-8, and denied alone",
     "deny dns xn--bcher-kva.example",
     {dns("b\xc3\xbc"
          "cher.example")}},
    {"a dot at its end", "allow dns crawler.example", {dns("crawler.example.")}},
    {"a dot at its end, and denied", "deny dns crawler.example", {dns("crawler.example.")}},
    {"a blank", "allow dns crawler.example", {dns("crawler.example ")}},
    {"an empty name", "allow dns crawler.example", {dns("crawler.example"), dns("")}},
    // URIs
    {"URI, exact", "allow uri https://crawler.example/bot", {uri("https://crawler.example/bot")}, true},
    {"URI, scheme and host in capitals",
     "allow uri https://crawler.example/bot",
     {uri("HTTPS://Crawler.Example/bot")},
     true},
    {"URI, path in capitals", "allow uri https://crawler.example/bot", {uri("https://crawler.example/BOT")}},
    {"URI, longer", "allow uri https://crawler.example/bot", {uri("https://crawler.example/bot/x")}},
    {"URI, another port", "allow uri https://crawler.example/bot", {uri("https://crawler.example:444/bot")}},
    {"URI, user", "allow uri https://crawler.example/", {uri("https://crawler.example@evil.example/")}},
    {"URI, wild", "allow uri https://*.crawl.example/bot", {uri("https://n1.crawl.example/bot")}, true},
    {"URI, wild, two labels", "allow uri https://*.crawl.example/bot", {uri("https://a.b.crawl.example/bot")}},
    {"URI, wild, path in the label",
     "allow uri https://*.crawl.example/bot",
     {uri("https://evil.example/x.crawl.example/bot")}},
    {"URI, wild, a host of one label",
     "allow uri https://*.crawl.example/bot",
     {uri("https://evil/x.crawl.example/bot")}},
    {"URI, an asterisk in its path", "allow uri https://a.example/://*.b", {uri("https://a.example/://x.b")}},
    {"URI, wild, a query", "allow uri https://*.crawl.example/bot", {uri("https://evil?x.crawl.example/bot")}},
    {"URI, wild, a port", "allow uri https://*.crawl.example/bot", {uri("https://evil:443/x.crawl.example/bot")}},
    {"URI, wildcard in the certificate", "allow uri https://*.crawl.example/bot", {uri("https://*.crawl.example/bot")}},
    {"URI, NUL", "allow uri https://crawler.example/bot", {uri(std::string("https://crawler.example/bot\0x", 29))}},
    {"URI, dot at the host's end", "deny uri https://crawler.example/bot", {uri("https://crawler.example./bot")}},
    {"URI without host", "allow uri urn:agent:7", {uri("urn:agent:7")}, true},
    {"two URIs, both allowed",
     "allow uri urn:agent:7\nallow uri urn:agent:8",
     {uri("urn:agent:7"), uri("urn:agent:8")},
     true},
    {"two URIs, one allowed", "allow uri urn:agent:7", {uri("urn:agent:7"), uri("urn:agent:8")}},
    // SPIFFE
    {"SPIFFE", "allow spiffe prod.example by a.pem", {uri("spiffe://prod.example/ns/bot")}, true},
    {"SPIFFE, of another operator's anchor",
     "allow spiffe prod.example by a.pem",
     {uri("spiffe://prod.example/ns/bot")},
     false,
     true},
    {"SPIFFE, another trust domain", "allow spiffe prod.example by a.pem", {uri("spiffe://dev.example/ns/bot")}},
    {"SPIFFE, a domain that begins so",
     "allow spiffe prod.example by a.pem",
     {uri("spiffe://prod.example.org/ns/bot")}},
    {"SPIFFE, two URIs",
     "allow spiffe prod.example by a.pem\nallow uri urn:agent:7",
     {uri("spiffe://prod.example/ns/bot"), uri("urn:agent:7")}},
    {"SPIFFE, two of them",
     "allow spiffe prod.example by a.pem",
     {uri("spiffe://prod.example/a"), uri("spiffe://prod.example/b")}},
    {"SPIFFE, no path", "allow spiffe prod.example by a.pem", {uri("spiffe://prod.example")}},
    {"SPIFFE, the path of a trust domain", "allow spiffe prod.example by a.pem", {uri("spiffe://prod.example/")}},
    {"SPIFFE, dots in the path", "allow spiffe prod.example by a.pem", {uri("spiffe://prod.example/ns/../bot")}},
    {"SPIFFE, capitals in the domain", "allow spiffe prod.example by a.pem", {uri("spiffe://Prod.example/ns")}},
    {"SPIFFE, port", "allow spiffe prod.example by a.pem", {uri("spiffe://prod.example:443/ns")}},
    {"SPIFFE, query", "allow spiffe prod.example by a.pem", {uri("spiffe://prod.example/ns?x")}},
    {"SPIFFE by its whole name",
     "allow uri spiffe://prod.example/ns/bot by a.pem",
     {uri("spiffe://prod.example/ns/bot")},
     true},
    {"SPIFFE, and a DNS name that is not allowed",
     "allow spiffe prod.example by a.pem",
     {uri("spiffe://prod.example/ns/bot"), dns("evil.example")}},
    // Operators
    {"A's name by A", "allow dns *.a.example by a.pem\nallow dns *.b.example by b.pem", {dns("x.a.example")}, true},
    {"A's name by B",
     "allow dns *.a.example by a.pem\nallow dns *.b.example by b.pem",
     {dns("x.a.example")},
     false,
     true},
    {"B's name by B",
     "allow dns *.a.example by a.pem\nallow dns *.b.example by b.pem",
     {dns("x.b.example")},
     true,
     true},
    {"A's name and B's, by B",
     "allow dns *.a.example by a.pem\nallow dns *.b.example by b.pem",
     {dns("x.b.example"), dns("x.a.example")},
     false,
     true},
    {"either, by B", "allow dns x.example by a.pem b.pem", {dns("x.example")}, true, true},
    {"the file's whole name", "allow dns x.example by /etc/agents/b.pem", {dns("x.example")}, true, true},
    // Deny
    {"denied alone, another", "deny dns evil.example", {dns("crawler.example")}, true},
    {"denied alone, without a name", "deny dns evil.example", {}, true},
    {"denied", "deny dns evil.example", {dns("EVIL.example")}},
    {"denied, second of two names", "deny dns evil.example", {dns("crawler.example"), dns("evil.example")}},
    {"denied, and allowed", "allow dns *.example\ndeny dns evil.example", {dns("evil.example")}},
    {"denied, wild", "deny dns *.evil.example", {dns("x.evil.example")}},
    {"denied by B, comes by A", "deny dns x.example by b.pem", {dns("x.example")}, true},
    {"a trust domain denied", "deny spiffe prod.example by a.pem", {uri("spiffe://prod.example/ns/bot")}},
    // How rules are written
    {"comments, blanks, line ends, a byte order mark",
     "\xef\xbb\xbf# who may come\r\n\r\n  allow\tdns   crawler.example \r\n",
     {dns("crawler.example")},
     true},
};

} // namespace

TEST_CASE("server / rules of who may come / each name -> comes, or access_denied before the application runs",
          "[handshake][RCA-14]") {
    ROWS(one.name, rows, const row& one) {
        CAPTURE(one.name, one.rules);
        const auto agent = agent_of(one.of_b ? operator_b() : operator_a(), one.all);
        const auto server = server_with(both_operators().with_admitted(one.rules));
        const auto client = client_with(agent);
        pair both(*server, *client);
        CHECK(both.shake() == one.comes);
        if (one.comes) {
            CHECK(seen(both) == "flagged CN=agent");
        } else {
            CHECK(alert_to_client(both) == "access denied");
            CHECK(seen(both).find("flagged") == std::string::npos);
            const auto who = reqauth::presented_of(*both.server.ssl);
            REQUIRE(who);
            CHECK(who->subject == "CN=agent");
            CHECK(who->verify_error == X509_V_ERR_CERT_REJECTED);
            CHECK(who->because.find("not admitted") != std::string::npos);
            CHECK(who->key_proven);
            CHECK(SSL_get_verify_result(both.server.ssl.get()) != X509_V_OK);
        }
    }
}

TEST_CASE("server / rules of who may come / thumbprints -> one certificate, whatever its names; denied all the same",
          "[handshake][RCA-14]") {
    const auto mine = agent_of(operator_a(), {dns("x.example")});
    const auto other = agent_of(operator_a(), {dns("x.example")});
    const auto comes = [&](const std::string& rules, const identity& who) {
        const auto server = server_with(both_operators().with_admitted(rules));
        const auto client = client_with(who);
        pair both(*server, *client);
        return both.shake() && seen(both) == "flagged CN=agent";
    };
    const std::string thumbprint = thumbprint_of(*mine.certificate);
    CHECK(comes("allow sha256 " + thumbprint, mine));
    CHECK_FALSE(comes("allow sha256 " + thumbprint, other));
    CHECK_FALSE(comes("deny sha256 " + thumbprint, mine));
    CHECK(comes("deny sha256 " + thumbprint, other));
    CHECK_FALSE(comes("allow dns x.example\ndeny sha256 " + thumbprint, mine));
    CHECK_FALSE(comes("allow sha256 " + thumbprint + "\ndeny dns x.example", mine));
    CHECK(comes("allow sha256 " + thumbprint + " by " + thumbprint_of(*operator_a().certificate), mine));
    CHECK_FALSE(comes("allow sha256 " + thumbprint + " by b.pem", mine));
}

TEST_CASE("server / rules of who may come / nobody vouches for the certificate -> its thumbprint counts, and no name",
          "[handshake][RCA-14][MTLS-7]") {
    auto about = agent_description("agent");
    about.alt_names = {dns("x.example")};
    const auto own = issue(about);
    const std::string thumbprint = thumbprint_of(*own.certificate);
    const std::pair<std::string, bool> all[] = {{"allow dns x.example", false},
                                                {"allow sha256 " + thumbprint, true},
                                                {"deny sha256 " + thumbprint, false},
                                                {"deny dns x.example", false},
                                                {"deny dns y.example", true}};
    for (const auto& [rules, comes] : all) {
        CAPTURE(rules);
        reqauth::server_policy policy;
        policy.when_offered = reqauth::client_auth::require(trust::nobody().with_admitted(rules)).or_unvouched();
        const auto server = attached_server(policy);
        const auto client = client_with(own);
        pair both(*server, *client);
        CHECK(both.shake() == comes);
        CHECK(reqauth::unvouched_of(*both.server.ssl).has_value() == comes);
        CHECK(alert_to_client(both) == (comes ? "none" : "access denied"));
    }
}

TEST_CASE("server / rules of who may come / invalid_is_anonymous -> nobody, and the handshake ends well",
          "[handshake][RCA-14]") {
    const auto server = server_with(both_operators().with_admitted("allow dns other.example"), true);
    const auto client = client_with(agent_of(operator_a(), {dns("x.example")}));
    pair both(*server, *client);
    CHECK(both.shake());
    CHECK(seen(both) == "invalid " + std::to_string(X509_V_ERR_CERT_REJECTED));
}

TEST_CASE("server / rules of who may come / the application wants no tickets -> access_denied all the same",
          "[handshake][RCA-14]") {
    for (const bool stateful : {false, true}) {
        const auto server = server_with(both_operators().with_admitted("allow dns other.example"));
        SSL_CTX_set_num_tickets(server.get(), 0);
        if (stateful) SSL_CTX_set_options(server.get(), SSL_OP_NO_TICKET);
        visitor client(client_with(agent_of(operator_a(), {dns("x.example")})));
        pair both(*server, *client.context);
        CHECK_FALSE(both.shake());
        CHECK(alert_to_client(both) == "access denied");
        CHECK(client.shelf.count == 0);
        CHECK(SSL_get_num_tickets(both.server.ssl.get()) == 0);
    }
}

TEST_CASE(
    "server / rules of who may come / an info callback forbids the ticket -> nothing is read or written all the same",
    "[handshake][RCA-14][attack]") {
    const auto server = server_context();
    SSL_CTX_set_info_callback(server.get(),
                              [](const SSL* ssl, int, int) { SSL_set_num_tickets(const_cast<SSL*>(ssl), 0); });
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::require(both_operators().with_admitted("allow dns other.example"));
    attach(*server, policy);
    const auto client = client_with(agent_of(operator_a(), {dns("x.example")}));
    pair both(*server, *client);
    both.shake();
    CHECK(seen(both) == "invalid " + std::to_string(X509_V_ERR_CERT_REJECTED));
    CHECK(SSL_write(both.server.ssl.get(), "secret", 6) <= 0);
    SSL_write(both.client.ssl.get(), "hello", 5);
    both.server.give(both.client.take());
    char buffer[8];
    CHECK(SSL_read(both.server.ssl.get(), buffer, sizeof buffer) <= 0);
}

TEST_CASE("server / rules of who may come / refused -> counted once, and told of once", "[handshake][RCA-14]") {
    int refusals = 0;
    int ends = 0;
    reqauth::server_options options;
    options.observe = [&](const SSL&, const std::variant<reqauth::peer, reqauth::refusal>& event) {
        if (const auto* how = std::get_if<reqauth::refusal>(&event)) {
            CHECK(how->alert == SSL_AD_ACCESS_DENIED);
            CHECK_FALSE(how->received);
            CHECK(how->verify_error == X509_V_ERR_CERT_REJECTED);
            ++refusals;
        } else {
            ++ends;
        }
    };
    reqauth::server server(options);
    const auto context = server_context();
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::require(both_operators().with_admitted("allow dns other.example"));
    (void)server.attach(*context, policy);
    const auto client = client_with(agent_of(operator_a(), {dns("x.example")}));
    {
        pair both(*context, *client);
        CHECK_FALSE(both.shake());
    }
    CHECK(refusals == 1);
    CHECK(ends == 0);
    const auto counted = server.counters();
    CHECK(counted.handshakes == 1);
    CHECK(counted.refused == 1);
    CHECK(counted.verified == 0);
    CHECK(counted.reasons[static_cast<std::size_t>(reqauth::reason::invalid)] == 1);
    CHECK(counted.verify_errors[X509_V_ERR_CERT_REJECTED] == 1);
}

TEST_CASE("server / rules of who may come / resumed -> with the anchor; under other rules not at all",
          "[handshake][RCA-14][TLS-2]") {
    const auto agent = agent_of(operator_b(), {dns("x.b.example")});
    const std::string rules = "allow dns *.a.example by a.pem\nallow dns *.b.example by b.pem";
    for (const auto how : all_tickets) {
        const auto server = server_with(both_operators().with_admitted(rules));
        fleet nodes;
        nodes.join(*server, how);
        visitor client(client_with(agent));
        const auto anchor_of = [&](pair& both) {
            const auto peer = reqauth::peer_of(*both.server.ssl);
            const auto* who = std::get_if<reqauth::flagged_peer>(&peer);
            REQUIRE(who != nullptr);
            CHECK(who->has_name(alt::dns, "X.b.example"));
            CHECK_FALSE(who->has_name(alt::dns, "x.a.example"));
            CHECK_FALSE(who->has_name(alt::uri, "x.b.example"));
            return std::pair(X509_cmp(&who->anchor(), operator_b().certificate.get()) == 0, who->resumed());
        };
        {
            pair both(*server, *client.context);
            REQUIRE(both.shake());
            CHECK(anchor_of(both) == std::pair(true, false));
            both.close();
        }
        REQUIRE(client.shelf.last != nullptr);
        const owned<SSL_SESSION> session(SSL_SESSION_dup(client.shelf.last.get()));
        {
            pair both(*server, *client.context);
            REQUIRE(reqauth::client::resume(*both.client.ssl, *client.shelf.last));
            REQUIRE(both.shake());
            CHECK(anchor_of(both) == std::pair(true, true));
            both.close();
        }
        const auto other = server_with(both_operators().with_admitted(rules + "\ndeny dns x.b.example"));
        nodes.join(*other, how);
        pair both(*other, *client.context);
        (void)reqauth::client::resume(*both.client.ssl, *session);
        CHECK_FALSE(both.shake());
        CHECK(alert_to_client(both) == "access denied");
    }
}

TEST_CASE("trust / with_admitted / what is no rule -> an error with the line", "[handshake][RCA-14]") {
    struct {
        const char* rules;
        const char* says;
        errc code = errc::malformed;
    } const wrong[] = {
        {"", "holds no rule", errc::holds_nothing},
        {"# nobody\n\n", "holds no rule", errc::holds_nothing},
        {"allow crawler.example", "rules:1: is no rule"},
        {"allow dns a.example\npermit dns b.example", "rules:2: is no rule"},
        {"allow email x@a.example", "\"email\" is no kind of name"},
        {"allow dns b\xc3\xbc"
         "cher.example",
         "is none of dns"},
        {"allow dns crawler.example.", "is none of dns"},
        {"allow dns *", "is none of dns"},
        {"allow dns a.*.example", "is none of dns"},
        {"allow dns n*.example", "is none of dns"},
        {"allow uri crawler.example", "is none of uri"},
        {"allow spiffe spiffe://prod.example/ns by a.pem", "is none of spiffe"},
        {"allow spiffe prod.example", "several here"},
        {"allow sha256 1234", "is none of sha256"},
        {"allow dns a.example by", "\"by\" is not expected"},
        {"allow dns a.example b.example", "\"b.example\" is not expected"},
        {"allow dns a.example by c.pem", "no anchor here is of c.pem"},
    };
    ROWS(one.rules, wrong, const auto& one) {
        std::string text;
        CHECK(failure_of([&] { (void)both_operators().with_admitted(one.rules); }, &text) == one.code);
        CAPTURE(text);
        CHECK(text.find(one.says) != text.npos);
    }
    const auto one_anchor = trust_in(operator_a());
    CHECK_NOTHROW((void)one_anchor.with_admitted("allow spiffe prod.example"));
}

TEST_CASE("trust / with_admitted / digest -> the rules, in any order, once, and not how files are called",
          "[handshake][RCA-14][SEC-4]") {
    const auto digest = [&](const std::string& rules) { return both_operators().with_admitted(rules).digest(); };
    CHECK(digest("allow dns a.example\ndeny dns b.example") ==
          digest("deny dns B.example\nallow dns a.example\nallow dns a.example"));
    CHECK(digest("allow dns a.example by a.pem") ==
          digest("allow dns a.example by " + thumbprint_of(*operator_a().certificate)));
    CHECK(digest("allow dns a.example by a.pem") != digest("allow dns a.example by b.pem"));
    CHECK(digest("allow dns a.example") != digest("deny dns a.example"));
    CHECK(digest("allow dns a.example") != both_operators().digest());
    CHECK(both_operators().with_admitted("allow dns a.example").with_admitted("allow dns b.example").digest() ==
          digest("allow dns a.example\nallow dns b.example"));
}
