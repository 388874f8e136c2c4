// SPDX-License-Identifier: Apache-2.0
#pragma once

// What docs/requirements.md says must come of a handshake. HelloRetryRequest and how tickets are kept do
// not appear: by the requirements neither changes anything.

#include <array>
#include <set>
#include <string>

namespace oracle {

enum class host { a, b, none }; ///< the server name asked for; without one the first host, A, answers
enum class demand { none, request, require };
enum class holds { none, agents, customers, both, other, expired }; ///< the CA of the client's certificate
enum class ca { agents, other, customers };

/// site is two virtual hosts, A and B. `own` is what an SSL_CTX asks of everyone, under the customers' CA; `beside` says
/// that the code there tells agents from customers.
struct site {
    std::array<demand, 2> policy, own;
    std::array<std::set<ca>, 2> trusted; ///< the CAs under which each host's agents are verified
    std::array<bool, 2> beside;
};

/// arrival is one connection. With `both`, and with `expired`, the flag's credential is an agent's, and the
/// certificate that the client has for any other request is a customer's.
struct arrival {
    bool flag;
    host where;
    holds certificate;
    bool tls13;
};

struct outcome {
    bool good = true; ///< on both sides
    int alert = -1;   ///< that the client got
    bool requested = false;
    bool acknowledged = false;
    bool resumed = false;
    std::string peer;         ///< peer_of in words
    std::string result = "-"; ///< SSL_get_verify_result, where the client has a certificate: "ok" or "not ok"
    friend bool operator==(const outcome&, const outcome&) = default;
};

/// in_full is what a handshake without a session comes to.
outcome in_full(const site& at, const arrival& now);
/// again is what `second` comes to, which presents the session, if there is one, of `first`. Between them
/// `before` may have become `after`.
outcome again(const site& before, const arrival& first, const site& after, const arrival& second);

} // namespace oracle
