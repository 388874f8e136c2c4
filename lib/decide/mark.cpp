// SPDX-License-Identifier: Apache-2.0
#include "mark.hpp"

#include <algorithm>

namespace reqauth::detail {

namespace {

constexpr std::array<std::uint8_t, 8> version{'r', 'e', 'q', 'a', 'u', 't', 'h', 1};

} // namespace

std::array<std::uint8_t, mark_octets> write(const mark& what) noexcept {
    std::array<std::uint8_t, mark_octets> octets{};
    auto at = std::copy(version.begin(), version.end(), octets.begin());
    for (const sha256_digest* part : {&what.scope, &what.policy, &what.leaf})
        at = std::copy(part->begin(), part->end(), at);
    const auto deadline = static_cast<std::uint64_t>(what.deadline);
    for (int shift = 56; shift >= 0; shift -= 8) *at++ = static_cast<std::uint8_t>(deadline >> shift);
    return octets;
}

std::optional<mark> read_mark(std::span<const std::uint8_t> octets) noexcept {
    if (octets.size() != mark_octets || !std::equal(version.begin(), version.end(), octets.begin()))
        return std::nullopt;
    mark found{};
    auto at = octets.begin() + version.size();
    for (sha256_digest* part : {&found.scope, &found.policy, &found.leaf}) {
        std::copy_n(at, part->size(), part->begin());
        at += static_cast<std::ptrdiff_t>(part->size());
    }
    std::uint64_t deadline = 0;
    for (; at != octets.end(); ++at) deadline = deadline << 8U | *at;
    found.deadline = static_cast<std::int64_t>(deadline);
    return found;
}

//= SEC-1
//= TLS-2
bool vouches(const std::optional<mark>& found, const sha256_digest& scope, const sha256_digest& policy,
             const sha256_digest& leaf, std::int64_t now) noexcept {
    return found && found->scope == scope && found->policy == policy && found->leaf == leaf && now < found->deadline;
}

} // namespace reqauth::detail
