// SPDX-License-Identifier: Apache-2.0
#pragma once

// What attach and replace find worth saying.

#include <reqauth/server.hpp>

#include <string>
#include <vector>

namespace reqauth::detail {

/// warnings_of says what of a policy cannot work on this SSL_CTX, or is likely a mistake: one line each, with the file
/// and what to do. Throws error{shared_anchor} (RCA-13).
[[nodiscard]] std::vector<std::string> warnings_of(SSL_CTX& context, const server_policy& policy);

} // namespace reqauth::detail
