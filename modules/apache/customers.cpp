// SPDX-License-Identifier: Apache-2.0
#include "customers.hpp"

#include "connection.hpp"
#include "settings.hpp"

#include <string_view>

namespace reqauth_apache {

namespace {

// mod_ssl does not look at the case of its names.
bool is_of_client(const char* name) { return name != nullptr && ap_cstr_casecmpn(name, "SSL_CLIENT_", 11) == 0; }

// What mod_ssl says of a client without certificate.
const char* of_nobody(const char* name) { return ap_cstr_casecmp(name, "SSL_CLIENT_VERIFY") == 0 ? "NONE" : nullptr; }

// Expressions. They are looked up when they are parsed, also for .htaccess in the threads of requests.

struct mod_ssls {
    const void* func = nullptr;
    const void* data = nullptr;
    const char* name = nullptr;
};

thread_local bool asking_mod_ssl = false;

template <class Function> Function* as(const void* func) {
    return reinterpret_cast<Function*>(const_cast<void*>(func)); // NOLINT: as Apache has it
}

const char* variable(ap_expr_eval_ctx_t* of, const void* data) noexcept {
    const auto& its = *static_cast<const mod_ssls*>(data);
    return hides_certificate(of->c) ? of_nobody(its.name) : as<ap_expr_var_func_t>(its.func)(of, its.data);
}

const char* function(ap_expr_eval_ctx_t* of, const void* data, const char* argument) noexcept {
    const auto& its = *static_cast<const mod_ssls*>(data);
    if (is_of_client(argument) && hides_certificate(of->c)) return of_nobody(argument);
    return as<ap_expr_string_func_t>(its.func)(of, its.data, argument);
}

apr_array_header_t* list(ap_expr_eval_ctx_t* of, const void* data, const char* argument) noexcept {
    const auto& its = *static_cast<const mod_ssls*>(data);
    return hides_certificate(of->c) ? nullptr : as<ap_expr_list_func_t>(its.func)(of, its.data, argument);
}

// Lookups by other modules.

APR_OPTIONAL_FN_TYPE(ssl_var_lookup) * mod_ssls_lookup;
APR_OPTIONAL_FN_TYPE(ssl_ext_list) * mod_ssls_extensions;

char* look_up(apr_pool_t* pool, server_rec* server, conn_rec* c, request_rec* r, char* name) noexcept {
    const conn_rec* const of = c != nullptr ? c : r != nullptr ? r->connection : nullptr;
    if (is_of_client(name) && hides_certificate(of)) {
        const char* const said = of_nobody(name);
        return const_cast<char*>(said != nullptr ? said : ""); // NOLINT: mod_ssl gives constants, too, and never null
    }
    return mod_ssls_lookup(pool, server, c, r, name);
}

apr_array_header_t* extensions(apr_pool_t* pool, conn_rec* c, int peer, const char* extension) noexcept {
    return peer != 0 && hides_certificate(c) ? nullptr : mod_ssls_extensions(pool, c, peer, extension);
}

// Log formats.

APR_OPTIONAL_FN_TYPE(ap_register_log_handler) * log_registration;
ap_log_handler_fn_t* logged_variable;
ap_log_handler_fn_t* logged_word;

const char* log_variable(request_rec* r, char* name) noexcept {
    return is_of_client(name) && hides_certificate(r->connection) ? of_nobody(name) : logged_variable(r, name);
}

// subjectdn, issuerdn and their like; errstr has mod_ssl's verify error, of which an agent has none.
const char* log_word(request_rec* r, char* name) noexcept {
    const std::string_view word = name;
    return word != "version" && word != "cipher" && hides_certificate(r->connection) ? nullptr : logged_word(r, name);
}

void register_log_handler(apr_pool_t* pool, char* tag, ap_log_handler_fn_t* handler, int with_default) noexcept {
    const std::string_view which = tag;
    if (which == "x") logged_variable = std::exchange(handler, log_variable);
    if (which == "c") logged_word = std::exchange(handler, log_word);
    log_registration(pool, tag, handler, with_default);
}

// Requests.

struct before_mod_ssl {
    char* user = nullptr;
    char* authentication = nullptr;
    const char* authorization = nullptr;
};

before_mod_ssl* remembered(request_rec* r) {
    return static_cast<before_mod_ssl*>(ap_get_module_config(r->request_config, &reqauth_module));
}

before_mod_ssl& remember(request_rec* r) {
    if (before_mod_ssl* const there = remembered(r); there != nullptr) return *there;
    auto* const made = make<before_mod_ssl>(r->pool);
    ap_set_module_config(r->request_config, &reqauth_module, made);
    return *made;
}

} // namespace

int look_up_customer(ap_expr_lookup_parms* wanted) noexcept {
    const bool concerned = (wanted->type == AP_EXPR_FUNC_VAR && is_of_client(wanted->name)) ||
                           (wanted->type == AP_EXPR_FUNC_STRING && ap_cstr_casecmp(wanted->name, "SSL") == 0) ||
                           (wanted->type == AP_EXPR_FUNC_LIST && ap_cstr_casecmp(wanted->name, "PeerExtList") == 0);
    if (!concerned || asking_mod_ssl) return DECLINED;
    asking_mod_ssl = true;
    const int found = ap_run_expr_lookup(wanted);
    asking_mod_ssl = false;
    if (found != OK) return found;
    void* const room = apr_palloc(wanted->pool, sizeof(mod_ssls));
    *wanted->data = new (room) mod_ssls{*wanted->func, *wanted->data, apr_pstrdup(wanted->pool, wanted->name)};
    *wanted->func = wanted->type == AP_EXPR_FUNC_VAR      ? reinterpret_cast<const void*>(variable) // NOLINT
                    : wanted->type == AP_EXPR_FUNC_STRING ? reinterpret_cast<const void*>(function) // NOLINT
                                                          : reinterpret_cast<const void*>(list);    // NOLINT
    return OK;
}

int before_lookups(apr_pool_t*, apr_pool_t*, apr_pool_t*) noexcept {
    log_registration = APR_RETRIEVE_OPTIONAL_FN(ap_register_log_handler);
    if (log_registration != nullptr)
        apr_dynamic_fn_register("ap_register_log_handler",
                                reinterpret_cast<apr_opt_fn_t*>(register_log_handler)); // NOLINT
    return OK;
}

int replace_lookups(apr_pool_t*, apr_pool_t*, apr_pool_t*) noexcept {
    if (log_registration != nullptr)
        apr_dynamic_fn_register("ap_register_log_handler", reinterpret_cast<apr_opt_fn_t*>(log_registration)); // NOLINT
    mod_ssls_lookup = APR_RETRIEVE_OPTIONAL_FN(ssl_var_lookup);
    if (mod_ssls_lookup != nullptr)
        apr_dynamic_fn_register("ssl_var_lookup", reinterpret_cast<apr_opt_fn_t*>(look_up)); // NOLINT
    mod_ssls_extensions = APR_RETRIEVE_OPTIONAL_FN(ssl_ext_list);
    if (mod_ssls_extensions != nullptr)
        apr_dynamic_fn_register("ssl_ext_list", reinterpret_cast<apr_opt_fn_t*>(extensions)); // NOLINT
    return OK;
}

int before_access(request_rec* r) noexcept {
    return fenced(HTTP_INTERNAL_SERVER_ERROR, [&] {
        const connection* const client = connection_of(r->connection);
        using reqauth_modules::standing;
        if (client != nullptr && client->settled &&
            standing_of(*client, r->server, requires_customer(r)) == standing::refused) {
            ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                          "SSLVerifyClient require: this place is for customers, and the client came in by its flag");
            return HTTP_FORBIDDEN;
        }
        if (!hides_certificate(r->connection)) return DECLINED;
        before_mod_ssl& kept = remember(r);
        kept.user = r->user;
        kept.authentication = r->ap_auth_type;
        return DECLINED;
    });
}

