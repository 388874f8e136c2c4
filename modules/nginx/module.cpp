// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

namespace {

using namespace reqauth_nginx;

ngx_int_t before_reading(ngx_conf_t* configuration) {
    return add_variables(configuration) == NGX_OK ? watch_caches(configuration) : NGX_ERROR;
}

// All of the configuration is read, and nginx has made its SSL_CTXs.
ngx_int_t configuration_read(ngx_conf_t* configuration) {
    for (auto* step : {leave_caches, attach_all, hide_from_ssl_variables, add_refusals, warn_of_spellings})
        if (step(configuration) != NGX_OK) return NGX_ERROR;
    return NGX_OK;
}

ngx_http_module_t context = {
    before_reading,           configuration_read,      nullptr, nullptr, create_settings, merge_settings,
    create_location_settings, merge_location_settings,
};

} // namespace

extern "C" {

ngx_module_t ngx_http_reqauth_module = {
    NGX_MODULE_V1, &context, commands, NGX_HTTP_MODULE, nullptr, lead_streams,
    nullptr,       nullptr,  nullptr,  nullptr,         nullptr, NGX_MODULE_V1_PADDING,
};

// What nginx looks up in a module that it loads.
ngx_module_t* ngx_modules[] = {&ngx_http_reqauth_module, nullptr};
char* ngx_module_names[] = {const_cast<char*>("ngx_http_reqauth_module"), nullptr};
char* ngx_module_order[] = {nullptr};
}
