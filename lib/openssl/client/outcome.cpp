// SPDX-License-Identifier: Apache-2.0
#include <reqauth/client.hpp>

#include "../base/fence.hpp"
#include "../base/handshake.hpp"
#include "../base/pem.hpp"
#include "../base/quic.hpp"
#include "handshake.hpp"
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

bool ticket_came(const SSL& ssl) noexcept {
    const SSL_SESSION* session = SSL_get_session(&ssl);
    return session != nullptr && SSL_SESSION_has_ticket(session) == 1;
}

client_outcome::verdict judged(const SSL& ssl, const client_facts& facts) noexcept {
    using verdict = client_outcome::verdict;
    const bool finished = SSL_is_init_finished(&ssl) == 1;
    if (facts.answered && facts.alert && !facts.after_data) return verdict::refused;
    if (finished && SSL_session_reused(&ssl) == 1) return verdict::resumed;
    if (!facts.answered) return verdict::none;
    if (!finished) return verdict::awaited;
    if (!is_tls13(&ssl)) return verdict::finished;
    return ticket_came(ssl) ? verdict::ticket : verdict::awaited;
}

// An alert that came before anything else, and is about something else than the flag.
bool names_another_cause(std::uint8_t alert) noexcept {
    return alert == SSL_AD_UNRECOGNIZED_NAME || alert == SSL_AD_PROTOCOL_VERSION ||
           alert == SSL_AD_NO_APPLICATION_PROTOCOL;
}

bool is_unanswered(const SSL& ssl, const client_facts& facts) noexcept {
    if (!facts.offered || facts.hellos != 1 || server_random_of(&ssl) != hello_random{}) return false;
    return facts.alert ? !names_another_cause(*facts.alert) : octets_read(&ssl) == facts.octets;
}

/// words are a cause and a remedy.
struct words {
    const char* cause;
    const char* remedy;
};

words words_for(withheld why) noexcept {
    switch (why) {
    case withheld::nothing: break;
    case withheld::never: return {"the policy says never, or nothing is attached", "have it offer the flag"};
    case withheld::no_credential: return {"there is no credential", "give one"};
    case withheld::outside_validity:
        return {"every credential has expired, or is not valid yet", "renew it, or look at this machine's clock"};
    case withheld::by_application: return {"the application left it out for this server", "have offers_to allow it"};
    }
    return {"", ""};
}

words words_for(unmet what) noexcept {
    switch (what) {
    case unmet::nothing: break;
    case unmet::no_credential: return words_for(withheld::no_credential);
    case unmet::outside_validity: return words_for(withheld::outside_validity);
    case unmet::authorities:
        return {"no credential is of a CA that the server names",
                "put the intermediate certificates into the credential's file, or give one of those CAs"};
    case unmet::algorithms:
        return {"no credential has a key for the signature algorithms that the server takes",
                "give one with another kind of key"};
    case unmet::untrusted: return {"the server's certificate does not verify", "trust its CA, if it is the right one"};
    case unmet::other_name:
        return {"the server's certificate is for another name than the one that was asked for",
                "ask for one that it has"};
    case unmet::unknown_name:
        return {"it cannot be told which name was asked for", "set it on the SSL, or send it as server_name"};
    }
    return {"", ""};
}

