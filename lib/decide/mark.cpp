// SPDX-License-Identifier: Apache-2.0
#include "mark.hpp"

#include <algorithm>

namespace reqauth::detail {

namespace {

constexpr std::array<std::uint8_t, 3> version{'r', 'q', 3};

} // namespace

mark::mark(const sha256_digest& scope, const sha256_digest& policy, const sha256_digest& leaf_digest,
           std::uint32_t place, std::int64_t until) noexcept
    : leaf(), under(), anchor(place), deadline(until) {
    std::copy_n(leaf_digest.begin(), leaf.size(), leaf.begin());
    // Both are SHA-256 over lists with different tags: only by chance have two pairs the same difference.
    for (std::size_t i = 0; i < under.size(); ++i)
        under[i] = static_cast<std::uint8_t>(scope[scope_octets + i] ^ policy[i]);
}

std::array<std::uint8_t, mark_octets> write(const mark& what) noexcept {
    std::array<std::uint8_t, mark_octets> octets{};
    auto at = std::ranges::copy(version, octets.begin()).out;
    at = std::ranges::copy(what.leaf, at).out;
    at = std::ranges::copy(what.under, at).out;
    for (int shift = 16; shift >= 0; shift -= 8) *at++ = static_cast<std::uint8_t>(what.anchor >> shift);
    // After 2106 it reads as long ago, and nothing resumes.
    const auto deadline = static_cast<std::uint64_t>(what.deadline);
    for (int shift = 24; shift >= 0; shift -= 8) *at++ = static_cast<std::uint8_t>(deadline >> shift);
    return octets;
}

std::optional<mark> read_mark(std::span<const std::uint8_t> octets) noexcept {
    if (octets.size() != mark_octets || !std::equal(version.begin(), version.end(), octets.begin()))
        return std::nullopt;
    mark found({}, {}, {}, 0, 0);
    auto at = octets.begin() + version.size();
    at = std::ranges::copy_n(at, found.leaf.size(), found.leaf.begin()).in;
    at = std::ranges::copy_n(at, found.under.size(), found.under.begin()).in;
    for (int octet = 0; octet < 3; ++octet) found.anchor = found.anchor << 8U | *at++;
    for (; at != octets.end(); ++at) found.deadline = found.deadline << 8U | *at;
    return found;
}

//= SEC-1
//= TLS-2
bool vouches(const std::optional<mark>& found, const sha256_digest& scope, const sha256_digest& policy,
             const sha256_digest& leaf, std::int64_t now) noexcept {
    const auto made = mark(scope, policy, leaf, 0, 0);
    return found && found->leaf == made.leaf && found->under == made.under && now < found->deadline;
}

} // namespace reqauth::detail
