// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/export.hpp>

#include <stdexcept>
#include <string>

namespace reqauth {

/// errc says which rule a configuration broke; the text of the error says where, and what to do.
enum class errc {
    unreadable,         ///< a file or URI cannot be opened or read
    malformed,          ///< a file or text does not hold what it should, or holds nothing
    passphrase,         ///< a key needs a passphrase and none, or a wrong one, was given
    key_unusable,       ///< a private key is missing, public only, or does not fit its certificate
    outside_validity,   ///< a certificate has expired, or is not valid yet
    refused,            ///< a server refused the certificate (reqauth::refused)
    provider,           ///< a key lives in a provider that nobody vouched for (RCA-7)
    contradiction,      ///< two settings exclude each other, or a number is out of range
    unsuitable_context, ///< this SSL_CTX cannot carry the flag (no TLS 1.3, DTLS, its certificate)
    extension_taken,    ///< the extension type is registered on this SSL_CTX already
    already_attached,   ///< this SSL_CTX has a server, or a client, attached already
    unequal_extensions, ///< SSL_CTXs of one server differ in their custom extensions
    shared_anchor,      ///< a key is a trust anchor for both outcomes (RCA-13)
    openssl,            ///< OpenSSL failed where it should not: memory, or a library context
};

/// error is what configuration calls throw: loading trust or a credential, and attaching.
/// What threw has changed nothing. what() is one line: the file, option or rule, what to do next
/// and, where OpenSSL said something, its own words. A control character in it, as a file's name can
/// have, stands as \HH. Nothing is thrown on the handshake path.
class REQAUTH_EXPORT error : public std::runtime_error {
public:
    error(errc code, const std::string& what);
    ~error() override;
    [[nodiscard]] errc code() const noexcept { return code_; }

private:
    errc code_;
};

} // namespace reqauth
