// SPDX-License-Identifier: Apache-2.0
#pragma once

// The server's side of the handshake: what it does when a message with the extension comes, and before
// it sends one that could carry it.

#include "../connection.hpp"

#include <openssl/ssl.h>

#include <optional>
#include <utility>

namespace reqauth::detail {

/// alert is a TLS alert's number.
using alert = int;

/// server_received takes in a well-formed extension. Gives an alert to fail with, after saying why in
/// the error queue. Throws for internal_error.
[[nodiscard]] std::optional<alert> server_received(SSL* ssl, message in, const flag_set& flags);

/// server_sends is asked before each message that could carry the extension. `out` is what goes into it;
/// empty: nothing. Gives an alert to fail with. Throws for internal_error.
[[nodiscard]] std::optional<alert> server_sends(SSL* ssl, message what, flag_set& out);

/// vouch_for_session lets the connection's new session resume as what the witness has seen: scope, mark and
/// time are written into it, and tickets issued. `chain` is the verified one. Throws error{openssl}.
void vouch_for_session(SSL* ssl, connection& kept, const STACK_OF(X509) * chain);

/// disown_session takes that back. Throws error{openssl}.
void disown_session(SSL* ssl, connection& kept);

/// find_session is the psk_find_session callback: it runs before OpenSSL looks at a ticket.
int find_session(SSL* ssl, const unsigned char* identity, std::size_t length, SSL_SESSION** session);

/// handshake_done puts back what is the application's, and lets go of what only the handshake needs. Again it does nothing.
void handshake_done(SSL* ssl, connection& kept);

/// on_handshake_event is the info callback of an SSL whose handshake is flagged.
void on_handshake_event(const SSL* ssl, int event, int value);

} // namespace reqauth::detail
