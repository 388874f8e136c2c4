// SPDX-License-Identifier: Apache-2.0
#pragma once

// The server's side of the handshake: what it does when a message with the extension comes, and before
// it sends one that could carry it.

#include "../../wire/rules.hpp"

#include <openssl/ssl.h>

#include <optional>

namespace reqauth::detail {

/// server_received takes in a well-formed extension. Gives an alert to fail with, after saying why in
/// the error queue. Throws for internal_error.
[[nodiscard]] std::optional<alert> server_received(SSL* ssl, message in, const flag_set& flags);

/// server_sends is asked before each message that could carry the extension. `out` is what goes into it;
/// empty: nothing. Gives an alert to fail with. Throws for internal_error.
[[nodiscard]] std::optional<alert> server_sends(SSL* ssl, message what, flag_set& out);

} // namespace reqauth::detail
