// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

namespace reqauth_nginx {

#if (NGX_HTTP_V3)

namespace {

int streams_index() {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

// What nginx calls for each connection, and for each stream of QUIC, which has the SSL of its connection.
void begin(ngx_connection_t* connection) {
    if (connection->quic != nullptr && connection->ssl != nullptr)
        if (void* own = SSL_get_ex_data(connection->ssl->connection, streams_index()))
            connection->listening = static_cast<ngx_listening_t*>(own);
    ngx_http_init_connection(connection);
}

template <class Address> void* only(ngx_pool_t* pool, const ngx_http_addr_conf_t& all) {
    auto* address = static_cast<Address*>(ngx_pcalloc(pool, sizeof(Address)));
    if (address != nullptr) address->conf = all;
    return address;
}

} // namespace

void keep_for_streams(SSL& ssl, ngx_connection_t& connection, const ngx_http_connection_t& http) {
    if (http.addr_conf->quic == 0) return;
    ngx_pool_t* pool = connection.pool;
    auto* listening = static_cast<ngx_listening_t*>(ngx_palloc(pool, sizeof(ngx_listening_t)));
    auto* port = static_cast<ngx_http_port_t*>(ngx_palloc(pool, sizeof(ngx_http_port_t)));
    auto* server = static_cast<ngx_http_core_srv_conf_t*>(ngx_palloc(pool, sizeof(ngx_http_core_srv_conf_t)));
    if (listening == nullptr || port == nullptr || server == nullptr) return;
    *server = *http.addr_conf->default_server;
    server->ctx = http.conf_ctx;
    ngx_http_addr_conf_t address = *http.addr_conf;
    address.default_server = server;
    port->naddrs = 1;
    port->addrs = connection.local_sockaddr->sa_family == AF_INET6 ? only<ngx_http_in6_addr_t>(pool, address)
                                                                   : only<ngx_http_in_addr_t>(pool, address);
    *listening = *connection.listening;
    listening->servers = port;
    if (port->addrs != nullptr) SSL_set_ex_data(&ssl, streams_index(), listening);
}

ngx_int_t lead_streams(ngx_cycle_t* cycle) {
    auto* all = static_cast<ngx_listening_t*>(cycle->listening.elts);
    for (ngx_uint_t each = 0; each < cycle->listening.nelts; ++each)
        if (all[each].quic != 0 && all[each].handler == ngx_http_init_connection) all[each].handler = begin;
    return streams_index() < 0 ? NGX_ERROR : NGX_OK;
}

#else

void keep_for_streams(SSL&, ngx_connection_t&, const ngx_http_connection_t&) {}
ngx_int_t lead_streams(ngx_cycle_t*) { return NGX_OK; }

#endif

} // namespace reqauth_nginx
