// SPDX-License-Identifier: Apache-2.0
#pragma once

// The one registration of the tls_flags extension on an SSL_CTX: what comes and what goes is handed to the server's or
// the client's side of the handshake. Nothing else of the library is called by OpenSSL for an extension.

#include "base/handle.hpp"

#include <reqauth/flags.hpp>

namespace reqauth::detail {

/// check_extension throws error{extension_taken} where OpenSSL handles that type itself.
void check_extension(extension_type extension);

/// probe_of makes an SSL of the context, to ask it what an SSL_CTX has no getter for. Throws error{unsuitable_context}
/// where the context cannot carry the flag at all.
[[nodiscard]] ssl_handle probe_of(SSL_CTX& context);

/// register_extension registers the extension for TLS 1.3 only (FLAG-9), once for both sides. Without ClientHello it is for
/// a client that never sends it, so that OpenSSL refuses an unsolicited one (FLAG-7). Says whether it is registered with
/// ClientHello. Throws error{contradiction} or error{extension_taken}, and nothing has changed.
bool register_extension(SSL_CTX& context, extension_type type, bool in_client_hello);

} // namespace reqauth::detail
