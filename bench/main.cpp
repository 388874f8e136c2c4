// SPDX-License-Identifier: Apache-2.0
// What scripts/bench runs: natively, and under callgrind, which counts the same pieces of work in instructions.
//
//   bench handshakes rounds=N [keys=KIND] [side=server|client]    side: whose work callgrind counts
//   bench calls
//   bench scale of=anchors|contexts|crls|connections|generations count=N rounds=N
//   bench alternatives rounds=N [side=server|client]

#include "meter.hpp"
#include "programs.hpp"

#include <cstdio>
#include <exception>
#include <stdexcept>

int main(int count, char** words) {
    try {
        bench::count_allocations();
        const std::map<std::string, void (*)(const bench::arguments&)> programs{
            {"handshakes", bench::handshakes},
            {"calls", bench::calls},
            {"scale", bench::scale},
            {"alternatives", bench::alternatives},
        };
        bench::arguments how;
        for (int i = 2; i < count; ++i) {
            const std::string word = words[i];
            how.given[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
        }
        programs.at(count > 1 ? words[1] : "")(how);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bench: %s\n", e.what());
        return 1;
    }
}
