// SPDX-License-Identifier: Apache-2.0
#pragma once

// Two virtual hosts and the clients that visit them, as the matrix and the soak test have them, and what came of a
// visit in the oracle's words.

#include "matrix/oracle.hpp"
#include "support/contexts.hpp"
#include "support/quic_connections.hpp"
#include "support/sessions.hpp"

#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace matrix {

/// trusted is the CAs under which each host's agents are verified.
using trusted = std::array<std::set<oracle::ca>, 2>;
using demands = std::array<oracle::demand, 2>;
using besides = std::array<bool, 2>;

/// carrier is what carries a handshake: records, an event loop of QUIC, or a connection of OpenSSL's own QUIC, of which
/// host B is no part, since it never gets another SSL_CTX.
enum class carrier { records, event_loop, connection };

/// visitor is a kind of client: its SSL_CTX, and the session that it got last.
class visitor {
public:
    visitor(bool flag, oracle::holds what, carrier by);
    support::owned<SSL_CTX> context;
    support::session_shelf shelf;
};

/// visitors makes each kind once. For one thread.
class visitors {
public:
    visitor& get(bool flag, oracle::holds what, carrier by = carrier::records) {
        return made_.try_emplace({flag, what, by == carrier::connection}, flag, what, by).first->second;
    }

private:
    std::map<std::tuple<bool, oracle::holds, bool>, visitor> made_;
};

/// manner is what, by the requirements, changes nothing.
struct manner {
    bool stateful;
    bool retry; ///< the server wants another group: HelloRetryRequest
    carrier by = carrier::records;
    friend auto operator<=>(const manner&, const manner&) = default;
};

/// listener is the two hosts, as a well configured server has them. Any number of threads may connect, and one may
/// replace.
class listener {
public:
    /// Not `attached`: the library is not there.
    listener(bool attached, const demands& policy, const demands& own, const trusted& cas, const besides& beside,
             const manner& how = {});

    void replace(const demands& policy, const trusted& cas);

    std::array<support::owned<SSL_CTX>, 2> contexts; ///< for connections of QUIC the first alone
#if HAS_QUIC
    std::unique_ptr<support::quic_listener> quic;
#endif

private:
    reqauth::server_policy policy_of(oracle::demand what, const std::set<oracle::ca>& cas, bool beside);

    std::map<std::set<oracle::ca>, reqauth::trust> made_;
    reqauth::server server_;
    std::vector<reqauth::attachment> attachments_;
    besides beside_;
};

/// connect shakes hands, with a session if there is one, and says what came of it.
oracle::outcome connect(listener& at, visitor& who, const oracle::arrival& now, const manner& how,
                        SSL_SESSION* session);

std::string text_of(const oracle::outcome& of);
std::string text_of(const oracle::arrival& of);
std::string text_of(oracle::demand of);

} // namespace matrix
