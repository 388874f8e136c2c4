// SPDX-License-Identifier: Apache-2.0
#pragma once

// A clock that tests can move: the test executable defines time, gettimeofday and clock_gettime, so that
// libssl, libcrypto and the library see it, too.

#include <chrono>

namespace support {

/// stopped_clock stops the clock of this process; it goes on, with the right time, when the object is gone.
/// One at a time.
class stopped_clock {
public:
    stopped_clock();
    ~stopped_clock();
    stopped_clock(const stopped_clock&) = delete;
    stopped_clock& operator=(const stopped_clock&) = delete;

    /// set moves it to a time after the moment at which it was stopped.
    void set(std::chrono::seconds after) const;
};

} // namespace support
