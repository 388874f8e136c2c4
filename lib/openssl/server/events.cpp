// SPDX-License-Identifier: Apache-2.0
#include "events.hpp"

#include "../base/fence.hpp"
#include "../base/handshake.hpp"
#include "../base/quic.hpp"
#include "ending.hpp"
#include "session.hpp"

#include <reqauth/peer.hpp>

#include <utility>

namespace reqauth::detail {

namespace {

refusal refusal_of(const SSL& ssl, const server_record* record, bool received, int description) noexcept {
    const server_outcome outcome = server_outcome_of(ssl);
    const bool failed = record != nullptr && outcome.accepted && record->now.facts.witness.failed;
    return {.alert = static_cast<std::uint8_t>(description),
            .received = received,
            .offered = outcome.offered,
            .accepted = outcome.accepted,
            .verify_error = failed ? record->now.facts.witness.error : 0};
}

// Whether the observer was told of this handshake. A person's SSL has no record, so it stands on the SSL itself.
int told_slot() noexcept {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

// What the observer throws is dropped: an info callback can fail nothing.
void tell(SSL& ssl, const server_record* record, const attached_server& there, int event, int value) noexcept {
    const auto& observe = there.of->options.observe;
    static const char told = 0;
    if (!observe || SSL_is_server(&ssl) != 1 || SSL_get_ex_data(&ssl, told_slot()) != nullptr) return;
    SSL_set_ex_data(&ssl, told_slot(), const_cast<char*>(&told)); // NOLINT: never followed
    try {
        if (event == SSL_CB_ACCEPT_EXIT)
            observe(ssl, peer_of(ssl));
        else
            observe(ssl, refusal_of(ssl, record, event == SSL_CB_READ_ALERT, value & 0xff));
    } catch (...) { // NOLINT: whatever it is
    }
}

void begin(SSL* ssl, server_record* found, const attached_server* there) {
    if (there != nullptr && there->of->options.observe) {
        SSL_set_ex_data(ssl, told_slot(), nullptr);
        fence(0, [&] {
            be_found(ssl);
            return 1;
        });
    }
    if (found == nullptr) return;
    server_record& record = *found;
    record.identities.reset();
    if (record.now.facts.before_retry) record.now.facts.before_retry->started_anew = true;
    // Without memory it is not known: nothing resumes then.
    std::shared_ptr<const policies> in_force;
    if (there != nullptr)
        fence(0, [&] {
            in_force = there->of->current();
            return 1;
        });
    record.put_aside.give_back_all(ssl, in_force != nullptr ? id_context_of(*in_force, *there)
                                                            : std::span<const unsigned char>());
}

void note(SSL* ssl, server_record* record, const attached_server* there, int event, int value) {
    const bool fatal = (event & SSL_CB_ALERT) != 0 && value >> 8 == SSL3_AL_FATAL;
    const bool pending = record != nullptr && record->now.to_count.offered;
    // One that is denied gets to know it in the place of its ticket.
    const bool ended = client_has_finished(ssl) && (record == nullptr || !record->now.denied);
    const bool done = event == SSL_CB_HANDSHAKE_DONE && ended;
    // One that reads early data also gets a second start, in the middle.
    if (event == SSL_CB_HANDSHAKE_START && SSL_in_before(ssl) == 1) begin(ssl, record, there);
    if (record != nullptr && done) handshake_done(ssl, *record);
    // OpenSSL passes over a fatal user_canceled.
    const bool failed = fatal && !ended && (value & 0xff) != SSL_AD_USER_CANCELLED;
    if (pending && failed)
        count_refusal(ssl, *record, event == SSL_CB_WRITE_ALERT ? std::optional(value & 0xff) : std::nullopt);
    else if (there != nullptr && !pending && (failed || done) && !server_outcome_of(*ssl).offered)
        count_person(ssl, done ? reason::not_offered : reason::handshake_unfinished);
    // peer_of is true when the call that ends the handshake returns, and not before. Later ones look the same.
    const bool over = event == SSL_CB_ACCEPT_EXIT && value == 1 && SSL_is_init_finished(ssl) == 1;
    if (there != nullptr && (over || (fatal && !ended))) tell(*ssl, record, *there, event, value);
    // Our own ends the handshake.
    if (record != nullptr && event == SSL_CB_WRITE_ALERT && fatal) {
        record->put_aside.give_back(ssl);
        record->handshake_over();
    }
}

} // namespace

void on_server_event(const SSL* watched, int event, int value) {
    auto* ssl = const_cast<SSL*>(watched); // NOLINT: OpenSSL hands out its own object
    if (event == SSL_CB_WRITE_ALERT) ssl = connection_of(ssl);
    server_record* record = server_record::on(ssl);
    const attached_server* there = attached_server::on(ssl);
    const auto of_context = there != nullptr ? there->info : nullptr;
    if (record != nullptr) {
        if (!record->put_aside.passing_on() && (event & SSL_CB_LOOP) == 0) note(ssl, record, there, event, value);
        record->put_aside.pass_on(ssl, event, value, of_context);
        return;
    }
    // Without a record only an SSL_CTX's is ours. Some callback may call the one that it found on another SSL.
    if (there == nullptr || SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl)) != on_server_event) return;
    thread_local const SSL* within = nullptr; // an application's may call the one that it finds on the SSL_CTX
    if (within == ssl) return;
    if ((event & SSL_CB_LOOP) == 0) note(ssl, nullptr, there, event, value);
    const SSL* const outer = std::exchange(within, ssl);
    if (of_context != nullptr) of_context(ssl, event, value);
    within = outer;
}

} // namespace reqauth::detail
