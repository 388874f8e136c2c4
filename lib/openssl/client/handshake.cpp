// SPDX-License-Identifier: Apache-2.0
#include "handshake.hpp"

#include "../base/counting.hpp"
#include "../base/fence.hpp"
#include "../base/handshake.hpp"
#include "../base/pem.hpp"
#include "../base/quic.hpp"
#include "no_prompt.hpp"
#include "proof.hpp"
#include "record.hpp"
#include "session.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <utility>

namespace reqauth::detail {

namespace {

using info_callback = void (*)(const SSL*, int, int);

// The record of the handshake at hand: a new one wherever the last belongs to an earlier handshake.
client_record& record_of(SSL* ssl) {
    client_record& record = client_record::make(ssl);
    const hello_random random = client_random_of(ssl);
    if (record.facts.client_random != random) {
        record.own.give_back(ssl);
        record.credentials.reset();
        record.facts = {};
        record.facts.client_random = random;
    }
    return record;
}

// Those with which the handshake began. A request after it gets those of its moment, if they are still the same: the
// sessions of this connection are marked with them. None where the SSL has gone over to another client's SSL_CTX.
const credential_set& credentials_of(const SSL* ssl, client_record& record, const client_side& side) {
    static const credential_set none;
    if (record.credentials == nullptr) {
        auto now = side.current();
        if (after_handshake(ssl) && now->digest != record.credentials_digest) return none;
        record.credentials_digest = now->digest;
        record.credentials = std::move(now);
    }
    return record.credentials->of == &side ? *record.credentials : none;
}

// What was needed for the answer to a request goes.
void answer_is_out(SSL* ssl, client_record& record) {
    record.credentials.reset();
    record.own.give_back(ssl);
}

/// choice is the first credential that a request can be met with; null: none, and what the nearest did not meet.
struct choice {
    const loaded_credential* credential;
    reqauth::unmet unmet;
};

//= RCA-5
choice fitting(SSL* ssl, const credential_set& from, bool any_authority = false) noexcept {
    choice nearest{nullptr, unmet::no_credential};
    for (const credential& one : from.all) {
        const loaded_credential& loaded = *one.holder();
        const unmet lacks = !loaded.valid(now())                      ? unmet::outside_validity
                            : !any_authority && !loaded.named_by(ssl) ? unmet::authorities
                            : !loaded.signs_for(ssl)                  ? unmet::algorithms
                                                                      : unmet::nothing;
        if (lacks == unmet::nothing) return {&loaded, lacks};
        nearest.unmet = std::max(nearest.unmet, lacks);
    }
    return nearest;
}

// The first that is presented where the authorities are not looked at.
choice presentable(SSL* ssl, const credential_set& from) noexcept {
    const choice best = fitting(ssl, from);
    return best.credential != nullptr ? best : fitting(ssl, from, true);
}

// Those of the credentials and their chains, each once.
std::vector<std::string> issuers_of(const credential_set& from) {
    std::vector<std::string> all;
    const auto add = [&](X509* one) {
        std::string name = name_text(X509_get_issuer_name(one));
        if (std::ranges::find(all, name) == all.end()) all.push_back(std::move(name));
    };
    for (const credential& one : from.all) {
        add(one.holder()->certificate.get());
        for (int i = 0; i < sk_X509_num(one.holder()->chain.get()); ++i)
            add(sk_X509_value(one.holder()->chain.get(), i));
    }
    return all;
}

void note_unmet(client_facts& facts, unmet what, const credential_set& from) {
    facts.unmet = what;
    facts.issuers = what == unmet::authorities ? issuers_of(from) : std::vector<std::string>();
}

// An alert came that ends the connection. In TLS 1.3 its level says nothing, and these two end none.
bool is_fatal(const SSL* ssl, int value) noexcept {
    const int number = value & 0xff;
    if (!is_tls13(ssl)) return value >> 8 == SSL3_AL_FATAL;
    return number != SSL_AD_CLOSE_NOTIFY && number != SSL_AD_USER_CANCELLED;
}

// A record of application data and one of an alert have at least so many octets; an alert alone has fewer.
constexpr std::uint64_t data_and_alert = 40;

bool data_came(const SSL* ssl, const client_record& record) noexcept {
    return !is_quic(ssl) && octets_read(ssl) - record.facts.octets > data_and_alert;
}

// The transport has ended in the middle of the handshake, and OpenSSL had no alert to send.
bool is_cut(const SSL* ssl) noexcept {
    if (is_quic(ssl)) return false; // SSL_want would wait for this callback to end
    const BIO* waits_for = SSL_want_read(ssl) ? SSL_get_rbio(ssl) : SSL_want_write(ssl) ? SSL_get_wbio(ssl) : nullptr;
    return waits_for != nullptr && !BIO_should_retry(waits_for);
}

// What was presented in a handshake that failed, here or at the server after ours had ended, is presented no more.
void spend_session(const SSL* ssl, const attached_client& there, client_record& record) {
    if (record.presented_session.empty() || (after_handshake(ssl) && data_came(ssl, record))) return;
    there.of->spend(std::exchange(record.presented_session, {}));
}

// A certificate of the application's may be one of ours, or one that was, or another of the same key: a request that is
// none of ours does not get it.
bool is_ours(const client_side& side, const X509* certificate, const EVP_PKEY* key) {
    const EVP_PKEY* shown = certificate != nullptr ? X509_get0_pubkey(certificate) : key;
    if (shown == nullptr) throw error(errc::openssl, "the key of an own certificate cannot be read" + drain_errors());
    return side.had(key_digest(*shown));
}

// The ClientHello has the extension, and the scope is worked out there.
bool settles_later(SSL* ssl, const attached_client& there) noexcept {
    if (is_quic(ssl)) return there.sends_extension; // SSL_get_options would wait for this callback to end
    const auto highest = SSL_get_max_proto_version(ssl);
    return there.sends_extension && (highest == 0 || highest >= TLS1_3_VERSION) &&
           (SSL_get_options(ssl) & SSL_OP_NO_TLSv1_3) == 0;
}

// Before the ClientHello is made: a session that is out of date, or of unknown origin, is left out. One of another
// client is left to the ClientHello, which fails over it; where there is none of ours it is left out, too.
void leave_out_session(SSL* ssl, const attached_client& there) {
    client_record& record = client_record::make(ssl);
    record.own.give_back(ssl);
    record.credentials_digest = there.of->current()->digest;
    record.scope.reset();
    const SSL_SESSION* session = SSL_get_session(ssl);
    const bool resumes = session != nullptr && SSL_SESSION_is_resumable(session) == 1;
    if (!resumes && settles_later(ssl, there)) return;
    record.scope = scope_of(*ssl, there, record.credentials_digest);
    if (!resumes) return;
    const auto found = scope_in(*session);
    if (found) {
        const bool spent = there.of->is_spent(id_of(*session));
        if (found == record.scope && !spent) return;
        const auto former = there.of->former();
        const bool earlier =
            std::ranges::any_of(former, [&](const sha256_digest& one) { return *found == scope_of(*ssl, there, one); });
        if (!earlier && !spent && there.sends_extension) return;
    }
    SSL_set_session(ssl, nullptr);
}

// In the ClientHello: what would be resumed is of this scope, and a new session will be.
std::optional<alert> settle_session(SSL* ssl, const attached_client& there, client_record& record) {
    record.scope = scope_of(*ssl, there, record.credentials_digest);
    record.presented_session.clear();
    SSL_SESSION* session = SSL_get_session(ssl);
    if (session == nullptr) return std::nullopt;
    const auto found = scope_in(*session);
    if (SSL_SESSION_is_resumable(session) != 1) {
        if (!found) mark_session(*session, *record.scope);
        return std::nullopt;
    }
    if (found == record.scope) {
        record.presented_session = id_of(*session);
        return std::nullopt;
    }
    SSL_set_session(ssl, nullptr); // the alert would spoil it, and it is good for its own client
    raise(found ? "the session to be resumed is another client's: another credential, flag, name, trust or label; key "
                  "sessions on client::scope"
                : "the session to be resumed has no mark of this client; hand sessions to client::resume");
    return SSL_AD_INTERNAL_ERROR;
}

// Whom OpenSSL calls: the SSL's own info callback hides that of the SSL_CTX.
info_callback called_first(const SSL* ssl) noexcept {
    const auto of_ssl = SSL_get_info_callback(ssl);
    return of_ssl != nullptr ? of_ssl : SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl));
}

