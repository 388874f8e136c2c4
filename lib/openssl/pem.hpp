// SPDX-License-Identifier: Apache-2.0
#pragma once

// PEM text to certificates, all of them or an error.

#include "handle.hpp"

#include <reqauth/export.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace reqauth::detail {

/// read_file gives a file's octets. Throws error{unreadable} with the system's reason.
[[nodiscard]] std::string read_file(const std::filesystem::path& file);

/// other_blocks is what to do with PEM blocks that are not certificates.
enum class other_blocks { skip, refuse };

/// certificates_in reads every certificate of `pem`. Throws error{malformed} naming `name` and the place
/// if one is broken or there is none: never a part.
[[nodiscard]] std::vector<x509_handle> certificates_in(std::string_view pem, std::string_view name, other_blocks others,
                                                       const openssl_scope& scope);

/// sha256 is SHA-256 over a certificate's DER. Throws error{openssl}.
[[nodiscard]] std::array<std::uint8_t, 32> sha256(const X509& certificate);

/// hex writes octets as lower-case hex; escape writes one as \HH.
[[nodiscard]] std::string hex(std::span<const std::uint8_t> octets);
[[nodiscard]] std::string escape(char octet);

/// name_text is an X.509 name as RFC 2253 has it, in printable ASCII, with \HH wherever something is escaped.
[[nodiscard]] std::string name_text(const X509_NAME* name);

} // namespace reqauth::detail
