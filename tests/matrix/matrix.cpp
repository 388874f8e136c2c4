// SPDX-License-Identifier: Apache-2.0
// Every handshake there is between the kinds of client and server that matter, each against the oracle.
//
//   matrix [--quic] [--all | --seed N | --only CASE]
//
// With --quic over QUIC, in its two kinds. Without --all: a sample, by a seed that it prints. Each difference has the number of its case, and --only runs that
// one alone and prints what was expected and seen. The last line is `handshakes: N, outcomes: M, differences: D`; exit
// status 1 where D is not 0.

#include "matrix/hosts.hpp"

#include <array>
#include <cctype>
#include <cstdint>
#include <exception>
#include <iostream>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using matrix::carrier;
using matrix::demands;
using matrix::trusted;
using oracle::arrival;
using oracle::ca;
using oracle::demand;
using oracle::holds;
using oracle::host;
using oracle::outcome;
using oracle::site;

namespace {

using matrix::text_of;

constexpr std::array asks = {demand::none, demand::request, demand::require};
constexpr std::array hosts = {host::a, host::b, host::none};
constexpr std::array certificates = {holds::none, holds::agents, holds::customers,
                                     holds::both, holds::other,  holds::expired};

enum class reload { none, same, other };

/// scene is all but the two connections.
struct scene {
    demands policy;
    demands own;
    matrix::besides beside;
    matrix::manner how;
    bool tls13;    ///< else the server negotiates TLS 1.2
    bool attached; ///< else the library is not there: what OpenSSL alone does (RCA-15)
    reload between;

    /// setup numbers what the SSL_CTXs are made from.
    [[nodiscard]] auto setup() const { return std::tuple(policy, own, beside, how, attached); }
};

// The sets of trust before a reload and after one with another.
const trusted first_trust = {{{ca::agents}, {ca::agents, ca::other}}};
const trusted other_trust = {{{ca::other}, {ca::agents}}};

std::string text_of(const scene& of) {
    constexpr std::array reloads = {"no reload", "reload with the same", "reload with other trust"};
    return (of.attached ? "policies A " + text_of(of.policy[0]) + ", B " + text_of(of.policy[1]) : "no library") +
           "; own A " + text_of(of.own[0]) + (of.beside[0] ? " and agents" : "") + ", B " + text_of(of.own[1]) +
           (of.beside[1] ? " and agents" : "") + (of.how.stateful ? "; stateful" : "; stateless") +
           (of.how.by == carrier::records      ? ""
            : of.how.by == carrier::event_loop ? "; event loop of QUIC"
                                               : "; connection of QUIC") +
           (of.how.retry ? "; retry; " : "; no retry; ") + reloads[static_cast<std::size_t>(of.between)];
}

// The parts of an outcome that are not the same.
std::string difference(const outcome& expected, const outcome& observed) {
    std::string parts;
    const auto part = [&parts](const char* name, bool same) {
        if (!same) parts += parts.empty() ? name : std::string(", ") + name;
    };
    part("good", expected.good == observed.good);
    part("alert", expected.alert == observed.alert);
    part("requested", expected.requested == observed.requested);
    part("acknowledged", expected.acknowledged == observed.acknowledged);
    part("resumed", expected.resumed == observed.resumed);
    part("peer", expected.peer == observed.peer);
    part("result", expected.result == observed.result);
    return parts;
}

class comparison {
public:
    /// Of `every` cases one is run, or `only` one.
    comparison(std::uint64_t seed, std::uint64_t every, std::optional<std::size_t> only)
        : random_(seed), every_(every), only_(only) {}

    void play(const scene& as, const arrival& first, const std::optional<arrival>& second) {
        ++case_;
        if (only_ ? case_ != *only_ : random_() % every_ != 0) return;
        if (!last_ || as.setup() != last_->setup())
            hosts_.emplace(as.attached, as.policy, as.own, first_trust, as.beside, as.how);
        last_ = as;

        matrix::visitor& caller = visitors_.get(first.flag, first.certificate, as.how.by);
        caller.shelf.last.reset();
        const site before{as.policy, as.own, first_trust, as.beside};
        const std::string where = text_of(as) + "\n    " + text_of(first);
        judge(where, oracle::in_full(before, first), connect(as, first, nullptr));
        if (!second) return;
        const support::owned<SSL_SESSION> session = std::move(caller.shelf.last);
        const site after{as.policy, as.own, as.between == reload::other ? other_trust : first_trust, as.beside};
        if (as.between != reload::none) hosts_->replace(as.policy, after.trusted);
        judge(where + "\n    then " + text_of(*second), oracle::again(before, first, after, *second),
              connect(as, *second, session.get()));
        if (as.between == reload::other) hosts_->replace(as.policy, first_trust);
    }

    [[nodiscard]] bool tell() const {
        if (only_ && handshakes_ == 0) std::cout << "the cases are 1 to " << case_ << std::endl;
        std::cout << "handshakes: " << handshakes_ << ", outcomes: " << outcomes_.size()
                  << ", differences: " << differences_ << std::endl;
        return differences_ == 0 && handshakes_ != 0;
    }

private:
    outcome connect(const scene& as, const arrival& now, SSL_SESSION* session) {
        outcome seen =
            matrix::connect(*hosts_, visitors_.get(now.flag, now.certificate, as.how.by), now, as.how, session);
        if (!as.attached && !seen.good) seen.peer = "handshake_unfinished"; // nobody else says so
        return seen;
    }

