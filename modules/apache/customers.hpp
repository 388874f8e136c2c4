// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apache.hpp"

// mod_ssl knows one kind of client certificate: a customer's. For a connection whose certificate was asked for because of
// the flag it reads as one without certificate, wherever mod_ssl would tell of it or act on it (RCA-14, SEC-8):
//
// | what mod_ssl does                                          | what is done here                                      |
// | SSL_CLIENT_VERIFY, Require ssl-verify-client               | SSL_get_verify_result is not X509_V_OK: connection.cpp |
// | %{SSL_CLIENT_...} and SSL() in expressions, PeerExtList(), | look_up_customer takes those names over                |
// |   SSLRequire, Require expr, <If>, ...                      |                                                        |
// | what others look up: %{SSL:...} of mod_rewrite, %{...}s of | replace_lookups puts our functions before mod_ssl's    |
// |   mod_headers, mod_lua, AJP, ...                           |                                                        |
// | %{...}x and %{...}c in log formats                         | the same                                               |
// | SSLOptions +StdEnvVars, +ExportCertData                    | clean_environment takes them away after it             |
// | SSLOptions +FakeBasicAuth                                  | the Authorization field is put back after it           |
// | SSLUserName                                                | the request's user is put back after it                |
// | SSLVerifyClient require in a directory                     | 403 before it                                          |
// | another one there: a post-handshake request                | 403, and the connection ends: it is not to have two    |
// |                                                            |   identities                                           |
//
// What is left is code that takes the SSL itself from mod_ssl and looks at the certificate and not at the result.

namespace reqauth_apache {

int look_up_customer(ap_expr_lookup_parms* wanted) noexcept;

/// Before and after mod_ssl's pre_config, which registers its functions with others.
int before_lookups(apr_pool_t* pool, apr_pool_t* log, apr_pool_t* temporary) noexcept;
int replace_lookups(apr_pool_t* pool, apr_pool_t* log, apr_pool_t* temporary) noexcept;

/// Before and after mod_ssl's access checker.
int before_access(request_rec* r) noexcept;
int after_access(request_rec* r) noexcept;

/// Before and after mod_ssl's check of users.
int before_users(request_rec* r) noexcept;
int after_users(request_rec* r) noexcept;

/// After mod_ssl's fixup.
int clean_environment(request_rec* r) noexcept;

} // namespace reqauth_apache
