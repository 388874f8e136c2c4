// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

namespace reqauth_nginx {

namespace {

using setter = char* (*)(ngx_conf_t*, ngx_command_t*, void*);

ngx_conf_enum_t missing_values[] = {
    {ngx_string("continue"), missing_continues}, {ngx_string("fail"), missing_fails}, {ngx_null_string, 0}};
ngx_conf_enum_t invalid_values[] = {
    {ngx_string("fail"), invalid_fails}, {ngx_string("continue"), invalid_continues}, {ngx_null_string, 0}};
ngx_conf_enum_t misdirected_values[] = {
    {ngx_string("empty"), misdirected_is_empty}, {ngx_string("421"), misdirected_is_421}, {ngx_null_string, 0}};

char* refuse(ngx_conf_t* configuration, const char* what) {
    ngx_conf_log_error(NGX_LOG_EMERG, configuration, 0, "%s", what);
    return static_cast<char*>(NGX_CONF_ERROR);
}

char* check_age(ngx_conf_t* configuration, void* /*post*/, void* data) {
    constexpr time_t most = 7 * 24 * 3600;
    if (*static_cast<time_t*>(data) <= most) return NGX_CONF_OK;
    return refuse(configuration, "reqauth_session_age is more than the seven days that TLS 1.3 allows: say 7d or less");
}

/// bounds is what nginx calls with a number that it has read.
struct bounds {
    ngx_conf_post_handler_pt check;
    ngx_int_t most;
    const char* otherwise;
};

char* check_bounds(ngx_conf_t* configuration, void* post, void* data) {
    const auto* allowed = static_cast<bounds*>(post);
    return *static_cast<ngx_int_t*>(data) <= allowed->most ? NGX_CONF_OK : refuse(configuration, allowed->otherwise);
}

ngx_conf_post_t age_bounds = {check_age};
bounds depth_bounds = {check_bounds, 65535, "reqauth_verify_depth is more than 65535"};
bounds flag_bounds = {check_bounds, 2039, "reqauth_flag is a number from 0 to 2039"};
bounds extension_bounds = {check_bounds, 65535, "reqauth_extension is a number from 0 to 65535"};

/// at_place keeps where the directive stands, for errors that are found when all of the configuration is read.
template <setter set> char* at_place(ngx_conf_t* configuration, ngx_command_t* command, void* settings) {
    place& here = static_cast<server_settings*>(settings)->places[static_cast<std::size_t>(command - commands)];
    if (configuration->conf_file != nullptr)
        here = {configuration->conf_file->file.name, configuration->conf_file->line};
    return set(configuration, command, settings);
}

/// one makes the directive that sets `member`.
template <setter set>
constexpr ngx_command_t one(ngx_str_t name, ngx_uint_t takes, std::size_t member, void* post = nullptr) {
    return {name, NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | takes, at_place<set>, NGX_HTTP_SRV_CONF_OFFSET, member,
            post};
}

void inherit(place& own, const place& above) {
    if (own.line == 0) own = above;
}

} // namespace

ngx_command_t commands[] = {
    one<ngx_conf_set_flag_slot>(ngx_string("reqauth"), NGX_CONF_FLAG, offsetof(server_settings, enabled)),
    one<ngx_conf_set_str_slot>(ngx_string("reqauth_trusted_certificate"), NGX_CONF_TAKE1,
                               offsetof(server_settings, trusted_certificate)),
    one<ngx_conf_set_str_slot>(ngx_string("reqauth_crl"), NGX_CONF_TAKE1, offsetof(server_settings, crl)),
    one<ngx_conf_set_enum_slot>(ngx_string("reqauth_missing"), NGX_CONF_TAKE1, offsetof(server_settings, missing),
                                &missing_values),
    one<ngx_conf_set_enum_slot>(ngx_string("reqauth_invalid"), NGX_CONF_TAKE1, offsetof(server_settings, invalid),
                                &invalid_values),
    one<ngx_conf_set_flag_slot>(ngx_string("reqauth_ca_names"), NGX_CONF_FLAG, offsetof(server_settings, ca_names)),
    one<ngx_conf_set_num_slot>(ngx_string("reqauth_verify_depth"), NGX_CONF_TAKE1,
                               offsetof(server_settings, verify_depth), &depth_bounds),
    one<ngx_conf_set_sec_slot>(ngx_string("reqauth_session_age"), NGX_CONF_TAKE1,
                               offsetof(server_settings, session_age), &age_bounds),
    one<ngx_conf_set_num_slot>(ngx_string("reqauth_flag"), NGX_CONF_TAKE1, offsetof(server_settings, flag),
                               &flag_bounds),
    one<ngx_conf_set_num_slot>(ngx_string("reqauth_extension"), NGX_CONF_TAKE1, offsetof(server_settings, extension),
                               &extension_bounds),
    one<ngx_conf_set_flag_slot>(ngx_string("reqauth_beside_required"), NGX_CONF_FLAG,
                                offsetof(server_settings, beside_required)),
    one<ngx_conf_set_enum_slot>(ngx_string("reqauth_misdirected"), NGX_CONF_TAKE1,
                                offsetof(server_settings, misdirected), &misdirected_values),
    ngx_null_command,
};

void* create_settings(ngx_conf_t* configuration) {
    auto* made = static_cast<server_settings*>(ngx_pcalloc(configuration->pool, sizeof(server_settings)));
    if (made == nullptr) return nullptr;
    made->enabled = NGX_CONF_UNSET;
    made->missing = NGX_CONF_UNSET_UINT;
    made->invalid = NGX_CONF_UNSET_UINT;
    made->ca_names = NGX_CONF_UNSET;
    made->verify_depth = NGX_CONF_UNSET;
    made->session_age = NGX_CONF_UNSET;
    made->flag = NGX_CONF_UNSET;
    made->extension = NGX_CONF_UNSET;
    made->beside_required = NGX_CONF_UNSET;
    made->misdirected = NGX_CONF_UNSET_UINT;
    return made;
}

char* merge_settings(ngx_conf_t* /*configuration*/, void* http, void* server) {
    auto* above = static_cast<server_settings*>(http);
    auto* own = static_cast<server_settings*>(server);
    ngx_conf_merge_value(own->enabled, above->enabled, 0);
    ngx_conf_merge_str_value(own->trusted_certificate, above->trusted_certificate, "");
    ngx_conf_merge_str_value(own->crl, above->crl, "");
    ngx_conf_merge_uint_value(own->missing, above->missing, missing_continues);
    ngx_conf_merge_uint_value(own->invalid, above->invalid, invalid_fails);
    ngx_conf_merge_value(own->ca_names, above->ca_names, 1);
    ngx_conf_merge_value(own->verify_depth, above->verify_depth, -1);
    ngx_conf_merge_sec_value(own->session_age, above->session_age, 3600);
    ngx_conf_merge_value(own->flag, above->flag, 80);
    ngx_conf_merge_value(own->extension, above->extension, 62);
    ngx_conf_merge_value(own->beside_required, above->beside_required, 0);
    ngx_conf_merge_uint_value(own->misdirected, above->misdirected, misdirected_is_empty);
    for (std::size_t each = 0; each < own->places.size(); ++each) inherit(own->places[each], above->places[each]);
    return NGX_CONF_OK;
}

} // namespace reqauth_nginx
