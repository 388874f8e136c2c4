// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include "../base/fence.hpp"
#include "../base/handshake.hpp"
#include "../base/hash.hpp"
#include "../base/pem.hpp"
#include "../base/quic.hpp"
#include "../trust/trust_store.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <ctime>

namespace reqauth::detail {

namespace {

void set_scope(SSL* ssl, const sha256_digest& scope) {
    SSL_SESSION* session = SSL_get_session(ssl);
    if (session == nullptr || SSL_SESSION_set1_id_context(session, scope.data(), scope_octets) != 1)
        throw error(errc::openssl, "the session's scope cannot be set");
}

// No SSL ever has it, so no ClientHello resumes such a session.
void set_nobodys_scope(SSL* ssl) {
    static const sha256_digest nobodys = unmatchable();
    set_scope(ssl, nobodys);
}

// When a chain verified at `from` has to be verified again.
std::int64_t deadline_of(const STACK_OF(X509) * chain, std::int64_t from, std::chrono::seconds most) {
    std::int64_t deadline = from + most.count();
    for (int i = 0; i < sk_X509_num(chain); ++i) {
        const auto end = seconds_of(X509_get0_notAfter(sk_X509_value(chain, i)));
        if (!end) throw error(errc::openssl, "the end of a certificate cannot be read" + drain_errors());
        deadline = std::min(deadline, *end);
    }
    return deadline;
}

// What is left until `deadline`, as a session's timeout: OpenSSL still resumes in its last second, the mark
// no longer vouches then.
long left_until(std::int64_t deadline) noexcept {
    return static_cast<long>(std::max<std::int64_t>(deadline - now() - 1, 0));
}

// The server keeps this connection's sessions itself: others may share them.
bool stateful(const SSL* ssl) noexcept {
    // Of a connection of QUIC it would wait for this callback to end.
    const auto options = is_quic(ssl) ? SSL_CTX_get_options(SSL_get_SSL_CTX(ssl)) : SSL_get_options(ssl);
    return (options & SSL_OP_NO_TICKET) != 0 ||
           (SSL_get_max_early_data(ssl) > 0 && (options & SSL_OP_NO_ANTI_REPLAY) == 0);
}

// Where customers were asked, the certificate was looked for in their trust: a session from elsewhere says nothing of it.
//= RCA-17
sha256_digest decided_by(const policies::entry& by, bool customers_asked) {
    sha256_digest digest = by.digest;
    if (customers_asked && !by.policy->cross_signed && !by.policy->shared_anchors) digest.front() ^= 1U;
    return digest;
}

} // namespace

//= TLS-2
sha256_digest scope_of(const considered& hello, const attached_server& there) {
    std::string name(hello.server_name.value_or(""));
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    const policies::entry* arrived_at = hello.in_force->find(hello.arrived_at);
    // Only ClientHellos with the flag have a scope: the tag says so.
    hash all("libreqauth scope 1, flag offered");
    all.number(hello.server_name.has_value())
        .add(name)
        .number(hello.wanted)
        .add(arrived_at != nullptr ? arrived_at->digest : sha256_digest{})
        .add(hello.in_force->digest);
    return there.scopes.of(all.octets());
}

std::span<const unsigned char> id_context_of(const policies& now, const attached_server& there) noexcept {
    const policies::entry* found = now.find(there.number);
    if (found == nullptr) return {};
    return found->policy->session_id_context;
}

sha256_digest digest_of(const X509& leaf, const considered& hello) {
    return hello.of->leaves.of(der_of(&leaf, i2d_X509));
}

void examine_session(SSL* ssl, server_record::handshake& now) {
    SSL_SESSION* session = SSL_get_session(ssl);
    void* data = nullptr;
    std::size_t size = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) != 1) return;
    const auto found = read_mark({static_cast<const std::uint8_t*>(data), size});
    const X509* leaf = SSL_SESSION_get0_peer(session);
    server_facts& facts = now.facts;
    facts.agents_session = found.has_value();
    if (!found || leaf == nullptr || now.decided_by == nullptr) return;
    const sha256_digest digest = digest_of(*leaf, *now.hello);
    // At the time of the ClientHello, since OpenSSL then took the session: the application may suspend in between.
    const auto by = decided_by(*now.decided_by, SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE);
    if (!vouches(found, now.hello->scope, by, digest, facts.hello->at)) return;
    now.anchor = reference(now.decided_by->policy->when_offered.agents()->store()->anchor_at(found->anchor));
    if (now.anchor == nullptr) return;
    facts.vouched = true;
    facts.witness = {.held = true, .failed = false, .error = 0, .leaf = digest};
    now.leaf = reference(SSL_SESSION_get0_peer(session));
    now.deadline = found->deadline;
}

void session_is_new(SSL* ssl) { set_nobodys_scope(ssl); }

void session_of_ignored(SSL* ssl, server_record& record, const server_policy& policy) {
    if (policy.session_id_context.empty())
        record.put_aside.stop_tickets(ssl);
    else
        set_scope(ssl, record.now.hello->scope);
}

//= SEC-1
void vouch_for_session(SSL* ssl, server_record& record, const STACK_OF(X509) * chain, std::uint32_t anchor) {
    SSL_SESSION* session = SSL_get_session(ssl);
    std::chrono::seconds most = record.now.hello->of->options.max_session_age;
    // What OpenSSL gives every session says nothing; another timeout is the application's, and may be the shorter.
    const std::chrono::seconds of_context(SSL_SESSION_get_timeout(session));
    if (of_context.count() != SSL_get_default_timeout(ssl)) most = std::min(most, of_context);
    const std::int64_t deadline = deadline_of(chain, now(), most);
    if (most.count() == 0 || left_until(deadline) == 0) return;
    const sha256_digest& scope = record.now.hello->scope;
    const auto by = decided_by(*record.now.decided_by, record.put_aside.customers_asked());
    const auto octets = write({scope, by, record.now.facts.witness.leaf, anchor, deadline});
    if (SSL_SESSION_set1_ticket_appdata(session, octets.data(), octets.size()) != 1)
        throw error(errc::openssl, "the session cannot be marked");
    set_scope(ssl, scope);
    SSL_SESSION_set_timeout(session, left_until(deadline));
    record.now.deadline = deadline;
    record.put_aside.allow_tickets(ssl);
}

void disown_session(SSL* ssl, server_record& record) {
    if (record.now.deadline == 0) return;
    record.now.deadline = 0;
    record.put_aside.stop_tickets(ssl);
    SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), nullptr, 0);
    set_nobodys_scope(ssl);
}

void limit_session(SSL* ssl, server_record& record) {
    const long left = left_until(record.now.deadline);
    if (!record.now.facts.vouched || left == 0)
        record.put_aside.stop_tickets(ssl);
    else if (!stateful(ssl))
        SSL_SESSION_set_timeout(SSL_get_session(ssl), left);
}

// Each renewed ticket begins its time anew: what is left of the time since the verification is its timeout.
void limit_ticket(SSL* ssl, const server_record::handshake& now) {
    if (now.deadline == 0 || now.facts.server_random != server_random_of(ssl)) return;
    SSL_SESSION_set_timeout(SSL_get_session(ssl), left_until(now.deadline));
}

} // namespace reqauth::detail