// One that has told us of the handshake's start calls ours itself.
void watch(SSL* ssl, client_record& record) noexcept {
    const auto there = called_first(ssl);
    if (there == on_client_event || std::exchange(record.told_of_start, false)) return;
    record.info = there;
    SSL_set_info_callback(ssl, on_client_event);
}

void tell(const SSL* ssl, const attached_client& there) {
    if (there.of->policy.observe) there.of->policy.observe(*ssl, client_outcome_of(*ssl));
}

// Once a handshake.
void count_ended(const SSL* ssl, const attached_client& there, client_record& record) {
    if (std::exchange(record.facts.counted, true)) return;
    client_counters& to = there.of->counters;
    const client_outcome outcome = client_outcome_of(*ssl);
    const auto verified = static_cast<std::size_t>(SSL_get_verify_result(ssl));
    count(to.handshakes);
    count(to.offered, outcome.offered);
    count(to.asked, outcome.requested);
    count(to.acknowledged, outcome.acknowledged);
    count(to.presented, outcome.sent == client_outcome::answer::flag);
    count(to.verified, verified == X509_V_OK && SSL_get0_peer_certificate(ssl) != nullptr);
    count(to.resumed, outcome.resumed);
    count(to.withheld.at(static_cast<std::size_t>(outcome.withheld)), outcome.withheld != withheld::nothing);
    count(to.unmet.at(static_cast<std::size_t>(outcome.unmet)), outcome.unmet != unmet::nothing);
    count(to.verify_errors.at(std::min(verified, to.verify_errors.size() - 1)), verified != X509_V_OK);
}