int after_access(request_rec* r) noexcept {
    const before_mod_ssl* const kept = remembered(r);
    if (!hides_certificate(r->connection)) return DECLINED;
    if (kept == nullptr) return HTTP_INTERNAL_SERVER_ERROR;
    r->user = kept->user;
    r->ap_auth_type = kept->authentication;
    if (is_still_the_agents(r->connection)) return DECLINED;
    ap_log_rerror(
        APLOG_MARK, APLOG_INFO, 0, r,
        "SSLVerifyClient asked for another certificate on a connection of an agent: it gets no second identity");
    return HTTP_FORBIDDEN;
}

int before_users(request_rec* r) noexcept {
    return fenced(HTTP_INTERNAL_SERVER_ERROR, [&] {
        if (hides_certificate(r->connection)) remember(r).authorization = apr_table_get(r->headers_in, "Authorization");
        return DECLINED;
    });
}

int after_users(request_rec* r) noexcept {
    const before_mod_ssl* const kept = remembered(r);
    if (!hides_certificate(r->connection)) return DECLINED;
    if (kept == nullptr) return HTTP_INTERNAL_SERVER_ERROR;
    if (kept->authorization != nullptr)
        apr_table_setn(r->headers_in, "Authorization", kept->authorization);
    else
        apr_table_unset(r->headers_in, "Authorization");
    return DECLINED;
}

int clean_environment(request_rec* r) noexcept {
    if (!hides_certificate(r->connection)) return DECLINED;
    const bool told = apr_table_get(r->subprocess_env, "SSL_CLIENT_VERIFY") != nullptr;
    const auto clean = [](void* environment, const char* name, const char*) -> int {
        if (is_of_client(name)) apr_table_unset(static_cast<apr_table_t*>(environment), name);
        return 1;
    };
    apr_table_do(clean, r->subprocess_env, apr_table_copy(r->pool, r->subprocess_env), nullptr);
    if (told) apr_table_setn(r->subprocess_env, "SSL_CLIENT_VERIFY", "NONE");
    return DECLINED;
}

} // namespace reqauth_apache
