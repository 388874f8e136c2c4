// SPDX-License-Identifier: Apache-2.0
#include <reqauth/peer.hpp>

#include "../outcome.hpp"
#include "connection.hpp"
#include "fence.hpp"
#include "identity.hpp"
#include "pem.hpp"

#include <new>

namespace reqauth {

namespace detail {

struct peer_maker {
    static flagged_peer make(std::shared_ptr<const identity> who) noexcept { return flagged_peer(std::move(who)); }
};

namespace {

// Without `leaf`, for the facts that need no digest.
findings findings_of(const SSL& ssl) noexcept {
    return {.server = SSL_is_server(&ssl) == 1,
            .finished = SSL_is_init_finished(&ssl) == 1,
            .resumed = SSL_session_reused(&ssl) == 1,
            .client_random = client_random_of(&ssl),
            .server_random = server_random_of(&ssl),
            .certificate = SSL_get0_peer_certificate(&ssl) != nullptr,
            .leaf = {}};
}

} // namespace
} // namespace detail

using namespace detail;

//= SEC-2
peer peer_of(const SSL& ssl) {
    const connection* kept = connection_of(&ssl);
    const server_exchange* exchange = kept != nullptr ? &kept->server : nullptr;
    findings now = findings_of(ssl);
    X509* leaf = SSL_get0_peer_certificate(&ssl);
    try {
        if (exchange != nullptr && exchange->witness.held && leaf != nullptr) now.leaf = sha256(*leaf);
        const auto against = conclude(exchange, now);
        if (against) return other_peer{*against, *against == reason::invalid ? exchange->witness.error : 0};
        return peer_maker::make(identity_of(*leaf, SSL_get0_verified_chain(&ssl)));
    } catch (const error&) {
        // OpenSSL could not even digest or print the certificate: nobody is authenticated by it.
        ERR_clear_error();
        return other_peer{reason::not_witnessed, 0};
    }
}

server_outcome server_outcome_of(const SSL& ssl) noexcept {
    const connection* kept = connection_of(&ssl);
    findings now = findings_of(ssl);
    // Diagnosis takes the certificate for the witnessed one; peer_of compares them.
    if (kept != nullptr) now.leaf = kept->server.witness.leaf;
    return progress(kept != nullptr ? &kept->server : nullptr, now);
}

} // namespace reqauth
