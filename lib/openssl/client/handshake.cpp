// SPDX-License-Identifier: Apache-2.0
#include "handshake.hpp"

#include "session.hpp"
#include "../base/fence.hpp"
#include "no_prompt.hpp"

#include <algorithm>
#include <ctime>

namespace reqauth::detail {

namespace {

// A fatal alert that OpenSSL does not send: the handshake ends before anything has gone out.
constexpr alert no_alert = -1;

const attached* client_of(const SSL* ssl) noexcept {
    const attached* there = attached_to(SSL_get_SSL_CTX(ssl));
    return there != nullptr && there->client != nullptr ? there : nullptr;
}

std::int64_t now() noexcept { return std::time(nullptr); }

// The record of the handshake at hand: a new one wherever the last belongs to an earlier handshake.
connection& record_of(SSL* ssl) {
    connection& kept = connection_for(ssl);
    const hello_random random = client_random_of(ssl);
    if (kept.client.client_random != random) {
        kept.own.give_back(ssl);
        kept.credentials.reset();
        kept.client = {};
        kept.client.client_random = random;
    }
    return kept;
}

// Those with which the handshake began. A request after it gets those of its moment, if they are still the same: the
// sessions of this connection are marked with them. None where the SSL has gone over to another client's SSL_CTX.
const credential_set& credentials_of(const SSL* ssl, connection& kept, const client_side& side) {
    static const credential_set none;
    if (kept.credentials == nullptr) {
        auto now = side.current();
        if (after_handshake(ssl) && now->digest != kept.credentials_digest) return none;
        kept.credentials_digest = now->digest;
        kept.credentials = std::move(now);
    }
    return kept.credentials->of == &side ? *kept.credentials : none;
}

// What was needed for the answer to a request goes.
void answer_is_out(SSL* ssl, connection& kept) {
    kept.credentials.reset();
    kept.own.give_back(ssl);
}

// The first that the request can be met with; null: none.
//= RCA-5
const loaded_credential* fitting(SSL* ssl, const credential_set& from) noexcept {
    for (const credential& one : from.all)
        if (one.holder()->valid(now()) && one.holder()->named_by(ssl) && one.holder()->signs_for(ssl))
            return one.holder().get();
    return nullptr;
}

// The first that is presented where the authorities are not looked at.
const loaded_credential* presentable(SSL* ssl, const credential_set& from) noexcept {
    if (const loaded_credential* best = fitting(ssl, from); best != nullptr) return best;
    for (const credential& one : from.all)
        if (one.holder()->valid(now()) && one.holder()->signs_for(ssl)) return one.holder().get();
    return nullptr;
}

// A certificate of the application's may be one of ours, or one that was, or another of the same key: a request that is
// none of ours does not get it.
bool is_ours(const client_side& side, const X509* certificate, const EVP_PKEY* key) {
    const EVP_PKEY* shown = certificate != nullptr ? X509_get0_pubkey(certificate) : key;
    if (shown == nullptr) throw error(errc::openssl, "the key of an own certificate cannot be read" + drain_errors());
    return side.had(key_digest(*shown));
}

client_scope scope_now(SSL* ssl, const attached& there, const sha256_digest& credentials) {
    return scope_of(there.client->policy, credentials, digest_of(*ssl, there));
}

// Before the ClientHello is made: a session that is out of date, or of unknown origin, is left out. One of another
// client is left to the ClientHello, which fails over it; where there is none of ours it is left out, too.
void leave_out_session(SSL* ssl, const attached& there) {
    connection& kept = connection_for(ssl);
    kept.own.give_back(ssl);
    kept.credentials_digest = there.client->current()->digest;
    kept.scope = scope_now(ssl, there, kept.credentials_digest);
    const SSL_SESSION* session = SSL_get_session(ssl);
    if (session == nullptr || SSL_SESSION_is_resumable(session) != 1) return;
    const auto found = scope_in(*session);
    if (found) {
        if (found == kept.scope) return;
        const auto former = there.client->former();
        const bool earlier =
            std::ranges::any_of(former, [&](const sha256_digest& one) { return *found == scope_now(ssl, there, one); });
        if (!earlier && there.in_client_hello) return;
    }
    SSL_set_session(ssl, nullptr);
}

// In the ClientHello: what would be resumed is of this scope, and a new session will be.
std::optional<alert> settle_session(SSL* ssl, const attached& there, connection& kept) {
    kept.scope = scope_now(ssl, there, kept.credentials_digest);
    SSL_SESSION* session = SSL_get_session(ssl);
    if (session == nullptr) return std::nullopt;
    const auto found = scope_in(*session);
    if (SSL_SESSION_is_resumable(session) != 1) {
        if (!found) mark_session(*session, *kept.scope);
        return std::nullopt;
    }
    if (found == kept.scope) return std::nullopt;
    raise(found ? "the session to be resumed is another client's: another credential, flag, name, trust or label; key "
                  "sessions on client::scope"
                : "the session to be resumed has no mark of this client; hand sessions to client::resume");
    return no_alert;
}

// Whom OpenSSL calls: the SSL's own info callback hides that of the SSL_CTX.
overrides::info_callback called_first(const SSL* ssl) noexcept {
    const auto of_ssl = SSL_get_info_callback(ssl);
    return of_ssl != nullptr ? of_ssl : SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl));
}

