// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "nginx.hpp"

#include "settings/settings.hpp"

#include <array>
#include <cstddef>

namespace reqauth_nginx {

using namespace reqauth_settings;

/// place is where a directive stands. Line 0: it was not given.
struct place {
    ngx_str_t file;
    ngx_uint_t line;
};

constexpr ngx_uint_t verify_on = 1; ///< ssl_verify_client on, as ngx_http_ssl_module.c has it

/// server_settings is what one server {} says, with what it inherits from http {}. nginx makes it with zeroes in a pool of
/// the configuration.
struct server_settings {
    settings* all; ///< never null; freed with the pool
    std::array<place, std::size(table)> places;

    // What attach adds.
    ngx_uint_t ssl_verify_client;
    ngx_http_conf_ctx_t* as_configured;
    ngx_http_conf_ctx_t* for_agents; ///< the same without ssl_verify_client; null where there is none
};

constexpr std::size_t cache_count = 4; ///< of proxy, fastcgi, uwsgi and scgi

struct cache_place {
    place at;
    bool warned;
};

/// cache_settings is what a location says of one of them, with what it inherits.
struct cache_settings {
    ngx_flag_t passes;   ///< proxy_pass: not inherited
    ngx_flag_t kept;     ///< proxy_cache
    ngx_flag_t keyed;    ///< proxy_cache_key tells agents from others
    ngx_flag_t left_out; ///< proxy_no_cache leaves agents' answers out
    cache_place* place;  ///< of proxy_cache
};

struct location_settings {
    std::array<cache_settings, cache_count> caches;
    ngx_shm_zone_t* counters; ///< of reqauth_status; null: it is not there
};

/// commands are the directives for nginx, ended by a null command. spelled is the one of a row of the table.
extern ngx_command_t commands[];
const char* spelled(std::size_t row);

void* create_settings(ngx_conf_t* configuration);
char* merge_settings(ngx_conf_t* configuration, void* http, void* server);

/// watch_caches notes what other modules' directives say of caches, until leave_caches; merge_location_settings warns
/// where a cache gives agents' answers to others.
ngx_int_t watch_caches(ngx_conf_t* configuration);
ngx_int_t leave_caches(ngx_conf_t* configuration);
void* create_location_settings(ngx_conf_t* configuration);
char* merge_location_settings(ngx_conf_t* configuration, void* above, void* own);

/// settings_of gives the server {} that a request is served by.
inline server_settings* settings_of(const ngx_http_request_t* request) {
    return static_cast<server_settings*>(request->srv_conf[ngx_http_reqauth_module.ctx_index]);
}

inline server_settings* settings_of(const ngx_http_core_srv_conf_t& server) {
    return static_cast<server_settings*>(server.ctx->srv_conf[ngx_http_reqauth_module.ctx_index]);
}

/// settings_of gives the server {} whose SSL_CTX the handshake ended on; null where nothing is attached to it.
server_settings* settings_of(const SSL* ssl);

/// names_kept_from_nginx gives the names of the server {} at a connection's address where `judge` looks for them, and not
/// nginx; null elsewhere.
ngx_http_virtual_names_t* names_kept_from_nginx(const SSL* ssl);

/// keep_for_streams has the requests of a connection of QUIC begin as the connection is now. nginx takes them back to the
/// default server {} of the address, unless the handshake had a server name that one has; so it does without memory.
/// lead_streams has nginx ask us where each begins.
void keep_for_streams(SSL& ssl, ngx_connection_t& connection, const ngx_http_connection_t& http);
ngx_int_t lead_streams(ngx_cycle_t* cycle);

/// attach_all attaches the library to the SSL_CTXs of all server {} that a listening address shares with one where
/// reqauth is on. Says in the log what is wrong, with file and line, and gives NGX_ERROR then.
ngx_int_t attach_all(ngx_conf_t* configuration);

/// add_variables adds $reqauth_...; hide_from_ssl_variables takes agents out of $ssl_client_...
ngx_int_t add_variables(ngx_conf_t* configuration);
ngx_int_t hide_from_ssl_variables(ngx_conf_t* configuration);

/// warn_of_spellings warns where fields get through that applications may take for those which carry an identity.
ngx_int_t warn_of_spellings(ngx_conf_t* configuration);

/// take_status takes reqauth_status. count has the handshakes on an SSL_CTX counted under the name of its server {}; throws
/// std::bad_alloc.
char* take_status(ngx_conf_t* configuration, ngx_command_t* command, void* into);
void count(ngx_conf_t& configuration, const ngx_str_t& name, reqauth::attachment where);

/// add_refusals adds the handler that answers for requests which may not be served: 421, or 400.
ngx_int_t add_refusals(ngx_conf_t* configuration);

} // namespace reqauth_nginx