void note(SSL* ssl, const attached_client& there, int event, int value) {
    const bool fatal =
        event == SSL_CB_READ_ALERT ? is_fatal(ssl, value) : event == SSL_CB_WRITE_ALERT && value >> 8 == SSL3_AL_FATAL;
    if (event == SSL_CB_HANDSHAKE_START) {
        client_record::make(ssl).told_of_start = true;
        if (SSL_in_before(ssl) == 1) leave_out_session(ssl, there);
    } else if (event == SSL_CB_HANDSHAKE_DONE && after_handshake(ssl)) {
        // Where the server did not resume what was presented, OpenSSL began a session anew. Tickets are copies of it.
        SSL_SESSION* session = SSL_get_session(ssl);
        client_record& record = record_of(ssl);
        record.facts.octets = octets_read(ssl);
        answer_is_out(ssl, record);
        if (session != nullptr && SSL_session_reused(ssl) != 1 && record.scope && !scope_in(*session))
            mark_session(*session, *record.scope);
        count_ended(ssl, there, record);
        tell(ssl, there);
    } else if (event == SSL_CB_CONNECT_EXIT && after_handshake(ssl)) {
        // A message after the handshake was read. The first ticket is told of.
        client_record& record = record_of(ssl);
        record.facts.octets = octets_read(ssl);
        if (SSL_is_init_finished(ssl) == 1) answer_is_out(ssl, record);
        if (record.facts.ticket || SSL_session_reused(ssl) == 1 || SSL_SESSION_has_ticket(SSL_get_session(ssl)) != 1)
            return;
        record.facts.ticket = true;
        tell(ssl, there);
    } else if (event == SSL_CB_CONNECT_EXIT && value <= 0) {
        client_record& record = record_of(ssl);
        if (record.facts.counted || !is_cut(ssl)) return; // an alert has been told of, or it goes on later
        spend_session(ssl, there, record);
        count_ended(ssl, there, record);
        tell(ssl, there);
    } else if (fatal) {
        client_record& record = record_of(ssl);
        spend_session(ssl, there, record);
        if (event == SSL_CB_READ_ALERT) {
            record.facts.alert = static_cast<std::uint8_t>(value & 0xff);
            record.facts.after_data = SSL_is_init_finished(ssl) == 1 && data_came(ssl, record);
            count(there.of->counters.refused, client_outcome_of(*ssl).judged == client_outcome::verdict::refused);
        }
        count_ended(ssl, there, record);
        // Our own ends the handshake. A received one need not, before TLS 1.3: OpenSSL may pass over it.
        if (event == SSL_CB_WRITE_ALERT) answer_is_out(ssl, record);
        tell(ssl, there);
    }
}

} // namespace

