// SPDX-License-Identifier: Apache-2.0
#pragma once

// The library's record of one SSL, kept in an ex_data slot of its own. Made only for a connection on
// which the extension was sent or received.

#include "../exchange.hpp"
#include "client_certificates.hpp"
#include "context.hpp"
#include "overrides.hpp"

#include <memory>

namespace reqauth::detail {

struct connection {
    server_exchange server;
    client_exchange client;

    /// The policy under which `server` was decided: one snapshot from the decision to the end.
    std::shared_ptr<const server_side> decided_by;
    overrides put_aside;
    client_certificates own;

    /// What the add callback hands to OpenSSL, which copies it.
    encoded_flags out;
};

/// connection_of finds the record: null where there is none.
[[nodiscard]] connection* connection_of(const SSL* ssl) noexcept;

/// connection_for finds it or makes it. Throws std::bad_alloc.
[[nodiscard]] connection& connection_for(SSL* ssl);

/// The handshake's Randoms as OpenSSL has them now.
[[nodiscard]] hello_random client_random_of(const SSL* ssl) noexcept;
[[nodiscard]] hello_random server_random_of(const SSL* ssl) noexcept;

/// after_handshake says that the handshake has ended, so that what comes is post-handshake.
[[nodiscard]] bool after_handshake(const SSL* ssl) noexcept;

} // namespace reqauth::detail
