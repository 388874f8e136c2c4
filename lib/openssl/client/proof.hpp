// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether a server has proven its name.

#include <reqauth/client.hpp>

#include <openssl/ssl.h>

namespace reqauth::detail {

/// proof_of says whether the server of a connection has: a verified chain, and a certificate for the name or address that
/// was asked for. To be asked when its Certificate has been verified.
[[nodiscard]] unproven proof_of(const SSL* ssl) noexcept;

} // namespace reqauth::detail