// One that has told us of the handshake's start calls ours itself.
void watch(SSL* ssl, connection& kept) noexcept {
    const auto there = called_first(ssl);
    if (there == on_client_event || std::exchange(kept.told_of_start, false)) return;
    kept.client_info = there;
    SSL_set_info_callback(ssl, on_client_event);
}

void tell(const SSL* ssl, const attached& there) {
    if (there.client->policy.observe) there.client->policy.observe(*ssl, client_outcome_of(*ssl));
}

void note(SSL* ssl, const attached& there, int event, int value) {
    const bool fatal = (event & SSL_CB_ALERT) != 0 && value >> 8 == SSL3_AL_FATAL;
    if (event == SSL_CB_HANDSHAKE_START) {
        connection_for(ssl).told_of_start = true;
        if (SSL_in_before(ssl) == 1) leave_out_session(ssl, there);
    } else if (event == SSL_CB_HANDSHAKE_DONE && after_handshake(ssl)) {
        // Where the server did not resume what was presented, OpenSSL began a session anew. Tickets are copies of it.
        SSL_SESSION* session = SSL_get_session(ssl);
        connection& kept = record_of(ssl);
        answer_is_out(ssl, kept);
        if (session != nullptr && SSL_session_reused(ssl) != 1 && kept.scope && !scope_in(*session))
            mark_session(*session, *kept.scope);
        tell(ssl, there);
    } else if (event == SSL_CB_CONNECT_EXIT && after_handshake(ssl)) {
        // A message after the handshake was read. The first ticket says that the server has judged.
        connection& kept = record_of(ssl);
        if (SSL_is_init_finished(ssl) == 1) answer_is_out(ssl, kept);
        if (kept.client.ticket || SSL_session_reused(ssl) == 1 || SSL_SESSION_has_ticket(SSL_get_session(ssl)) != 1)
            return;
        kept.client.ticket = true;
        tell(ssl, there);
    } else if (fatal) {
        connection& kept = record_of(ssl);
        if (event == SSL_CB_READ_ALERT) kept.client.alert = static_cast<std::uint8_t>(value & 0xff);
        // Our own ends the handshake. A received one need not: OpenSSL passes over a fatal user_canceled.
        if (event == SSL_CB_WRITE_ALERT) answer_is_out(ssl, kept);
        tell(ssl, there);
    }
}

} // namespace

std::optional<alert> client_received(SSL* ssl, message in, const flag_set& flags) {
    connection& kept = record_of(ssl);
    const attached* there = client_of(ssl);
    const flag_number ours = there != nullptr ? there->client->policy.flag : request_client_auth;
    const violation broken = judge({role::client, in, flags, kept.client.proposed, ours});
    if (broken != violation::none) {
        raise(std::string("tls_flags in ") += std::string(name_of(in)) += ": " + std::string(text_of(broken)));
        return SSL_AD_ILLEGAL_PARAMETER;
    }
    //= FLAG-10
    kept.client.server_flags = kept.client.server_flags | flags;
    if (in != message::certificate_request || there == nullptr || !flags.contains(ours)) return std::nullopt;

    kept.client.acknowledged_now = true;
    const credential_set& credentials = credentials_of(ssl, kept, *there->client);
    //= RCA-5
    if (!credentials.all.empty() && there->client->policy.when_unsatisfiable == unsatisfiable::close &&
        fitting(ssl, credentials) == nullptr) {
        kept.client.requested = kept.client.acknowledged = true;
        raise("the CertificateRequest's authorities or algorithms cannot be met, and the policy says to close (RCA-5)");
        return SSL_AD_HANDSHAKE_FAILURE;
    }
    return std::nullopt;
}

