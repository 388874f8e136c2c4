// SPDX-License-Identifier: Apache-2.0
#pragma once

// Apache's headers are C. What they include of the standard library has to be known as C++ before.
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include <openssl/ssl.h>

extern "C" {
#include <ap_expr.h>
#include <ap_provider.h>
#include <apr_optional.h>
#include <apr_optional_hooks.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_ssl.h>
#include <httpd.h>
#include <mod_auth.h>
#include <mod_log_config.h>
#include <mod_ssl.h>
#include <util_filter.h>

// As mod_ssl_openssl.h has them, which Debian does not ship. Both hooks have been so since httpd 2.4.10.
APR_DECLARE_EXTERNAL_HOOK(ssl, SSL, int, init_server, (server_rec * s, apr_pool_t* p, int is_proxy, SSL_CTX* ctx))
APR_DECLARE_EXTERNAL_HOOK(ssl, SSL, int, pre_handshake, (conn_rec * c, SSL* ssl, int is_proxy))

extern __attribute__((visibility("default"))) module_struct reqauth_module;
APLOG_USE_MODULE(reqauth);
}

namespace reqauth_apache {

/// fenced runs what Apache or OpenSSL calls back: no exception leaves it. One gives `otherwise`, which fails closed.
template <class Result, class Body> Result fenced(Result otherwise, Body&& body) noexcept {
    try {
        return std::forward<Body>(body)();
    } catch (...) {
        return otherwise;
    }
}

/// make gives a new object that ends with the pool.
template <class Type, class... Arguments> Type* make(apr_pool_t* pool, Arguments&&... arguments) {
    auto* made = new Type{std::forward<Arguments>(arguments)...};
    const auto end = [](void* object) -> apr_status_t {
        delete static_cast<Type*>(object);
        return APR_SUCCESS;
    };
    apr_pool_cleanup_register(pool, made, end, apr_pool_cleanup_null);
    return made;
}

} // namespace reqauth_apache
