// SPDX-License-Identifier: Apache-2.0
#include "request.hpp"

#include "../agent_text.hpp"
#include "fields.hpp"
#include "settings.hpp"

#include <reqauth/http.hpp>

#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace reqauth_apache {

namespace {

using reqauth::cert_format;
using reqauth::flagged_peer;
using namespace reqauth_modules;

constexpr std::array own_names = {"REQAUTH_OUTCOME",
                                  "REQAUTH_REASON",
                                  "REQAUTH_VERIFY",
                                  "REQAUTH_CLIENT_CERT",
                                  "REQAUTH_CLIENT_CERT_CHAIN",
                                  "REQAUTH_CERT",
                                  "REQAUTH_ESCAPED_CERT",
                                  "REQAUTH_X5T_S256",
                                  "REQAUTH_XFCC",
                                  "REQAUTH_CUSTOMER_CLIENT_CERT",
                                  "REQAUTH_CUSTOMER_X5T_S256",
                                  "REQAUTH_CUSTOMER_XFCC",
                                  "REQAUTH_UNVOUCHED_CLIENT_CERT",
                                  "REQAUTH_UNVOUCHED_ESCAPED_CERT",
                                  "REQAUTH_UNVOUCHED_X5T_S256"};

// All names there are: those of an agent are taken away before others are set.
constexpr auto names = [] {
    std::array<const char*, own_names.size() + std::size(agent_variables) + std::size(presented_variables)> all{};
    auto* to = std::copy(own_names.begin(), own_names.end(), all.begin());
    for (const auto& each : agent_variables) *to++ = each.apache;
    for (const auto& each : presented_variables) *to++ = each.apache;
    return all;
}();

// Whether the request may be told what a certificate says: the agent's own, or one that did not verify.
bool may_say(standing is, const connection& kept) {
    return is == standing::agent || (is != standing::stranger && is != standing::misdirected && !kept.agent);
}

std::string value_of(const server_rec* server, const connection& kept, std::string_view name) {
    // A request that is for another virtual host than the handshake's is told nothing of the agent.
    const standing is = standing_of(kept, server);
    const bool misdirected = is == standing::stranger || is == standing::misdirected;
    const bool offered = kept.accepted || kept.why == reqauth::reason::ignored;
    const bool is_agent = is == standing::agent;
    if (name == "REQAUTH_OUTCOME")
        return misdirected ? "misdirected" : kept.accepted ? "accepted" : offered ? "ignored" : "not_offered";
    if (name == "REQAUTH_REASON") return is_agent ? "" : misdirected ? "misdirected" : std::string(to_string(kept.why));
    if (name == "REQAUTH_VERIFY") {
        if (is_agent) return "SUCCESS";
        if (misdirected || kept.why != reqauth::reason::invalid) return "NONE";
        return std::string("FAILED:") + X509_verify_cert_error_string(kept.verify_error);
    }
    if (may_say(is, kept))
        for (const auto& [called, value] : kept.said)
            if (name == called) return value;
    return "";
}

// What somebody else, as SetEnvIf, may have put there under our names. Each request begins with a look at a few entries.
void take_away(apr_table_t* table) {
    const apr_array_header_t* const all = apr_table_elts(table);
    const auto* const entries = reinterpret_cast<const apr_table_entry_t*>(all->elts); // NOLINT: as Apache has it
    for (int each = all->nelts; each-- > 0;)
        if (each < all->nelts && ap_cstr_casecmpn(entries[each].key, "REQAUTH_", 8) == 0 &&
            std::any_of(names.begin(), names.end(),
                        [&](const char* name) { return ap_cstr_casecmp(entries[each].key, name) == 0; }))
            apr_table_unset(table, entries[each].key);
}

// The agent to which this request may open something; null where there is none.
const flagged_peer* agent_of(const request_rec* r) {
    const connection* const kept = connection_of(r->connection);
    if (kept == nullptr || !kept->settled || standing_of(*kept, r->server) != standing::agent ||
        !settings_of(r->server).all.on || !is_still_the_agents(r->connection))
        return nullptr;
    return &*kept->agent;
}

const char* evaluate(ap_expr_eval_ctx_t* of, const void* name) noexcept {
    return fenced<const char*>("", [&]() -> const char* {
        const connection* const kept = of->c != nullptr ? connection_of(of->c) : nullptr;
        if (kept == nullptr || !kept->settled) return "";
        return apr_pstrdup(of->p, value_of(of->s, *kept, static_cast<const char*>(name)).c_str());
    });
}

bool is_named(const flagged_peer& agent, std::string_view name) {
    constexpr std::string_view fingerprint = "SHA256:";
    if (name.starts_with(fingerprint))
        return ap_cstr_casecmp(name.data() + fingerprint.size(), hexadecimal(agent.thumbprint()).c_str()) == 0;
    return std::any_of(agent.alt_names().begin(), agent.alt_names().end(),
                       [&](const reqauth::subject_alt_name& each) { return to_string(each) == name; });
}

authz_status check_require(request_rec* r, const char* line, const void*) noexcept {
    return fenced(AUTHZ_DENIED, [&] {
        const flagged_peer* const agent = agent_of(r);
        if (agent == nullptr) return AUTHZ_DENIED;
        const char* rest = line;
        if (*rest == '\0') return AUTHZ_GRANTED;
        while (*rest != '\0')
            if (is_named(*agent, ap_getword_conf(r->pool, &rest))) return AUTHZ_GRANTED;
        return AUTHZ_DENIED;
    });
}

const char* parse_require(cmd_parms* command, const char* line, const void**) noexcept {
    const char* rest = line;
    while (*rest != '\0') {
        const std::string_view word = ap_getword_conf(command->pool, &rest);
        constexpr std::array<std::string_view, 5> kinds = {"DNS:", "URI:", "email:", "IP:", "SHA256:"};
        const bool known = std::any_of(kinds.begin(), kinds.end(), [&](auto each) { return word.starts_with(each); });
        if (!known)
            return apr_pstrcat(command->pool, "Require reqauth: \"", word.data(),
                               "\" is no name of an agent: write DNS:name, URI:uri, email:address, IP:address or "
                               "SHA256:fingerprint, or nothing for every verified agent",
                               nullptr);
    }
    return nullptr;
}

constexpr authz_provider require = {check_require, parse_require};

said written(conn_rec* c, X509& certificate, std::initializer_list<std::pair<const char*, reqauth::cert_format>> as) {
    said all;
    for (const auto& [name, format] : as) {
        std::string value = reqauth::written_as(certificate, format);
        if (value.size() <= reqauth::client_cert_options().most)
            all.emplace_back(name, std::move(value));
        else
            ap_log_cerror(APLOG_MARK, APLOG_ERR, 0, c,
                          "a certificate is too large for a header field, so %s is not set", name);
    }
    return all;
}

} // namespace

