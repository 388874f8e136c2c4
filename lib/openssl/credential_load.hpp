// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "handle.hpp"

#include <cstdint>
#include <vector>

namespace reqauth::detail {

/// loaded_credential is what stands behind a reqauth::credential. Never changed once made.
struct loaded_credential {
    x509_handle certificate;
    certificates_handle chain; ///< without the leaf
    pkey_handle key;
    std::vector<std::uint16_t> schemes; ///< TLS 1.3's signature schemes for the key; empty: not known

    /// satisfies says whether the CertificateRequest that `ssl` has received can be answered: its
    /// signature_algorithms, and its certificate_authorities where it has any (RCA-5).
    [[nodiscard]] bool satisfies(SSL* ssl) const noexcept;
};

} // namespace reqauth::detail
