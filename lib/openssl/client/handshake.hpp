// SPDX-License-Identifier: Apache-2.0
#pragma once

// The client's side of the handshake.

#include "../../wire/rules.hpp"

#include <openssl/ssl.h>

#include <optional>

namespace reqauth::detail {

/// client_received takes in a well-formed extension. Gives an alert to fail with, after saying why in the error queue.
/// Throws for internal_error.
[[nodiscard]] std::optional<alert> client_received(SSL* ssl, message in, const flag_set& flags);

/// client_sends is asked before a ClientHello. `out` is what goes into it; empty: nothing. Gives an alert to fail with.
/// Throws for internal_error.
[[nodiscard]] std::optional<alert> client_sends(SSL* ssl, flag_set& out);

/// answer_request is the certificate callback: it runs for each CertificateRequest, after its extensions
/// were parsed.
int answer_request(SSL* handed, void* unused);

/// on_client_event is the info callback of an attached SSL_CTX, and of an SSL that the application watches itself. It
/// leaves out a session that is not to be presented, marks new ones and notes alerts. The application's is called by it.
void on_client_event(const SSL* ssl, int event, int value);

/// look_for_close notes the alert with which a server has closed a connection of QUIC, as if it had come by itself. Throws.
void look_for_close(SSL* ssl);

/// supply_certificate stands in for the application's client_cert_cb, which OpenSSL calls where there is
/// no certificate to send. It passes on, but for a request that is to get an empty Certificate: that
/// callback may well ask a person (RCA-7).
int supply_certificate(SSL* ssl, X509** certificate, EVP_PKEY** key);

} // namespace reqauth::detail
