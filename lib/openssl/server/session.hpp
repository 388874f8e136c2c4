// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which sessions may resume: the scope of a ClientHello, and what it rests on. SHA-256 throughout.

#include "../base/handle.hpp"
#include "listener.hpp"

#include <string_view>

namespace reqauth::detail {

/// digest_of is over everything in a policy that decides about a client.
[[nodiscard]] sha256_digest digest_of(const server_policy& policy);

/// digest_of is over the policies in any order, and the options that decide.
[[nodiscard]] sha256_digest digest_of(const server_options& options, const std::vector<policies::entry>& entries);

/// scope_of is what a session made or presented under such a ClientHello belongs to: server name (letter
/// case does not count, absent is not empty), flag offered, the predicate's answer, the policy of the SSL_CTX at
/// which it arrives, and all policies (TLS-2, SEC-5). Throws error{openssl}.
[[nodiscard]] sha256_digest scope_of(const policies& now, const attached_policy* where,
                                     std::optional<std::string_view> server_name, bool wanted);

/// unmatchable is a scope that no ClientHello has. Throws error{openssl}.
[[nodiscard]] sha256_digest unmatchable();

/// set_scope writes a session's scope: its session id context. Throws error{openssl}.
void set_scope(SSL* ssl, const sha256_digest& scope);

/// deadline_of is when a chain verified at `now` has to be verified again.
[[nodiscard]] std::int64_t deadline_of(const STACK_OF(X509) * chain, std::int64_t now, std::chrono::seconds most);

/// stateful says that the server keeps this connection's sessions itself: others may share them.
[[nodiscard]] bool stateful(const SSL* ssl) noexcept;

} // namespace reqauth::detail
