// SPDX-License-Identifier: Apache-2.0
#include <reqauth/peer.hpp>

#include "../../decide/mark.hpp"
#include "../../decide/outcome.hpp"
#include "ending.hpp"
#include "identity.hpp"

#include <reqauth/error.hpp>

#include <new>

namespace reqauth {

namespace detail {

struct peer_maker {
    static flagged_peer make(std::shared_ptr<const identity> who) noexcept { return flagged_peer(std::move(who)); }
    static unvouched_client make(X509& leaf, const sha256_digest& thumbprint, bool early) {
        unvouched_client who;
        who.thumbprint_ = thumbprint;
        who.certificate_ = reference(&leaf);
        who.early_ = early;
        return who;
    }
};

namespace {

server_record::handshake* handshake_on(const SSL& ssl) noexcept {
    server_record* record = server_record::on(&ssl);
    if (record == nullptr) return nullptr;
    //= SEC-10
    if (record->now.hello != nullptr && SSL_is_server(&ssl) == 1 && SSL_is_init_finished(&ssl) == 1)
        handshake_done(const_cast<SSL*>(&ssl), *record); // NOLINT: an info callback over ours may have kept it from us
    return &record->now;
}

const server_facts* facts_of(const server_record::handshake* now) noexcept {
    return now != nullptr ? &now->facts : nullptr;
}

} // namespace

} // namespace detail

using namespace detail;

//= SEC-2
peer peer_of(const SSL& ssl) {
    server_record::handshake* now = handshake_on(ssl);
    const auto against = conclude(facts_of(now), findings_of(ssl, now));
    if (against) return other_peer{*against, *against == reason::invalid ? now->facts.witness.error : 0};
    if (now->who != nullptr) return peer_maker::make(now->who);
    try {
        now->who = identity_of(ssl, *now);
        return peer_maker::make(now->who);
    } catch (const error&) {
        // OpenSSL could not write the certificate's names: nobody is authenticated by it.
        return other_peer{reason::not_witnessed, 0};
    }
}

//= MTLS-7
std::optional<unvouched_client> unvouched_of(const SSL& ssl) {
    server_record::handshake* now = handshake_on(ssl);
    if (!is_unvouched(facts_of(now), findings_of(ssl, now))) return std::nullopt;
    //= TLS-4
    const bool early = SSL_get_early_data_status(&ssl) == SSL_EARLY_DATA_ACCEPTED;
    return peer_maker::make(*SSL_get0_peer_certificate(&ssl), now->facts.witness.leaf, early);
}

server_outcome server_outcome_of(const SSL& ssl) noexcept {
    const server_record::handshake* now = handshake_on(ssl);
    return progress(facts_of(now), findings_of(ssl, now));
}

//= RCA-14
//= SEC-8
bool is_of_agent(const SSL& ssl) noexcept {
    const SSL_SESSION* session = SSL_get_session(&ssl);
    // An application may have brought an agent's session to a connection on which nobody offered the flag.
    return server_outcome_of(ssl).accepted || (session != nullptr && is_agents_session(*session));
}

//= RCA-14
//= SEC-8
bool is_agents_session(const SSL_SESSION& session) noexcept {
    auto* read = const_cast<SSL_SESSION*>(&session); // NOLINT: OpenSSL 3 takes no const, and changes nothing
    void* data = nullptr;
    std::size_t size = 0;
    return SSL_SESSION_get0_ticket_appdata(read, &data, &size) == 1 &&
           read_mark({static_cast<const std::uint8_t*>(data), size}).has_value();
}

} // namespace reqauth
