// SPDX-License-Identifier: Apache-2.0
#pragma once

// Counters that several threads add to, and several processes where they share the memory.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace reqauth::detail {

inline void count(std::uint64_t& counter, bool holds = true) noexcept {
    if (holds) std::atomic_ref(counter).fetch_add(1, std::memory_order_relaxed);
}

/// now_in reads a struct of counters, and of arrays of them.
template <class Counters> [[nodiscard]] Counters now_in(Counters& counted) noexcept {
    static_assert(std::is_trivially_copyable_v<Counters> && sizeof(Counters) % sizeof(std::uint64_t) == 0);
    Counters copy;
    auto* const from = reinterpret_cast<std::uint64_t*>(&counted);
    auto* const to = reinterpret_cast<std::uint64_t*>(&copy);
    for (std::size_t i = 0; i < sizeof(Counters) / sizeof(std::uint64_t); ++i)
        to[i] = std::atomic_ref(from[i]).load(std::memory_order_relaxed);
    return copy;
}

} // namespace reqauth::detail
