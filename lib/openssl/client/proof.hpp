// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether a server has proven its name.

#include <reqauth/client.hpp>

#include <openssl/ssl.h>

#include <string>

namespace reqauth::detail {

/// proof_of says whether the server of a connection has: a verified chain, and a certificate for the name or address that
/// was asked for. To be asked when its Certificate has been verified.
/// Throws std::bad_alloc.
[[nodiscard]] unmet proof_of(const SSL* ssl);

/// address_in is the address that is to be checked; empty: none. OpenSSL gives null for both none and no memory for the
/// text. Throws std::bad_alloc.
[[nodiscard]] std::string address_in(X509_VERIFY_PARAM* parameters);

} // namespace reqauth::detail
