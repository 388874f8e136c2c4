// SPDX-License-Identifier: Apache-2.0
#include "status.hpp"

#include "settings/counters.hpp"

#include <apr_shm.h>

#include <algorithm>
#include <array>
#include <new>
#include <string>

namespace reqauth_apache {

namespace {

/// counted_host is a server name's counters.
struct counted_host { // NOLINT(cppcoreguidelines-pro-type-member-init): memory that is zero
    std::array<char, 256> name;
    reqauth::server_counters counted;
};

/// counted_hosts are in memory that all of Apache's processes share, from its start to its end: a restart leaves them.
struct counted_hosts { // NOLINT(cppcoreguidelines-pro-type-member-init): the same
    std::size_t size;
    std::array<counted_host, 1000> all;
};

constexpr const char* key = "reqauth counters";

counted_hosts* hosts_of(const process_rec* process) {
    void* found = nullptr;
    apr_pool_userdata_get(&found, key, process->pool);
    return static_cast<counted_hosts*>(found);
}

counted_hosts& made_for(const process_rec* process) {
    if (counted_hosts* there = hosts_of(process)) return *there;
    apr_shm_t* memory = nullptr; // without a file, and all zero
    if (apr_shm_create(&memory, sizeof(counted_hosts), nullptr, process->pool) != APR_SUCCESS) throw std::bad_alloc();
    auto* made = static_cast<counted_hosts*>(apr_shm_baseaddr_get(memory));
    apr_pool_userdata_setn(made, key, nullptr, process->pool);
    return *made;
}

} // namespace

void count(const server_rec* server, const reqauth::attachment& where) {
    counted_hosts& hosts = made_for(server->process);
    std::string name = server->server_hostname != nullptr ? server->server_hostname : "";
    name.resize(std::min(name.size(), hosts.all[0].name.size() - 1));
    std::size_t at = 0;
    while (at < hosts.size && name != hosts.all[at].name.data()) ++at;
    if (at == hosts.all.size()) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server, "reqauth-status: there is no room to count %s in",
                     name.c_str());
        return;
    }
    if (at == hosts.size) {
        std::ranges::copy(name, hosts.all[at].name.begin());
        ++hosts.size;
    }
    reqauth::server::count_into(where, hosts.all[at].counted);
}

int show_status(request_rec* r) noexcept {
    return fenced(HTTP_INTERNAL_SERVER_ERROR, [&] {
        if (r->handler == nullptr || std::strcmp(r->handler, "reqauth-status") != 0) return DECLINED;
        r->allowed = AP_METHOD_BIT << M_GET;
        if (r->method_number != M_GET) return HTTP_METHOD_NOT_ALLOWED;
        std::vector<reqauth_settings::one_server> servers;
        if (counted_hosts* hosts = hosts_of(r->server->process))
            for (std::size_t at = 0; at < hosts->size; ++at)
                servers.push_back({hosts->all[at].name.data(), reqauth::server::counted_in(hosts->all[at].counted)});
        const std::string text = reqauth_settings::metrics(servers);
        ap_set_content_type(r, reqauth_settings::metrics_type);
        ap_set_content_length(r, static_cast<apr_off_t>(text.size()));
        if (r->header_only == 0) ap_rwrite(text.data(), static_cast<int>(text.size()), r);
        return OK;
    });
}

} // namespace reqauth_apache
