// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/export.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace reqauth {

/// errc says what went wrong.
enum class errc {
    unreadable,         ///< a file or URI cannot be opened or read
    malformed,          ///< something in a file or text is broken, or of another kind
    holds_nothing,      ///< a file, text, directory or store holds none of what it should
    crl_unusable,       ///< a CRL is of a kind that OpenSSL passes over, or is not signed by its CA
    passphrase,         ///< a key needs a passphrase and none, or a wrong one, was given
    key_unusable,       ///< a private key is missing, public only, or does not fit its certificate
    outside_validity,   ///< a certificate has expired, or is not valid yet
    refused,            ///< a server refused the certificate (reqauth::refused)
    provider,           ///< a key lives in a provider that nobody vouched for (RCA-7)
    contradiction,      ///< two settings exclude each other
    out_of_range,       ///< a setting has a value that it cannot have
    names_too_long,     ///< the anchors' names do not fit into a CertificateRequest
    not_attached,       ///< this SSL_CTX has no client, or is gone, or is of another server
    unsuitable_context, ///< this SSL_CTX cannot carry the flag (no TLS 1.3, DTLS, its certificate)
    extension_taken,    ///< the extension type is registered on this SSL_CTX already
    already_attached,   ///< this SSL_CTX has a server, or a client, attached already
    unequal_extensions, ///< SSL_CTXs of one server differ in their custom extensions
    shared_anchor,      ///< a key is a trust anchor for both outcomes (RCA-13)
    openssl,            ///< OpenSSL failed where it should not: memory, or a library context
};

/// error is what loading trust or a credential, and attaching, throw. reqauth::refused is one, too: a program throws it where
/// a server has refused its certificate.
/// What threw has changed nothing. what() is one line, made of the fields: "CAUSE (RULE); REMEDY". A control character in
/// it, as a file's name can have, stands as \HH. Nothing is thrown on the handshake path.
class REQAUTH_EXPORT error : public std::runtime_error {
public:
    explicit error(errc code, const std::string& cause, const std::string& remedy = {}, const std::string& rule = {});
    ~error() override;
    [[nodiscard]] errc code() const noexcept { return code_; }

    /// cause is what was found, and in which file or setting; with OpenSSL's own words, where it said something.
    [[nodiscard]] const std::string& cause() const noexcept { return parts_->cause; }
    /// remedy is what to do; empty where nothing is known.
    [[nodiscard]] const std::string& remedy() const noexcept { return parts_->remedy; }
    /// rule is the requirement behind it, as "RCA-13" in docs/requirements.md; empty where none is.
    [[nodiscard]] const std::string& rule() const noexcept { return parts_->rule; }

private:
    struct parts {
        std::string cause;
        std::string remedy;
        std::string rule;
    };
    error(errc code, std::shared_ptr<const parts> made_of);
    errc code_;
    std::shared_ptr<const parts> parts_; ///< shared: copies of an exception must not throw
};

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(errc code) noexcept;

/// alert_name is what RFC 8446 calls an alert: "certificate_required"; "alert_N" where the number has no name.
[[nodiscard]] REQAUTH_EXPORT std::string alert_name(int number);

} // namespace reqauth
