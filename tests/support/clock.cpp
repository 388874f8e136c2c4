// SPDX-License-Identifier: Apache-2.0
#include "support/clock.hpp"

#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <ctime>

namespace support {
namespace {

std::atomic<std::int64_t> stopped_at{0}; // 0: it goes
std::int64_t stopped_first = 0;

timespec real(clockid_t which) {
    timespec found{};
    syscall(SYS_clock_gettime, which, &found);
    return found;
}

timespec now() {
    const std::int64_t stopped = stopped_at;
    if (stopped == 0) return real(CLOCK_REALTIME);
    timespec found{};
    found.tv_sec = static_cast<std::time_t>(stopped);
    return found;
}

} // namespace

stopped_clock::stopped_clock() { stopped_at = stopped_first = real(CLOCK_REALTIME).tv_sec; }
stopped_clock::~stopped_clock() { stopped_at = 0; }
void stopped_clock::set(std::chrono::seconds after) const { stopped_at = stopped_first + after.count(); }

} // namespace support

extern "C" {

std::time_t time(std::time_t* out) noexcept {
    const std::time_t found = support::now().tv_sec;
    if (out != nullptr) *out = found;
    return found;
}

int gettimeofday(timeval* out, void*) noexcept {
    const timespec found = support::now();
    out->tv_sec = found.tv_sec;
    out->tv_usec = static_cast<suseconds_t>(found.tv_nsec / 1000);
    return 0;
}

int clock_gettime(clockid_t which, timespec* out) noexcept {
    *out = which == CLOCK_REALTIME ? support::now() : support::real(which);
    return 0;
}

} // extern "C"
