// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which certificates a client's SSL has: the application's own, or those that answer a request.

#include "credential_load.hpp"

#include <vector>

namespace reqauth::detail {

/// client_certificates keeps the application's own certificates of one SSL while others are set.
/// Copies share the objects.
class client_certificates {
public:
    /// present sets `credential` as the SSL's only one; null: none, so that an empty Certificate is
    /// sent. Throws error{openssl}.
    void present(SSL* ssl, const loaded_credential* credential);

    /// give_back sets the application's own again. Throws error{openssl}.
    void give_back(SSL* ssl);

    /// new_handshake gives them back, unless the application has set others in the meantime.
    void new_handshake(SSL* ssl);

    [[nodiscard]] bool changed() const noexcept { return changed_; }

private:
    struct entry {
        std::shared_ptr<X509> certificate;
        std::shared_ptr<EVP_PKEY> key;
        std::shared_ptr<STACK_OF(X509)> chain;
    };
    bool changed_ = false;
    const X509* presented_ = nullptr; ///< compared, never followed
    std::vector<entry> own_;
};

} // namespace reqauth::detail
