// SPDX-License-Identifier: Apache-2.0
// Handshakes of every kind in several threads, with sessions of every kind, while policies and trust are replaced
// over and over. Each is compared with the oracle, under the policies that may have been in force as it began.
//
//   soak [--handshakes N] [--threads N] [--reload-every MILLISECONDS] [--seed N]
//
// Prints the memory in use at the start, in the middle and at the end. The last line is `handshakes: N, resumed: N,
// reloads: N, unexpected: N`; exit status 1 where something was unexpected or nothing was tried.

#include "matrix/hosts.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

using matrix::text_of;
using oracle::arrival;
using oracle::ca;
using oracle::demand;
using oracle::holds;
using oracle::host;
using oracle::outcome;
using oracle::site;

namespace {

struct arguments {
    std::uint64_t handshakes = 100000;
    std::uint64_t threads = 2;
    std::uint64_t reload_every = 50;
    std::uint64_t seed = std::random_device()();
};

constexpr matrix::demands own = {demand::none, demand::request};
constexpr matrix::besides beside = {true, true};

// What the reloads go round in: other trust, another mode, and back to the first.
const std::array<site, 3> configurations = {{
    {{demand::request, demand::require}, own, {{{ca::agents}, {ca::agents, ca::other}}}, beside},
    {{demand::request, demand::require}, own, {{{ca::other}, {ca::agents}}}, beside},
    {{demand::require, demand::none}, own, {{{ca::agents}, {ca::agents, ca::other}}}, beside},
}};

/// range is the generations of which one was in force. A generation is one reload more.
struct range {
    std::uint64_t first;
    std::uint64_t last;
    static const site& in_force(std::uint64_t generation) { return configurations[generation % configurations.size()]; }
};

class soak {
public:
    explicit soak(const arguments& how)
        : how_(how), hosts_(true, configurations[0].policy, own, configurations[0].trusted, beside) {
        for (auto& context : hosts_.contexts) stateful_.keep_sessions(*context);
    }

    void run() {
        std::vector<std::thread> all;
        for (std::uint64_t i = 0; i < how_.threads; ++i) all.emplace_back([this, i] { guarded([&] { visit(i); }); });
        std::thread reloads([this] { guarded([this] { reload(); }); });
        for (std::thread& each : all) each.join();
        done_ = true;
        reloads.join();
    }

    [[nodiscard]] bool tell() const {
        std::cout << "handshakes: " << handshakes_ << ", resumed: " << resumed_ << ", reloads: " << replaced_
                  << ", unexpected: " << unexpected_ << std::endl;
        return unexpected_ == 0 && handshakes_ >= how_.handshakes && resumed_ != 0 && replaced_ != 0;
    }

private:
    /// kept is a session with what it was made by.
    struct kept {
        support::owned<SSL_SESSION> session;
        arrival by;
        range made;
        bool stateful;
        std::uint64_t number; ///< of the handshake
    };

    void guarded(const std::function<void()>& work) {
        try {
            work();
        } catch (const std::exception& e) {
            unexpected(std::string("exception: ") + e.what());
        }
    }

    void reload() {
        while (!done_) {
            std::this_thread::sleep_for(std::chrono::milliseconds(how_.reload_every));
            const std::uint64_t next = ++begun_;
            const site& by = range::in_force(next);
            hosts_.replace(by.policy, by.trusted);
            replaced_ = next;
        }
    }

