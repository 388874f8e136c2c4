// SPDX-License-Identifier: Apache-2.0
#pragma once

// Client certificates in OAuth (RFC 8705): access tokens that are bound to one, at the resource server (section 3), and
// clients that authenticate with one, at the authorization server (section 2). The certificate may be one that the
// server asked for because of the flag: one host name serves browsers and such clients then (MTLS-6).
//
// The library verifies no token. Give it claims whose signature, issuer, audience and time your JWT library has
// verified, or what an introspection endpoint has answered.

#include <reqauth/export.hpp>
#include <reqauth/peer.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace reqauth::oauth {

namespace detail {
struct access;
}

/// thumbprint is SHA-256 over a certificate's DER.
using thumbprint = std::array<std::uint8_t, 32>;

/// x5t_s256 is a certificate's "x5t#S256": SHA-256 over the leaf's DER as base64url without padding, 43 characters
/// (MTLS-1). It is what an authorization server puts into a token's `cnf`. Throws error{malformed} where `der` is
/// not one certificate in DER from its first octet to its last, error{openssl} where the certificate cannot be
/// written.
[[nodiscard]] REQAUTH_EXPORT std::string x5t_s256(const flagged_peer& agent);
[[nodiscard]] REQAUTH_EXPORT std::string x5t_s256(const X509& certificate);
[[nodiscard]] REQAUTH_EXPORT std::string x5t_s256(std::span<const std::uint8_t> der);

/// cause says why a token was accepted or refused. It is for logs: several look alike to the client.
enum class cause {
    bound,            ///< accepted: the token is bound to the certificate of this connection
    unbound_accepted, ///< accepted: the token is bound to nothing, and the policy lets such tokens pass
    proof_left,       ///< what concerns the certificate holds, and the token is bound to a DPoP key too: see decision

    missing_certificate, ///< the token is bound, and there is no certificate; decision::certificate says why
    mismatch,            ///< the token is bound to another certificate
    wrong_outcome,       ///< there is a certificate, from a source that the policy does not serve tokens by
    too_early,           ///< the request came, or may have come, in early data (TLS-4)
    unbound,             ///< the token is not bound to a certificate, and the policy wants it to be

    confirmation_not_understood, ///< `cnf` has a member beside x5t#S256 and jkt, or none
    confirmation_malformed,      ///< `cnf` is no object
    thumbprint_not_text,         ///< x5t#S256 or jkt is no string
    thumbprint_in_hex,           ///< it is in hex
    thumbprint_padded,           ///< it ends in "="
    thumbprint_not_url_safe,     ///< it has "+" or "/": base64, not base64url
    thumbprint_not_base64url,    ///< it has another character that base64url has not
    thumbprint_of_wrong_length,  ///< it has not 43 characters

    claims_malformed,       ///< no JSON object, not UTF-8, or nested more than 32 deep
    claims_too_large,       ///< more than 64 KiB
    claims_repeat_a_member, ///< an object has two members of one name: parsers differ in which of them counts
    inactive,               ///< introspection: `active` is not true
};

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(cause why) noexcept;

/// confirmation is a token's `cnf` by its members, for those who have it parsed already.
struct confirmation {
    std::optional<std::string> x5t_s256; ///< the member "x5t#S256" (RFC 8705)
    std::optional<std::string> jkt;      ///< the member "jkt" (DPoP, RFC 9449)
    std::vector<std::string> others;     ///< the names of all other members: one is enough to refuse the token
};

/// token_claims is what a token says of its binding. What cannot be read is kept, and refused by check_binding.
class REQAUTH_EXPORT token_claims {
public:
    /// from_jwt reads the claims set of a JWT whose signature is verified: its second part, decoded, as JSON. The
    /// text itself, not what another parser wrote anew: that one may have dropped a second `cnf`.
    [[nodiscard]] static token_claims from_jwt(std::string_view json);
    /// from_introspection reads the answer of an introspection endpoint (RFC 7662): `active` has to be true.
    [[nodiscard]] static token_claims from_introspection(std::string_view json);
    /// bound_by takes the members of a `cnf`; unbound is a token that has none.
    [[nodiscard]] static token_claims bound_by(const confirmation& cnf);
    [[nodiscard]] static token_claims unbound() { return {}; }

private:
    friend struct detail::access;
    token_claims() = default;
    std::optional<cause> fault_;
    std::optional<thumbprint> certificate_;
    std::string jkt_;
};