std::optional<alert> client_received(SSL* ssl, message in, const flag_set& flags) {
    client_record& record = record_of(ssl);
    const attached_client* there = attached_client::on(ssl);
    const flag_number ours = there != nullptr ? there->of->policy.flag : request_client_auth;
    const violation broken = judge({role::client, in, flags, record.facts.proposed, ours});
    if (broken != violation::none) {
        raise(std::string("tls_flags in ") += std::string(name_of(in)) += ": " + std::string(text_of(broken)));
        return SSL_AD_ILLEGAL_PARAMETER;
    }
    //= FLAG-10
    record.facts.server_flags = record.facts.server_flags | flags;
    if (in != message::certificate_request || there == nullptr || !flags.contains(ours)) return std::nullopt;

    record.facts.acknowledged_now = true;
    const credential_set& credentials = credentials_of(ssl, record, *there->of);
    //= RCA-5
    const choice found = fitting(ssl, credentials);
    if (!credentials.all.empty() && there->of->policy.when_unsatisfiable == unsatisfiable::close &&
        found.credential == nullptr) {
        record.facts.requested = record.facts.acknowledged = true;
        note_unmet(record.facts, found.unmet, credentials);
        raise("the CertificateRequest's authorities or algorithms cannot be met, and the policy says to close");
        return SSL_AD_HANDSHAKE_FAILURE;
    }
    return std::nullopt;
}

std::optional<alert> client_sends(SSL* ssl, flag_set& out) {
    const attached_client* there = attached_client::on(ssl);
    if (there == nullptr) return std::nullopt;
    client_record& record = record_of(ssl);
    // Around a HelloRetryRequest the record is the same, and so are the flags.
    //= TLS-1
    if (record.credentials == nullptr) {
        const client_policy& policy = there->of->policy;
        //= RCA-6
        record.facts.why = credentials_of(ssl, record, *there->of).offered(policy.offer, now());
        if (record.facts.why == withheld::nothing && policy.offers_to && !policy.offers_to(*ssl))
            record.facts.why = withheld::by_application;
        record.facts.offered = record.facts.why == withheld::nothing;
        //= RCA-1
        //= FLAG-10
        record.facts.proposed = policy.further_flags;
        if (record.facts.offered) record.facts.proposed.insert(policy.flag);
        watch(ssl, record);
    }
    if (const auto failed = settle_session(ssl, *there, record)) return failed;
    if (record.facts.hellos++ == 0) record.facts.octets = octets_read(ssl);
    out = record.facts.proposed;
    return std::nullopt;
}

