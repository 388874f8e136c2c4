// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "connection.hpp"

namespace reqauth_apache {

/// said_of gives what requests are told of an agent, by name; nothing of anybody else.
std::vector<std::pair<const char*, std::string>> said_of(conn_rec* c, const connection& kept);

/// introduce puts REQAUTH_... into the request's environment and notes, before anything else looks at the request, and
/// takes Client-Cert and Client-Cert-Chain out of its header. Answers 421 where that is configured.
int introduce(request_rec* r) noexcept;

/// look_up_expression gives %{REQAUTH_...} in expressions: it reads the connection, and no directive can change it.
int look_up_expression(ap_expr_lookup_parms* wanted) noexcept;

/// register_require adds `Require reqauth [NAME...]`.
void register_require(apr_pool_t* pool);

} // namespace reqauth_apache
