// SPDX-License-Identifier: Apache-2.0
#pragma once

// The library's record of one SSL, kept in an ex_data slot of its own. Made only for a connection on
// which the extension was sent or received.

#include "../decide/exchange.hpp"
#include "client/certificates.hpp"
#include "context.hpp"
#include "server/borrowed.hpp"

#include <memory>
#include <string>

namespace reqauth::detail {

/// considered is what decides which sessions a ClientHello may resume.
struct considered {
    // What the rest rests on.
    hello_random client_random{};
    std::optional<std::string> server_name;
    flag_set flags;

    bool wanted = false; ///< the predicate's answer
    sha256_digest scope{};
};

/// identity_walk is where the next PSK identity of a ClientHello would stand. It can have ten thousand of them, and what it
/// says is looked at with the first. Only compared.
struct identity_walk {
    const unsigned char* next = nullptr;
    const SSL_CTX* context = nullptr;
    int (*chained)(SSL*, const unsigned char*, std::size_t, SSL_SESSION**) = nullptr; ///< the application's, for each
    bool unflagged = false; ///< the ClientHello was found to have no flag
};

struct connection {
    server_exchange server;
    client_exchange client;

    /// The policies of the listener, as they were when this handshake's ClientHello came, and the one of
    /// them that decided. Kept to the end of the handshake.
    //= SEC-10
    std::shared_ptr<listener> of;
    std::shared_ptr<const policies> snapshot;
    const policies::entry* decided_by = nullptr; ///< in `snapshot`
    /// Where the first ClientHello of this handshake arrived. Compared, never followed.
    const attached_policy* arrived_at = nullptr;

    /// What was found about a ClientHello that presents sessions, before it is parsed.
    std::optional<considered> early;
    identity_walk identities;

    /// Until when this connection's session may be relied on, where it is a verified agent's; else 0.
    std::int64_t deadline = 0;

    /// A verification of the library's own, which runs apart from OpenSSL's; compared, never followed.
    const X509_STORE_CTX* apart = nullptr;
    bool verified_apart = false;
    /// The chain that the witness saw verified, in this handshake.
    certificates_handle chain;

    overrides put_aside;
    client_certificates own;

    /// handshake_over lets go of what only a server's handshake needs.
    void handshake_over() noexcept {
        decided_by = nullptr;
        snapshot.reset();
        of.reset();
        early.reset();
        server.before_retry.reset();
    }

    /// A client's credentials, as they were when its ClientHello went out: to the end of the handshake. Their digest
    /// stays.
    std::shared_ptr<const credential_set> credentials;
    sha256_digest credentials_digest{};
    /// The scope of this client's connection, before anything of ours was presented on it.
    std::optional<client_scope> scope;
    /// The info callback that the application had set on this client's SSL; null: none.
    overrides::info_callback client_info = nullptr;
    bool told_of_start = false; ///< the client's info callback was called for this handshake

    /// What the add callback hands to OpenSSL, which copies it.
    encoded_flags out;
};

/// connection_of finds the record: null where there is none.
[[nodiscard]] connection* connection_of(const SSL* ssl) noexcept;

/// connection_for finds it or makes it. Throws std::bad_alloc.
[[nodiscard]] connection& connection_for(SSL* ssl);

/// The handshake's Randoms as OpenSSL has them now.
[[nodiscard]] hello_random client_random_of(const SSL* ssl) noexcept;
[[nodiscard]] hello_random server_random_of(const SSL* ssl) noexcept;

/// after_handshake says that the handshake has ended, so that what comes is post-handshake.
[[nodiscard]] bool after_handshake(const SSL* ssl) noexcept;

} // namespace reqauth::detail
