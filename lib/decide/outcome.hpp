// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a server's connection turned out to be: a pure function of its facts when it is asked.

#include "server_facts.hpp"

#include <reqauth/peer.hpp>

namespace reqauth::detail {

/// findings are what OpenSSL says of the connection at the time of asking.
struct findings {
    bool server;   ///< this side is the server
    bool finished; ///< the handshake has ended, and well
    bool resumed;
    hello_random client_random; ///< of the handshake at hand
    hello_random server_random;
    bool certificate;                  ///< there is a peer certificate, or a raw public key
    std::array<std::uint8_t, 32> leaf; ///< its SHA-256
};

/// conclude gives nothing for a flagged peer, and the reason against one otherwise. `facts` is null
/// where none was recorded.
[[nodiscard]] std::optional<reason> conclude(const server_facts* facts, const findings& now) noexcept;

/// is_unvouched says that it is an unvouched_client's.
[[nodiscard]] bool is_unvouched(const server_facts* facts, const findings& now) noexcept;

/// progress gives server_outcome, which authenticates nobody.
[[nodiscard]] server_outcome progress(const server_facts* facts, const findings& now) noexcept;

} // namespace reqauth::detail
