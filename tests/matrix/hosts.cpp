// SPDX-License-Identifier: Apache-2.0
#include "matrix/hosts.hpp"

#include <cstring>

using oracle::arrival;
using oracle::ca;
using oracle::demand;
using oracle::holds;
using oracle::host;
using oracle::outcome;
using support::identity;
using support::owned;
using support::the_cast;

namespace matrix {

namespace {

/// people are made once: keys and certificates cost more than a handshake.
struct people {
    identity other_ca = support::issue({.common_name = "Other CA", .ca = true});
    identity other = support::issue(support::agent_description("other.example"), &other_ca);
    identity expired_customer = support::issue(
        {.common_name = "customer.example", .not_before = -7200, .not_after = -3600}, &the_cast().customers_ca);
};

const people& others() {
    static const people made;
    return made;
}

const identity* flag_credential(holds what) {
    switch (what) {
    case holds::none: return nullptr;
    case holds::agents:
    case holds::both: return &the_cast().agent;
    case holds::customers: return &the_cast().customer;
    case holds::other: return &others().other;
    case holds::expired: return &the_cast().expired_agent;
    }
    return nullptr;
}

const identity* own_certificate(holds what) {
    if (what == holds::both) return &the_cast().customer;
    return what == holds::expired ? &others().expired_customer : flag_credential(what);
}

// What OpenSSL's own QUIC is made with; else TLS.
const SSL_METHOD* method_of(bool server, [[maybe_unused]] carrier by) {
#if HAS_QUIC
    if (by == carrier::connection) return server ? OSSL_QUIC_server_method() : OSSL_QUIC_client_method();
#endif
    return server ? TLS_server_method() : TLS_client_method();
}

} // namespace

visitor::visitor(bool flag, holds what, carrier by) : context(support::client_context(method_of(false, by))) {
    SSL_CTX_set1_groups_list(context.get(), "X25519:P-256");
    if (const identity* own = own_certificate(what)) support::present(*context, *own);
    shelf.serve(*context);
    if (!flag) return; // RCA-15 is about clients that never heard of the flag
    reqauth::client_policy policy;
    policy.offer = reqauth::offer::always;
    // It sends what it has, so that it is the server that judges.
    policy.when_unsatisfiable = reqauth::unsatisfiable::present;
    if (own_certificate(what) == flag_credential(what)) policy.when_unacknowledged = reqauth::unacknowledged::present;
    if (const identity* agent = flag_credential(what)) policy.credential = support::credential_of(*agent);
    reqauth::client(policy).attach(*context);
}

reqauth::server_policy listener::policy_of(demand what, const std::set<ca>& cas, bool beside) {
    std::string text;
    if (cas.contains(ca::agents)) text += support::pem(*the_cast().agents_ca.certificate);
    if (cas.contains(ca::other)) text += support::pem(*others().other_ca.certificate);
    const auto trust = made_.try_emplace(cas, reqauth::trust::from_pem(text)).first->second;
    reqauth::server_policy policy;
    policy.session_id_context = support::own_id_context();
    policy.beside_customers = beside;
    if (what == demand::request) policy.when_offered = reqauth::client_auth::request(trust);
    if (what == demand::require) policy.when_offered = reqauth::client_auth::require(trust);
    return policy;
}

listener::listener(bool attached, const demands& policy, const demands& own, const trusted& cas, const besides& beside,
                   const manner& how)
    : beside_(beside) {
    const bool alone = how.by == carrier::connection;
    for (const std::size_t i : {0U, 1U}) {
        if (alone && i != 0) break;
        contexts[i] = support::server_context(the_cast().server, method_of(true, how.by));
        SSL_CTX& context = *contexts[i];
        const int required = own[i] == demand::require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
        if (own[i] != demand::none) support::ask(context, SSL_VERIFY_PEER | required, the_cast().customers_ca);
        if (attached) attachments_.push_back(server_.attach(context, policy_of(policy[i], cas[i], beside[i])));
    }
    if (alone) {
#if HAS_QUIC
        if (how.stateful) SSL_CTX_set_options(contexts[0].get(), SSL_OP_NO_TICKET);
        if (how.retry) SSL_CTX_set1_groups_list(contexts[0].get(), "P-256");
        quic = std::make_unique<support::quic_listener>(*contexts[0]);
#endif
        return;
    }
    SSL_CTX_set_tlsext_servername_arg(contexts[0].get(), contexts[1].get());
    SSL_CTX_set_tlsext_servername_callback(
        contexts[0].get(), +[](SSL* ssl, int*, void* other) -> int {
            const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
            if (name == nullptr || std::strcmp(name, "b.example") != 0) return SSL_TLSEXT_ERR_OK;
            auto* b = static_cast<SSL_CTX*>(other);
            SSL_set_SSL_CTX(ssl, b);
            SSL_set_verify(ssl, SSL_CTX_get_verify_mode(b), nullptr); // OpenSSL keeps the first SSL_CTX's
            return SSL_TLSEXT_ERR_OK;
        });
}

void listener::replace(const demands& policy, const trusted& cas) {
    if (attachments_.empty()) return;
    std::vector<reqauth::replacement> all;
    for (std::size_t i = 0; i < attachments_.size(); ++i)
        all.push_back({attachments_[i], policy_of(policy[i], cas[i], beside_[i])});
    server_.replace(std::move(all));
}

namespace {

void prepare(SSL& client, const arrival& now, SSL_SESSION* session) {
    const char* name = now.where == host::a ? "a.example" : "b.example";
    if (now.where != host::none) SSL_set_tlsext_host_name(&client, name);
    if (session == nullptr) return;
    support::take_over(*session, client);
    SSL_set_session(&client, session);
}

// What came of it, but for what only the carrier knows.
outcome outcome_of(const SSL& server, const support::transcript& client, const arrival& now, const manner& how) {
    outcome seen_now;
    const support::handshake_message* request = client.first(support::kind::certificate_request);
    seen_now.requested = request != nullptr;
    seen_now.acknowledged = request != nullptr && now.tls13 && request->find(62) == support::flags({80});
    seen_now.resumed = SSL_session_reused(&server) == 1;
    seen_now.peer = support::seen(server);
    const int version = how.by == carrier::connection ? 1 : now.tls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (SSL_version(&server) != version ||
        client.count(support::kind::hello_retry_request) != (how.retry && now.tls13 ? 1U : 0U))
        seen_now.peer = "another version, or another number of HelloRetryRequests";
    return seen_now;
}

void add_result(outcome& seen_now, const SSL& server) {
    if (seen_now.good && SSL_get0_peer_certificate(&server) != nullptr)
        seen_now.result = SSL_get_verify_result(&server) == X509_V_OK ? "ok" : "not ok";
}

#if HAS_QUIC
outcome connect_quic(listener& at, visitor& who, const arrival& now, const manner& how, SSL_SESSION* session) {
    support::quic_pair both(*at.quic, *who.context);
    prepare(*both.client, now, session);
    const int tickets = who.shelf.count;
    const bool good = both.shake();
    if (both.server == nullptr) return {.good = false, .peer = "nobody came"};
    for (int i = 0; i < 10 && good && who.shelf.count == tickets; ++i) both.step();
    outcome seen_now = outcome_of(*both.server, both.seen, now, how);
    seen_now.good = good;
    seen_now.alert = both.alert_to_client();
    add_result(seen_now, *both.server);
    both.close();
    return seen_now;
}
#endif

} // namespace

outcome connect(listener& at, visitor& who, const arrival& now, const manner& how, SSL_SESSION* session) {
#if HAS_QUIC
    if (how.by == carrier::connection) return connect_quic(at, who, now, how, session);
#endif
    owned<SSL> to(SSL_new(who.context.get()));
    SSL_set_connect_state(to.get());
    prepare(*to, now, session);
    owned<SSL> from(SSL_new(at.contexts[0].get()));
    SSL_set_accept_state(from.get());
    if (how.stateful) SSL_set_options(from.get(), SSL_OP_NO_TICKET);
    if (how.retry) SSL_set1_groups_list(from.get(), "P-256");
    if (!now.tls13) SSL_set_max_proto_version(from.get(), TLS1_2_VERSION);
    support::pair both(std::move(from), std::move(to),
                       how.by == carrier::records ? support::wire::records : support::wire::quic);
    const bool good = both.shake();
    outcome seen_now = outcome_of(*both.server.ssl, both.client, now, how);
    seen_now.good = good;
    seen_now.alert = both.client.alert_received;
    add_result(seen_now, *both.server.ssl);
    both.close();
    return seen_now;
}

std::string text_of(const outcome& of) {
    return std::string(of.good ? "good" : "failed") + ", alert " + (of.alert < 0 ? "none" : std::to_string(of.alert)) +
           (of.requested ? ", requested" : ", not requested") + (of.acknowledged ? ", acknowledged" : "") +
           (of.resumed ? ", resumed" : ", in full") + ", " + of.peer + ", verify result " + of.result;
}

std::string text_of(const arrival& of) {
    constexpr std::array names = {"A", "B", "none"};
    constexpr std::array what = {"none", "agents' CA", "customers' CA", "both CAs", "other CA", "expired"};
    return std::string(of.flag ? "flag" : "no flag") + ", host " + names[static_cast<std::size_t>(of.where)] +
           ", certificate " + what[static_cast<std::size_t>(of.certificate)] + (of.tls13 ? ", TLS 1.3" : ", TLS 1.2");
}

std::string text_of(demand of) {
    constexpr std::array names = {"none", "request", "require"};
    return names[static_cast<std::size_t>(of)];
}

} // namespace matrix
