// SPDX-License-Identifier: Apache-2.0
#pragma once

// What vouches for a session: the mark that a verified agent's session carries in its ticket.

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace reqauth::detail {

using sha256_digest = std::array<std::uint8_t, 32>;

/// mark says who was verified, under what, and until when that may be relied on.
struct mark {
    sha256_digest scope;   ///< of the ClientHello under which the session was made
    sha256_digest policy;  ///< the policy that decided
    sha256_digest leaf;    ///< SHA-256 of the certificate that was verified
    std::int64_t deadline; ///< seconds since 1970: counted from that verification, whatever was renewed since

    friend bool operator==(const mark&, const mark&) = default;
};

/// written is a mark as the session's ticket application data: a version tag, the digests, the deadline.
inline constexpr std::size_t mark_octets = 8 + 3 * 32 + 8;
[[nodiscard]] std::array<std::uint8_t, mark_octets> write(const mark& what) noexcept;

/// read_mark gives nothing for octets that are not a mark of this version.
[[nodiscard]] std::optional<mark> read_mark(std::span<const std::uint8_t> octets) noexcept;

/// vouches says whether a session with `found` may stand for a verification under `scope` and `policy`
/// of the certificate `leaf` at the time `now` (SEC-1, TLS-2).
[[nodiscard]] bool vouches(const std::optional<mark>& found, const sha256_digest& scope, const sha256_digest& policy,
                           const sha256_digest& leaf, std::int64_t now) noexcept;

} // namespace reqauth::detail
