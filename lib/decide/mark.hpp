// SPDX-License-Identifier: Apache-2.0
#pragma once

// What vouches for a session: the mark that a verified agent's session carries in its ticket. Each of its octets is sent in
// each ticket.

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace reqauth::detail {

using sha256_digest = std::array<std::uint8_t, 32>;

/// scope_octets is how much of a scope a session has as its id context: the first half.
inline constexpr std::size_t scope_octets = 16;

/// mark says who was verified, under what, and until when that may be relied on.
struct mark {
    std::array<std::uint8_t, 12> leaf;  ///< of the certificate that was verified
    std::array<std::uint8_t, 12> under; ///< of the ClientHello's scope, its second half, and the policy that decided
    std::uint32_t anchor;  ///< in which its chain ended: its place among those of that policy, below anchors_marked
    std::int64_t deadline; ///< seconds since 1970: counted from that verification, whatever was renewed since

    /// `leaf` is SHA-256 of the certificate; `scope` that of the ClientHello under which the session was made.
    mark(const sha256_digest& scope, const sha256_digest& policy, const sha256_digest& leaf, std::uint32_t anchor,
         std::int64_t deadline) noexcept;

    friend bool operator==(const mark&, const mark&) = default;
};

/// write gives a mark as the session's ticket application data: a version tag, leaf, under, anchor, and the deadline's low 32
/// bits.
inline constexpr std::size_t mark_octets = 3 + 12 + 12 + 3 + 4;
inline constexpr std::size_t anchors_marked = std::size_t{1} << 24U;
[[nodiscard]] std::array<std::uint8_t, mark_octets> write(const mark& what) noexcept;

/// read_mark gives nothing for octets that are not a mark of this version.
[[nodiscard]] std::optional<mark> read_mark(std::span<const std::uint8_t> octets) noexcept;

/// vouches says whether a session with `found` may stand for a verification under `scope` and `policy`
/// of the certificate `leaf` at the time `now` (SEC-1, TLS-2). Its anchor has to be one still.
[[nodiscard]] bool vouches(const std::optional<mark>& found, const sha256_digest& scope, const sha256_digest& policy,
                           const sha256_digest& leaf, std::int64_t now) noexcept;

} // namespace reqauth::detail
