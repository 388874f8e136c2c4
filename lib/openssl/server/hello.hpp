// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a server takes in from a ClientHello. It decides nothing yet: the SSL_CTX may still change.

#include "record.hpp"

namespace reqauth::detail {

/// hear records what a ClientHello with the extension says. Gives an alert to fail with, after saying why in the error
/// queue. Throws for internal_error.
[[nodiscard]] std::optional<alert> hear(SSL* ssl, const flag_set& flags);

/// find_session is the psk_find_session callback. It runs for each PSK identity of a ClientHello, before OpenSSL looks at
/// it as a ticket, and before extensions are parsed.
int find_session(SSL* ssl, const unsigned char* identity, std::size_t length, SSL_SESSION** session);

} // namespace reqauth::detail
