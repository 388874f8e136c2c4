// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "connection.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace reqauth_apache {

/// said is what requests are told, by name.
using said = std::vector<std::pair<const char*, std::string>>;

/// said_of gives it for an agent; said_of_others for a customer whom the handshake verified, and for a certificate that the
/// flag brought and that did not verify.
said said_of(conn_rec* c, const reqauth::flagged_peer& agent);
said said_of_others(conn_rec* c, const SSL& ssl);

/// variable_named gives the REQAUTH_... of this name; null where there is none.
const char* variable_named(std::string_view name) noexcept;

/// introduce cleans and sets the fields of the request's header that are this module's, and puts REQAUTH_... into its
/// environment and notes, before anything else looks at the request. Answers 421 where that is configured.
int introduce(request_rec* r) noexcept;

/// keep_from_caches has mod_cache store no answer to an agent: it would give it to whoever asks for the same. By a variable
/// of mod_cache's, which internal redirects rename: so it is set again for each.
int keep_from_caches(request_rec* r) noexcept;

/// look_up_expression gives %{REQAUTH_...} in expressions: it reads the connection, and no directive can change it.
int look_up_expression(ap_expr_lookup_parms* wanted) noexcept;

/// register_require adds `Require reqauth [NAME...]`.
void register_require(apr_pool_t* pool);

} // namespace reqauth_apache
