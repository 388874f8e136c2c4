// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the client of a connection is at the host that a request asks for. A handshake is for one host; requests may name
// another. This is decided here, for nginx's module and for Apache's.

namespace reqauth_modules {

/// visitor is what the handshake says of a client.
struct visitor {
    bool
        accepted; ///< asked because of the flag; who was not is a person or a customer, and none of the module's business
    bool verified; ///< a flagged_peer
};

/// asked_host is the host of a request: a server {}, or a virtual host.
struct asked_host { // NOLINT(cppcoreguidelines-pro-type-member-init): whoever makes one says each
    bool elsewhere; ///< it is not that of the handshake, whatever the two have in common
    bool requires_customer;
    bool agents_beside; ///< verified agents come in although it requires a customer
    bool misdirected_is_421;
    bool place_requires_customer = false; ///< so does the place in it, as a <Location>
};

enum class standing {
    as_ever,     ///< the server's own checks decide
    agent,       ///< verified for this host
    person,      ///< nobody is authenticated
    stranger,    ///< the same, since its handshake was for another host
    misdirected, ///< not served here: 421
    refused,     ///< not served here: a customer is required, and it is none
};

//= RCA-14
//= SEC-7
constexpr standing standing_at(const visitor& who, const asked_host& host) noexcept {
    if (!who.accepted) return standing::as_ever;
    // What the handshake's host allowed opens no other one, and a person is not let in there.
    if (host.elsewhere && (host.requires_customer || host.misdirected_is_421)) return standing::misdirected;
    // Agents are let in beside customers at a host, and not at a place that requires one for itself.
    if (host.place_requires_customer) return standing::refused;
    if (host.elsewhere) return standing::stranger;
    if (host.requires_customer && !(host.agents_beside && who.verified)) return standing::refused;
    return who.verified ? standing::agent : standing::person;
}

} // namespace reqauth_modules
