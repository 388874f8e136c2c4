// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../base/handle.hpp"

#include <reqauth/peer.hpp>

#include <memory>

namespace reqauth::detail {

/// identity is what a flagged_peer shows of its certificate.
struct identity {
    x509_handle leaf;
    x509_handle anchor;
    certificates_handle chain;
    std::vector<X509*> chain_view;
    std::string subject;
    std::string issuer;
    std::string serial;
    std::chrono::system_clock::time_point not_after;
    std::vector<subject_alt_name> alt_names;
    std::array<std::uint8_t, 32> thumbprint{};
    bool resumed = false;
    bool from_early_data = false;
};

/// identity_of reads it from a verified leaf with its SHA-256, and takes references of its own. A null chain is the leaf
/// alone. Throws error{openssl}.
[[nodiscard]] std::shared_ptr<identity> identity_of(X509& leaf, const std::array<std::uint8_t, 32>& thumbprint,
                                                    const STACK_OF(X509) * chain);

/// serial_of writes a certificate's serial number as flagged_peer has it. Throws error{openssl}.
[[nodiscard]] std::string serial_of(const X509& certificate);

} // namespace reqauth::detail
