// SPDX-License-Identifier: Apache-2.0

// The counters of each server {}, in memory that all workers share and that a reload leaves, and the location that shows them.

#include "settings.hpp"

#include "settings/counters.hpp"

#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace reqauth_nginx {

namespace {

/// counted_host is a server {} name's counters. It stays there until nginx ends.
struct counted_host { // NOLINT(cppcoreguidelines-pro-type-member-init): memory that is zero
    counted_host* next;
    reqauth::server_counters counted;
    std::size_t size;
    u_char name[1]; // NOLINT: and more of it
};

/// bound are the SSL_CTXs of a configuration, and the names of their server {}.
using bound = std::vector<std::pair<ngx_str_t, reqauth::attachment>>;

counted_host* host_in(ngx_slab_pool_t& memory, const ngx_str_t& name) {
    for (auto* each = static_cast<counted_host*>(memory.data); each != nullptr; each = each->next)
        if (each->size == name.len && std::memcmp(each->name, name.data, name.len) == 0) return each;
    auto* made = static_cast<counted_host*>(ngx_slab_calloc_locked(&memory, sizeof(counted_host) + name.len));
    if (made == nullptr) return nullptr;
    made->size = name.len;
    std::memcpy(made->name, name.data, name.len);
    made->next = static_cast<counted_host*>(memory.data);
    memory.data = made;
    return made;
}

// The memory is there, as another configuration left it, or new.
ngx_int_t begin_counting(ngx_shm_zone_t* zone, void* /*of_earlier*/) try {
    auto& memory = *reinterpret_cast<ngx_slab_pool_t*>(zone->shm.addr);
    for (const auto& [name, where] : *static_cast<const bound*>(zone->data)) {
        ngx_shmtx_lock(&memory.mutex);
        counted_host* host = host_in(memory, name);
        ngx_shmtx_unlock(&memory.mutex);
        if (host == nullptr) {
            ngx_log_error(NGX_LOG_WARN, zone->shm.log, 0, "reqauth_status: there is no room to count \"%V\" in", &name);
        } else {
            reqauth::server::count_into(where, host->counted);
        }
    }
    return NGX_OK;
} catch (const std::exception&) {
    return NGX_ERROR;
}

ngx_shm_zone_t* zone_of(ngx_conf_t& configuration) {
    constexpr std::size_t size = 4U << 20U; // for some 2,000 server {}
    ngx_str_t name = ngx_string("reqauth_counters");
    ngx_shm_zone_t* zone = ngx_shared_memory_add(&configuration, &name, size, &ngx_http_reqauth_module);
    if (zone == nullptr || zone->data != nullptr) return zone;
    ngx_pool_cleanup_t* end = ngx_pool_cleanup_add(configuration.pool, 0);
    if (end == nullptr) return nullptr;
    end->data = zone->data = new bound;
    end->handler = [](void* all) { delete static_cast<bound*>(all); };
    zone->init = begin_counting;
    return zone;
}

ngx_int_t show(ngx_http_request_t* request) try {
    if ((request->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) == 0) return NGX_HTTP_NOT_ALLOWED;
    if (const ngx_int_t discarded = ngx_http_discard_request_body(request); discarded != NGX_OK) return discarded;
    const auto* location =
        static_cast<location_settings*>(ngx_http_get_module_loc_conf(request, ngx_http_reqauth_module));
    const auto& memory = *reinterpret_cast<const ngx_slab_pool_t*>(location->counters->shm.addr);
    std::vector<reqauth_settings::one_server> servers;
    for (auto* each = static_cast<counted_host*>(memory.data); each != nullptr; each = each->next)
        servers.push_back(
            {{reinterpret_cast<const char*>(each->name), each->size}, reqauth::server::counted_in(each->counted)});
    const std::string text = metrics(servers);

    ngx_buf_t* buffer = ngx_create_temp_buf(request->pool, text.size());
    if (buffer == nullptr) return NGX_HTTP_INTERNAL_SERVER_ERROR;
    buffer->last = ngx_cpymem(buffer->last, text.data(), text.size());
    buffer->last_buf = request == request->main ? 1 : 0;
    buffer->last_in_chain = 1;
    request->headers_out.status = NGX_HTTP_OK;
    request->headers_out.content_length_n = static_cast<off_t>(text.size());
    request->headers_out.content_type = ngx_string(metrics_type);
    request->headers_out.content_type_len = request->headers_out.content_type.len;
    const ngx_int_t sent = ngx_http_send_header(request);
    if (sent == NGX_ERROR || sent > NGX_OK || request->header_only != 0) return sent;
    ngx_chain_t out{buffer, nullptr};
    return ngx_http_output_filter(request, &out);
} catch (const std::exception&) {
    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}

} // namespace

char* take_status(ngx_conf_t* configuration, ngx_command_t* /*command*/, void* into) try {
    auto& own = *static_cast<location_settings*>(into);
    if (own.counters != nullptr) return const_cast<char*>("is duplicate");
    own.counters = zone_of(*configuration);
    if (own.counters == nullptr) return static_cast<char*>(NGX_CONF_ERROR);
    static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(configuration, ngx_http_core_module))
        ->handler = show;
    return NGX_CONF_OK;
} catch (const std::exception&) {
    return static_cast<char*>(NGX_CONF_ERROR);
}

void count(ngx_conf_t& configuration, const ngx_str_t& name, reqauth::attachment where) {
    ngx_shm_zone_t* zone = zone_of(configuration);
    if (zone == nullptr) throw std::bad_alloc();
    static_cast<bound*>(zone->data)->emplace_back(name, std::move(where));
}

} // namespace reqauth_nginx
