// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <reqauth/error.hpp>

#include <stdexcept>

namespace reqauth_apache {

namespace {

reqauth::server_policy made_of(const settings& from) {
    if (from.all.trusts_inbound)
        throw reqauth::error(reqauth::errc::contradiction,
                             "ReqAuthDangerTrustInboundFields on (" + to_string(from.said[of("trusts_inbound")].where) +
                                 ") is for a virtual host where a proxy tells of agents",
                             "say ReqAuth off there");
    try {
        return policy_of(from.all, load(from.all, from.anchors)); // the module tells mod_ssl who is an agent
    } catch (const wrong& failed) {
        const given& said = from.said[failed.setting];
        throw std::runtime_error(spelled(failed.setting) +
                                 (said.server != nullptr ? " (" + to_string(said.where) + ")" : "") + ": " +
                                 in_words(failed, spelled));
    }
}

int say_wrong(const server_rec* server, const settings& own, const char* what) {
    const bool is_named = server->is_virtual != 0 && server->server_hostname != nullptr;
    const given& agents = own.said[of("agents")];
    const std::string anchors = agents.server != nullptr ? ", with the CAs of " + to_string(agents.where) : "";
    const std::size_t cause = own.all.on ? of("on") : of("counts");
    ap_log_error(APLOG_MARK, APLOG_EMERG, 0, server, "%s on (%s)%s, for %s: %s", spelled(cause),
                 to_string(own.said[cause].where).c_str(), anchors.c_str(),
                 is_named ? server->server_hostname : "the main server", what);
    return HTTP_INTERNAL_SERVER_ERROR;
}

} // namespace

std::string words_of(const std::exception& failed) {
    const auto* ours = dynamic_cast<const reqauth::error*>(&failed);
    return ours != nullptr ? in_words(*ours, spelled) : failed.what();
}

std::string to_string(const place& where) { return where.file + ':' + std::to_string(where.line); }

void* create_settings(apr_pool_t* pool, server_rec*) { return make<settings>(pool); }

void* merge_settings(apr_pool_t* pool, void* base, void* over) {
    const auto& own = *static_cast<const settings*>(over);
    auto* const merged = make<settings>(pool, *static_cast<const settings*>(base));
    for (std::size_t row = 0; row < own.said.size(); ++row) {
        if (own.said[row].server == nullptr) continue;
        set(merged->all, row, said(own.all, row));
        merged->said[row] = own.said[row];
    }
    if (own.anchors) merged->anchors = own.anchors;
    for (const field& each : own.fields) merged->set(each);
    return merged;
}

void* create_place_settings(apr_pool_t* pool, char*) { return make<place_settings>(pool); }

void* merge_place_settings(apr_pool_t* pool, void* base, void* over) {
    const auto* const own = static_cast<const place_settings*>(over);
    return make<place_settings>(pool, *(own->requires_customer ? own : static_cast<const place_settings*>(base)));
}

bool requires_customer(const request_rec* r) noexcept {
    const auto* const place =
        static_cast<const place_settings*>(ap_get_module_config(r->per_dir_config, &reqauth_module));
    return place->requires_customer.value_or(false);
}

void settings::set(const field& wanted) {
    std::erase_if(fields,
                  [&](const field& each) { return ap_cstr_casecmp(each.name.c_str(), wanted.name.c_str()) == 0; });
    fields.push_back(wanted);
}

settings& settings_of(const server_rec* server) {
    return *static_cast<settings*>(ap_get_module_config(server->module_config, &reqauth_module));
}

int check_config(apr_pool_t*, apr_pool_t*, apr_pool_t*, server_rec* main) noexcept {
    return fenced(HTTP_INTERNAL_SERVER_ERROR, [&]() -> int {
        own_fields(main);
        const settings* first = nullptr;
        for (server_rec* each = main; each != nullptr; each = each->next) {
            settings& own = settings_of(each);
            if (!own.all.on && !own.all.counts) continue;
            if (first == nullptr || !first->all.on) first = &own;
            if (!own.all.on) continue;
            try {
                if (ap_find_linked_module("mod_ssl.c") == nullptr)
                    throw reqauth::error(reqauth::errc::contradiction, "mod_ssl is not loaded: load it (a2enmod ssl)");
                own.policy = made_of(own);
                find_tls13(each, "set ReqAuth off for this virtual host");
                rehearse(each, main);
            } catch (const std::exception& failed) {
                return say_wrong(each, own, words_of(failed).c_str());
            }
        }
        for (server_rec* each = main; each != nullptr && first != nullptr; each = each->next) {
            if (settings_of(each).policy) continue;
            try {
                find_tls13(each,
                           "set ReqAuth and ReqAuthCount off for all: a connection can move between virtual hosts");
            } catch (const std::exception& failed) {
                return say_wrong(each, *first, words_of(failed).c_str());
            }
        }
        return OK;
    });
}

} // namespace reqauth_apache
