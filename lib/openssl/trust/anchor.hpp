// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../base/handle.hpp"

#include <array>
#include <cstdint>
#include <string>

namespace reqauth::detail {

/// anchor is what is remembered of one anchor, to compare it with others (RCA-13) and to find it at the
/// end of a verified chain.
struct anchor {
    std::array<std::uint8_t, 32> thumbprint; ///< SHA-256 of the certificate
    std::string key;                         ///< its public key by value, however a certificate writes it
    std::string subject;                     ///< DER of its subject
    std::string from;                        ///< the file, or what stands for it in messages; empty: not known
    std::string text;                        ///< for messages: subject, file and thumbprint
};

[[nodiscard]] anchor describe_anchor(X509& certificate, const std::string& from = {});

} // namespace reqauth::detail
