// SPDX-License-Identifier: Apache-2.0
// Attempts to break the promises of oauth.hpp. docs/attacks.md has each with its result.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <reqauth/http.hpp>
#include <reqauth/oauth.hpp>

#include <openssl/err.h>

using namespace support;
namespace oauth = reqauth::oauth;

namespace {

/// meeting is an agent's connection.
struct meeting {
    owned<SSL_CTX> server = attached_server(asking());
    owned<SSL_CTX> client = attached_client();
    pair both{*server, *client};
    meeting() { REQUIRE(both.shake()); }
    const SSL& ssl() const { return *both.server.ssl; }
};

oauth::policy lax() {
    oauth::policy policy(oauth::unbound_tokens::accept);
    policy.by_flagged = policy.by_own = policy.by_forwarded = true;
    return policy;
}

} // namespace

TEST_CASE("server / bound token / texts that two parsers read differently -> refused, or the agent's own",
          "[handshake][attempt][MTLS-2][MTLS-5]") {
    using namespace std::string_literals;
    const meeting with;
    const std::string own = oauth::x5t_s256(*the_cast().agent.certificate);
    const std::string other = oauth::x5t_s256(*the_cast().customer.certificate);
    const std::string good = R"("cnf":{"x5t#S256":")" + own + "\"}";
    const std::string bad = R"("cnf":{"x5t#S256":")" + other + "\"}";
    const auto in = [](const std::string& members) { return "{" + members + "}"; };
    struct row {
        const char* what;
        std::string text;
        bool accepted;
    };
    const row rows[] = {
        {"control", in(good), true},
        {"the other's", in(bad), false},
        {"both, the good one first", in(good + "," + bad), false},
        {"both, the good one last", in(bad + "," + good), false},
        {"one name written with an escape", in(good + R"(,"\u0063nf":{"x5t#S256":")" + other + "\"}"), false},
        {"the member's name with an escape", in(R"("cnf":{"x5t\u0023S256":")" + own + "\"}"), true},
        {"the member twice, one with an escape",
         in(R"("cnf":{"x5t#S256":")" + own + R"(","x5t\u0023S256":")" + other + "\"}"), false},
        {"in a list", in(R"("cnf":[{"x5t#S256":")" + own + "\"}]"), false},
        {"one deeper", in(R"("cnf":{"cnf":{"x5t#S256":")" + own + "\"}}"), false},
        {"the thumbprint an object of itself", in(R"("cnf":{"x5t#S256":{"x5t#S256":")" + own + "\"}}"), false},
        {"a list of thumbprints", in(R"("cnf":{"x5t#S256":[")" + own + "\"]}"), false},
        {"null", in(R"("cnf":null)"), false},
        {"empty", in(R"("cnf":{})"), false},
        {"a member more", in(R"("cnf":{"x5t#S256":")" + own + R"(","kid":"a"})"), false},
        {"another case of the member", in(R"("cnf":{"X5T#S256":")" + own + "\"}"), false},
        {"behind a NUL", in(good) + "\0"s, false},
        {"a NUL in the name", in("\"c\0nf\":{}"s), false},
        {"an escaped NUL in the thumbprint", in(R"("cnf":{"x5t#S256":")" + own + R"(\u0000"})"), false},
        {"a second object behind", in(good) + in(bad), false},
        {"words behind", in(good) + "x", false},
        {"a comment", "/**/" + in(good), false},
        {"a comma too many", in(good + ","), false},
        {"no end", in(good).substr(0, in(good).size() - 1), false},
        {"a lone surrogate", in(good + R"(,"a":"\ud800")"), false},
        {"no UTF-8", in(good + ",\"a\":\"\xff\""), false},
        {"a number that is none", in(good + R"(,"exp":1e999999)"), false},
        {"hex digits of the same octets", in(R"("cnf":{"x5t#S256":")" + std::string(64, 'a') + "\"}"), false},
        {"the thumbprint with blanks", in(R"("cnf":{"x5t#S256":" )" + own + "\"}"), false},
        {"nested to the bound", in(good + ",\"a\":" + std::string(31, '[') + std::string(31, ']')), true},
        {"one deeper than the bound", in(good + ",\"a\":" + std::string(32, '[') + std::string(32, ']')), false},
        {"64 KiB and one", in(good) + std::string(65537 - in(good).size(), ' '), false},
        {"64 KiB", in(good) + std::string(65536 - in(good).size(), ' '), true},
    };
    ROWS(one.what, rows, const row& one) {
        CAPTURE(one.what);
        for (const bool introspection : {false, true}) {
            const std::string text =
                introspection && one.text.front() == '{' ? "{\"active\":true," + one.text.substr(1) : one.text;
            if (introspection && text.size() > 65536) continue;
            const auto claims =
                introspection ? oauth::token_claims::from_introspection(text) : oauth::token_claims::from_jwt(text);
            const auto made = oauth::check_binding(oauth::client_certificate::of(with.ssl()), claims, lax());
            CHECK(made.accepted() == one.accepted);
            if (!one.accepted) CHECK((made.status == 401 && made.www_authenticate.starts_with("Bearer error=")));
        }
    }
    for (const char* active :
         {"\"true\"", "1", "null", "[true]", "{\"active\":true}", "false", "true,\"active\":true"}) {
        CAPTURE(active);
        const auto claims = oauth::token_claims::from_introspection(in("\"active\":"s + active + "," + good));
        CHECK_FALSE(oauth::check_binding(oauth::client_certificate::of(with.ssl()), claims, lax()).accepted());
    }
}

TEST_CASE("server / bound token / Client-Cert of a hop, written in odd ways -> none, or that certificate",
          "[handshake][attempt][MTLS-2]") {
    const meeting with;
    const auto hop = oauth::trusted_hop::vouched_for_by_application();
    const auto claims = oauth::token_claims::bound_by(
        {.x5t_s256 = oauth::x5t_s256(*the_cast().agent.certificate), .jkt = {}, .others = {}});
    const reqauth::peer peer = reqauth::peer_of(with.ssl());
    const auto fields = reqauth::client_cert_of_agent(std::get<reqauth::flagged_peer>(peer));
    const std::string good = std::get<reqauth::client_cert_fields>(fields).client_cert;
    const std::string base64 = good.substr(1, good.size() - 2);
    const auto accepted = [&](std::vector<std::string_view> lines) {
        const bool as =
            oauth::check_binding(oauth::client_certificate::forwarded(hop, lines), claims, lax()).accepted();
        CHECK(ERR_peek_error() == 0);
        return as;
    };
    REQUIRE(accepted({good}));
    const std::string odd[] = {"",
                               ":",
                               "::",
                               base64,
                               ":" + base64,
                               base64 + ":",
                               ": " + base64 + ":",
                               ":" + base64 + ": ",
                               ":" + base64 + ":;a=1",
                               good + ", " + good,
                               good + "," + good,
                               ":" + base64 + "=:",
                               ":" + base64.substr(4) + ":",
                               ":" + base64 + "AAAA:",
                               ":" + base64.substr(0, 40) + "\n" + base64.substr(40) + ":",
                               ":====:",
                               ":" + std::string(65536, 'A') + ":",
                               "\"" + base64 + "\""};
    for (const std::string& value : odd) {
        CAPTURE(value.substr(0, 20), value.size());
        CHECK_FALSE(accepted({value}));
    }
    CHECK_FALSE(accepted({}));
    CHECK_FALSE(accepted({good, good}));
    CHECK_FALSE(accepted({good, ""}));
}

TEST_CASE("server / trusted_hop, client_certificate / an agent, a stranger, a client's own side -> none",
          "[handshake][attempt][RCA-14][MTLS-2]") {
    const meeting with;
    const oauth::thumbprint agent = std::get<reqauth::flagged_peer>(reqauth::peer_of(with.ssl())).thumbprint();
    CHECK_FALSE(oauth::trusted_hop::by_certificate(with.ssl(), std::vector{agent}).has_value());
    SSL_set_verify_result(with.both.server.ssl.get(), X509_V_OK);
    CHECK_FALSE(oauth::trusted_hop::by_certificate(with.ssl(), std::vector{agent}).has_value());
    CHECK_FALSE(oauth::trusted_hop::by_certificate(*with.both.client.ssl, std::vector{agent}).has_value());
    auto own_only = oauth::policy(oauth::unbound_tokens::refuse);
    own_only.by_flagged = false;
    own_only.by_own = true;
    const auto bound = oauth::token_claims::bound_by(
        {.x5t_s256 = oauth::x5t_s256(*the_cast().agent.certificate), .jkt = {}, .others = {}});
    CHECK(oauth::check_binding(oauth::client_certificate::of(with.ssl()), bound, own_only).why ==
          oauth::cause::wrong_outcome);
    const auto of_server = oauth::token_claims::bound_by(
        {.x5t_s256 = oauth::x5t_s256(*the_cast().server.certificate), .jkt = {}, .others = {}});
    CHECK(oauth::check_binding(oauth::client_certificate::of(*with.both.client.ssl), of_server, lax()).why ==
          oauth::cause::missing_certificate);
}
