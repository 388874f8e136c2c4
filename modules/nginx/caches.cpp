// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

// A cache gives an answer to whoever asks with the same key. Where the key does not tell agents from others, an agent's
// answer goes to people; and Vary does not help, since nginx compares the fields that the client sent. nginx's modules
// keep what their directives say to themselves. So those are noted while the configuration is read, each by a function
// that stands before the module's own one for that time; and inherited as nginx inherits them.

namespace reqauth_nginx {

namespace {

constexpr std::array<std::string_view, cache_count> names = {"proxy", "fastcgi", "uwsgi", "scgi"};

/// borrowed is a directive of another module whose function is replaced for now.
struct borrowed {
    ngx_command_t* directive;
    char* (*own)(ngx_conf_t*, ngx_command_t*, void*);
    std::size_t cache;
    std::string_view what; ///< "pass", "cache", "cache_key", "no_cache"
};

std::vector<borrowed> all_borrowed; // nginx reads its configuration in one thread

void give_back(void* /*data*/) {
    for (const borrowed& each : all_borrowed) each.directive->set = each.own;
    all_borrowed.clear();
}

std::string_view view_of(const ngx_str_t& text) { return {reinterpret_cast<const char*>(text.data), text.len}; }

/// tells_agents says whether a directive's arguments have a variable that is for each agent something, and another thing
/// than for anybody who is none. Names are not: they can be empty.
bool tells_agents(const ngx_array_t& arguments) {
    const auto* values = static_cast<const ngx_str_t*>(arguments.elts);
    for (ngx_uint_t each = 1; each < arguments.nelts; ++each)
        for (const std::string_view variable :
             {"$reqauth_fingerprint", "${reqauth_fingerprint}", "$reqauth_verify", "${reqauth_verify}"})
            if (view_of(values[each]).find(variable) != std::string_view::npos) return true;
    return false;
}

char* note(ngx_conf_t* configuration, ngx_command_t* directive, void* settings) {
    const auto there = std::find_if(all_borrowed.begin(), all_borrowed.end(),
                                    [&](const borrowed& each) { return each.directive == directive; });
    char* const said = there->own(configuration, directive, settings);
    if (said != NGX_CONF_OK) return said;
    auto* const location = static_cast<location_settings*>(
        static_cast<ngx_http_conf_ctx_t*>(configuration->ctx)->loc_conf[ngx_http_reqauth_module.ctx_index]);
    cache_settings& cache = location->caches[there->cache];
    const ngx_array_t& arguments = *configuration->args;
    if (there->what == "pass") cache.passes = 1;
    if (there->what == "cache_key") cache.keyed = tells_agents(arguments) ? 1 : 0;
    if (there->what == "no_cache") cache.left_out = tells_agents(arguments) || cache.left_out == 1 ? 1 : 0;
    if (there->what == "cache") {
        cache.kept = view_of(static_cast<const ngx_str_t*>(arguments.elts)[1]) != "off" ? 1 : 0;
        auto* const at = static_cast<cache_place*>(ngx_pcalloc(configuration->pool, sizeof(cache_place)));
        if (at == nullptr) return static_cast<char*>(NGX_CONF_ERROR);
        if (configuration->conf_file != nullptr)
            at->at = {configuration->conf_file->file.name, configuration->conf_file->line};
        cache.place = at;
    }
    return said;
}

} // namespace

ngx_int_t watch_caches(ngx_conf_t* configuration) try {
    give_back(nullptr);
    // If the configuration does not load, nothing else gives them back.
    ngx_pool_cleanup_t* const at_end = ngx_pool_cleanup_add(configuration->pool, 0);
    if (at_end == nullptr) return NGX_ERROR;
    at_end->handler = give_back;
    for (ngx_uint_t each = 0; configuration->cycle->modules[each] != nullptr; ++each) {
        const ngx_module_t& module = *configuration->cycle->modules[each];
        if (module.type != NGX_HTTP_MODULE || module.commands == nullptr) continue;
        for (ngx_command_t* directive = module.commands; directive->name.len != 0; ++directive)
            for (std::size_t cache = 0; cache < names.size(); ++cache)
                for (const std::string_view what : {"pass", "cache", "cache_key", "no_cache"})
                    if (view_of(directive->name) == std::string(names[cache]) + '_' + std::string(what))
                        all_borrowed.push_back({directive, directive->set, cache, what});
    }
    for (const borrowed& each : all_borrowed) each.directive->set = note;
    return NGX_OK;
} catch (const std::exception&) {
    return NGX_ERROR;
}

ngx_int_t leave_caches(ngx_conf_t* /*configuration*/) {
    give_back(nullptr);
    return NGX_OK;
}

void* create_location_settings(ngx_conf_t* configuration) {
    auto* made = static_cast<location_settings*>(ngx_pcalloc(configuration->pool, sizeof(location_settings)));
    if (made == nullptr) return nullptr;
    for (cache_settings& cache : made->caches) cache.kept = cache.keyed = cache.left_out = NGX_CONF_UNSET;
    return made;
}

char* merge_location_settings(ngx_conf_t* configuration, void* above, void* own) {
    const auto* const server =
        static_cast<const server_settings*>(ngx_http_conf_get_module_srv_conf(configuration, ngx_http_reqauth_module));
    const auto* const ssl = static_cast<const ngx_http_ssl_srv_conf_t*>(
        ngx_http_conf_get_module_srv_conf(configuration, ngx_http_ssl_module));
    for (std::size_t each = 0; each < cache_count; ++each) {
        const cache_settings& outer = static_cast<const location_settings*>(above)->caches[each];
        cache_settings& cache = static_cast<location_settings*>(own)->caches[each];
        if (cache.place == nullptr) cache.place = outer.place;
        ngx_conf_merge_value(cache.kept, outer.kept, 0);
        ngx_conf_merge_value(cache.keyed, outer.keyed, 0);
        ngx_conf_merge_value(cache.left_out, outer.left_out, 0);
        const bool agents_come = server->all->on && ssl->ssl.ctx != nullptr;
        if (!agents_come || cache.passes == 0 || cache.kept == 0 || cache.keyed == 1 || cache.left_out == 1 ||
            cache.place->warned)
            continue;
        cache.place->warned = true;
        const char* const name = names[each].data();
        ngx_log_error(NGX_LOG_WARN, configuration->log, 0,
                      "reqauth: %s_cache gives agents' answers to whoever asks for the same: add $reqauth_fingerprint "
                      "to %s_cache_key, or say %s_no_cache and %s_cache_bypass $reqauth_fingerprint in %V:%ui",
                      name, name, name, name, &cache.place->at.file, cache.place->at.line);
    }
    return NGX_CONF_OK;
}

} // namespace reqauth_nginx