    void visit(std::uint64_t thread) {
        std::mt19937_64 random(how_.seed + thread);
        const auto any = [&](std::uint64_t below) { return random() % below; };
        matrix::visitors visitors;
        std::map<holds, std::vector<kept>> sessions;
        while (true) {
            const std::uint64_t number = handshakes_++;
            if (number >= how_.handshakes) {
                --handshakes_;
                return;
            }
            if (number == how_.handshakes / 10) memory("start");
            if (number == how_.handshakes / 2) memory("middle");
            if (number + 1 == how_.handshakes) memory("end");

            arrival now{.flag = any(4) != 0,
                        .where = static_cast<host>(any(3)),
                        .certificate = static_cast<holds>(any(6)),
                        .tls13 = any(10) != 0};
            std::vector<kept>& shelf = sessions[now.certificate];
            std::optional<kept> from;
            if (!shelf.empty() && any(3) != 0) {
                std::swap(shelf[any(shelf.size())], shelf.back());
                from = std::move(shelf.back());
                shelf.pop_back();
                // The cache does not keep it for ever.
                if (number - from->number > 1000) from.reset();
            }
            if (from && any(3) != 0) now = from->by;
            const bool stateful = from ? from->stateful : any(2) != 0;
            matrix::visitor& who = visitors.get(now.flag, now.certificate);
            who.shelf.last.reset();
            const std::uint64_t before = replaced_;
            const outcome seen = matrix::connect(hosts_, who, now, {.stateful = stateful, .retry = any(4) == 0},
                                                 from ? from->session.get() : nullptr);
            const range during{before, begun_};
            judge(from, now, during, seen);
            if (seen.resumed) ++resumed_;
            if (who.shelf.last == nullptr || shelf.size() >= 30) continue;
            // A resumed session is still of the handshake that began it.
            const bool goes_on = seen.resumed && from;
            shelf.push_back(
                {std::move(who.shelf.last), goes_on ? from->by : now, goes_on ? from->made : during, stateful, number});
        }
    }

    void judge(const std::optional<kept>& from, const arrival& now, const range& during, const outcome& seen) {
        std::string expected;
        for (std::uint64_t after = during.first; after <= during.last; ++after)
            for (std::uint64_t made = from ? from->made.first : 0; made <= (from ? from->made.last : 0); ++made) {
                const outcome one = from ? oracle::again(range::in_force(made), from->by, range::in_force(after), now)
                                         : oracle::in_full(range::in_force(after), now);
                if (one == seen) return;
                expected += "\n    expected " + text_of(one);
            }
        unexpected((from ? text_of(from->by) + "\n    then " : "") + text_of(now) + expected + "\n    observed " +
                   text_of(seen));
    }

    void unexpected(const std::string& what) {
        const std::lock_guard guard(output_);
        if (++unexpected_ <= 20) std::cout << "unexpected " << unexpected_ << ": " << what << std::endl;
    }

    void memory(const std::string& when) {
        std::ifstream status("/proc/self/status");
        std::string line;
        while (std::getline(status, line) && line.rfind("VmRSS:", 0) != 0) {}
        const std::lock_guard guard(output_);
        std::cout << "memory, " << when << ": " << std::stoul(line.substr(std::min<std::size_t>(line.size(), 6)))
                  << " KiB" << std::endl;
    }

    const arguments how_;
    support::fleet stateful_;
    matrix::listener hosts_;
    std::atomic<bool> done_ = false;
    std::atomic<std::uint64_t> begun_ = 0;    ///< reloads that have begun
    std::atomic<std::uint64_t> replaced_ = 0; ///< and those that have ended
    std::atomic<std::uint64_t> handshakes_ = 0;
    std::atomic<std::uint64_t> resumed_ = 0;
    std::atomic<std::uint64_t> unexpected_ = 0;
    std::mutex output_;
};

} // namespace

int main(int count, char** words) try {
    arguments how;
    const std::map<std::string, std::uint64_t*> options = {{"--handshakes", &how.handshakes},
                                                           {"--threads", &how.threads},
                                                           {"--reload-every", &how.reload_every},
                                                           {"--seed", &how.seed}};
    for (int i = 1; i < count; i += 2) {
        const auto option = options.find(words[i]);
        if (option == options.end() || i + 1 == count) {
            std::cerr << "soak: unknown or incomplete argument " << words[i]
                      << "; it takes [--handshakes N] [--threads N] [--reload-every MILLISECONDS] [--seed N]\n";
            return 2;
        }
        *option->second = std::stoull(words[i + 1]);
    }
    std::cout << "the same handshakes again: --seed " << how.seed << std::endl;
    soak all(how);
    all.run();
    return all.tell() ? 0 : 1;
} catch (const std::exception& e) {
    std::cerr << "soak: " << e.what() << '\n';
    return 2;
}
