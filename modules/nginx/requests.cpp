// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include "../agent_text.hpp"
#include "../standing.hpp"

#include <reqauth/http.hpp>
#include <reqauth/peer.hpp>

#include <openssl/x509.h>

#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace reqauth_nginx {

namespace {

const SSL* ssl_of(const ngx_http_request_t* request) {
    return request->connection->ssl != nullptr ? request->connection->ssl->connection : nullptr;
}

using reqauth::cert_format;
using reqauth::flagged_peer;
using reqauth::peer;
using namespace reqauth_modules;

/// standing_of says what the client of a connection, who is `who`, is at a server {}.
standing standing_of(const SSL& ssl, const peer& who, const server_settings& host) {
    const bool elsewhere = settings_of(&ssl) != &host;
    return standing_at(
        {.accepted = reqauth::is_of_agent(ssl), .verified = std::holds_alternative<flagged_peer>(who)},
        {.elsewhere = elsewhere,
         // Where customers are asked at all, nginx itself answers 421 to whoever sent another server name.
         .requires_customer = host.ssl_verify_client == verify_on || (elsewhere && host.ssl_verify_client != 0),
         .agents_beside = host.all->beside_required,
         .misdirected_is_421 = host.all->misdirected_is_421});
}

// Variables.

ngx_int_t not_found(ngx_http_variable_value_t* value) {
    value->not_found = 1;
    return NGX_OK;
}

ngx_int_t give(ngx_http_request_t* request, ngx_http_variable_value_t* value, std::string_view text) {
    if (text.empty()) return not_found(value);
    auto* copy = static_cast<u_char*>(ngx_pnalloc(request->pool, text.size()));
    if (copy == nullptr) return NGX_ERROR;
    std::memcpy(copy, text.data(), text.size());
    value->data = copy;
    value->len = static_cast<unsigned>(text.size()) & 0x0fffffffU;
    value->valid = 1;
    value->no_cacheable = 0;
    value->not_found = 0;
    return NGX_OK;
}

std::string client_cert_of(const ngx_http_request_t* request, const flagged_peer& agent, bool chain) {
    const auto found = reqauth::client_cert_of_agent(agent, {.chain = chain});
    if (const auto* fields = std::get_if<reqauth::client_cert_fields>(&found))
        return chain ? fields->client_cert_chain : fields->client_cert;
    ngx_log_error(
        NGX_LOG_ERR, request->connection->log, 0,
        "reqauth: the agent's certificate is too large for a header field, so $reqauth_client_cert%s is empty",
        chain ? "_chain" : "");
    return {};
}

/// within gives a value that fits into a header field.
std::string within(const ngx_http_request_t* request, std::string value) {
    if (value.size() <= reqauth::client_cert_options().most) return value;
    ngx_log_error(NGX_LOG_ERR, request->connection->log, 0,
                  "reqauth: a certificate is too large for a header field, so a variable is empty");
    return {};
}

/// of_agent gives a variable that only a verified agent has.
using of_agent = std::string (*)(const ngx_http_request_t*, const flagged_peer&, uintptr_t row);

template <of_agent write>
ngx_int_t agents_variable(ngx_http_request_t* request, ngx_http_variable_value_t* value, uintptr_t row) try {
    const SSL* ssl = ssl_of(request);
    if (ssl == nullptr) return not_found(value);
    const peer who = reqauth::peer_of(*ssl);
    if (standing_of(*ssl, who, *settings_of(request)) != standing::agent) return not_found(value);
    return give(request, value, write(request, std::get<flagged_peer>(who), row));
} catch (const std::exception&) {
    return NGX_ERROR;
}

std::string agents_text(const ngx_http_request_t* /*request*/, const flagged_peer& agent, uintptr_t row) {
    return agent_variables[row].text(agent);
}

template <cert_format format> constexpr auto agents_cert =
    agents_variable<[](auto* request, const flagged_peer& agent, auto) {
        return within(request, written_as(agent.certificate(), format));
    }>;

/// customers_cert gives the certificate of whoever nginx itself has verified.
template <cert_format format>
ngx_int_t customers_cert(ngx_http_request_t* request, ngx_http_variable_value_t* value, uintptr_t /*data*/) try {
    const SSL* ssl = ssl_of(request);
    if (ssl == nullptr) return not_found(value);
    const auto found = reqauth::client_cert_of_customer(*ssl, {.chain = false});
    if (!std::holds_alternative<reqauth::client_cert_fields>(found)) return not_found(value);
    return give(request, value, within(request, written_as(*SSL_get0_peer_certificate(ssl), format)));
} catch (const std::exception&) {
    return NGX_ERROR;
}

/// seen is a connection as the server {} of the request may know it.
struct seen {
    const SSL& ssl;
    reqauth::server_outcome outcome;
    peer who;
    bool misdirected;
    uintptr_t row;
};

/// of_anybody gives a variable that every TLS connection has.
using of_anybody = std::string (*)(const seen&);

template <of_anybody write>
ngx_int_t anybodys_variable(ngx_http_request_t* request, ngx_http_variable_value_t* value, uintptr_t row) try {
    const SSL* ssl = ssl_of(request);
    if (ssl == nullptr) return not_found(value);
    const auto outcome = reqauth::server_outcome_of(*ssl);
    peer who = reqauth::peer_of(*ssl);
    const standing is = standing_of(*ssl, who, *settings_of(request));
    const bool misdirected = is == standing::stranger || is == standing::misdirected;
    if (misdirected) who = reqauth::other_peer{};
    return give(request, value, write({*ssl, outcome, std::move(who), misdirected, row}));
} catch (const std::exception&) {
    return NGX_ERROR;
}

std::string outcome_of(const seen& connection) {
    if (connection.misdirected) return "misdirected";
    if (connection.outcome.accepted) return "accepted";
    return connection.outcome.offered ? "ignored" : "not_offered";
}

std::string reason_of(const seen& connection) {
    if (connection.misdirected) return "misdirected";
    const auto* other = std::get_if<reqauth::other_peer>(&connection.who);
    if (other == nullptr) return {};
    return std::string(to_string(connection.outcome.offered ? other->why : reqauth::reason::not_offered));
}

std::string verify_of(const seen& connection) {
    const auto* other = std::get_if<reqauth::other_peer>(&connection.who);
    if (other == nullptr) return "SUCCESS";
    if (other->why != reqauth::reason::invalid) return "NONE";
    return std::string("FAILED:") + X509_verify_cert_error_string(other->verify_error);
}

/// presented gives what an agent's certificate says that did not verify, and was let pass. It is no identity.
std::string presented(const seen& connection) {
    const auto what = connection.misdirected ? std::nullopt : reqauth::presented_of(connection.ssl);
    return what ? presented_variables[connection.row].text(*what) : std::string();
}

/// unvouched_cert gives the certificate that nobody vouches for, whose key is proven.
template <cert_format format> std::string unvouched_cert(const seen& connection) {
    const auto who = connection.misdirected ? std::nullopt : reqauth::unvouched_of(connection.ssl);
    if (!who) return {};
    const std::string value = written_as(who->certificate(), format);
    return value.size() <= reqauth::client_cert_options().most ? value : std::string();
}

struct own_variable {
    const char* name;
    ngx_http_get_variable_pt get;
};

constexpr own_variable own_variables[] = {
    {"reqauth_outcome", anybodys_variable<outcome_of>},
    {"reqauth_reason", anybodys_variable<reason_of>},
    {"reqauth_verify", anybodys_variable<verify_of>},
    {"reqauth_client_cert", agents_variable<[](auto* request, const flagged_peer& agent, auto) {
         return client_cert_of(request, agent, false);
     }>},
    {"reqauth_client_cert_chain", agents_variable<[](auto* request, const flagged_peer& agent, auto) {
         return client_cert_of(request, agent, true);
     }>},
    {"reqauth_raw_cert", agents_cert<cert_format::pem>},
    {"reqauth_escaped_cert", agents_cert<cert_format::escaped_pem>},
    {"reqauth_x5t_s256", agents_cert<cert_format::x5t_s256>},
    {"reqauth_xfcc", agents_cert<cert_format::xfcc>},
    {"reqauth_customer_client_cert", customers_cert<cert_format::client_cert>},
    {"reqauth_customer_x5t_s256", customers_cert<cert_format::x5t_s256>},
    {"reqauth_customer_xfcc", customers_cert<cert_format::xfcc>},
    {"reqauth_unvouched_client_cert", anybodys_variable<unvouched_cert<cert_format::client_cert>>},
    {"reqauth_unvouched_escaped_cert", anybodys_variable<unvouched_cert<cert_format::escaped_pem>>},
    {"reqauth_unvouched_x5t_s256", anybodys_variable<unvouched_cert<cert_format::x5t_s256>>},
};

// $ssl_client_...

/// shown is how nginx itself gives a variable.
struct shown {
    ngx_http_get_variable_pt get;
    uintptr_t data;
    bool is_verify;
};

/// customers_variable gives $ssl_client_... as ever, but to no connection whose certificate was asked for by the flag:
/// there it reads as with no certificate, whatever became of it.
//= RCA-14
//= SEC-8
ngx_int_t customers_variable(ngx_http_request_t* request, ngx_http_variable_value_t* value, uintptr_t data) {
    const auto* as_ever = reinterpret_cast<const shown*>(data); // NOLINT: nginx hands a number through
    const SSL* ssl = ssl_of(request);
    if (ssl == nullptr || !reqauth::is_of_agent(*ssl)) return as_ever->get(request, value, as_ever->data);
    return as_ever->is_verify ? give(request, value, "NONE") : not_found(value);
}

ngx_str_t name_of(std::string_view text) {
    return {text.size(), reinterpret_cast<u_char*>(const_cast<char*>(text.data()))}; // nginx copies it
}

/// named_by finds the server {} that a Host names among those of an address, as nginx does; null where none has it.
/// Throws where a regular expression cannot be matched.
const ngx_http_core_srv_conf_t* named_by(ngx_http_request_t* request, ngx_http_virtual_names_t& names) {
    ngx_str_t& host = request->headers_in.server;
    const void* found = ngx_hash_find_combined(&names.names, ngx_hash_key(host.data, host.len), host.data, host.len);
    if (found != nullptr) return static_cast<const ngx_http_core_srv_conf_t*>(found);
#if (NGX_PCRE)
    for (ngx_uint_t each = 0; host.len != 0 && each < names.nregex; ++each) {
        const ngx_int_t matched = ngx_http_regex_exec(request, names.regex[each].regex, &host);
        if (matched == NGX_OK) return names.regex[each].server;
        if (matched != NGX_DECLINED) throw std::runtime_error("a server_name cannot be matched");
    }
#endif
    return nullptr;
}

ngx_int_t answer_for(const standing is) {
    switch (is) {
    case standing::misdirected: return NGX_HTTP_MISDIRECTED_REQUEST;
    case standing::refused: return NGX_HTTPS_CERT_ERROR;
    default: return NGX_DECLINED;
    }
}

/// judge answers for requests of clients with the flag that may not be served: 421 (RFC 9110: a client may open another
/// connection for that name), or 400, as nginx does where ssl_verify_client is on.
ngx_int_t judge(ngx_http_request_t* request) try {
    const SSL* ssl = ssl_of(request);
    if (ssl == nullptr || !reqauth::is_of_agent(*ssl)) return NGX_DECLINED;
    const peer who = reqauth::peer_of(*ssl);
    ngx_http_virtual_names_t* names = names_kept_from_nginx(ssl);
    const ngx_http_core_srv_conf_t* named = names != nullptr ? named_by(request, *names) : nullptr;
    if (named == nullptr) return answer_for(standing_of(*ssl, who, *settings_of(request)));
    const server_settings& host = *settings_of(*named);
    const ngx_int_t answer = answer_for(standing_of(*ssl, who, host));
    if (answer != NGX_DECLINED || &host == settings_of(request)) return answer;
    request->srv_conf = named->ctx->srv_conf;
    request->loc_conf = named->ctx->loc_conf;
    const auto* location = static_cast<ngx_http_core_loc_conf_t*>(request->loc_conf[ngx_http_core_module.ctx_index]);
    ngx_set_connection_log(request->connection, location->error_log);
    return NGX_DECLINED;
} catch (const std::exception&) {
    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}

} // namespace

