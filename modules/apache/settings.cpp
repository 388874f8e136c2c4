// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <reqauth/error.hpp>

namespace reqauth_apache {

namespace {

template <class Type> void override_by(given<Type>& base, const given<Type>& over) {
    if (over.value) base = over;
}

reqauth::server_policy policy_of(const settings& from) {
    if (from.trusts_inbound.value_or(false))
        throw reqauth::error(reqauth::errc::contradiction,
                             "ReqAuthDangerTrustInboundFields on (" + to_string(from.trusts_inbound.where) +
                                 ") is for a virtual host where a proxy tells of agents",
                             "say ReqAuth off there");
    if (!from.anchors.value)
        throw reqauth::error(reqauth::errc::contradiction, "no CA is given for agents",
                             "write ReqAuthCACertificateFile or ReqAuthCACertificatePath");
    reqauth::trust agents = *from.anchors.value;
    try {
        if (from.revocation.value) agents = agents.with_crls_from_file(*from.revocation.value);
    } catch (const reqauth::error& failed) {
        throw reqauth::error(failed.code(),
                             "ReqAuthCARevocationFile (" + to_string(from.revocation.where) + "): " + failed.cause(),
                             failed.remedy(), failed.rule());
    }
    if (from.depth.value) agents = agents.with_depth(*from.depth.value);

    reqauth::server_policy policy;
    policy.when_offered = from.missing_fails.value_or(false) ? reqauth::client_auth::require(agents)
                                                             : reqauth::client_auth::request(agents);
    if (from.invalid_continues.value_or(false)) {
        if (from.missing_fails.value_or(false))
            throw reqauth::error(reqauth::errc::contradiction,
                                 "ReqAuthMissing fail (" + to_string(from.missing_fails.where) +
                                     ") and ReqAuthInvalid continue (" + to_string(from.invalid_continues.where) +
                                     ") would let in a client with a bad certificate and turn away one without",
                                 "take one of them out");
        policy.when_offered = policy.when_offered.invalid_is_anonymous();
    }
    policy.ca_names = from.ca_names.value_or(true);
    policy.beside_customers = true; // the module tells mod_ssl who is an agent
    policy.beside_required = from.beside_required.value_or(false);
    return policy;
}

int say_wrong(const server_rec* server, const settings& own, const char* what) {
    const bool is_named = server->is_virtual != 0 && server->server_hostname != nullptr;
    const std::string anchors = own.anchors.value ? ", with the CAs of " + to_string(own.anchors.where) : "";
    ap_log_error(APLOG_MARK, APLOG_EMERG, 0, server, "ReqAuth on (%s)%s, for %s: %s", to_string(own.on.where).c_str(),
                 anchors.c_str(), is_named ? server->server_hostname : "the main server", what);
    return HTTP_INTERNAL_SERVER_ERROR;
}

} // namespace

std::string to_string(const place& where) { return where.file + ':' + std::to_string(where.line); }

void* create_settings(apr_pool_t* pool, server_rec*) { return make<settings>(pool); }

void* merge_settings(apr_pool_t* pool, void* base, void* over) {
    const auto& own = *static_cast<const settings*>(over);
    auto* const merged = make<settings>(pool, *static_cast<const settings*>(base));
    override_by(merged->on, own.on);
    override_by(merged->anchors, own.anchors);
    override_by(merged->revocation, own.revocation);
    override_by(merged->missing_fails, own.missing_fails);
    override_by(merged->invalid_continues, own.invalid_continues);
    override_by(merged->ca_names, own.ca_names);
    override_by(merged->depth, own.depth);
    override_by(merged->beside_required, own.beside_required);
    override_by(merged->misdirected_is_421, own.misdirected_is_421);
    for (const field& each : own.fields) merged->set(each);
    override_by(merged->trusts_inbound, own.trusts_inbound);
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

reqauth::server_options options_of(const server_rec* main) {
    const settings& from = settings_of(main);
    reqauth::server_options options;
    if (from.session_age.value) options.max_session_age = *from.session_age.value;
    if (from.flag.value) options.flag = *from.flag.value;
    if (from.extension.value) options.extension = *from.extension.value;
    return options;
}

int check_config(apr_pool_t*, apr_pool_t*, apr_pool_t*, server_rec* main) noexcept {
    own_fields(main);
    const settings* first = nullptr;
    for (server_rec* each = main; each != nullptr; each = each->next) {
        settings& own = settings_of(each);
        if (!own.on.value_or(false)) continue;
        if (first == nullptr) first = &own;
        try {
            if (ap_find_linked_module("mod_ssl.c") == nullptr)
                throw reqauth::error(reqauth::errc::contradiction, "mod_ssl is not loaded: load it (a2enmod ssl)");
            own.policy = policy_of(own);
            find_tls13(each, "set ReqAuth off for this virtual host");
            rehearse(each, main);
        } catch (const std::exception& failed) {
            return say_wrong(each, own, failed.what());
        }
    }
    for (server_rec* each = main; each != nullptr && first != nullptr; each = each->next) {
        if (settings_of(each).policy) continue;
        try {
            find_tls13(each, "set ReqAuth off for all: a connection can move between virtual hosts");
        } catch (const std::exception& failed) {
            return say_wrong(each, *first, failed.what());
        }
    }
    return OK;
}

} // namespace reqauth_apache
