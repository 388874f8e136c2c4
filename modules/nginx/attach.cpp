// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include "../agent_text.hpp"

#include <reqauth/error.hpp>
#include <reqauth/peer.hpp>
#include <reqauth/server.hpp>

#include <openssl/err.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace reqauth_nginx {

namespace {

/// wrong is an error of the configuration, and where its cause stands.
struct wrong {
    place at;
    std::string text;
};

std::string text_of(const ngx_str_t& text) { return {reinterpret_cast<const char*>(text.data), text.len}; }

std::string text_of(const place& at) { return text_of(at.file) + ":" + std::to_string(at.line); }

/// host is one server {} that has an SSL_CTX.
struct host {
    ngx_http_core_srv_conf_t* server;
    ngx_http_ssl_srv_conf_t* ssl;
    server_settings* settings;
    std::size_t group; ///< hosts that a handshake can switch between have the same

    /// at is where the directive of a row stands that counts here, or where the server {} does.
    [[nodiscard]] place at(std::size_t which) const {
        for (const std::size_t each : {which, row("on")})
            if (settings->places[each].line != 0) return settings->places[each];
        return begins();
    }
    [[nodiscard]] place begins() const {
        return {{std::strlen(reinterpret_cast<const char*>(server->file_name)), server->file_name}, server->line};
    }
};

int settings_index() {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

int names_index() {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

// Trust.

/// trust_files loads each set of files once, however many server {} inherit it.
class trust_files {
public:
    reqauth::trust of(const settings& all) {
        const auto key = std::tuple(all.agents, all.crl, all.admitted);
        const auto there = loaded_.find(key);
        return there != loaded_.end() ? there->second : loaded_.emplace(key, load(all)).first->second;
    }

private:
    std::map<std::tuple<std::string, std::string, std::string>, reqauth::trust> loaded_;
};

// Policies.

reqauth::server_policy policy_of(const host& one, trust_files& files) {
    reqauth::server_policy policy;
    const settings& all = *one.settings->all;
    try {
        if (all.on) policy = policy_of(all, files.of(all));
    } catch (const reqauth_settings::wrong& failed) {
        throw wrong{one.at(failed.setting),
                    std::string(spelled(failed.setting)) + ": " + reqauth_settings::in_words(failed, spelled)};
    }
    // Early data comes before anybody is authenticated, and nginx serves it at once.
    //= TLS-4
    policy.refuse_early_data = all.on;
    // nginx asks with SSL_VERIFY_PEER alone and refuses at the request, so the library cannot see that this host
    // requires a certificate of everyone.
    //= SEC-7
    if (one.ssl->verify == verify_on && !all.beside_required) policy.when_offered = reqauth::client_auth::none();
    return policy;
}

/// say_of_attach gives an error of attach in the words of nginx's directives.
wrong say_of_attach(const host& one, const reqauth::error& failed) {
    const std::string& cause = failed.cause();
    switch (failed.code()) {
    case reqauth::errc::shared_anchor:
        return {one.at(row("agents")),
                "reqauth_trusted_certificate: " + cause +
                    " (ssl_client_certificate, ssl_trusted_certificate); take it out of one of the two"};
    case reqauth::errc::extension_taken:
        return {one.at(row("extension")), "reqauth_extension: " + cause + "; another module has registered it"};
    case reqauth::errc::unequal_extensions:
        return {one.begins(),
                "this server {} shares an address with others that have another list of TLS extensions (" + cause +
                    "); let each listen with the same parameters, as quic"};
    case reqauth::errc::names_too_long:
        return {one.at(row("agents")), "reqauth_trusted_certificate: " + cause + "; say reqauth_ca_names off"};
    default: return {one.at(row("on")), "reqauth: " + reqauth_settings::in_words(failed, spelled)};
    }
}

/// warn writes a line once, however many server {} inherit what it is about.
void warn(const ngx_conf_t& configuration, std::set<std::string>& said, const std::string& text, const place& at) {
    const std::string line = text + " in " + text_of(at);
    if (said.insert(line).second) ngx_log_error(NGX_LOG_WARN, configuration.log, 0, "%s", line.c_str());
}

// The end of a handshake.

/// keep_names has nginx look for no server {} by Host on this connection: its requests are at the server {} of the
/// handshake until `judge` has looked. Without memory nginx looks, and answers 400 where customers are asked.
void keep_names(SSL& ssl, ngx_connection_t& connection, ngx_http_connection_t& http) {
    ngx_http_addr_conf_t* const there = http.addr_conf;
    auto* own = static_cast<ngx_http_addr_conf_t*>(ngx_palloc(connection.pool, sizeof(ngx_http_addr_conf_t)));
    if (own == nullptr || SSL_set_ex_data(&ssl, names_index(), there->virtual_names) != 1) return;
    *own = *there;
    own->virtual_names = nullptr;
    http.addr_conf = own;
    keep_for_streams(ssl, connection, http);
}

/// serve_as_agent has nginx serve an agent's connection by the server {} without its ssl_verify_client.
///
/// nginx asks SSL_get_verify_result before each request and answers 400 where it is not X509_V_OK, but only if the
/// server {} of the request has ssl_verify_client. Of an agent the result is 50, and stays so (SEC-8): what is changed is
/// which configuration the connection's requests begin with, a copy that differs in this one setting. So no
/// check of customers is weaker than it was. A Host that names another server {} leads to that one's own
/// configuration, where nginx answers 421 if it has ssl_verify_client.
///
/// On a connection without a server name nginx finds the server {} by Host alone, also the one where it is already, and
/// would lose the copy. There `judge` looks.
void serve_as_agent(SSL& ssl, const reqauth::peer& who, const server_settings& host) {
    if (!host.all->on || !reqauth::is_of_agent(ssl)) return;
    // Where everybody needs a certificate, only an agent comes in. It is asked again at each request.
    //= SEC-7
    if (host.ssl_verify_client == verify_on && !std::holds_alternative<reqauth::flagged_peer>(who)) return;
    auto* connection = static_cast<ngx_connection_t*>(SSL_get_ex_data(&ssl, ngx_ssl_connection_index));
    // After the handshake, data is no longer what it was in nginx's own servername callback.
    if (connection == nullptr || connection->ssl == nullptr || connection->ssl->handshaked) return;
    auto* http = static_cast<ngx_http_connection_t*>(connection->data);
    if (host.for_agents != nullptr && http->conf_ctx == host.as_configured) http->conf_ctx = host.for_agents;
    if (http->ssl_servername == nullptr) keep_names(ssl, *connection, *http);
}

/// log_refusal says why a handshake fails, and whose: nginx itself knows only that it does. It would log that at `crit`, as
/// it does with an error that is not on its list, and anybody can bring these about. So it finds one that is on its list in
/// their place, which it logs at `info`. What failed in this server by itself stays.
void log_refusal(const SSL& ssl, const reqauth::refusal& refused) {
    const auto* connection = static_cast<ngx_connection_t*>(SSL_get_ex_data(&ssl, ngx_ssl_connection_index));
    if (refused.received || !refused.accepted || connection == nullptr) return;
    ngx_log_error(NGX_LOG_ERR, connection->log, 0, "reqauth: %s",
                  reqauth_modules::refusal_of(ssl, reqauth::presented_of(ssl), refused.alert).c_str());
    if (refused.alert == SSL_AD_INTERNAL_ERROR && refused.verify_error == X509_V_OK) return;
    ERR_clear_error();
    ERR_raise_data(ERR_LIB_SSL, SSL_R_CALLBACK_FAILED, "reqauth has said why");
}

void observe(const SSL& ssl, const std::variant<reqauth::peer, reqauth::refusal>& what) {
    const server_settings* host = settings_of(&ssl);
    if (host == nullptr) return;
    if (const auto* refused = std::get_if<reqauth::refusal>(&what)) return log_refusal(ssl, *refused);
    serve_as_agent(const_cast<SSL&>(ssl), std::get<reqauth::peer>(what), *host); // NOLINT: nginx keeps its data on it
}

template <class Type> Type* copied(ngx_pool_t& pool, const Type* from, std::size_t count = 1) {
    auto* copy = static_cast<Type*>(ngx_palloc(&pool, count * sizeof(Type)));
    if (copy == nullptr) throw std::bad_alloc();
    std::memcpy(copy, from, count * sizeof(Type));
    return copy;
}

/// without_verify is the configuration of a server {} as it would be without ssl_verify_client.
ngx_http_conf_ctx_t* without_verify(ngx_pool_t& pool, const host& one) {
    auto* ssl = copied(pool, one.ssl);
    ssl->verify = 0;
    auto* context = copied(pool, one.server->ctx);
    context->srv_conf = copied(pool, context->srv_conf, ngx_http_max_module);
    context->srv_conf[ngx_http_ssl_module.ctx_index] = ssl;
    return context;
}

void watch(ngx_pool_t& pool, const host& one) {
    server_settings& settings = *one.settings;
    SSL_CTX* context = one.ssl->ssl.ctx;
    settings.as_configured = one.server->ctx;
    if (settings.all->on && one.ssl->verify != 0) settings.for_agents = without_verify(pool, one);
    if (settings_index() < 0 || names_index() < 0 || SSL_CTX_set_ex_data(context, settings_index(), &settings) != 1)
        throw std::bad_alloc();
}

// Hosts and groups.

std::vector<host> hosts_of(ngx_conf_t& configuration) {
    const auto* main = static_cast<ngx_http_core_main_conf_t*>(
        ngx_http_conf_get_module_main_conf((&configuration), ngx_http_core_module));
    const auto* http = static_cast<ngx_http_conf_ctx_t*>(configuration.ctx);
    const auto* above = static_cast<server_settings*>(http->srv_conf[ngx_http_reqauth_module.ctx_index]);
    auto** servers = static_cast<ngx_http_core_srv_conf_t**>(main->servers.elts);
    std::vector<host> hosts;
    for (ngx_uint_t each = 0; each < main->servers.nelts; ++each) {
        void** of_server = servers[each]->ctx->srv_conf;
        const host one{servers[each], static_cast<ngx_http_ssl_srv_conf_t*>(of_server[ngx_http_ssl_module.ctx_index]),
                       static_cast<server_settings*>(of_server[ngx_http_reqauth_module.ctx_index]), hosts.size()};
        one.settings->ssl_verify_client = one.ssl->verify;
        if (one.ssl->ssl.ctx != nullptr) {
            hosts.push_back(one);
        } else {
            const place& own = one.settings->places[row("on")];
            const place& from = above->places[row("on")];
            if (one.settings->all->on && (own.line != from.line || own.file.data != from.file.data))
                throw wrong{
                    own, "reqauth on in a server {} without TLS: add listen ... ssl and ssl_certificate, or remove it"};
        }
    }
    return hosts;
}

/// group_by_address gives the hosts of each listening address, and those that they share others with, one number.
void group_by_address(ngx_conf_t& configuration, std::vector<host>& hosts) {
    const auto* main = static_cast<ngx_http_core_main_conf_t*>(
        ngx_http_conf_get_module_main_conf((&configuration), ngx_http_core_module));
    if (main->ports == nullptr) return;
    const auto* ports = static_cast<ngx_http_conf_port_t*>(main->ports->elts);
    for (ngx_uint_t port = 0; port < main->ports->nelts; ++port) {
        const auto* addresses = static_cast<ngx_http_conf_addr_t*>(ports[port].addrs.elts);
        for (ngx_uint_t address = 0; address < ports[port].addrs.nelts; ++address) {
            auto** servers = static_cast<ngx_http_core_srv_conf_t**>(addresses[address].servers.elts);
            std::optional<std::size_t> group;
            for (ngx_uint_t each = 0; each < addresses[address].servers.nelts; ++each)
                for (const host& one : hosts)
                    if (one.server == servers[each]) {
                        if (!group) group = one.group;
                        const std::size_t joins = one.group;
                        for (host& other : hosts)
                            if (other.group == joins) other.group = *group;
                    }
        }
    }
}

void agree(const host& one, const host& first) {
    for (std::size_t row = 0; row < std::size(table); ++row)
        if (table[row].of_listener && said(*one.settings->all, row) != said(*first.settings->all, row))
            throw wrong{one.at(row),
                        std::string(spelled(row)) + " differs from that of the server {} at " +
                            text_of(first.begins()) +
                            ", with which this one shares an address: it is decided before the name is known, so "
                            "say the same in both, best in http {}"};
}

/// attach_group attaches one server to all hosts of a group, if reqauth is on at any (SEC-5).
void attach_group(ngx_conf_t& configuration, const std::vector<const host*>& group, trust_files& files,
                  std::set<std::string>& warned) {
    const host* first = nullptr;
    for (const host* one : group) {
        if (!one->settings->all->on) continue;
        if (first == nullptr) first = one;
        agree(*one, *first);
    }
    // Where nobody asks, offers can be counted.
    for (const host* one : group)
        if (first == nullptr && one->settings->all->counts) first = one;
    if (first == nullptr) return;
    const std::size_t cause = first->settings->all->on ? row("on") : row("counts");
    std::optional<reqauth::server> server;
    try {
        reqauth::server_options options = options_of(*first->settings->all);
        // nginx has a servername callback on each, so OpenSSL takes TLS 1.3 for possible in any case; and certificates with
        // variables come from a callback.
        options.certificate_is_chosen_by_callback = true;
        options.observe = observe;
        // nginx itself registers none; ssl_conf_command may, with any type (ServerInfoFile).
        options.assigned_extensions_alone =
            std::ranges::all_of(group, [](const host* one) { return one->ssl->conf_commands == nullptr; });
        server.emplace(std::move(options));
    } catch (const reqauth::error& failed) {
        throw wrong{first->at(row("extension")), "reqauth_extension: " + reqauth_settings::in_words(failed, spelled)};
    }
    for (const host* one : group) {
        if ((one->ssl->protocols & NGX_SSL_TLSv1_3) == 0)
            throw wrong{one->begins(), std::string(spelled(cause)) + " on at " + text_of(first->at(cause)) +
                                           " needs TLS 1.3, and ssl_protocols of this server {} lacks TLSv1.3: add it" +
                                           (one == first ? "" : ", or let this one listen at an address of its own")};
        auto policy = policy_of(*one, files);
        if (one->settings->all->on && policy.when_offered.asks() == reqauth::client_auth::mode::none)
            warn(configuration, warned,
                 "reqauth: the flag is ignored here, since ssl_verify_client on requires a certificate of everybody; "
                 "say "
                 "reqauth_beside_required on if agents may come in there, or reqauth off",
                 one->at(row("on")));
        try {
            reqauth::attachment attached = server->attach(*one->ssl->ssl.ctx, std::move(policy));
            for (const std::string& warning : attached.warnings)
                warn(configuration, warned,
                     "reqauth_trusted_certificate: " + reqauth_settings::in_words(warning, spelled),
                     one->at(row("agents")));
            count(configuration, one->server->server_name, std::move(attached));
        } catch (const reqauth::error& failed) {
            throw say_of_attach(*one, failed);
        }
        watch(*configuration.pool, *one);
    }
}

} // namespace

server_settings* settings_of(const SSL* ssl) {
    return static_cast<server_settings*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), settings_index()));
}

ngx_http_virtual_names_t* names_kept_from_nginx(const SSL* ssl) {
    return static_cast<ngx_http_virtual_names_t*>(SSL_get_ex_data(ssl, names_index()));
}

ngx_int_t attach_all(ngx_conf_t* configuration) try {
    std::vector<host> hosts = hosts_of(*configuration);
    group_by_address(*configuration, hosts);
    std::map<std::size_t, std::vector<const host*>> groups;
    for (const host& one : hosts) groups[one.group].push_back(&one);
    trust_files files;
    std::set<std::string> warned;
    for (const auto& [number, group] : groups) attach_group(*configuration, group, files, warned);
    return NGX_OK;
} catch (const wrong& found) {
    ngx_log_error(NGX_LOG_EMERG, configuration->log, 0, "%s in %s", found.text.c_str(), text_of(found.at).c_str());
    return NGX_ERROR;
} catch (const std::exception& failed) {
    ngx_log_error(NGX_LOG_EMERG, configuration->log, 0, "reqauth: %s", failed.what());
    return NGX_ERROR;
}

} // namespace reqauth_nginx