/// trusted_hop is a proxy whose word about its own clients' certificates counts.
class REQAUTH_EXPORT trusted_hop {
public:
    /// by_certificate knows the proxy by its certificate: the application's own client authentication verified it
    /// on this connection, and it is one of `proxies`. Nothing: this is not such a proxy, or the connection accepted
    /// early data, which may be a replay of what the proxy sent once.
    [[nodiscard]] static std::optional<trusted_hop> by_certificate(const SSL& connection,
                                                                   std::span<const thumbprint> proxies);
    /// vouched_for_by_application is for a proxy that the application knows by other means, such as a UNIX socket
    /// that nobody else may open. A source address shows where packets come from, not who sent them: it is enough
    /// only on a network where nobody else can send or listen, and not on a loopback port that other users share.
    [[nodiscard]] static trusted_hop vouched_for_by_application() noexcept { return {}; }

private:
    trusted_hop() = default;
};

/// client_certificate is what a request's connection shows of a certificate, from which source, or why there is
/// none. It can be made of nothing but what TLS has verified, or of what a trusted hop says (MTLS-2).
class REQAUTH_EXPORT client_certificate {
public:
    /// source is who verified it; unvouched: nobody, but its key is proven (unvouched_client).
    enum class source { flagged, own, forwarded, unvouched };

    /// of looks for a flagged peer or an unvouched_client, and where the flag was not accepted for a certificate that the
    /// application's own client authentication verified: SSL_get_verify_result is X509_V_OK. Call it for each request, in
    /// a thread that may use `ssl`.
    [[nodiscard]] static client_certificate of(const SSL& ssl);
    /// of a peer: the flagged peer's, or none.
    [[nodiscard]] static client_certificate of(const peer& who);

    /// after_handshake is the same as `of`, where the application vouches that this very request came after the
    /// handshake had ended. Without it, nothing on a connection that accepted early data serves a binding.
    [[nodiscard]] static client_certificate after_handshake(const SSL& ssl);
    [[nodiscard]] static client_certificate after_handshake(const peer& who);

    /// forwarded takes the certificate out of a request's Client-Cert fields (RFC 9440), each field line one value.
    /// None: the proxy's client has none. More than one, or one that is no certificate: none either. On the hop's
    /// connection ask this and not `of`, which would be the proxy's own certificate.
    [[nodiscard]] static client_certificate forwarded(const trusted_hop& hop,
                                                      std::span<const std::string_view> client_cert);

private:
    friend struct detail::access;
    client_certificate() = default;
    std::optional<thumbprint> leaf_;
    std::shared_ptr<const X509> certificate_; ///< where there is a leaf
    source source_ = source::flagged;
    std::optional<reason> none_because_; // where there is no leaf, and the flag has to do with it
    bool early_ = false;
};

/// served says by whose certificates a server serves (RCA-14, MTLS-6). A token says what its bearer may do; the
/// certificate shows only that it is he.
struct served {
    bool by_flagged = true;
    bool by_own = false;
    bool by_forwarded = false;
    /// A token is bound to the very certificate, and so is a client of self_signed_tls_client_auth registered: neither
    /// takes anybody's word for it (MTLS-7). A name of tls_client_auth does, and is never served by such a certificate.
    bool by_unvouched = false;
};

/// unbound_tokens is what becomes of tokens that are not bound to a certificate. There is no default: to accept them
/// is right beside a migration and opens a server whose tokens all have to be bound.
enum class unbound_tokens { refuse, accept };

/// policy is how a resource server judges. Never changes while it is in use by several threads.
class REQAUTH_EXPORT policy : public served {
public:
    /// `realm` stands in WWW-Authenticate unless it is empty. Throws error{contradiction} where it is not printable
    /// ASCII.
    explicit policy(unbound_tokens unbound, std::string realm = {});

    /// missing_is_invalid_request answers a bound token without a certificate 400 invalid_request, and not 401
    /// invalid_token (MTLS-4).
    bool missing_is_invalid_request = false;

    [[nodiscard]] unbound_tokens unbound() const noexcept { return unbound_; }
    [[nodiscard]] const std::string& realm() const noexcept { return realm_; }

private:
    unbound_tokens unbound_;
    std::string realm_;
};