    void judge(const std::string& where, const outcome& expected, const outcome& observed) {
        ++handshakes_;
        outcomes_.insert(text_of(observed));
        const bool differs = expected != observed;
        if (differs) ++differences_;
        if (only_ || (differs && differences_ <= 20))
            std::cout << "case " << case_ << ": " << where << "\n    expected " << text_of(expected)
                      << "\n    observed " << text_of(observed)
                      << (differs ? "\n    differs in " + difference(expected, observed) : "\n    the same")
                      << std::endl;
    }

    std::mt19937_64 random_;
    std::uint64_t every_;
    std::optional<std::size_t> only_;
    std::size_t case_ = 0; ///< by the order in which they come
    matrix::visitors visitors_;
    std::optional<matrix::listener> hosts_;
    std::optional<scene> last_;
    std::set<std::string> outcomes_;
    std::size_t handshakes_ = 0;
    std::size_t differences_ = 0;
};

template <class Play> void each_arrival(const scene& as, Play play) {
    for (const bool flag : {true, false})
        for (const host where : hosts) {
            if (flag && !as.attached) continue; // without the library nobody reads the flag
            if (where == host::b && as.how.by == carrier::connection) continue;
            for (const holds certificate : certificates) play(arrival{flag, where, certificate, as.tls13});
        }
}

// Calls for each pair of policies; once where the library is not there.
template <class Play> void each_policy(bool attached, Play play) {
    for (const demand a : asks)
        for (const demand b : asks)
            if (attached || (a == demand::none && b == demand::none)) play(std::array{a, b});
}

// Calls with and without agents beside the customers of each host that asks some.
template <class Play> void each_beside(scene& as, Play play) {
    for (const bool a : {false, true})
        for (const bool b : {false, true}) {
            as.beside = {a, b};
            const bool matters = as.attached && (!a || as.own[0] != demand::none) && (!b || as.own[1] != demand::none);
            if (matters || as.beside == matrix::besides{}) play();
        }
}

void play_fresh(comparison& all, scene as) {
    for (const demand a : asks)
        for (const demand b : asks) {
            as.own = {a, b};
            each_beside(as, [&] {
                for (const bool tls13 : {true, false}) {
                    if (!tls13 && as.how.by != carrier::records) continue;
                    as.tls13 = tls13;
                    each_arrival(as, [&](const arrival& only) { all.play(as, only, std::nullopt); });
                }
            });
        }
}

void play_resumed(comparison& all, scene as) {
    constexpr std::array<demands, 5> owns = {{{demand::none, demand::none},
                                              {demand::request, demand::request},
                                              {demand::require, demand::require},
                                              {demand::none, demand::require},
                                              {demand::require, demand::none}}};
    for (const auto& own : owns)
        for (const reload between : {reload::none, reload::same, reload::other})
            for (const bool tls13 : {true, false}) {
                if (!tls13 && (as.how.retry || between == reload::same)) continue; // TLS 1.2 has no retry
                if (!tls13 && as.how.by != carrier::records) continue;
                if (!as.attached && between != reload::none) continue;
                as.own = own;
                as.between = between;
                as.tls13 = tls13;
                each_beside(as, [&] {
                    each_arrival(as, [&](const arrival& first) {
                        each_arrival(as, [&](const arrival& second) {
                            if (second.certificate == first.certificate) all.play(as, first, second);
                        });
                    });
                });
            }
}

} // namespace

int main(int count, char** arguments) try {
    bool everything = false;
    std::vector<carrier> carriers = {carrier::records};
    std::optional<std::size_t> only;
    std::uint64_t seed = std::random_device()();
    for (int i = 1; i < count; ++i) {
        const std::string argument = arguments[i];
        const bool number = i + 1 < count && std::isdigit(static_cast<unsigned char>(*arguments[i + 1])) != 0;
        if (argument == "--all") {
            everything = true;
        } else if (argument == "--quic") {
            carriers = {carrier::event_loop, carrier::connection};
        } else if (argument == "--seed" && number) {
            seed = std::stoull(arguments[++i]);
        } else if (argument == "--only" && number) {
            only = std::stoull(arguments[++i]);
        } else {
            std::cerr << "matrix: unknown argument " << argument
                      << "; it takes [--quic] [--all | --seed N | --only CASE]\n";
            return 2;
        }
    }
    if (only)
        std::cout << "one of them" << std::endl;
    else if (everything)
        std::cout << "all of them" << std::endl;
    else
        std::cout << "a sample; the same again: --seed " << seed << std::endl;

    if (carriers.size() > 1 && HAS_QUIC == 0) {
        std::cout << "skipped: " << support::no_quic << std::endl;
        return 0;
    }
    comparison all(seed, everything ? 1 : 50, only);
    for (const carrier by : carriers)
        for (const bool attached : {true, false})
            each_policy(attached, [&](const demands& policy) {
                if (by == carrier::connection && policy[1] != demand::none) return; // there is no B
                for (const bool stateful : {false, true})
                    for (const bool retry : {false, true}) {
                        const scene as{policy, {}, {}, {stateful, retry, by}, true, attached, reload::none};
                        play_fresh(all, as);
                        play_resumed(all, as);
                    }
            });
    return all.tell() ? 0 : 1;
} catch (const std::exception& e) {
    std::cerr << "matrix: " << e.what() << '\n';
    return 2;
}
