// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a piece of work takes: instructions under callgrind, and else allocations and octets of memory.

#include <valgrind/callgrind.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

/// count_allocations has OpenSSL's allocations counted beside those of operator new. It comes before OpenSSL allocates
/// anything. Under valgrind nothing is counted, so that counting is no part of the instructions.
void count_allocations();

/// heap is what this process has asked for so far, and what of it it holds.
struct heap {
    std::int64_t allocations = 0;
    std::int64_t octets = 0;
    friend heap operator-(heap a, heap b) { return {a.allocations - b.allocations, a.octets - b.octets}; }
    heap& operator+=(heap b) {
        allocations += b.allocations;
        octets += b.octets;
        return *this;
    }
};
[[nodiscard]] heap heap_now() noexcept;

/// cpu_seconds is this process's processor time.
[[nodiscard]] double cpu_seconds();

/// counted does `work` as part of what callgrind counts, and adds to `total` what it took of the heap.
template <class Work> void counted(heap& total, Work&& work) {
    const heap before = heap_now();
    CALLGRIND_TOGGLE_COLLECT;
    std::forward<Work>(work)();
    CALLGRIND_TOGGLE_COLLECT;
    total += heap_now() - before;
}

/// note ends a part of callgrind's counts: what was counted since the last belongs to `label`.
inline void note(const std::string& label) { CALLGRIND_DUMP_STATS_AT(label.c_str()); }

/// row prints figures about `label`, for scripts/bench to read. Under callgrind it prints nothing.
using figure = std::pair<std::string_view, double>;
void row(const std::string& label, const std::vector<figure>& figures);

/// instrumented has callgrind translate and count from here on, or neither: what is only made ready takes less time then.
inline void instrumented(bool on) {
    if (!on) {
        CALLGRIND_STOP_INSTRUMENTATION;
        return;
    }
    CALLGRIND_START_INSTRUMENTATION;
    note("begun"); // the first part after it would have the last one's counts taken off
}

} // namespace bench
