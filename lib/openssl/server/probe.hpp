// SPDX-License-Identifier: Apache-2.0
#pragma once

// What OpenSSL would do in a handshake with an SSL_CTX, where it has no getter for it: a ClientHello is handed to an SSL
// that shares the certificates and custom extensions of the SSL_CTX and none of its callbacks.

#include "../base/handle.hpp"

#include <reqauth/flags.hpp>

#include <vector>

namespace reqauth::detail {

/// extensions_of is the custom extensions that an SSL of `context` knows, in ascending order: a type that both roles know
/// stands there twice. With `known` it looks for those and for the types below 256 alone. Throws error{openssl}.
[[nodiscard]] std::vector<extension_type> extensions_of(SSL_CTX& context,
                                                        const std::vector<extension_type>* known = nullptr);

/// negotiates_tls13 says whether the certificates of `context`, with their keys, are such that OpenSSL would negotiate
/// TLS 1.3, by themselves: no callback of the application counts. Throws error{openssl}.
[[nodiscard]] bool negotiates_tls13(SSL_CTX& context);

} // namespace reqauth::detail
