// SPDX-License-Identifier: Apache-2.0
#include "oauth.hpp"

#include "base64.hpp"
#include "claims.hpp"

#include <reqauth/error.hpp>

#include <algorithm>

namespace reqauth::oauth {

namespace {

using detail::access;

constexpr std::size_t thumbprint_characters = 43;

bool is_hex(char c) noexcept {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':';
}

/// malformed says what is wrong with a thumbprint as base64url has it; nothing: nothing is.
std::optional<cause> malformed(std::string_view text) noexcept {
    const auto belongs = [](char c) { return reqauth::detail::belongs(c, reqauth::detail::alphabet::base64url); };
    if (text.size() > thumbprint_characters + 1 && std::ranges::all_of(text, is_hex)) return cause::thumbprint_in_hex;
    if (text.ends_with('=')) return cause::thumbprint_padded;
    if (text.find_first_of("+/") != std::string_view::npos) return cause::thumbprint_not_url_safe;
    if (!std::ranges::all_of(text, belongs)) return cause::thumbprint_not_base64url;
    if (text.size() != thumbprint_characters) return cause::thumbprint_of_wrong_length;
    return std::nullopt;
}

/// take_binding sets what a token is bound to, or the fault.
void take_binding(token_claims& claims, const std::optional<std::string>& x5t_s256,
                  const std::optional<std::string>& jkt, bool others) {
    //= MTLS-5
    if (others || (!x5t_s256 && !jkt)) {
        access::fault(claims) = cause::confirmation_not_understood;
        return;
    }
    for (const auto* text : {&x5t_s256, &jkt})
        if (*text && !access::fault(claims)) access::fault(claims) = malformed(**text);
    if (access::fault(claims)) return;
    access::jkt(claims) = jkt.value_or("");
    if (!x5t_s256) return;
    const auto octets = reqauth::detail::unpadded(*x5t_s256, reqauth::detail::alphabet::base64url);
    thumbprint digest{};
    std::ranges::copy(octets.value(), digest.begin());
    access::certificate(claims) = digest;
}

token_claims claims_of(std::string_view json, bool introspection) {
    using reqauth::detail::claims;
    const claims read = reqauth::detail::read_claims(json);
    token_claims out = token_claims::unbound();
    auto& fault = access::fault(out);
    switch (read.broken) {
    case claims::fault::none: break;
    case claims::fault::too_large: fault = cause::claims_too_large; break;
    case claims::fault::malformed: fault = cause::claims_malformed; break;
    case claims::fault::repeated_member: fault = cause::claims_repeat_a_member; break;
    }
    if (fault) return out;
    if (read.active == claims::state::no || (introspection && read.active == claims::state::unsaid))
        fault = cause::inactive;
    else if (read.cnf == claims::confirmation::other)
        fault = cause::confirmation_malformed;
    else if ((read.x5t_s256 && !*read.x5t_s256) || (read.jkt && !*read.jkt))
        fault = cause::thumbprint_not_text;
    else if (read.cnf == claims::confirmation::object)
        take_binding(out, read.x5t_s256.value_or(std::nullopt), read.jkt.value_or(std::nullopt), read.others);
    return out;
}

/// description_of has the characters of RFC 6750's error_description alone: no " and no \.
std::string description_of(cause why, const std::optional<reason>& because, const policy& how) {
    switch (why) {
    case cause::bound:
    case cause::unbound_accepted: return "";
    case cause::proof_left:
        return "the token is bound to a DPoP key too: send a DPoP proof made with it, to a server that takes them";
    case cause::missing_certificate:
        return "the token is bound to the client certificate that it was issued to, and " +
               std::string(detail::why_none(because, how));
    case cause::mismatch:
        return "the token is bound to another certificate than that of this connection: connect with the certificate "
               "that the token was issued to, or get a token for this one";
    case cause::wrong_outcome:
        return how.by_flagged
                   ? "the certificate of this connection does not serve tokens here: offer the TLS flag "
                     "request_client_auth, and present the certificate when the server asks because of it"
                   : "the certificate of this connection does not serve tokens here: ask the operator of the server "
                     "which kind does";
    case cause::too_early: return "the request came in early data: send it again after the TLS handshake";
    case cause::unbound:
        return "the token is not bound to a client certificate, and has to be: get one from the authorization server "
               "over a connection with the client certificate (RFC 8705)";
    case cause::confirmation_not_understood:
        return "the token's cnf has no member, or one that this server does not know: it takes x5t#S256 and jkt";
    case cause::confirmation_malformed: return "the token's cnf is not an object: the authorization server is wrong";
    case cause::thumbprint_not_text:
        return "a thumbprint in the token's cnf is not a string: the authorization server is wrong";
    case cause::thumbprint_in_hex:
        return "a thumbprint in the token's cnf is in hex: the authorization server has to write base64url";
    case cause::thumbprint_padded:
        return "a thumbprint in the token's cnf is padded: the authorization server has to leave out the equals sign";
    case cause::thumbprint_not_url_safe:
        return "a thumbprint in the token's cnf is in base64: the authorization server has to write base64url";
    case cause::thumbprint_not_base64url:
        return "a thumbprint in the token's cnf has a character that base64url has not: the authorization server is "
               "wrong";
    case cause::thumbprint_of_wrong_length:
        return "a thumbprint in the token's cnf has not the 43 characters of SHA-256: the authorization server is "
               "wrong";
    case cause::claims_malformed:
        return "the token's claims are not a JSON object that can be read: the authorization server is wrong";
    case cause::claims_too_large: return "the token's claims are too large";
    case cause::claims_repeat_a_member:
        return "the token's claims have two members of one name: the authorization server is wrong";
    case cause::inactive: return "the token is not active: get a new one";
    }
    return "";
}

/// challenge writes WWW-Authenticate. Its realm is printable ASCII, see policy; the rest is ours.
std::string challenge(const policy& how, std::string_view error, std::string_view description) {
    std::string value = "Bearer ";
    if (!how.realm().empty()) {
        value += "realm=\"";
        for (const char c : how.realm()) {
            if (c == '"' || c == '\\') value += '\\';
            value += c;
        }
        value += "\", ";
    }
    return value.append("error=\"").append(error).append("\", error_description=\"").append(description).append("\"");
}

cause judge(const client_certificate& shown, const token_claims& claims, const policy& how, bool equal) noexcept {
    if (access::fault(claims)) return *access::fault(claims);
    const bool proof = !access::jkt(claims).empty();
    if (!access::certificate(claims)) {
        //= MTLS-5
        if (how.unbound() == unbound_tokens::refuse) return cause::unbound;
        return proof ? cause::proof_left : cause::unbound_accepted;
    }
    //= TLS-4
    if (access::early(shown) || access::none_because(shown) == reason::handshake_unfinished) return cause::too_early;
    //= MTLS-4
    if (!access::leaf(shown)) return cause::missing_certificate;
    //= RCA-14
    //= MTLS-6
    if (!detail::serves(access::from(shown), how)) return cause::wrong_outcome;
    //= MTLS-3
    if (!equal) return cause::mismatch;
    return proof ? cause::proof_left : cause::bound;
}

} // namespace

namespace detail {

std::string_view why_none(const std::optional<reason>& because, const served& how) noexcept {
    if (!because || !how.by_flagged) return "this connection shows none: present that certificate";
    switch (*because) {
    case reason::not_offered:
        return "this connection has none: the client did not offer the TLS flag request_client_auth, so the server did "
               "not ask; connect with TLS 1.3, offer the flag, and present that certificate, which must not have "
               "expired";
    case reason::ignored:
        return "this connection has none: the client offered the TLS flag request_client_auth, and the server passed "
               "it "
               "over for this connection; check the host name, and ask the operator of the server";
    case reason::empty:
        return "this connection has none: the client offered the TLS flag request_client_auth, was asked, and sent no "
               "certificate; present it with its intermediate certificates: a client keeps it back where the server "
               "names none of its CAs, or has not proven its name";
    case reason::invalid:
        return "the one that the client sent did not verify: send its intermediate certificates too, and use one of a "
               "CA "
               "that the server trusts, which is valid and not revoked";
    default: break;
    }
    return "nothing vouches for one on this connection: connect anew, without resuming a session, and present that "
           "certificate";
}

bool serves(client_certificate::source from, const served& how) noexcept {
    using source = client_certificate::source;
    switch (from) {
    case source::flagged: return how.by_flagged;
    case source::own: return how.by_own;
    case source::forwarded: return how.by_forwarded;
    //= MTLS-7
    case source::unvouched: return how.by_unvouched;
    }
    return false;
}

decision decide(const client_certificate& shown, const token_claims& claims, const policy& how, bool equal) {
    decision out;
    out.why = judge(shown, claims, how, equal);
    out.jkt = access::jkt(claims);
    if (out.accepted()) {
        out.status = 200;
        return out;
    }
    if (out.why == cause::missing_certificate) out.certificate = access::none_because(shown);
    out.description = description_of(out.why, out.certificate, how);
    if (out.why == cause::too_early) { // RFC 8470: nothing is wrong with the token
        out.status = 425;
        return out;
    }
    //= MTLS-4
    const bool as_request = out.why == cause::missing_certificate && how.missing_is_invalid_request;
    out.status = as_request ? 400 : 401;
    out.error = as_request ? "invalid_request" : "invalid_token";
    out.www_authenticate = challenge(how, out.error, out.description);
    return out;
}

} // namespace detail

token_claims token_claims::from_jwt(std::string_view json) { return claims_of(json, false); }
token_claims token_claims::from_introspection(std::string_view json) { return claims_of(json, true); }

token_claims token_claims::bound_by(const confirmation& cnf) {
    token_claims out;
    take_binding(out, cnf.x5t_s256, cnf.jkt, !cnf.others.empty());
    return out;
}

policy::policy(unbound_tokens unbound, std::string realm) : unbound_(unbound), realm_(std::move(realm)) {
    if (!std::ranges::all_of(realm_, [](char c) { return c >= ' ' && c <= '~'; }))
        throw error(errc::contradiction, "a realm of WWW-Authenticate is printable ASCII: give another one");
}

decision check_binding(const peer& who, const token_claims& claims, const policy& how) {
    return check_binding(client_certificate::of(who), claims, how);
}

std::string_view to_string(cause why) noexcept {
    switch (why) {
    case cause::bound: return "bound";
    case cause::unbound_accepted: return "unbound_accepted";
    case cause::proof_left: return "proof_left";
    case cause::missing_certificate: return "missing_certificate";
    case cause::mismatch: return "mismatch";
    case cause::wrong_outcome: return "wrong_outcome";
    case cause::too_early: return "too_early";
    case cause::unbound: return "unbound";
    case cause::confirmation_not_understood: return "confirmation_not_understood";
    case cause::confirmation_malformed: return "confirmation_malformed";
    case cause::thumbprint_not_text: return "thumbprint_not_text";
    case cause::thumbprint_in_hex: return "thumbprint_in_hex";
    case cause::thumbprint_padded: return "thumbprint_padded";
    case cause::thumbprint_not_url_safe: return "thumbprint_not_url_safe";
    case cause::thumbprint_not_base64url: return "thumbprint_not_base64url";
    case cause::thumbprint_of_wrong_length: return "thumbprint_of_wrong_length";
    case cause::claims_malformed: return "claims_malformed";
    case cause::claims_too_large: return "claims_too_large";
    case cause::claims_repeat_a_member: return "claims_repeat_a_member";
    case cause::inactive: return "inactive";
    }
    return "";
}

} // namespace reqauth::oauth
