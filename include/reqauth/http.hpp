// SPDX-License-Identifier: Apache-2.0
#pragma once

// The client's certificate for the application behind a server that ends TLS: the header fields Client-Cert and
// Client-Cert-Chain of RFC 9440. For HTTP servers and their modules; nothing else of the library knows it.
//
// What stands in these fields is believed by whoever reads them. So remove them from every request that comes in
// (is_client_cert_field), whoever sent it, and add them only where a function here gave them for its connection.

#include <reqauth/export.hpp>
#include <reqauth/peer.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

namespace reqauth {

/// authenticated_by says whose client authentication verified a certificate.
enum class authenticated_by {
    flag,        ///< this library's, for a client that offered the flag: an agent
    application, ///< the application's own, by OpenSSL alone: a customer
};

/// client_cert_fields are the values of the two header fields: printable ASCII, ready to be sent.
struct client_cert_fields {
    /// RFC 9440 has no place for it. If both kinds go to one application, say there which it is, in a field of
    /// your own that is removed on the way in, too: otherwise an agent is taken for a customer (RCA-14).
    authenticated_by by;
    /// Client-Cert: ":" base64 of the leaf's DER ":".
    std::string client_cert;
    /// Client-Cert-Chain: the same of each further certificate of the verified chain, ", " between them, the
    /// leaf's issuer first and the anchor last. Empty: send no such field. That is so where the leaf is the
    /// anchor, and on resumed connections, since tickets carry the leaf alone.
    std::string client_cert_chain;
};

/// no_client_cert is why there are no fields. Send none then.
enum class no_client_cert {
    handshake_unfinished, ///< the handshake goes on, or failed; early data comes before its end, too
    no_certificate,       ///< the client showed none, or this is not a server's connection
    not_verified,         ///< it showed one, and SSL_get_verify_result is not X509_V_OK
    agent,                ///< it was asked because of the flag: whatever OpenSSL says, it is no customer
    too_large,            ///< the values are larger than the options allow: none is given, not even one of them
};

/// client_cert is the fields, or why there are none.
using client_cert = std::variant<client_cert_fields, no_client_cert>;

struct client_cert_options {
    /// Gives Client-Cert-Chain as well. The application behind needs it only if it builds a chain itself.
    bool chain = true;

    /// The most octets that both values may have together. Servers limit header fields, most of them at 8 KiB to
    /// 64 KiB for all, and a client can send a certificate that is larger than that. Default: 16 KiB, which is an
    /// EC leaf with a chain of about ten. What is above is no_client_cert::too_large: answer 431 or log it.
    std::size_t most = 16384;
};

/// client_cert_of_agent gives the certificate of an agent. That there is a flagged_peer is the proof that it was
/// verified. Gives the fields or too_large; throws std::bad_alloc, and error{openssl} where a certificate cannot be
/// written.
[[nodiscard]] REQAUTH_EXPORT client_cert client_cert_of_agent(const flagged_peer& agent,
                                                              const client_cert_options& options = {});

/// client_cert_of_customer gives the certificate that the application's own client authentication verified:
/// SSL_get_verify_result is X509_V_OK, and there is a certificate. Never that of an agent, whatever
/// server_policy::verify_result_ok says: also not where an accepted flag was answered with no certificate, or a
/// post-handshake request came after it. Call it once the handshake has ended, in a thread that may use `ssl`; works
/// on an SSL to which nothing is attached, too. Throws as client_cert_of_agent does.
[[nodiscard]] REQAUTH_EXPORT client_cert client_cert_of_customer(const SSL& ssl,
                                                                 const client_cert_options& options = {});

/// cert_format is how an application behind may want a certificate. None has a control character but pem, and none a
/// comma outside of quotes.
enum class cert_format {
    client_cert, ///< ":" base64 of the DER ":" (RFC 9440)
    pem,         ///< PEM, of several lines
    escaped_pem, ///< that in a URI's escapes, as nginx's $ssl_client_escaped_cert
    x5t_s256,    ///< base64url of SHA-256 over the DER, as in a token's cnf (RFC 8705)
    xfcc,        ///< Envoy's X-Forwarded-Client-Cert: Hash, Cert, Subject, and each URI and DNS name
};

/// written_as writes it, whoever's it is: ask first whether it is anybody's, by client_cert_of_agent,
/// client_cert_of_customer or unvouched_of. xfcc has names, and does not say whose word they are. Throws std::bad_alloc, and
/// error{openssl} where a certificate cannot be written.
[[nodiscard]] REQAUTH_EXPORT std::string written_as(X509& certificate, cert_format format);

/// is_client_cert_field says whether a request's header field of this name is to be removed before the request goes
/// on: Client-Cert and Client-Cert-Chain in any case, and what CGI, WSGI and the like fold into the same variable, as
/// Client_Cert. Any octet that is neither a letter nor a digit counts as the hyphen. Trailer fields are to be removed as
/// well, and so are these names in Connection, which lets the next proxy remove the field.
[[nodiscard]] REQAUTH_EXPORT bool is_client_cert_field(std::string_view name) noexcept;

/// is_spelling_of says the same of a field of your own that you set for the application behind, as X-Agent.
[[nodiscard]] REQAUTH_EXPORT bool is_spelling_of(std::string_view name, std::string_view field) noexcept;

/// quoted gives `text` in double quotes, as one string of a header field (RFC 8941), of JSON and of a log line: each
/// \ and " has a \ before it, and an octet that is not printable ASCII is \\HH. For a subject or subject_alt_name
/// where those would otherwise stand alone.
[[nodiscard]] REQAUTH_EXPORT std::string quoted(std::string_view text);

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(authenticated_by whose) noexcept;
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(no_client_cert why) noexcept;

} // namespace reqauth