std::optional<alert> client_sends(SSL* ssl, message what, flag_set& out) {
    if (what != message::client_hello) return std::nullopt;
    const attached* there = client_of(ssl);
    if (there == nullptr) return std::nullopt;
    connection& kept = record_of(ssl);
    // Around a HelloRetryRequest the record is the same, and so are the flags.
    //= TLS-1
    if (kept.credentials == nullptr) {
        const client_policy& policy = there->client->policy;
        //= RCA-6
        kept.client.why = credentials_of(ssl, kept, *there->client).offered(policy.offer, now());
        kept.client.offered = kept.client.why == withheld::nothing;
        //= RCA-1
        //= FLAG-10
        kept.client.proposed = policy.further_flags;
        if (kept.client.offered) kept.client.proposed.insert(policy.flag);
        watch(ssl, kept);
    }
    if (const auto failed = settle_session(ssl, *there, kept)) return failed;
    out = kept.client.proposed;
    return std::nullopt;
}

int answer_request(SSL* ssl, void*) {
    const attached* there = client_of(ssl);
    if (there == nullptr) return 1;
    const client_policy& policy = there->client->policy;
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
        connection& kept = record_of(ssl);
        client_exchange& exchange = kept.client;
        // No CertificateRequest with the extension was parsed before this call: it came without the flag.
        exchange.acknowledged = std::exchange(exchange.acknowledged_now, false);
        exchange.requested = exchange.answered = true;
        const credential_set& credentials = credentials_of(ssl, kept, *there->client);
        const auto present = [&](const loaded_credential* credential) {
            kept.own.present(ssl, credential);
            exchange.presented = credential != nullptr;
            return 1;
        };
        //= RCA-12
        if (exchange.acknowledged) {
            //= RCA-4
            const bool whatever = policy.when_unsatisfiable == unsatisfiable::present;
            return present(whatever ? presentable(ssl, credentials) : fitting(ssl, credentials));
        }
        //= RCA-3
        if (policy.when_unacknowledged == unacknowledged::present) return present(presentable(ssl, credentials));
        if (policy.when_unacknowledged == unacknowledged::empty) return present(nullptr);
        exchange.presented = false;
        kept.own.leave_out(ssl, [&](const own_certificate& one) {
            return is_ours(*there->client, one.certificate.get(), one.key.get());
        });
        return 1;
    });
}

void on_client_event(const SSL* watched, int event, int value) {
    // An application's callback that calls the one that it found may find ours, which calls it.
    thread_local const SSL* passing_on = nullptr;
    if (passing_on == watched) return;
    SSL* ssl = const_cast<SSL*>(watched); // NOLINT: OpenSSL hands out its own object
    const attached* there = attached_to(SSL_get_SSL_CTX(ssl));
    const bool ours = there != nullptr && there->client != nullptr && SSL_is_server(ssl) == 0;
    if (ours) {
        // An info callback can fail nothing: a session stays without mark then, or the ClientHello fails over it.
        ERR_set_mark();
        fence(0, [&] {
            note(ssl, *there, event, value);
            return 1;
        });
        ERR_pop_to_mark();
    }
    const connection* kept = connection_of(ssl);
    const auto of_ssl = kept != nullptr ? kept->client_info : nullptr;
    const auto next = of_ssl != nullptr ? of_ssl : there != nullptr ? there->client_info : nullptr;
    // The one that OpenSSL calls first has called ours.
    if (next != nullptr && next != on_client_event && next != called_first(ssl)) {
        const SSL* const outer = std::exchange(passing_on, watched);
        next(ssl, event, value);
        passing_on = outer;
    }
    // A provider may want to ask somebody when it signs, between two states.
    //= RCA-7
    if (ours && (event & (SSL_CB_LOOP | SSL_CB_EXIT)) != 0)
        no_prompt_in_handshake((event & SSL_CB_LOOP) != 0 && kept != nullptr && kept->client.presented &&
                               kept->own.changed());
}

//= RCA-7
int supply_certificate(SSL* ssl, X509** certificate, EVP_PKEY** key) {
    const connection* kept = connection_of(ssl);
    if (kept != nullptr && kept->own.changed()) return 0;
    const attached* there = attached_to(SSL_get_SSL_CTX(ssl));
    if (there == nullptr || there->client_cert_cb == nullptr) return 0;
    const int result = there->client_cert_cb(ssl, certificate, key);
    if (result != 1 || there->client == nullptr) return result;
    if (fence(0, [&] { return is_ours(*there->client, *certificate, *key) ? 0 : 1; }) == 1) return 1;
    X509_free(std::exchange(*certificate, nullptr));
    EVP_PKEY_free(std::exchange(*key, nullptr));
    return 0;
}

} // namespace reqauth::detail