std::string listed(const std::vector<std::string>& names) {
    constexpr std::size_t most = 3;
    std::string text;
    for (std::size_t i = 0; i < std::min(names.size(), most); ++i) text += (i == 0 ? "" : "; ") + names[i];
    if (names.size() > most) text += "; and " + std::to_string(names.size() - most) + " more";
    return text;
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

// Reads them from a socket that does not block. `silently`: OpenSSL may have something to say to what it reads, and must
// not write it where only the application may.
void read_on_from(SSL& ssl, int socket, bool silently = false) noexcept {
    const unblocked meanwhile(socket);
    BIO* written_to = SSL_get_wbio(&ssl);
    const bool flush = written_to != nullptr && (silently || (SSL_in_init(&ssl) == 1 && is_gone(socket)));
    if (flush) { // OpenSSL reads no more before what it has to say is out; nobody is there to hear it
        BIO_up_ref(written_to);
        SSL_set0_wbio(&ssl, BIO_new(BIO_s_null()));
    }
    read_on(ssl);
    if (flush) SSL_set0_wbio(&ssl, written_to);
}

void find_alert(SSL& ssl, int socket, client_facts& facts) noexcept {
    if (is_quic(&ssl)) {
        fence(0, [&] {
            look_for_close(&ssl);
            return 1;
        });
        return;
    }
    if (const int own = SSL_get_rfd(&ssl); own >= 0) return read_on_from(ssl, own);
    BIO* read_from = SSL_get_rbio(&ssl);
    const std::string_view kind = read_from != nullptr ? BIO_method_name(read_from) : "";
    // No others are known to return at once.
    if (kind == "BIO pair" || kind == "memory buffer") read_on(ssl);
    // Until then, who reads from it will see the alert.
    if (read_from == nullptr || !is_gone(socket)) return;
    BIO_up_ref(read_from);
    facts.octets -= BIO_number_read(read_from); // the other counts from 0
    SSL_set0_rbio(&ssl, BIO_new_socket(socket, BIO_NOCLOSE));
    if (SSL_get_rbio(&ssl) != nullptr) read_on_from(ssl, socket, true);
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
    outcome.hello_unanswered = is_unanswered(ssl, facts);
    outcome.server_flags = facts.server_flags;
    if (facts.answered) {
        // What OpenSSL chose to sign with is what it sent; it chooses nothing where nothing fits.
        int signature = NID_undef;
        const bool signed_it = SSL_get_signature_nid(const_cast<SSL*>(&ssl), &signature) == 1; // NOLINT: it only reads
        using answer = client_outcome::answer;
        outcome.sent = !signed_it ? answer::empty : facts.presented ? answer::flag : answer::other;
    }
    // OpenSSL may not be able to use a key that the request allows.
    outcome.unmet = facts.presented && outcome.sent == client_outcome::answer::empty ? unmet::algorithms : facts.unmet;
    outcome.judged = judged(ssl, facts);
    return outcome;
}

client_outcome last_outcome_of(SSL& ssl, int socket) noexcept {
    client_record* record = client_record::on(&ssl);
    // Before a certificate was asked for there is nothing to refuse.
    if (record != nullptr && record->facts.answered && !record->facts.alert) {
        const int error = errno;
        ERR_set_mark();
        find_alert(ssl, socket, record->facts);
        ERR_pop_to_mark();
        errno = error;
    }
    return client_outcome_of(ssl);
}

void throw_if_refused(SSL& ssl, int socket) {
    const client_outcome outcome = last_outcome_of(ssl, socket);
    if (outcome.judged == client_outcome::verdict::refused) throw refused(outcome);
}

explanation explain(const SSL& ssl) {
    const client_outcome outcome = client_outcome_of(ssl);
    explanation all;
    const STACK_OF(X509_NAME)* named = outcome.requested ? SSL_get0_peer_CA_list(&ssl) : nullptr;
    for (int i = 0; i < sk_X509_NAME_num(named); ++i)
        all.authorities.push_back(name_text(sk_X509_NAME_value(named, i)));
    if (outcome.unmet != unmet::nothing) {
        all.cause = words_for(outcome.unmet).cause;
        all.remedy = words_for(outcome.unmet).remedy;
        if (outcome.unmet == unmet::authorities) {
            all.issuers = client_record::on(&ssl)->facts.issuers;
            all.cause += ": it names " + listed(all.authorities) + ", ours is of " + listed(all.issuers);
        }
        if (outcome.unmet == unmet::untrusted && SSL_get_verify_result(&ssl) != X509_V_OK)
            all.cause += std::string(": ") + X509_verify_cert_error_string(SSL_get_verify_result(&ssl));
    } else if (outcome.hello_unanswered) {
        all.cause = outcome.alert_received
                        ? "the server answered the ClientHello, which had the flag, with the alert " +
                              reqauth::alert_name(*outcome.alert_received)
                        : std::string("the server did not answer the ClientHello, which had the flag");
        all.remedy = "it, or something before it, may not take the flag; try without";
    } else if (!outcome.offered) {
        all.cause = std::string("the flag was not offered: ") + words_for(outcome.withheld).cause;
        all.remedy = words_for(outcome.withheld).remedy;
    }
    if (outcome.judged == client_outcome::verdict::refused) {
        const refused no(outcome);
        all.cause = all.cause.empty() ? no.cause() : all.cause + "; the server refused: " + no.alert_name();
        if (all.remedy.empty()) all.remedy = no.remedy();
    }
    return all;
}

refused::refused(const client_outcome& outcome)
    : error(
          errc::refused,
          "the server refused " +
              std::string(outcome.sent == client_outcome::answer::empty ? "the empty Certificate" : "the certificate") +
              ": " + reqauth::alert_name(outcome.alert_received.value_or(0)) +
              (outcome.unmet == unmet::nothing ? "" : std::string(" (") + words_for(outcome.unmet).cause + ")"),
          "do not try again with the same credential"),
      alert_(outcome.alert_received.value_or(0)) {}
refused::~refused() = default;
std::string refused::alert_name() const { return reqauth::alert_name(alert_); }

} // namespace reqauth
