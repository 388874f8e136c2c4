// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/x509_vfy.h>

namespace reqauth::detail {

/// witness is the verify callback of a flagged connection, in the place of the application's. What it
/// sees is the only evidence for a flagged_peer (SEC-1).
int witness(int ok, X509_STORE_CTX* verification);

} // namespace reqauth::detail
