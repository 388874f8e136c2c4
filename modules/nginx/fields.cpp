// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

namespace reqauth_nginx {

// proxy_set_header replaces the field of that very name. By default nginx drops those whose names have more than letters,
// digits and hyphens, and so Client_Cert never comes through.
ngx_int_t warn_of_spellings(ngx_conf_t* configuration) {
    const auto* const main = static_cast<ngx_http_core_main_conf_t*>(
        ngx_http_conf_get_module_main_conf(configuration, ngx_http_core_module));
    auto* const* const servers = static_cast<ngx_http_core_srv_conf_t**>(main->servers.elts);
    bool on = false;
    const ngx_http_core_srv_conf_t* lax = nullptr;
    for (ngx_uint_t each = 0; each < main->servers.nelts; ++each) {
        void** const settings = servers[each]->ctx->srv_conf;
        on = on || static_cast<server_settings*>(settings[ngx_http_reqauth_module.ctx_index])->all->on;
        const auto* const core = static_cast<ngx_http_core_srv_conf_t*>(settings[ngx_http_core_module.ctx_index]);
        if (lax == nullptr && (core->underscores_in_headers != 0 || core->ignore_invalid_headers == 0)) lax = core;
    }
    if (!on || lax == nullptr) return NGX_OK;
    ngx_log_error(
        NGX_LOG_WARN, configuration->log, 0,
        "reqauth: %s lets fields like Client_Cert through, which many applications take for Client-Cert, and which "
        "proxy_set_header does not replace: leave it out in %s:%ui",
        lax->underscores_in_headers != 0 ? "underscores_in_headers on" : "ignore_invalid_headers off", lax->file_name,
        lax->line);
    return NGX_OK;
}

} // namespace reqauth_nginx
