// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include "settings.hpp"
#include "status.hpp"

#include <reqauth/error.hpp>

#include <map>

namespace reqauth_apache {

namespace {

struct generation {
    reqauth::server listener;
    std::map<const server_rec*, int> attached = {}; ///< with the verify mode of its SSL_CTX
};

// Of the configuration that is in force. Written while Apache reads its configuration, in one thread.
generation* current = nullptr;

int context_index() noexcept {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

} // namespace

bool is_first_reading() noexcept { return ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG; }

int begin(apr_pool_t* pool, apr_pool_t*, apr_pool_t*, server_rec* main) noexcept {
    return fenced(HTTP_INTERNAL_SERVER_ERROR, [&] {
        current = nullptr;
        bool on = false;
        for (const server_rec* each = main; each != nullptr; each = each->next)
            on = on || settings_of(each).policy || settings_of(each).all.counts;
        if (!on) return OK;
        current = make<generation>(pool, reqauth::server(options_of(settings_of(main).all)));
        const auto forget = [](void* ended) -> apr_status_t {
            if (current == ended) current = nullptr;
            return APR_SUCCESS;
        };
        apr_pool_cleanup_register(pool, current, forget, apr_pool_cleanup_null);
        return OK;
    });
}

int attach(server_rec* server, apr_pool_t*, int is_proxy, SSL_CTX* context) noexcept {
    if (is_proxy != 0 || current == nullptr) return OK;
    const settings& own = settings_of(server);
    try {
        if (SSL_CTX_set_ex_data(context, context_index(), server) != 1)
            throw reqauth::error(reqauth::errc::openssl, "an SSL_CTX takes no data");
        const reqauth::attachment attached =
            current->listener.attach(*context, own.policy.value_or(reqauth::server_policy()));
        current->attached[server] = SSL_CTX_get_verify_mode(context);
        count(server, attached);
        if (!is_first_reading())
            for (const std::string& warning : attached.warnings)
                ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server, "ReqAuth on (%s): %s",
                             to_string(own.on().where).c_str(), in_words(warning, spelled).c_str());
        return OK;
    } catch (const std::exception& failed) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, server, "%s: %s",
                     own.on().server != nullptr
                         ? ("ReqAuth (" + to_string(own.on().where) + ")").c_str()
                         : "ReqAuth is on for another virtual host, and each needs its extension",
                     words_of(failed).c_str());
        return APR_EGENERAL;
    }
}

int look_back(apr_pool_t*, apr_pool_t*, apr_pool_t*, server_rec* main) noexcept {
    return fenced(HTTP_INTERNAL_SERVER_ERROR, [&] {
        if (current == nullptr || is_first_reading()) return OK;
        for (const server_rec* each = main; each != nullptr; each = each->next) {
            const settings& own = settings_of(each);
            // One that inherits it, as for port 80, was not meant.
            if (own.policy && own.on().server == each && current->attached.empty())
                ap_log_error(APLOG_MARK, APLOG_WARNING, 0, each,
                             "ReqAuth on (%s) has no effect: no virtual host has SSLEngine on",
                             to_string(own.on().where).c_str());
            else if (own.policy && own.on().server == each && each->is_virtual != 0 &&
                     current->attached.count(each) == 0)
                ap_log_error(APLOG_MARK, APLOG_WARNING, 0, each,
                             "ReqAuth on (%s) has no effect: SSLEngine is not on for this virtual host",
                             to_string(own.on().where).c_str());
        }
        return OK;
    });
}

server_rec* server_of(const SSL* ssl) noexcept {
    return static_cast<server_rec*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), context_index()));
}

bool requires_customer(const server_rec* server) noexcept {
    if (current == nullptr) return false;
    const auto there = current->attached.find(server);
    return there != current->attached.end() && (there->second & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0;
}

bool is_at_work() noexcept { return current != nullptr; }

} // namespace reqauth_apache
