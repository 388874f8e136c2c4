// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which sessions of a client may serve for which connections: the scope, and the mark that carries it.

#include "credential_load.hpp"
#include "side.hpp"

#include <optional>
#include <string>
#include <vector>

namespace reqauth::detail {

/// digest_of_credentials is over a client's, in their order. Throws error{openssl}.
[[nodiscard]] sha256_digest digest_of_credentials(const std::vector<credential>& credentials);

/// digest_of_policy is over all of it that decides. Throws error{openssl}.
[[nodiscard]] sha256_digest digest_of_policy(const client_policy& policy);

/// scope_of is over the policy of `there`, the credentials with that digest, and what the SSL trusts and presents of its own,
/// as far as OpenSSL lets it be read. Throws error{openssl}.
[[nodiscard]] client_scope scope_of(const SSL& ssl, const attached_client& there, const sha256_digest& credentials);

/// mark_session writes the scope into a session. Throws error{openssl}.
void mark_session(SSL_SESSION& session, const client_scope& scope);

/// unmark_session takes it out again.
void unmark_session(SSL_SESSION& session);

/// id_of tells a session from others, also where it was copied or read from octets.
[[nodiscard]] std::string id_of(const SSL_SESSION& session);

/// scope_in reads it: nothing where the session has no mark of a client.
[[nodiscard]] std::optional<client_scope> scope_in(const SSL_SESSION& session) noexcept;

} // namespace reqauth::detail
