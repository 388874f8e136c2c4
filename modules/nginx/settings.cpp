// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <new>

namespace reqauth_nginx {

namespace {

// What a directive says, in the words of the table: nginx has times like 5m, and files beside its configuration.
bool in_words(ngx_conf_t& configuration, ngx_str_t& said, std::size_t which) {
    if (std::holds_alternative<path>(table[which].kind))
        return ngx_conf_full_name(configuration.cycle, &said, 1) == NGX_OK;
    if (which != row("session_age")) return true;
    const ngx_int_t seconds = ngx_parse_time(&said, 1);
    if (seconds == NGX_ERROR) return true;
    auto* digits = static_cast<u_char*>(ngx_pnalloc(configuration.pool, NGX_INT64_LEN));
    if (digits == nullptr) return false;
    said = {static_cast<size_t>(ngx_sprintf(digits, "%i", seconds) - digits), digits};
    return true;
}

/// take sets what a directive says, and keeps where it stands for errors that are found when all of the configuration is
/// read.
char* take(ngx_conf_t* configuration, ngx_command_t* command, void* into) {
    auto& server = *static_cast<server_settings*>(into);
    const std::size_t row = command->offset;
    if (server.places[row].line != 0) return const_cast<char*>("is duplicate");
    ngx_str_t said = static_cast<ngx_str_t*>(configuration->args->elts)[1];
    if (!in_words(*configuration, said, row)) return static_cast<char*>(NGX_CONF_ERROR);
    try {
        set(*server.all, row, {reinterpret_cast<const char*>(said.data), said.len});
    } catch (const std::exception& failed) {
        ngx_conf_log_error(NGX_LOG_EMERG, configuration, 0, "%V %s", &command->name, failed.what());
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    if (configuration->conf_file != nullptr)
        server.places[row] = {configuration->conf_file->file.name, configuration->conf_file->line};
    return NGX_CONF_OK;
}

/// directive spells a row of the table.
constexpr ngx_command_t directive(ngx_str_t spelled, std::size_t row) {
    return {spelled, NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1, take, NGX_HTTP_SRV_CONF_OFFSET, row,
            nullptr};
}

} // namespace

// In any order.
ngx_command_t commands[] = {
    directive(ngx_string("reqauth"), row("on")),
    directive(ngx_string("reqauth_trusted_certificate"), row("agents")),
    directive(ngx_string("reqauth_crl"), row("crl")),
    directive(ngx_string("reqauth_purpose"), row("purpose")),
    directive(ngx_string("reqauth_admitted"), row("admitted")),
    directive(ngx_string("reqauth_missing"), row("missing")),
    directive(ngx_string("reqauth_invalid"), row("invalid")),
    directive(ngx_string("reqauth_unvouched"), row("unvouched")),
    directive(ngx_string("reqauth_ca_names"), row("ca_names")),
    directive(ngx_string("reqauth_verify_depth"), row("verify_depth")),
    directive(ngx_string("reqauth_session_age"), row("session_age")),
    directive(ngx_string("reqauth_flag"), row("flag")),
    directive(ngx_string("reqauth_extension"), row("extension")),
    directive(ngx_string("reqauth_beside_required"), row("beside_required")),
    directive(ngx_string("reqauth_cross_signed"), row("cross_signed")),
    directive(ngx_string("reqauth_misdirected"), row("misdirected")),
    directive(ngx_string("reqauth_count"), row("counts")),
    {ngx_string("reqauth_status"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, take_status, NGX_HTTP_LOC_CONF_OFFSET,
     std::size(table), nullptr},
    ngx_null_command,
};

const char* spelled(std::size_t row) {
    for (const ngx_command_t& each : commands)
        if (each.name.len != 0 && each.offset == row) return reinterpret_cast<const char*>(each.name.data);
    return "reqauth";
}

void* create_settings(ngx_conf_t* configuration) {
    auto* made = static_cast<server_settings*>(ngx_pcalloc(configuration->pool, sizeof(server_settings)));
    ngx_pool_cleanup_t* end = ngx_pool_cleanup_add(configuration->pool, 0);
    if (made == nullptr || end == nullptr) return nullptr;
    made->all = new (std::nothrow) settings;
    end->data = made->all;
    end->handler = [](void* all) { delete static_cast<settings*>(all); };
    return made->all != nullptr ? made : nullptr;
}

char* merge_settings(ngx_conf_t* /*configuration*/, void* http, void* server) try {
    const auto& above = *static_cast<server_settings*>(http);
    auto& own = *static_cast<server_settings*>(server);
    for (std::size_t row = 0; row < own.places.size(); ++row) {
        if (own.places[row].line != 0 || above.places[row].line == 0) continue;
        set(*own.all, row, said(*above.all, row));
        own.places[row] = above.places[row];
    }
    return NGX_CONF_OK;
} catch (const std::exception&) {
    return static_cast<char*>(NGX_CONF_ERROR);
}

} // namespace reqauth_nginx
