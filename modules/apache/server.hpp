// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apache.hpp"

namespace reqauth_apache {

/// begin makes the reqauth::server of this configuration, before mod_ssl makes its SSL_CTXs: one for all virtual
/// hosts, since a connection can move between them. None where no virtual host has ReqAuth on.
int begin(apr_pool_t* pool, apr_pool_t* log, apr_pool_t* temporary, server_rec* main) noexcept;

/// attach attaches it to the SSL_CTX of each virtual host, also where ReqAuth is off: OpenSSL has to find the same
/// custom extensions on all of them.
int attach(server_rec* server, apr_pool_t* pool, int is_proxy, SSL_CTX* context) noexcept;

/// look_back warns of virtual hosts with ReqAuth on for which there was no SSL_CTX.
int look_back(apr_pool_t* pool, apr_pool_t* log, apr_pool_t* temporary, server_rec* main) noexcept;

/// server_of gives the virtual host whose SSL_CTX the handshake ended on; null where nothing is attached to it.
server_rec* server_of(const SSL* ssl) noexcept;

/// requires_customer says whether mod_ssl requires a certificate of everybody there (SSLVerifyClient require).
bool requires_customer(const server_rec* server) noexcept;

/// is_first_reading says whether this is a configtest, or the first of the two times that Apache reads its configuration
/// at start, when messages go to the terminal.
bool is_first_reading() noexcept;

/// is_at_work says whether this configuration attaches anything.
bool is_at_work() noexcept;

} // namespace reqauth_apache