ngx_int_t add_variables(ngx_conf_t* configuration) {
    const auto add = [&](std::string_view text, ngx_http_get_variable_pt get, uintptr_t row) {
        ngx_str_t name = name_of(text);
        // nginx warns where long names fill its hash, which is for names that come at run time, as in SSI: these stay out.
        const bool is_long = text.starts_with("reqauth_presented_") || text.starts_with("reqauth_customer_") ||
                             text.starts_with("reqauth_unvouched_");
        ngx_http_variable_t* added = ngx_http_add_variable(configuration, &name, is_long ? NGX_HTTP_VAR_NOHASH : 0);
        if (added == nullptr) return false;
        added->get_handler = get;
        added->data = row;
        return true;
    };
    for (const own_variable& each : own_variables)
        if (!add(each.name, each.get, 0)) return NGX_ERROR;
    for (uintptr_t row = 0; row < std::size(agent_variables); ++row)
        if (!add(agent_variables[row].nginx, agents_variable<agents_text>, row)) return NGX_ERROR;
    for (uintptr_t row = 0; row < std::size(presented_variables); ++row)
        if (!add(presented_variables[row].nginx, anybodys_variable<presented>, row)) return NGX_ERROR;
    return NGX_OK;
}

ngx_int_t hide_from_ssl_variables(ngx_conf_t* configuration) {
    const auto* main = static_cast<ngx_http_core_main_conf_t*>(
        ngx_http_conf_get_module_main_conf(configuration, ngx_http_core_module));
    const auto* keys = static_cast<ngx_hash_key_t*>(main->variables_keys->keys.elts);
    for (ngx_uint_t each = 0; each < main->variables_keys->keys.nelts; ++each) {
        const std::string_view name(reinterpret_cast<const char*>(keys[each].key.data), keys[each].key.len);
        auto* there = static_cast<ngx_http_variable_t*>(keys[each].value);
        if (!name.starts_with("ssl_client_") || there->get_handler == nullptr) continue;
        auto* as_ever = static_cast<shown*>(ngx_palloc(configuration->pool, sizeof(shown)));
        if (as_ever == nullptr) return NGX_ERROR;
        *as_ever = {there->get_handler, there->data, name == "ssl_client_verify"};
        there->get_handler = customers_variable;
        there->data = reinterpret_cast<uintptr_t>(as_ever);
    }
    return NGX_OK;
}

ngx_int_t add_refusals(ngx_conf_t* configuration) {
    auto* main = static_cast<ngx_http_core_main_conf_t*>(
        ngx_http_conf_get_module_main_conf(configuration, ngx_http_core_module));
    auto* handler = static_cast<ngx_http_handler_pt*>(ngx_array_push(&main->phases[NGX_HTTP_POST_READ_PHASE].handlers));
    if (handler == nullptr) return NGX_ERROR;
    *handler = judge;
    return NGX_OK;
}

} // namespace reqauth_nginx
