// SPDX-License-Identifier: Apache-2.0
#pragma once

// ClientHellos that OpenSSL's client does not make, as they are on the wire.

#include <cstddef>
#include <optional>
#include <string>

namespace support {

/// client_hello_shape is what stands in a ClientHello, and how much of it.
struct client_hello_shape {
    std::size_t identities = 0; ///< PSK identities that are nobody's
    std::size_t identity_size = 1;
    std::size_t unknown = 0; ///< empty extensions of types that nobody knows
    std::size_t padding = 0;
    std::size_t server_name = 0;
    std::size_t alpn = 0;
    std::size_t ciphers = 0;
    std::string flags = {};                 ///< the body of tls_flags; empty: no such extension
    std::optional<std::string> ticket = {}; ///< the last PSK identity
    bool binds_ticket = false;              ///< with a binder, which does not fit
};

/// client_hello makes one for TLS 1.3 in records. `share` is its key share; none: it has no groups either, so that a
/// server reads all of it and then fails; empty: the server has to send a HelloRetryRequest.
std::string client_hello(const client_hello_shape& about, const std::string& random,
                         const std::optional<std::string>& share);

/// x25519_share is a key share that is good.
std::string x25519_share();

} // namespace support
