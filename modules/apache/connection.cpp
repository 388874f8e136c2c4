// SPDX-License-Identifier: Apache-2.0
#include "connection.hpp"

#include "../agent_text.hpp"
#include "request.hpp"
#include "server.hpp"
#include "settings.hpp"

#include <openssl/x509.h>

#include <stdexcept>

namespace reqauth_apache {

namespace {

constexpr const char* filter_name = "REQAUTH";

// mod_ssl frees the SSL in several places, also where a request goes on in plain text.
void ssl_is_gone(void*, void* kept, CRYPTO_EX_DATA*, int, long, void*) noexcept {
    if (kept != nullptr) static_cast<connection*>(kept)->ssl = nullptr;
}

int connection_index() noexcept {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, ssl_is_gone);
    return index;
}

// mod_ssl logs of a failed handshake only that it is one, and at `info`.
void log_refusal(const connection& kept, int alert) {
    const reqauth::server_outcome outcome = reqauth::server_outcome_of(*kept.ssl);
    const server_rec* const host = server_of(kept.ssl);
    if (!outcome.accepted || host == nullptr) return;
    const auto what = reqauth::presented_of(*kept.ssl);
    ap_log_cserror(APLOG_MARK, what && what->server_at_fault ? APLOG_ERR : APLOG_WARNING, 0, kept.of, host, "%s",
                   reqauth_modules::refusal_of(*kept.ssl, what, alert).c_str());
}

// mod_ssl ends a connection after its handshake if SSL_get_verify_result is not X509_V_OK (AH02010). Of an agent
// libreqauth makes it X509_V_ERR_APPLICATION_VERIFICATION, so that nothing takes it for a customer. This runs as
// SSL_accept returns, after libreqauth and after the tickets (SSL_CB_HANDSHAKE_DONE comes before them), so that they
// keep the result that is no customer's. X509_V_OK is shown for as long as mod_ssl's check takes, and to nothing else:
// what runs next on this connection is settle_filter, which takes it back before anything has been read.
// An observer would be told in the same moment, and before mod_ssl's own info callback, which this one has to follow.
void on_event(const SSL* watched, int event, int value) noexcept try {
    SSL* const ssl = const_cast<SSL*>(watched); // NOLINT: OpenSSL hands out its own object
    if (const auto own = SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl)); own != nullptr) own(ssl, event, value);
    auto* const kept = static_cast<connection*>(SSL_get_ex_data(ssl, connection_index()));
    if (event == SSL_CB_WRITE_ALERT && value >> 8 == SSL3_AL_FATAL && kept != nullptr && !kept->settled)
        return log_refusal(*kept, value & 0xff);
    // A post-handshake request ends so, too.
    if (event != SSL_CB_ACCEPT_EXIT || SSL_is_init_finished(ssl) != 1) return;
    if (kept == nullptr || kept->settled || kept->shown_as_ok) return;
    if (!reqauth::is_of_agent(*ssl) || SSL_get0_peer_certificate(ssl) == nullptr) return;
    // Where everybody needs a certificate, one that did not verify is none: mod_ssl ends it, as it should.
    const bool is_required = (SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0;
    if (is_required && !std::holds_alternative<reqauth::flagged_peer>(reqauth::peer_of(*ssl))) return;
    kept->shown_as_ok = true;
    SSL_set_verify_result(ssl, X509_V_OK);
} catch (const std::bad_alloc&) { // mod_ssl ends it
}

void settle(conn_rec* c, connection& kept) {
    SSL* const ssl = kept.ssl;
    const bool of_agent = reqauth::is_of_agent(*ssl);
    X509* const shown = SSL_get0_peer_certificate(ssl);
    // First of all: from here on no check takes the certificate for a customer's.
    if (kept.shown_as_ok || (of_agent && shown != nullptr)) {
        SSL_set_verify_result(ssl, X509_V_ERR_APPLICATION_VERIFICATION);
        if (shown == nullptr || X509_up_ref(shown) != 1) throw std::runtime_error("its certificate is gone");
        kept.hidden = shown;
    }
    kept.server = server_of(ssl);
    kept.accepted = of_agent;
    kept.resumed = SSL_session_reused(ssl) == 1;
    reqauth::peer who = reqauth::peer_of(*ssl);
    if (auto* agent = std::get_if<reqauth::flagged_peer>(&who)) {
        if (kept.hidden == nullptr) throw std::runtime_error("its certificate is not hidden from mod_ssl");
        kept.agent = std::move(*agent);
    } else {
        kept.why = std::get<reqauth::other_peer>(who).why;
        kept.verify_error = std::get<reqauth::other_peer>(who).verify_error;
    }
    kept.said = kept.agent ? said_of(c, *kept.agent) : said_of_others(c, *ssl);
    kept.settled = true;
}

} // namespace

