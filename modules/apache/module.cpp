// SPDX-License-Identifier: Apache-2.0
#include "customers.hpp"
#include "fields.hpp"
#include "request.hpp"
#include "server.hpp"
#include "settings.hpp"
#include "status.hpp"

namespace {

using namespace reqauth_apache;

constexpr auto right_above_mod_ssl = static_cast<ap_filter_type>(AP_FTYPE_CONNECTION + 4);

void register_hooks(apr_pool_t* pool) {
    static const char* const mod_ssl[] = {"mod_ssl.c", nullptr};

    ap_hook_pre_config(before_lookups, nullptr, mod_ssl, APR_HOOK_MIDDLE);
    ap_hook_pre_config(replace_lookups, mod_ssl, nullptr, APR_HOOK_MIDDLE);
    ap_hook_check_config(check_config, nullptr, nullptr, APR_HOOK_MIDDLE);
    ap_hook_post_config(begin, nullptr, mod_ssl, APR_HOOK_MIDDLE);
    ap_hook_post_config(look_back, mod_ssl, nullptr, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ssl, init_server, attach, nullptr, nullptr, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, prepare, nullptr, nullptr, APR_HOOK_MIDDLE);
    ap_register_input_filter("REQAUTH", settle_filter, nullptr, right_above_mod_ssl);

    ap_hook_handler(show_status, nullptr, nullptr, APR_HOOK_MIDDLE);
    register_trailers_filter();
    ap_hook_post_read_request(introduce, nullptr, nullptr, APR_HOOK_REALLY_FIRST);
    ap_hook_expr_lookup(look_up_expression, nullptr, nullptr, APR_HOOK_FIRST);
    ap_hook_expr_lookup(look_up_customer, nullptr, nullptr, APR_HOOK_FIRST);
    register_require(pool);

    ap_hook_check_access(before_access, nullptr, mod_ssl, APR_HOOK_MIDDLE, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_check_access(after_access, mod_ssl, nullptr, APR_HOOK_MIDDLE, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_check_authn(before_users, nullptr, mod_ssl, APR_HOOK_FIRST, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_check_authn(after_users, mod_ssl, nullptr, APR_HOOK_FIRST, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_fixups(clean_environment, mod_ssl, nullptr, APR_HOOK_MIDDLE);
    ap_hook_fixups(keep_from_caches, nullptr, nullptr, APR_HOOK_REALLY_LAST);
}

} // namespace

// "module" alone begins a C++20 module to clang.
// NOLINTNEXTLINE(cppcoreguidelines-interfaces-global-init): the compiler makes both
module_struct reqauth_module = {STANDARD20_MODULE_STUFF,
                                reqauth_apache::create_place_settings,
                                reqauth_apache::merge_place_settings,
                                reqauth_apache::create_settings,
                                reqauth_apache::merge_settings,
                                reqauth_apache::commands,
                                register_hooks,
                                0};
