// SPDX-License-Identifier: Apache-2.0
#include "handshake.hpp"

#include "../base/fence.hpp"
#include "../base/handshake.hpp"
#include "../trust/trust_store.hpp"
#include "ending.hpp"
#include "hello.hpp"
#include "session.hpp"
#include "witness.hpp"

#include <reqauth/error.hpp>

#include <string>
#include <utility>

namespace reqauth::detail {

namespace {

// The policy of the final SSL_CTX, as it was when this ClientHello came.
//= SEC-5
//= SEC-4
std::shared_ptr<const policies::entry> policy_now(const attached_server& there, const considered& hello) {
    const policies::entry* found = hello.of == there.of ? hello.in_force->find(there.number) : nullptr;
    if (found == nullptr) return nullptr;
    return {hello.in_force, found};
}

// Runs before EncryptedExtensions: server name, SSL_CTX and certificate are settled, and whether to send a
// CertificateRequest is not.
std::optional<alert> decide_now(SSL* ssl) {
    server_record* record = server_record::on(ssl);
    if (record == nullptr) return std::nullopt;
    server_facts& facts = record->now.facts;
    if (!facts.hello || facts.hello->client_random != client_random_of(ssl)) return std::nullopt;
    const attached_server* there = attached_server::on(ssl);
    if (there == nullptr) return std::nullopt;
    facts.server_random = server_random_of(ssl);
    if (!facts.hello->offered) return std::nullopt;

    record->now.decided_by = policy_now(*there, *record->now.hello);
    static const server_policy none;
    const server_policy& policy = record->now.decided_by != nullptr ? *record->now.decided_by->policy : none;
    const bool resumed = SSL_session_reused(ssl) == 1;
    if (resumed) examine_session(ssl, record->now);

    const int mode = SSL_get_verify_mode(ssl);
    constexpr int everyone = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    facts.decided =
        decide({.offered = facts.hello->offered,
                .wanted = facts.hello->wanted,
                .same_server = record->now.decided_by != nullptr,
                .asks = policy.when_offered.asks(),
                .customers_asked = mode != SSL_VERIFY_NONE,
                .beside_customers = policy.beside_customers,
                .everyone_required = (mode & everyone) == everyone && (mode & SSL_VERIFY_POST_HANDSHAKE) == 0,
                .beside_required = policy.beside_required,
                .resumed = resumed,
                .vouched = facts.vouched,
                .agents_session = facts.agents_session});
    switch (facts.decided) {
    case decision::refuse:
        raise("a session was resumed that nothing vouches for, where a certificate is required (SEC-1)");
        return SSL_AD_CERTIFICATE_REQUIRED;
    case decision::ignore:
        if (!resumed) session_of_ignored(ssl, *record, policy);
        break;
    case decision::accept:
        limit_session(ssl, *record);
        if (resumed) break;
        //= RCA-2
        //= RCA-13
        //= RCA-14
        record->put_aside.take(ssl, {.trust = *policy.when_offered.agents()->store(),
                                     .required = policy.when_offered.asks() == client_auth::mode::require,
                                     .ca_names = policy.ca_names && !policy.when_offered.takes_unvouched(),
                                     .verify = witness});
        break;
    }
    return std::nullopt;
}

// Runs before every CertificateRequest, also without an offer and after the handshake.
void acknowledge(SSL* ssl, flag_set& out) {
    // A client without the extension has no record, and gets nothing of ours.
    //= RCA-15
    server_record* record = server_record::on(ssl);
    if (record == nullptr) return;
    //= TLS-3
    if (after_handshake(ssl)) {
        if (!record->put_aside.give_back(ssl))
            throw error(errc::openssl, "the application's settings cannot be put back");
        // Another certificate may come, and must not get into tickets of this session.
        record->put_aside.stop_tickets(ssl);
        return;
    }
    record->now.to_count.asked = true;
    if (!record->put_aside.asking()) return;
    // Settings of a handshake that is over must not decide this one: fail closed.
    if (record->now.facts.server_random != server_random_of(ssl) || record->now.decided_by == nullptr)
        throw error(errc::openssl, "the settings of an earlier flagged handshake are still in force on this SSL");
    //= RCA-2
    //= RCA-8
    out.insert(record->now.hello->of->options.flag);
    record->now.to_count.acknowledged = true;
}

// Runs before a HelloRetryRequest. The second ClientHello decides; the first is kept for comparison only (TLS-1), and
// nothing that it brought stays on the SSL.
//= TLS-1
void forget_first_hello(SSL* ssl) {
    server_record* record = server_record::on(ssl);
    if (record == nullptr) return;
    server_record::handshake first = std::exchange(record->now, {});
    record->now.to_count = first.to_count;
    if (first.facts.hello) record->now.facts.before_retry = std::make_shared<heard>(*first.facts.hello);
    record->now.hello = std::move(first.hello);
    const attached_server* there = attached_server::on(ssl);
    if (there != nullptr) record->put_aside.start_over(ssl, id_context_of(*there->of->current(), *there));
}

} // namespace

std::optional<alert> server_received(SSL* ssl, message in, const flag_set& flags) {
    if (in == message::client_hello) return hear(ssl, flags);
    const attached_server* there = attached_server::on(ssl);
    // We propose no flag in CertificateRequest that is answered in Certificate.
    const violation broken =
        judge({role::server, in, flags, {}, there != nullptr ? there->of->options.flag : request_client_auth});
    if (broken == violation::none) return std::nullopt;
    raise(std::string("tls_flags in ") += std::string(name_of(in)) += ": " + std::string(text_of(broken)));
    return SSL_AD_ILLEGAL_PARAMETER;
}

std::optional<alert> server_sends(SSL* ssl, message what, flag_set& out) {
    switch (what) {
    case message::hello_retry_request: forget_first_hello(ssl); return std::nullopt;
    case message::encrypted_extensions: return decide_now(ssl);
    case message::certificate_request: acknowledge(ssl, out); return std::nullopt;
    case message::new_session_ticket:
        if (server_record* record = server_record::on(ssl)) {
            //= RCA-14
            if (record->now.denied) {
                raise("the agent's certificate verifies, and is not one of those that may come");
                SSL_set_num_tickets(ssl, 0);
                return SSL_AD_ACCESS_DENIED;
            }
            if (client_has_finished(ssl)) handshake_done(ssl, *record);
            limit_ticket(ssl, record->now);
        }
        return std::nullopt;
    //= FLAG-8
    //= FLAG-10
    case message::client_hello:
    case message::server_hello:
    case message::certificate: break;
    }
    return std::nullopt;
}

} // namespace reqauth::detail
