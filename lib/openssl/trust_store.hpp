// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "handle.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace reqauth::detail {

/// anchor is what is remembered of one anchor, to compare it with others (RCA-13) and to find it at the
/// end of a verified chain.
struct anchor {
    std::array<std::uint8_t, 32> thumbprint; ///< SHA-256 of the certificate
    std::string key;                         ///< DER of its SubjectPublicKeyInfo
    std::string subject;                     ///< DER of its subject
    std::string text;                        ///< for messages: subject and thumbprint
};

[[nodiscard]] anchor describe_anchor(X509& certificate);

/// trust_store is what stands behind a reqauth::trust. Never changed once made.
struct trust_store {
    std::shared_ptr<X509_STORE> store;
    std::vector<anchor> anchors;  ///< sorted by thumbprint, each once
    names_handle names;           ///< their subjects, for certificate_authorities
    std::size_t names_octets = 0; ///< as long as those are on the wire

    [[nodiscard]] bool contains(const std::array<std::uint8_t, 32>& thumbprint) const noexcept;
};

} // namespace reqauth::detail
