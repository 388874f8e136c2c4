// SPDX-License-Identifier: Apache-2.0
// Every answer of check_binding, written out: status, header, cause. The certificate comes from a trusted hop here; what a
// connection shows is in handshake/oauth.cpp.

#include "catch.hpp"

#include "../../lib/oauth/base64.hpp"

#include <reqauth/error.hpp>
#include <reqauth/oauth.hpp>

#include <algorithm>
#include <string>

namespace oauth = reqauth::oauth;
using namespace std::string_literals;
using oauth::cause;
using oauth::token_claims;
using oauth::unbound_tokens;

namespace {

// RFC 8705, appendix A: a certificate, and its x5t#S256.
constexpr std::string_view appendix_a =
    "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwE"
    "bXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGG"
    "WvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUa"
    "KlLR50Q2DmFfQj1L+SY=";
const std::string its_thumbprint = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
// RFC 8705, section 3.1; and one of RFC 7638 for a key.
const std::string another = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";
const std::string a_key = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

std::vector<std::uint8_t> appendix_a_der() { return reqauth::detail::padded(appendix_a).value(); }

oauth::client_certificate forwarded(const std::string& field) {
    const std::string_view fields[] = {field};
    return oauth::client_certificate::forwarded(oauth::trusted_hop::vouched_for_by_application(), fields);
}
oauth::client_certificate certificate() { return forwarded(":" + std::string(appendix_a) + ":"); }

oauth::policy refusing() {
    oauth::policy how(unbound_tokens::refuse);
    how.by_forwarded = true;
    return how;
}

token_claims jwt(const std::string& cnf) { return token_claims::from_jwt(R"({"iss":"a","cnf":)" + cnf + "}"); }

/// answer is all of a decision in one line.
std::string answer(const oauth::decision& made) {
    return std::string(to_string(made.why)) + " " + std::to_string(made.status) +
           (made.error.empty() ? "" : " " + std::string(made.error)) + (made.jkt.empty() ? "" : " jkt " + made.jkt);
}
std::string answer(const token_claims& claims, const oauth::policy& how = refusing()) {
    return answer(check_binding(certificate(), claims, how));
}

/// sound says that the challenge is one of RFC 6750, and says what the decision says.
bool sound(const oauth::decision& made) {
    const auto allowed = [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; };
    return !made.description.empty() && std::ranges::all_of(made.description, allowed) &&
           made.www_authenticate == "Bearer error=\"" + std::string(made.error) + "\", error_description=\"" +
                                        std::string(made.description) + "\"";
}

std::string missing(reqauth::reason why, const oauth::policy& how) {
    const auto made = check_binding(reqauth::other_peer{why, 0}, jwt(R"({"x5t#S256":")" + its_thumbprint + "\"}"), how);
    CHECK(made.why == cause::missing_certificate);
    CHECK(made.certificate == why);
    CHECK(sound(made));
    return std::to_string(made.status) + " " + made.www_authenticate;
}

} // namespace

TEST_CASE("oauth / x5t_s256 / RFC 8705's appendix A -> its value", "[unit][MTLS-1]") {
    CHECK(oauth::x5t_s256(appendix_a_der()) == its_thumbprint);
    CHECK(its_thumbprint.size() == 43);
}

TEST_CASE("oauth / x5t_s256 / octets that are not one DER certificate -> error malformed", "[unit][MTLS-1]") {
    auto der = appendix_a_der();
    const auto code_of = [](std::span<const std::uint8_t> octets) {
        try {
            return oauth::x5t_s256(octets);
        } catch (const reqauth::error& thrown) {
            CHECK(thrown.code() == reqauth::errc::malformed);
            return "refused"s;
        }
    };
    CHECK(code_of({}) == "refused");
    CHECK(code_of(std::span(der).first(der.size() - 1)) == "refused");
    der.push_back(0);
    CHECK(code_of(der) == "refused");
    CHECK(code_of(std::span(der).subspan(1)) == "refused");
    // The same certificate as BER: the outer length in more octets than it needs. No peer signs or hashes that.
    auto ber = appendix_a_der();
    REQUIRE((ber[0] == 0x30 && ber[1] == 0x82)); // 30 82 01 06
    ber[1] = 0x83;
    ber.insert(ber.begin() + 2, 0);
    CHECK(code_of(ber) == "refused");
    const std::string pem = "-----BEGIN CERTIFICATE-----\n";
    CHECK(code_of({reinterpret_cast<const std::uint8_t*>(pem.data()), pem.size()}) == "refused");
}

TEST_CASE("oauth / check_binding / bound to the certificate -> accepted", "[unit][MTLS-2]") {
    const auto made = check_binding(certificate(), jwt(R"({"x5t#S256":")" + its_thumbprint + "\"}"), refusing());
    CHECK(made.accepted());
    CHECK(answer(made) == "bound 200");
    CHECK(made.www_authenticate.empty());
    CHECK(made.description.empty());
    CHECK(made.jkt.empty());
    CHECK_FALSE(made.certificate.has_value());
}

TEST_CASE("oauth / check_binding / bound to another certificate -> 401 invalid_token", "[unit][MTLS-2][MTLS-3]") {
    const auto made = check_binding(certificate(), jwt(R"({"x5t#S256":")" + another + "\"}"), refusing());
    CHECK_FALSE(made.accepted());
    CHECK(made.why == cause::mismatch);
    CHECK(made.status == 401);
    CHECK(made.error == "invalid_token");
    CHECK(made.www_authenticate ==
          "Bearer error=\"invalid_token\", error_description=\"the token is bound to another certificate than that of "
          "this connection: connect with the certificate that the token was issued to, or get a token for this one\"");
    // Each octet counts.
    auto octets = reqauth::detail::unpadded(its_thumbprint, reqauth::detail::alphabet::base64url).value();
    for (auto& octet : octets) {
        octet ^= 1U;
        CHECK(answer(jwt(R"({"x5t#S256":")" + reqauth::detail::base64url(octets) + "\"}")) ==
              "mismatch 401 invalid_token");
        octet ^= 1U;
    }
}

TEST_CASE(
    "oauth / check_binding / no certificate, by what became of the flag -> 401 invalid_token that says what to do",
    "[unit][MTLS-4]") {
    using reqauth::reason;
    const oauth::policy how(unbound_tokens::refuse);
    const std::string start =
        "401 Bearer error=\"invalid_token\", error_description=\"the token is bound to the client "
        "certificate that it was issued to, and ";
    CHECK(missing(reason::not_offered, how) ==
          start + "this connection has none: the client did not offer the TLS flag request_client_auth, so the server "
                  "did not ask; connect with TLS 1.3, offer the flag, and present that certificate, which must not "
                  "have expired\"");
    CHECK(missing(reason::ignored, how) ==
          start +
              "this connection has none: the client offered the TLS flag request_client_auth, and the server passed "
              "it over for this connection; check the host name, and ask the operator of the server\"");
    CHECK(missing(reason::empty, how) ==
          start + "this connection has none: the client offered the TLS flag request_client_auth, was asked, and sent "
                  "no certificate; present it with its intermediate certificates: a "
                  "client keeps it back where the server names none of its CAs, or has not proven its name\"");
    CHECK(missing(reason::invalid, how) ==
          start + "the one that the client sent did not verify: send its intermediate certificates too, and use one "
                  "of a CA that the server trusts, which is valid and not revoked\"");
    for (const auto why : {reason::not_witnessed, reason::not_vouched})
        CHECK(missing(why, how) ==
              start +
                  "nothing vouches for one on this connection: connect anew, without resuming a session, and present "
                  "that certificate\"");

    // Where the flag would not help, it is not spoken of.
    oauth::policy own(unbound_tokens::refuse);
    own.by_flagged = false;
    own.by_own = true;
    CHECK(missing(reason::not_offered, own) == start + "this connection shows none: present that certificate\"");
}

TEST_CASE("oauth / check_binding / no certificate, missing_is_invalid_request -> 400 invalid_request",
          "[unit][MTLS-4]") {
    oauth::policy how(unbound_tokens::refuse);
    how.missing_is_invalid_request = true;
    CHECK(missing(reqauth::reason::empty, how) ==
          "400 Bearer error=\"invalid_request\", error_description=\"the token is bound to the client certificate that "
          "it was issued to, and "
          "this connection has none: the client offered the TLS flag request_client_auth, was asked, and sent no "
          "certificate; present it with its intermediate certificates: a client "
          "keeps it back where the server names none of its CAs, or has not proven its name\"");
    // And nothing else is.
    how.by_forwarded = true;
    CHECK(answer(jwt(R"({"x5t#S256":")" + another + "\"}"), how) == "mismatch 401 invalid_token");
    CHECK(answer(token_claims::unbound(), how) == "unbound 401 invalid_token");
    CHECK(answer(jwt("{}"), how) == "confirmation_not_understood 401 invalid_token");
}

TEST_CASE("oauth / check_binding / before the handshake's end -> 425, and nothing is wrong with the token",
          "[unit][TLS-4]") {
    const auto made = check_binding(reqauth::other_peer{reqauth::reason::handshake_unfinished, 0},
                                    jwt(R"({"x5t#S256":")" + its_thumbprint + "\"}"), refusing());
    CHECK(answer(made) == "too_early 425");
    CHECK(made.www_authenticate.empty());
    CHECK(made.description == "the request came in early data: send it again after the TLS handshake");
}

TEST_CASE("oauth / check_binding / a token without a binding -> as the caller has chosen", "[unit][MTLS-5]") {
    const auto no_cnf = token_claims::from_jwt(R"({"iss":"a","scope":"x5t#S256"})");
    for (const auto& claims : {token_claims::unbound(), no_cnf}) {
        const auto refused = check_binding(certificate(), claims, refusing());
        CHECK(answer(refused) == "unbound 401 invalid_token");
        CHECK(refused.www_authenticate ==
              "Bearer error=\"invalid_token\", error_description=\"the token is not bound to a client certificate, and "
              "has to be: get one from the authorization server over a connection with the client certificate (RFC "
              "8705)\"");
        // Whatever certificate there is, or none.
        for (const auto& shown : {certificate(), oauth::client_certificate::of(reqauth::other_peer{})}) {
            const auto accepted = check_binding(shown, claims, oauth::policy(unbound_tokens::accept));
            CHECK(answer(accepted) == "unbound_accepted 200");
            CHECK(accepted.accepted());
        }
    }
    // Accepting such tokens loosens nothing for those that are bound.
    CHECK(check_binding(reqauth::other_peer{}, jwt(R"({"x5t#S256":")" + its_thumbprint + "\"}"),
                        oauth::policy(unbound_tokens::accept))
              .why == cause::missing_certificate);
}

TEST_CASE(
    "oauth / check_binding / jkt beside x5t#S256, or alone -> not accepted until the caller has checked the proof",
    "[unit][MTLS-5]") {
    const std::string both = R"({"x5t#S256":")" + its_thumbprint + R"(","jkt":")" + a_key + "\"}";
    const auto made = check_binding(certificate(), jwt(both), refusing());
    CHECK_FALSE(made.accepted());
    CHECK(answer(made) == "proof_left 401 invalid_token jkt " + a_key);
    CHECK(made.www_authenticate ==
          "Bearer error=\"invalid_token\", error_description=\"the token is bound to a DPoP key too: send a DPoP proof "
          "made with it, to a server that takes them\"");
    // The other half does not make up for this one.
    const std::string wrong = R"({"jkt":")" + a_key + R"(","x5t#S256":")" + another + "\"}";
    CHECK(answer(jwt(wrong)) == "mismatch 401 invalid_token jkt " + a_key);
    CHECK(answer(check_binding(reqauth::other_peer{}, jwt(both), refusing())) ==
          "missing_certificate 401 invalid_token jkt " + a_key);
    // Alone it binds to no certificate.
    const std::string alone = R"({"jkt":")" + a_key + "\"}";
    CHECK(answer(jwt(alone)) == "unbound 401 invalid_token jkt " + a_key);
    CHECK(answer(jwt(alone), oauth::policy(unbound_tokens::accept)) == "proof_left 401 invalid_token jkt " + a_key);
}

TEST_CASE("oauth / check_binding / a cnf that is not understood, or malformed -> 401, whatever else holds",
          "[unit][MTLS-5]") {
    const std::string good = R"("x5t#S256":")" + its_thumbprint + "\"";
    const std::string hex = "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd";
    std::string colons;
    for (std::size_t i = 0; i < hex.size(); i += 2) colons += (i ? ":" : "") + hex.substr(i, 2);
    const struct {
        std::string cnf;
        cause why;
    } table[] = {
        {"{" + good + R"(,"kid":"k"})", cause::confirmation_not_understood},
        {R"({"jwk":{"kty":"EC"},)" + good + "}", cause::confirmation_not_understood},
        {"{" + good + R"(,"X5T#S256":"x"})", cause::confirmation_not_understood},
        {R"({"x5t#s256":")" + its_thumbprint + "\"}", cause::confirmation_not_understood},
        {R"({"x5t":")" + its_thumbprint + "\"}", cause::confirmation_not_understood},
        {R"({"":null})", cause::confirmation_not_understood},
        {"{}", cause::confirmation_not_understood},
        {"null", cause::confirmation_malformed},
        {"[]", cause::confirmation_malformed},
        {"[{" + good + "}]", cause::confirmation_malformed},
        {"\"" + its_thumbprint + "\"", cause::confirmation_malformed},
        {"true", cause::confirmation_malformed},
        {"1", cause::confirmation_malformed},
        {R"({"x5t#S256":null})", cause::thumbprint_not_text},
        {R"({"x5t#S256":12})", cause::thumbprint_not_text},
        {R"({"x5t#S256":-1.5e3})", cause::thumbprint_not_text},
        {R"({"x5t#S256":true})", cause::thumbprint_not_text},
        {R"({"x5t#S256":[")" + its_thumbprint + "\"]}", cause::thumbprint_not_text},
        {R"({"x5t#S256":{"a":"b"}})", cause::thumbprint_not_text},
        {"{" + good + R"(,"jkt":null})", cause::thumbprint_not_text},
        {R"({"x5t#S256":")" + hex + "\"}", cause::thumbprint_in_hex},
        {R"({"x5t#S256":")" + colons + "\"}", cause::thumbprint_in_hex},
        {R"({"x5t#S256":")" + its_thumbprint + "=\"}", cause::thumbprint_padded},
        {R"({"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5/0"})", cause::thumbprint_not_url_safe},
        {R"({"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5+0"})", cause::thumbprint_not_url_safe},
        {R"({"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v\n"})", cause::thumbprint_not_base64url},
        {R"({"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v "})", cause::thumbprint_not_base64url},
        {R"({"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v\u0000"})", cause::thumbprint_not_base64url},
        {R"({"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v\u00e9"})", cause::thumbprint_not_base64url},
        {R"({"x5t#S256":""})", cause::thumbprint_of_wrong_length},
        {R"({"x5t#S256":"A"})", cause::thumbprint_of_wrong_length},
        {R"({"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v"})", cause::thumbprint_of_wrong_length},
        {R"({"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v00"})", cause::thumbprint_of_wrong_length},
        {"{" + good + R"(,"jkt":"x"})", cause::thumbprint_of_wrong_length},
    };
    for (const auto& [cnf, why] : table) {
        INFO(cnf);
        for (const auto& claims : {jwt(cnf), token_claims::from_introspection(R"({"active":true,"cnf":)" + cnf + "}")})
            for (const auto unbound : {unbound_tokens::refuse, unbound_tokens::accept}) {
                oauth::policy how(unbound);
                how.by_forwarded = true;
                const auto made = check_binding(certificate(), claims, how);
                CHECK(to_string(made.why) == to_string(why));
                CHECK(made.status == 401);
                CHECK(made.error == "invalid_token");
                CHECK(sound(made));
            }
    }
    // The same as values.
    CHECK(answer(token_claims::bound_by({its_thumbprint, {}, {"kid"}})) ==
          "confirmation_not_understood 401 invalid_token");
    CHECK(answer(token_claims::bound_by({})) == "confirmation_not_understood 401 invalid_token");
    CHECK(answer(token_claims::bound_by({its_thumbprint + "=", {}, {}})) == "thumbprint_padded 401 invalid_token");
    CHECK(answer(token_claims::bound_by({its_thumbprint, {}, {}})) == "bound 200");
    CHECK(answer(token_claims::bound_by({its_thumbprint, a_key, {}})) == "proof_left 401 invalid_token jkt " + a_key);
}

TEST_CASE("oauth / check_binding / a thumbprint whose last character has bits too many -> the octets are compared",
          "[unit][MTLS-2]") {
    // The last of 43 characters has two bits more than 32 octets: RFC 8705's own example ends in "2", 110110.
    for (const char last : {'0', '1', '2', '3'})
        CHECK(answer(jwt(R"({"x5t#S256":")" + its_thumbprint.substr(0, 42) + last + "\"}")) == "bound 200");
    CHECK(answer(jwt(R"({"x5t#S256":")" + its_thumbprint.substr(0, 42) + "4\"}")) == "mismatch 401 invalid_token");
    CHECK(answer(jwt(R"({"x5t#S256":")" + another + "\"}")) == "mismatch 401 invalid_token"); // and is not malformed
}

TEST_CASE("oauth / from_jwt, from_introspection / text that is no sound JSON object -> 401", "[unit][MTLS-5]") {
    const std::string cnf = R"("cnf":{"x5t#S256":")" + its_thumbprint + "\"}";
    const std::string deep = std::string(31, '[') + std::string(31, ']');
    const struct {
        std::string text;
        cause why;
    } table[] = {
        {"{" + cnf + "}", cause::bound},
        {" \t\r\n{" + cnf + R"(,"exp":1e3,"aud":["a",{"b":null}],"d":)" + deep + "} \n", cause::bound},
        {R"({"\u0063nf":{"x5t\u0023S256":")" + its_thumbprint + "\"}}", cause::bound}, // the same names
        {"{" + cnf + R"(,"d":[)" + deep + "]}", cause::claims_malformed},
        {"{" + cnf + R"(,"pad":")" + std::string(64 * 1024, 'a') + "\"}", cause::claims_too_large},
        {"", cause::claims_malformed},
        {"null", cause::claims_malformed},
        {"[{" + cnf + "}]", cause::claims_malformed},
        {"\"{}\"", cause::claims_malformed},
        {"{" + cnf, cause::claims_malformed},
        {"{" + cnf + "}}", cause::claims_malformed},
        {"{" + cnf + "}{}", cause::claims_malformed},
        {"{" + cnf + "}\0"s, cause::claims_malformed},
        {"{" + cnf + "}\0{}"s, cause::claims_malformed},
        {"{" + cnf + ",}", cause::claims_malformed},
        {"{" + cnf + ",\"a\":'b'}", cause::claims_malformed},
        {"{" + cnf + ",\"a\":NaN}", cause::claims_malformed},
        {"{" + cnf + ",\"a\":1e999}", cause::claims_malformed},
        {"{/**/" + cnf + "}", cause::claims_malformed},
        {"{" + cnf + ",\"a\":\"\xff\"}", cause::claims_malformed},
        {"{" + cnf + ",\"a\":\"\xc0\x80\"}", cause::claims_malformed},
        {"{" + cnf + ",\"a\":\"\xed\xa0\x80\"}", cause::claims_malformed}, // half a surrogate pair
        {"{" + cnf + ",\"a\":\"\n\"}", cause::claims_malformed},
        {"{" + cnf + "," + cnf + "}", cause::claims_repeat_a_member},
        {R"({"cnf":{"x5t#S256":")" + another + "\"}," + cnf + "}", cause::claims_repeat_a_member},
        {R"({"c\u006ef":null,)" + cnf + "}", cause::claims_repeat_a_member},
        {R"({"cnf":{"x5t#S256":"a","x5t#S256":")" + its_thumbprint + "\"}}", cause::claims_repeat_a_member},
        {"{\"a\":1,\"a\":1," + cnf + "}", cause::claims_repeat_a_member},
        {"{\"a\":[{\"b\":1,\"b\":2}]," + cnf + "}", cause::claims_repeat_a_member},
        {"{\"a\":{\"cnf\":1},\"b\":{\"cnf\":2}," + cnf + "}", cause::bound}, // of different objects
    };
    for (const auto& [text, why] : table) {
        INFO(text.substr(0, 200));
        CHECK(to_string(check_binding(certificate(), token_claims::from_jwt(text), refusing()).why) == to_string(why));
        if (why == cause::bound) continue;
        const auto made = check_binding(certificate(), token_claims::from_introspection(text), refusing());
        CHECK(to_string(made.why) == to_string(why));
        CHECK(made.status == 401);
        CHECK(sound(made));
        CHECK_FALSE(check_binding(certificate(), token_claims::from_jwt(text), oauth::policy(unbound_tokens::accept))
                        .accepted());
    }
    // A cnf somewhere else is none of the token's.
    CHECK(answer(token_claims::from_jwt(R"({"a":{)" + cnf + "}}")) == "unbound 401 invalid_token");
    CHECK(answer(token_claims::from_jwt(R"({"a":[{)" + cnf + "}]}")) == "unbound 401 invalid_token");
}

TEST_CASE("oauth / from_introspection / active is not true -> refused", "[unit][MTLS-5]") {
    const std::string cnf = R"("cnf":{"x5t#S256":")" + its_thumbprint + "\"}";
    for (const std::string active : {"false", "null", "1", "\"true\"", "[true]", "{\"active\":true}"}) {
        INFO(active);
        const std::string text = "{\"active\":" + active + "," + cnf + "}";
        CHECK(answer(token_claims::from_introspection(text)) == "inactive 401 invalid_token");
        // An introspection answer that is taken for a JWT does not get through by that.
        CHECK(answer(token_claims::from_jwt(text)) == "inactive 401 invalid_token");
    }
    CHECK(answer(token_claims::from_introspection("{" + cnf + "}")) == "inactive 401 invalid_token");
    CHECK(answer(token_claims::from_introspection("{\"a\":{\"active\":true}," + cnf + "}")) ==
          "inactive 401 invalid_token");
    CHECK(answer(token_claims::from_introspection("{\"active\":true," + cnf + "}")) == "bound 200");
    CHECK(answer(token_claims::from_introspection("{\"active\":true}")) == "unbound 401 invalid_token");
    for (const auto unbound : {unbound_tokens::refuse, unbound_tokens::accept})
        CHECK_FALSE(
            check_binding(certificate(), token_claims::from_introspection("{\"active\":false}"), oauth::policy(unbound))
                .accepted());
}

TEST_CASE("oauth / forwarded / Client-Cert of a trusted hop -> its certificate, or none", "[unit][MTLS-2]") {
    const auto claims = jwt(R"({"x5t#S256":")" + its_thumbprint + "\"}");
    const auto with = [&](std::vector<std::string_view> fields) {
        const auto hop = oauth::trusted_hop::vouched_for_by_application();
        return answer(check_binding(oauth::client_certificate::forwarded(hop, fields), claims, refusing()));
    };
    const std::string good = ":" + std::string(appendix_a) + ":";
    CHECK(with({good}) == "bound 200");

    const std::string none = "missing_certificate 401 invalid_token";
    CHECK(with({}) == none);
    CHECK(with({good, good}) == none); // a client added one of its own
    CHECK(with({good, ""}) == none);
    const std::string list = good + ", " + good, comma = good + ",", half = good.substr(0, 100) + ":";
    const std::string bare(appendix_a), open = good.substr(0, good.size() - 1), with_parameter = good + ";a=1";
    const std::string url_safe = ":" + std::string(appendix_a).replace(bare.find('/'), 1, "_") + ":";
    const std::string no_padding = ":" + bare.substr(0, bare.size() - 1) + ":";
    const std::string two = ":" + bare.substr(0, bare.size() - 4) + "KlLR:", twice = ":" + bare + bare + ":";
    const std::string spaced = ": " + bare + ":", thumbprint = "\"" + its_thumbprint + "\"";
    const std::string nul = good + "\0"s;
    for (const std::string& each :
         {""s,  ":"s, "::"s, ":=:"s,         ":==:"s,  ":====:"s,  ":A===:"s, ":AAAA:"s, ":A:"s, list,       comma,
          half, bare, open,  with_parameter, url_safe, no_padding, two,       twice,     spaced, thumbprint, nul}) {
        INFO(each);
        CHECK(with({each}) == none);
    }
    // Where the policy does not serve tokens by forwarded certificates, it is the wrong source.
    const auto made = check_binding(forwarded(good), claims, oauth::policy(unbound_tokens::accept));
    CHECK(answer(made) == "wrong_outcome 401 invalid_token");
    CHECK(sound(made));
}

TEST_CASE("oauth / policy / realm -> a quoted-string, or an error", "[unit]") {
    const auto challenge = [](std::string realm) {
        return check_binding(reqauth::other_peer{}, token_claims::unbound(),
                             oauth::policy(unbound_tokens::refuse, std::move(realm)))
            .www_authenticate;
    };
    CHECK(challenge("shop").starts_with("Bearer realm=\"shop\", error=\"invalid_token\", error_description=\"the "));
    CHECK(challenge("a\"b\\c, error=\"x")
              .starts_with("Bearer realm=\"a\\\"b\\\\c, error=\\\"x\", error=\"invalid_token\""));
    for (const std::string bad : {"a\r\nSet-Cookie: b", "a\n", "\t", "a\x7f", "caf\xc3\xa9"}) try {
            (void)oauth::policy(unbound_tokens::refuse, bad);
            FAIL(bad);
        } catch (const reqauth::error& thrown) {
            CHECK(thrown.code() == reqauth::errc::contradiction);
        }
    CHECK_THROWS_AS(oauth::policy(unbound_tokens::refuse, "\0"s), reqauth::error);
}

TEST_CASE("oauth / to_string / every cause has its own name", "[unit]") {
    std::vector<std::string_view> names;
    for (int i = 0; i <= static_cast<int>(cause::inactive); ++i) names.push_back(to_string(static_cast<cause>(i)));
    for (const auto name : names) CHECK(std::ranges::count(names, name) == 1);
    CHECK(std::ranges::count(names, "") == 0);
}
