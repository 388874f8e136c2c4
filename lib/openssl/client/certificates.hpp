// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which certificates a client's SSL has: the application's own, or those that answer a request.

#include "credential_load.hpp"

#include <functional>
#include <vector>

namespace reqauth::detail {

/// own_certificate is what an SSL has for one kind of key.
struct own_certificate {
    x509_handle certificate;   ///< null: a key alone
    pkey_handle key;           ///< null: a certificate alone
    certificates_handle chain; ///< null: none, so that OpenSSL looks for one

    /// Takes references of its own. Throws error{openssl}.
    own_certificate(X509* leaf, EVP_PKEY* its_key, STACK_OF(X509) * rest);
    own_certificate(const own_certificate& other)
        : own_certificate(other.certificate.get(), other.key.get(), other.chain.get()) {}
    own_certificate(own_certificate&&) noexcept = default;
    own_certificate& operator=(const own_certificate&) = delete;
    own_certificate& operator=(own_certificate&&) noexcept = default;
    ~own_certificate() = default;
};

/// certificates_of are all of an SSL, the current one last. OpenSSL lists those that have both; of a certificate or a
/// key alone only the current one can be seen. Changes nothing. Throws.
[[nodiscard]] std::vector<own_certificate> certificates_of(SSL* ssl);

/// client_certificates keeps the application's own certificates of one SSL while others are set.
/// Copies share the objects.
class client_certificates {
public:
    /// present sets `credential` as the SSL's only one; null: none, so that an empty Certificate is
    /// sent. Throws, and then the handshake has to end.
    void present(SSL* ssl, const loaded_credential* credential);

    /// leave_out keeps those of which `which` says no. Throws, and then the handshake has to end.
    void leave_out(SSL* ssl, const std::function<bool(const own_certificate&)>& which);

    /// give_back sets the application's own again, with what it has set in the meantime. Where it has removed what was
    /// presented, or switched the SSL_CTX, what is there stays. Throws, and then the next call tries again.
    void give_back(SSL* ssl);

    [[nodiscard]] bool changed() const noexcept { return changed_; }

private:
    void put(SSL* ssl, std::vector<own_certificate> own, std::vector<own_certificate> in_their_place);

    bool changed_ = false;
    const SSL_CTX* context_ = nullptr; ///< whose SSL it was; compared, never followed
    std::vector<own_certificate> own_;
    std::vector<own_certificate> put_; ///< in their place,
    bool all_put_ = false;             ///< and nothing failed there
};

} // namespace reqauth::detail