said said_of_others(conn_rec* c, const SSL& ssl) {
    X509* const shown = SSL_get0_peer_certificate(&ssl);
    if (shown == nullptr) return {};
    if (std::holds_alternative<reqauth::client_cert_fields>(reqauth::client_cert_of_customer(ssl, {.chain = false})))
        return written(c, *shown,
                       {{"REQAUTH_CUSTOMER_CLIENT_CERT", cert_format::client_cert},
                        {"REQAUTH_CUSTOMER_X5T_S256", cert_format::x5t_s256},
                        {"REQAUTH_CUSTOMER_XFCC", cert_format::xfcc}});
    const auto what = reqauth::presented_of(ssl);
    if (!what) return {};
    said all;
    for (const auto& each : presented_variables) all.emplace_back(each.apache, each.text(*what));
    if (const auto unvouched = reqauth::unvouched_of(ssl))
        for (auto& each : written(c, unvouched->certificate(),
                                  {{"REQAUTH_UNVOUCHED_CLIENT_CERT", cert_format::client_cert},
                                   {"REQAUTH_UNVOUCHED_ESCAPED_CERT", cert_format::escaped_pem},
                                   {"REQAUTH_UNVOUCHED_X5T_S256", cert_format::x5t_s256}}))
            all.push_back(std::move(each));
    return all;
}

