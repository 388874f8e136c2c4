// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"
#include "settings.hpp"

#include <reqauth/error.hpp>

#include <openssl/err.h>

#include <memory>
#include <string_view>

namespace reqauth_apache {

namespace {

// The last one counts, as for mod_ssl. What stands in <If> and the like at this level is not of a server.
const ap_directive_t* last_among(const ap_directive_t* first, const char* name) {
    const ap_directive_t* found = nullptr;
    for (const ap_directive_t* each = first; each != nullptr; each = each->next)
        if (ap_cstr_casecmp(each->directive, name) == 0) found = each;
    return found;
}

const ap_directive_t* virtual_host(const server_rec* server) {
    if (server->is_virtual == 0) return nullptr;
    for (const ap_directive_t* each = ap_conftree; each != nullptr; each = each->next)
        if (ap_cstr_casecmp(each->directive, "<VirtualHost") == 0 && server->defn_name != nullptr &&
            std::string_view(each->filename) == server->defn_name &&
            each->line_num == static_cast<int>(server->defn_line_number))
            return each;
    return nullptr;
}

// A directive of mod_ssl, as it holds for `server`: its own, or the main server's.
const ap_directive_t* directive_for(const server_rec* server, const char* name) {
    const ap_directive_t* host = virtual_host(server);
    const ap_directive_t* own = host != nullptr ? last_among(host->first_child, name) : nullptr;
    return own != nullptr ? own : last_among(ap_conftree, name);
}

std::string first_word(apr_pool_t* pool, const ap_directive_t* directive) {
    if (directive == nullptr) return "";
    const char* rest = directive->args;
    return ap_getword_conf(pool, &rest);
}

// As mod_ssl reads the words of SSLProtocol.
bool allows_tls13(apr_pool_t* pool, const ap_directive_t* protocols) {
    if (protocols == nullptr) return true;
    bool allowed = false;
    const char* rest = protocols->args;
    while (*rest != '\0') {
        std::string_view word = ap_getword_conf(pool, &rest);
        const char action = !word.empty() && (word[0] == '+' || word[0] == '-') ? word[0] : '\0';
        if (action != '\0') word.remove_prefix(1);
        const bool has_it = ap_cstr_casecmp(word.data(), "all") == 0 || ap_cstr_casecmp(word.data(), "TLSv1.3") == 0;
        if (action == '\0')
            allowed = has_it;
        else if (has_it)
            allowed = action == '+';
    }
    return allowed;
}

std::string where_is(const ap_directive_t* directive) {
    return std::string(directive->filename) + ':' + std::to_string(directive->line_num);
}

bool has_tls(const server_rec* server) {
    const std::string engine = first_word(server->process->pconf, directive_for(server, "SSLEngine"));
    return !engine.empty() && ap_cstr_casecmp(engine.c_str(), "off") != 0;
}

} // namespace

void find_tls13(const server_rec* server, const std::string& instead) {
    const ap_directive_t* const protocols = directive_for(server, "SSLProtocol");
    if (has_tls(server) && !allows_tls13(server->process->pconf, protocols))
        throw reqauth::error(reqauth::errc::unsuitable_context,
                             "SSLProtocol (" + where_is(protocols) + ") leaves out TLSv1.3, which the flag needs",
                             "add TLSv1.3 there, or " + instead);
}

void rehearse(const server_rec* server, const server_rec* main) {
    if (!has_tls(server)) return;
    apr_pool_t* const pool = server->process->pconf;
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> scratch(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
    if (scratch == nullptr) throw reqauth::error(reqauth::errc::openssl, "an SSL_CTX cannot be made");
    const std::string customers = first_word(pool, directive_for(server, "SSLCACertificateFile"));
    // Where it cannot be read mod_ssl says so.
    if (!customers.empty()) SSL_CTX_load_verify_file(scratch.get(), ap_server_root_relative(pool, customers.c_str()));
    ERR_clear_error();

    reqauth::server_options options = options_of(settings_of(main).all);
    options.certificate_is_chosen_by_callback = true; // it has none
    const settings& own = settings_of(server);
    const reqauth::attachment attached = reqauth::server(std::move(options)).attach(*scratch, *own.policy);
    if (!is_first_reading()) return; // attach says it later
    for (const std::string& warning : attached.warnings)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server, "ReqAuth on (%s): %s", to_string(own.on().where).c_str(),
                     in_words(warning, spelled).c_str());

    const ap_directive_t* const asked = directive_for(server, "SSLVerifyClient");
    if (ap_cstr_casecmp(first_word(pool, asked).c_str(), "require") == 0 && !own.policy->beside_required)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "ReqAuth on (%s): SSLVerifyClient require (%s) asks everybody here, so the flag is ignored. "
                     "ReqAuthBesideRequired on lets agents in beside",
                     to_string(own.on().where).c_str(), where_is(asked).c_str());
}

} // namespace reqauth_apache
