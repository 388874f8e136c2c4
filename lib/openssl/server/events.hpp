// SPDX-License-Identifier: Apache-2.0
#pragma once

// The one info callback of a server.

#include <openssl/ssl.h>

namespace reqauth::detail {

/// on_server_event is the info callback of an SSL whose client sent the extension, and of every SSL_CTX that
/// was attached. The application's is called by it.
void on_server_event(const SSL* ssl, int event, int value);

} // namespace reqauth::detail
