// SPDX-License-Identifier: Apache-2.0
#pragma once

// The tls_flags extension as OpenSSL's custom-extension API carries it: one registration for an SSL_CTX,
// every message, both roles.

#include "../wire/rules.hpp"

#include <openssl/ssl.h>

#include <string>

namespace reqauth::detail {

/// register_extension registers `type` for every TLS 1.3 message that can carry it. Without
/// `in_client_hello`, for a client that never offers: for every message but ClientHello, so that an
/// unsolicited flag is still noticed. Gives false where OpenSSL refuses.
[[nodiscard]] bool register_extension(SSL_CTX& context, extension_type type, bool in_client_hello) noexcept;

/// illegal says that what was received breaks a rule of the drafts.
struct illegal {
    std::string why;
};

} // namespace reqauth::detail
