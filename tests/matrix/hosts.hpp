// SPDX-License-Identifier: Apache-2.0
#pragma once

// Two virtual hosts and the clients that visit them, as the matrix and the soak test have them, and what came of a
// visit in the oracle's words.

#include "matrix/oracle.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace matrix {

/// trusted is the CAs under which each host's agents are verified.
using trusted = std::array<std::set<oracle::ca>, 2>;
using demands = std::array<oracle::demand, 2>;
using besides = std::array<bool, 2>;

/// visitor is a kind of client: its SSL_CTX, and the session that it got last.
class visitor {
public:
    visitor(bool flag, oracle::holds what);
    support::owned<SSL_CTX> context;
    support::session_shelf shelf;
};

/// visitors makes each kind once. For one thread.
class visitors {
public:
    visitor& get(bool flag, oracle::holds what) { return made_.try_emplace({flag, what}, flag, what).first->second; }

private:
    std::map<std::pair<bool, oracle::holds>, visitor> made_;
};

/// listener is the two hosts, as a well configured server has them. Any number of threads may connect, and one may
/// replace.
class listener {
public:
    /// Not `attached`: the library is not there.
    listener(bool attached, const demands& policy, const demands& own, const trusted& cas, const besides& beside);

    void replace(const demands& policy, const trusted& cas);

    std::array<support::owned<SSL_CTX>, 2> contexts = {support::server_context(), support::server_context()};

private:
    reqauth::server_policy policy_of(oracle::demand what, const std::set<oracle::ca>& cas, bool beside);

    std::map<std::set<oracle::ca>, reqauth::trust> made_;
    reqauth::server server_;
    std::vector<reqauth::attachment> attachments_;
    besides beside_;
};

/// manner is what, by the requirements, changes nothing.
struct manner {
    bool stateful;
    bool retry; ///< the server wants another group: HelloRetryRequest
    friend auto operator<=>(const manner&, const manner&) = default;
};

/// connect shakes hands, with a session if there is one, and says what came of it.
oracle::outcome connect(const listener& at, visitor& who, const oracle::arrival& now, const manner& how,
                        SSL_SESSION* session);

std::string text_of(const oracle::outcome& of);
std::string text_of(const oracle::arrival& of);
std::string text_of(oracle::demand of);

} // namespace matrix
