// SPDX-License-Identifier: Apache-2.0
#pragma once

// The client's side of the handshake.

#include "server_handshake.hpp"

namespace reqauth::detail {

/// As server_received and server_sends, for the client.
[[nodiscard]] std::optional<alert> client_received(SSL* ssl, message in, const flag_set& flags);
[[nodiscard]] std::optional<alert> client_sends(SSL* ssl, message what, flag_set& out);

/// answer_request is the certificate callback: it runs for each CertificateRequest, after its extensions
/// were parsed.
int answer_request(SSL* ssl, void* unused);

} // namespace reqauth::detail