connection::~connection() {
    if (ssl != nullptr) SSL_set_ex_data(ssl, connection_index(), nullptr);
    X509_free(hidden);
}

int prepare(conn_rec* c, SSL* ssl, int is_proxy) noexcept {
    return fenced(HTTP_INTERNAL_SERVER_ERROR, [&] {
        if (is_proxy != 0 || !is_at_work()) return DECLINED;
        auto* const kept = make<connection>(c->pool);
        kept->of = c;
        kept->ssl = ssl;
        if (SSL_set_ex_data(ssl, connection_index(), kept) != 1) return HTTP_INTERNAL_SERVER_ERROR;
        ap_set_module_config(c->conn_config, &reqauth_module, kept);
        SSL_set_info_callback(ssl, on_event);
        ap_add_input_filter(filter_name, kept, nullptr, c);
        return OK;
    });
}

apr_status_t settle_filter(ap_filter_t* filter, apr_bucket_brigade* brigade, ap_input_mode_t mode,
                           apr_read_type_e block, apr_off_t octets) noexcept {
    const apr_status_t status = ap_get_brigade(filter->next, brigade, mode, block, octets);
    auto* const kept = static_cast<connection*>(filter->ctx);
    conn_rec* const c = filter->c;
    if (kept->ssl != nullptr && SSL_is_init_finished(kept->ssl) != 1) return status;
    ap_remove_input_filter(filter);
    if (kept->ssl == nullptr) return status;
    try {
        settle(c, *kept);
        return status;
    } catch (const std::exception& failed) {
        ap_log_cerror(APLOG_MARK, APLOG_ERR, 0, c, "the client cannot be told apart, so its connection ends: %s",
                      failed.what());
        apr_brigade_cleanup(brigade);
        c->aborted = 1;
        return APR_ECONNABORTED;
    }
}

connection* connection_of(const conn_rec* c) noexcept {
    const conn_rec* const carrier = c->master != nullptr ? c->master : c;
    return static_cast<connection*>(ap_get_module_config(carrier->conn_config, &reqauth_module));
}

reqauth_modules::standing standing_of(const connection& kept, const server_rec* host,
                                      bool place_requires_customer) noexcept {
    const settings& own = settings_of(host);
    return reqauth_modules::standing_at({.accepted = kept.accepted, .verified = kept.agent.has_value()},
                                        {.elsewhere = kept.server != host,
                                         .requires_customer = requires_customer(host),
                                         .agents_beside = own.all.beside_required,
                                         .misdirected_is_421 = own.all.misdirected_is_421,
                                         .place_requires_customer = place_requires_customer});
}

bool hides_certificate(const conn_rec* c) noexcept {
    const connection* const kept = c != nullptr ? connection_of(c) : nullptr;
    return kept != nullptr && kept->hidden != nullptr;
}

bool is_still_the_agents(conn_rec* c) noexcept {
    connection* const kept = connection_of(c);
    if (kept == nullptr || kept->hidden == nullptr || c->master != nullptr) return true;
    if (kept->why == reqauth::reason::not_witnessed) return false;
    if (kept->ssl == nullptr) return true; // it ends
    if (SSL_get0_peer_certificate(kept->ssl) == kept->hidden &&
        SSL_get_verify_result(kept->ssl) == X509_V_ERR_APPLICATION_VERIFICATION)
        return true;
    SSL_set_verify_result(kept->ssl, X509_V_ERR_APPLICATION_VERIFICATION);
    kept->agent.reset();
    kept->said.clear();
    kept->why = reqauth::reason::not_witnessed;
    c->keepalive = AP_CONN_CLOSE;
    return false;
}

} // namespace reqauth_apache
