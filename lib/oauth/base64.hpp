// SPDX-License-Identifier: Apache-2.0
#pragma once

// Base64 and base64url (RFC 4648, sections 4 and 5).

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace reqauth::detail {

enum class alphabet { base64, base64url };

/// belongs says whether `character` is one of the alphabet's 64.
[[nodiscard]] bool belongs(char character, alphabet which) noexcept;

/// base64url writes octets without padding.
[[nodiscard]] std::string base64url(std::span<const std::uint8_t> octets);

/// unpadded reads text without padding. The bits that the last character has too many count for nothing: they are
/// not zero in RFC 8705's own example. Nothing for another character, or a length that no octets give.
[[nodiscard]] std::optional<std::vector<std::uint8_t>> unpadded(std::string_view text, alphabet which);

/// padded reads base64 whose length is made a multiple of four by "=".
[[nodiscard]] std::optional<std::vector<std::uint8_t>> padded(std::string_view text);

} // namespace reqauth::detail
