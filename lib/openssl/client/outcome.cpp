// SPDX-License-Identifier: Apache-2.0
#include <reqauth/client.hpp>

#include "../base/handshake.hpp"
#include "record.hpp"

#include <openssl/err.h>

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace reqauth {

using namespace detail;

namespace {

// Those that RFC 8446, section 6.2, has for a certificate that is not liked, or not there.
bool about_certificate(std::uint8_t alert) noexcept {
    constexpr std::array<std::uint8_t, 9> all = {
        SSL_AD_BAD_CERTIFICATE,     SSL_AD_UNSUPPORTED_CERTIFICATE, SSL_AD_CERTIFICATE_REVOKED,
        SSL_AD_CERTIFICATE_EXPIRED, SSL_AD_CERTIFICATE_UNKNOWN,     SSL_AD_UNKNOWN_CA,
        SSL_AD_ACCESS_DENIED,       SSL_AD_CERTIFICATE_REQUIRED,    SSL_AD_DECRYPT_ERROR};
    return std::ranges::find(all, alert) != all.end();
}

bool ticket_came(const SSL& ssl) noexcept {
    const SSL_SESSION* session = SSL_get_session(&ssl);
    return session != nullptr && SSL_SESSION_has_ticket(session) == 1;
}

client_outcome::verdict judged(const SSL& ssl, const client_outcome& outcome) noexcept {
    using verdict = client_outcome::verdict;
    if (outcome.alert_received && outcome.requested && about_certificate(*outcome.alert_received))
        return verdict::refused;
    if (outcome.resumed && SSL_is_init_finished(&ssl) == 1) return verdict::accepted;
    if (!outcome.requested || outcome.sent == client_outcome::answer::none) return verdict::none;
    // Before TLS 1.3 the server's Finished comes after it has judged.
    if (SSL_is_init_finished(&ssl) == 1 && SSL_version(&ssl) < TLS1_3_VERSION) return verdict::accepted;
    return SSL_is_init_finished(&ssl) == 1 && ticket_came(ssl) ? verdict::accepted : verdict::awaited;
}

/// unblocked is a socket that does not block while it lives.
struct unblocked {
    explicit unblocked(int of) noexcept : socket(of), flags(fcntl(of, F_GETFL)) {
        if (flags >= 0) fcntl(socket, F_SETFL, flags | O_NONBLOCK);
    }
    unblocked(const unblocked&) = delete;
    unblocked& operator=(const unblocked&) = delete;
    ~unblocked() {
        if (flags >= 0) fcntl(socket, F_SETFL, flags);
    }
    int socket;
    int flags;
};

// Reads messages and alerts, up to application data.
void read_on(SSL& ssl) noexcept {
    char octet = 0;
    std::uint64_t before = 0;
    do before = BIO_number_read(SSL_get_rbio(&ssl));
    while (SSL_peek(&ssl, &octet, 1) <= 0 && BIO_number_read(SSL_get_rbio(&ssl)) != before);
}

// Nothing goes out any more, and nothing comes.
bool is_gone(int socket) noexcept {
    pollfd state{socket, 0, 0};
    return poll(&state, 1, 0) == 1 && (state.revents & POLLHUP) != 0;
}

// Reads them from a socket that does not block.
void read_on_from(SSL& ssl, int socket) noexcept {
    const unblocked meanwhile(socket);
    BIO* written_to = SSL_get_wbio(&ssl);
    const bool flush = SSL_in_init(&ssl) == 1 && is_gone(socket);
    if (flush) { // OpenSSL reads no more before what it has to say is out; nobody is there to hear it
        BIO_up_ref(written_to);
        SSL_set0_wbio(&ssl, BIO_new(BIO_s_null()));
    }
    read_on(ssl);
    if (flush) SSL_set0_wbio(&ssl, written_to);
}

void find_alert(SSL& ssl, int socket) noexcept {
    if (const int own = SSL_get_rfd(&ssl); own >= 0) return read_on_from(ssl, own);
    BIO* read_from = SSL_get_rbio(&ssl);
    const std::string_view kind = read_from != nullptr ? BIO_method_name(read_from) : "";
    // No others are known to return at once.
    if (kind == "BIO pair" || kind == "memory buffer") read_on(ssl);
    // Until then, who reads from it will see the alert.
    if (read_from == nullptr || !is_gone(socket)) return;
    BIO_up_ref(read_from);
    SSL_set0_rbio(&ssl, BIO_new_socket(socket, BIO_NOCLOSE));
    if (SSL_get_rbio(&ssl) != nullptr) read_on_from(ssl, socket);
    SSL_set0_rbio(&ssl, read_from);
}

} // namespace

client_outcome client_outcome_of(const SSL& ssl) noexcept {
    client_outcome outcome;
    const client_record* record = client_record::on(&ssl);
    if (record == nullptr || SSL_is_server(&ssl) == 1 || record->facts.client_random != client_random_of(&ssl))
        return outcome;
    const client_facts& facts = record->facts;
    outcome.offered = facts.offered;
    outcome.withheld = facts.why;
    outcome.requested = facts.requested;
    outcome.acknowledged = facts.acknowledged;
    outcome.resumed = SSL_session_reused(&ssl) == 1;
    outcome.alert_received = facts.alert;
    outcome.server_flags = facts.server_flags;
    if (facts.answered) {
        // What OpenSSL chose to sign with is what it sent; it chooses nothing where nothing fits.
        int signature = NID_undef;
        const bool signed_it = SSL_get_signature_nid(const_cast<SSL*>(&ssl), &signature) == 1; // NOLINT: it only reads
        using answer = client_outcome::answer;
        outcome.sent = !signed_it ? answer::empty : facts.presented ? answer::flag : answer::other;
    }
    outcome.unproven = facts.unproven;
    outcome.judged = judged(ssl, outcome);
    return outcome;
}

client_outcome last_outcome_of(SSL& ssl, int socket) noexcept {
    const client_record* record = client_record::on(&ssl);
    // Before a certificate was asked for there is nothing to refuse.
    if (record != nullptr && record->facts.answered && !record->facts.alert) {
        const int error = errno;
        ERR_set_mark();
        find_alert(ssl, socket);
        ERR_pop_to_mark();
        errno = error;
    }
    return client_outcome_of(ssl);
}

void throw_if_refused(SSL& ssl, int socket) {
    const client_outcome outcome = last_outcome_of(ssl, socket);
    if (outcome.judged == client_outcome::verdict::refused) throw refused(outcome);
}

refused::refused(const client_outcome& outcome)
    : error(
          errc::refused,
          "the server refused " +
              std::string(outcome.sent == client_outcome::answer::empty ? "the empty Certificate" : "the certificate") +
              ": " + reqauth::alert_name(outcome.alert_received.value_or(0)),
          "do not try again with the same credential"),
      alert_(outcome.alert_received.value_or(0)) {}
refused::~refused() = default;
std::string refused::alert_name() const { return reqauth::alert_name(alert_); }

} // namespace reqauth