int answer_request(SSL* handed, void*) {
    SSL* ssl = connection_of(handed);
    const attached_client* there = attached_client::on(ssl);
    if (there == nullptr) return 1;
    const client_policy& policy = there->of->policy;
    const bool is_client = SSL_is_server(ssl) == 0;
    // The application's callback finds what is its own.
    const auto give_back = [&] {
        record_of(ssl).own.give_back(ssl);
        return 1;
    };
    if (is_client && fence(0, give_back) != 1) return 0;
    //= SEC-6
    const certificate_callback& chained = policy.chained_certificate_callback;
    if (chained.function != nullptr) {
        const int result = chained.function(ssl, chained.argument);
        if (result <= 0) return result;
    }
    if (!is_client) return 1;
    return fence(0, [&] {
        client_record& record = record_of(ssl);
        client_facts& facts = record.facts;
        // No CertificateRequest with the extension was parsed before this call: it came without the flag.
        facts.acknowledged = std::exchange(facts.acknowledged_now, false);
        facts.requested = facts.answered = true;
        const credential_set& credentials = credentials_of(ssl, record, *there->of);
        if (facts.offered && !facts.acknowledged && SSL_version(ssl) >= TLS1_3_VERSION && !after_handshake(ssl)) {
            record.scope.reset();
            unmark_session(*SSL_get_session(ssl));
        }
        facts.unmet = unmet::nothing;
        const auto present = [&](choice found) {
            //= SEC-9
            if (found.credential != nullptr && !policy.danger_unproven_servers) found.unmet = proof_of(ssl);
            facts.presented = found.credential != nullptr && found.unmet == unmet::nothing;
            note_unmet(facts, found.unmet, credentials);
            record.own.present(ssl, facts.presented ? found.credential : nullptr);
            return 1;
        };
        //= RCA-12
        if (facts.acknowledged) {
            //= RCA-4
            const bool whatever = policy.when_unsatisfiable == unsatisfiable::present;
            return present(whatever ? presentable(ssl, credentials) : fitting(ssl, credentials));
        }
        //= RCA-3
        const bool for_the_flag = facts.why != withheld::by_application;
        if (policy.when_unacknowledged == unacknowledged::present && for_the_flag)
            return present(presentable(ssl, credentials));
        if (policy.when_unacknowledged == unacknowledged::empty) return present({nullptr, unmet::nothing});
        facts.presented = false;
        record.own.leave_out(
            ssl, [&](const own_certificate& one) { return is_ours(*there->of, one.certificate.get(), one.key.get()); });
        return 1;
    });
}

void on_client_event(const SSL* watched, int event, int value) {
    // An application's callback that calls the one that it found may find ours, which calls it.
    thread_local const SSL* passing_on = nullptr;
    auto* ssl = const_cast<SSL*>(watched); // NOLINT: OpenSSL hands out its own object
    if (event == SSL_CB_WRITE_ALERT) ssl = connection_of(ssl);
    if (passing_on == ssl) return;
    const attached_client* there = attached_client::on(ssl);
    const bool ours = there != nullptr && SSL_is_server(ssl) == 0;
    // If this fails, the session stays unmarked, or making the ClientHello fails.
    if (ours && (event & SSL_CB_LOOP) == 0) quietly([&] { note(ssl, *there, event, value); });
    const client_record* record = client_record::on(ssl);
    const auto of_ssl = record != nullptr ? record->info : nullptr;
    const auto next = of_ssl != nullptr ? of_ssl : there != nullptr ? there->info : nullptr;
    // The one that OpenSSL calls first has called ours.
    if (next != nullptr && next != on_client_event && next != called_first(ssl)) {
        const SSL* const outer = std::exchange(passing_on, ssl);
        next(ssl, event, value);
        passing_on = outer;
    }
    // A provider may want to ask somebody when it signs, between two states.
    //= RCA-7
    if (ours && (event & (SSL_CB_LOOP | SSL_CB_EXIT)) != 0)
        no_prompt_in_handshake((event & SSL_CB_LOOP) != 0 && record != nullptr && record->facts.presented &&
                               record->own.changed());
}

void look_for_close(SSL* ssl) {
    const auto alert = alert_in_close(ssl);
    const attached_client* there = attached_client::on(ssl);
    if (alert && there != nullptr) note(ssl, *there, SSL_CB_READ_ALERT, SSL3_AL_FATAL << 8 | *alert);
}

//= RCA-7
int supply_certificate(SSL* ssl, X509** certificate, EVP_PKEY** key) {
    const client_record* record = client_record::on(ssl);
    if (record != nullptr && record->own.changed()) return 0;
    const attached_client* there = attached_client::on(ssl);
    if (there == nullptr || there->client_cert_cb == nullptr) return 0;
    const int result = there->client_cert_cb(ssl, certificate, key);
    if (result != 1) return result;
    if (fence(0, [&] { return is_ours(*there->of, *certificate, *key) ? 0 : 1; }) == 1) return 1;
    X509_free(std::exchange(*certificate, nullptr));
    EVP_PKEY_free(std::exchange(*key, nullptr));
    return 0;
}

} // namespace reqauth::detail