/// decision is what check_binding came to.
///
/// A token that has `jkt` beside or in place of x5t#S256 is bound to a DPoP key too, and the library does not verify
/// DPoP proofs. It is not accepted(): `why` is proof_left, all that concerns the certificate holds, and `jkt` is what
/// the proof's key has to have as its thumbprint (RFC 9449, section 7). Accept it if your own check of the proof holds;
/// without one the refusal is ready.
struct decision {
    cause why = cause::claims_malformed;
    /// The status of the answer: 200 where the token is accepted.
    int status = 401;
    /// "invalid_token" or "invalid_request" (RFC 6750, section 3.1); empty where it was accepted or too early.
    std::string_view error;
    /// What the client's developer should know and do, in the characters that error_description may have. It is one
    /// of the library's own texts: nothing of the request or the token stands in it.
    std::string description;
    /// The value of WWW-Authenticate; empty where it does not belong into the answer.
    std::string www_authenticate;
    /// The thumbprint of the token's DPoP key, where it has one.
    std::string jkt;
    /// Why there is no certificate, where that is the cause and the flag has to do with it.
    std::optional<reason> certificate;

    [[nodiscard]] bool accepted() const noexcept { return why == cause::bound || why == cause::unbound_accepted; }
};

/// check_binding says whether a token with these claims may be used with that certificate. Throws std::bad_alloc
/// alone. Any thread.
[[nodiscard]] REQAUTH_EXPORT decision check_binding(const client_certificate& certificate, const token_claims& claims,
                                                    const policy& how);
[[nodiscard]] REQAUTH_EXPORT decision check_binding(const peer& who, const token_claims& claims, const policy& how);

/// registered_client is what an authorization server knows of a client that authenticates with a certificate (MTLS-8).
class REQAUTH_EXPORT registered_client {
public:
    /// from_metadata reads the client's metadata (RFC 7591) as JSON, by its member token_endpoint_auth_method.
    ///
    /// tls_client_auth: one of tls_client_auth_subject_dn (as RFC 4514 writes it), tls_client_auth_san_dns, _uri, _ip and
    /// _email, and no second (RFC 8705, section 2.1.2). self_signed_tls_client_auth: jwks with the certificates in x5c
    /// (section 2.2.2); what jwks_uri leads to has to be put there first.
    ///
    /// Throws error{malformed} or error{contradiction}, which name the member and what to do. `jwks` is at most 1 MiB.
    [[nodiscard]] static registered_client from_metadata(std::string_view json);

private:
    friend struct detail::access;
    struct known;
    registered_client() = default;
    std::shared_ptr<const known> known_;
};

/// client_cause says why a client is authenticated, or is not. It is for logs.
enum class client_cause {
    authenticated,
    missing_certificate, ///< there is none; client_decision::certificate says why
    wrong_outcome,       ///< there is one, from a source that the server does not serve by
    not_vouched,         ///< nobody vouches for it, and so not for the name by which the client is registered
    too_early,           ///< the request came, or may have come, in early data (TLS-4)
    other_subject,       ///< its subject is another one
    other_alt_name,      ///< it has not the registered subjectAltName
    not_registered,      ///< it is none of those in the client's JWKS
};

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(client_cause why) noexcept;

/// client_decision is what authenticate_client came to.
struct client_decision {
    client_cause why = client_cause::missing_certificate;
    /// 200 where it is authenticated, 401, and 425 with no body where it is too early.
    int status = 401;
    /// What the client's developer should know and do: one of the library's own texts.
    std::string description;
    /// The JSON of the answer: invalid_client and the description (RFC 6749, section 5.2). Send it with Content-Type:
    /// application/json and Cache-Control: no-store.
    std::string body;
    /// Why there is no certificate, where that is the cause and the flag has to do with it.
    std::optional<reason> certificate;

    [[nodiscard]] bool authenticated() const noexcept { return why == client_cause::authenticated; }
};

/// authenticate_client says whether a request of the token endpoint is that client's. Look the client up by the request's
/// client_id, which every such request has (RFC 8705, section 2), and never by the certificate. Throws std::bad_alloc alone.
/// Any thread.
[[nodiscard]] REQAUTH_EXPORT client_decision authenticate_client(const client_certificate& certificate,
                                                                 const registered_client& client,
                                                                 const served& how = {});

} // namespace reqauth::oauth
