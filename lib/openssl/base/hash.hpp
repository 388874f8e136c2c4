// SPDX-License-Identifier: Apache-2.0
#pragma once

// SHA-256 over parts: scopes and digests of settings.

#include "handle.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace reqauth::detail {

using sha256_digest = std::array<std::uint8_t, 32>;

/// hash takes parts, each with its length in front, so that no two lists of parts read the same.
/// Throws error{openssl}.
class hash {
public:
    explicit hash(std::string_view tag);
    hash& add(std::string_view part);
    hash& add(const sha256_digest& part);
    hash& number(std::uint64_t value);
    [[nodiscard]] sha256_digest end();

private:
    digest_context_handle state_;
};

/// unmatchable is a digest that nothing else has. Throws error{openssl}.
[[nodiscard]] sha256_digest unmatchable();

} // namespace reqauth::detail