said said_of(conn_rec* c, const flagged_peer& agent) {
    said all;
    for (const auto& each : agent_variables) all.emplace_back(each.apache, each.text(agent));
    const auto add = [&](bool chain) {
        const auto found = reqauth::client_cert_of_agent(agent, {.chain = chain});
        const auto* const fields = std::get_if<reqauth::client_cert_fields>(&found);
        const char* const name = chain ? "REQAUTH_CLIENT_CERT_CHAIN" : "REQAUTH_CLIENT_CERT";
        if (fields == nullptr)
            ap_log_cerror(APLOG_MARK, APLOG_ERR, 0, c,
                          "the certificate of the agent %s is too large for a header field, so %s is not set",
                          agent.subject().c_str(), name);
        else
            all.emplace_back(name, chain ? fields->client_cert_chain : fields->client_cert);
    };
    add(false);
    add(true);
    for (auto& each : written(c, agent.certificate(),
                              {{"REQAUTH_CERT", cert_format::pem},
                               {"REQAUTH_ESCAPED_CERT", cert_format::escaped_pem},
                               {"REQAUTH_X5T_S256", cert_format::x5t_s256},
                               {"REQAUTH_XFCC", cert_format::xfcc}}))
        all.push_back(std::move(each));
    return all;
}

const char* variable_named(std::string_view name) noexcept {
    const auto* const known = std::find(names.begin(), names.end(), name);
    return known != names.end() ? *known : nullptr;
}

int introduce(request_rec* r) noexcept {
    return fenced(HTTP_INTERNAL_SERVER_ERROR, [&] {
        clean_fields(r);
        const connection* const kept = connection_of(r->connection);
        if (kept == nullptr || (!kept->settled && kept->ssl == nullptr)) return DECLINED; // plain HTTP
        // No request is read but through settle_filter.
        if (!kept->settled) return HTTP_INTERNAL_SERVER_ERROR;
        is_still_the_agents(r->connection);
        for (apr_table_t* const table : {r->subprocess_env, r->notes}) take_away(table);
        const auto say = [&](const char* name, const char* value) {
            for (apr_table_t* const table : {r->subprocess_env, r->notes})
                if (*value != '\0') apr_table_addn(table, name, value);
        };
        const auto copy = [&](const std::string& value) { return apr_pstrmemdup(r->pool, value.data(), value.size()); };
        for (const char* const name : {"REQAUTH_OUTCOME", "REQAUTH_REASON", "REQAUTH_VERIFY"})
            say(name, copy(value_of(r->server, *kept, name)));
        const standing is = standing_of(*kept, r->server);
        if (may_say(is, *kept))
            for (const auto& [name, value] : kept->said) say(name, copy(value));
        set_fields(r);
        switch (is) {
        case standing::misdirected:
            ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                          "misdirected: the handshake of this agent's connection was for another virtual host");
            return HTTP_MISDIRECTED_REQUEST;
        case standing::refused: return HTTP_FORBIDDEN;
        default: return keep_from_caches(r);
        }
    });
}

int keep_from_caches(request_rec* r) noexcept {
    return fenced(HTTP_INTERNAL_SERVER_ERROR, [&] {
        if (agent_of(r) != nullptr) apr_table_setn(r->subprocess_env, "no-cache", "1");
        return DECLINED;
    });
}

int look_up_expression(ap_expr_lookup_parms* wanted) noexcept {
    if (wanted->type != AP_EXPR_FUNC_VAR) return DECLINED;
    const char* const known = variable_named(wanted->name);
    if (known == nullptr) return DECLINED;
    *wanted->func = reinterpret_cast<const void*>(evaluate); // NOLINT: as Apache has it
    *wanted->data = known;
    return OK;
}

void register_require(apr_pool_t* pool) {
    ap_register_auth_provider(pool, AUTHZ_PROVIDER_GROUP, "reqauth", AUTHZ_PROVIDER_VERSION, &require,
                              AP_AUTH_INTERNAL_PER_CONF);
}

} // namespace reqauth_apache
