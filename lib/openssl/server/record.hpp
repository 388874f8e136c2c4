// SPDX-License-Identifier: Apache-2.0
#pragma once

// What is kept of a server's SSL. Made only for one whose client sent the extension.

#include "../../decide/server_facts.hpp"
#include "../base/handle.hpp"
#include "../base/pem.hpp"
#include "../base/quic.hpp"
#include "borrowed.hpp"
#include "side.hpp"

#include <memory>
#include <optional>
#include <string>

namespace reqauth::detail {

/// considered is what a ClientHello with the flag comes to, worked out once. It holds what the handshake needs of the
/// server until it ends.
struct considered {
    // What the rest rests on.
    hello_random client_random{};
    std::optional<std::string> server_name;
    flag_set flags;
    std::uint64_t octets = 0; ///< read by then

    std::shared_ptr<server_side> of;
    std::shared_ptr<const policies> in_force; ///< when the ClientHello came
    std::uint64_t arrived_at = 0;             ///< the number of the SSL_CTX that got the first ClientHello
    bool wanted = true;                       ///< the predicate's answer
    sha256_digest scope{};
};

/// identity_walk is where the next PSK identity of a ClientHello would stand. It can have ten thousand of them, and what it
/// says is looked at with the first. Only compared.
struct identity_walk {
    const unsigned char* next = nullptr;
    const SSL_CTX* context = nullptr;
    psk_find_session chained = nullptr;        ///< the application's, for each
    bool unflagged = false;                    ///< the ClientHello was found to have no flag,
    std::shared_ptr<const considered> hello{}; ///< or what it comes to
};

/// pending is what is to be counted of a handshake when it has ended. Nothing where that was done, or nobody offered the flag.
struct pending {
    bool offered = false;
    bool asked = false;
    bool acknowledged = false;
};

struct identity;

/// turned_down is a certificate that did not verify, and the first thing that was wrong with its chain.
struct turned_down {
    x509_handle leaf;
    x509_handle failed; ///< the certificate of the chain that it is about
    crl_handle crl;     ///< the CRL that it is about
    int depth = 0;
    bool server_at_fault = false;
    bool not_admitted = false;
    bool cross_signed = false;
};

/// server_record is what is kept of one SSL.
struct server_record {
    /// What belongs to one handshake, from its ClientHello on. Begun anew as a whole.
    struct handshake {
        server_facts facts;
        /// To the end of the handshake, where the flag was offered.
        //= SEC-10
        std::shared_ptr<const considered> hello;
        std::shared_ptr<const policies::entry> decided_by; ///< the policy that decided
        std::int64_t deadline = 0; ///< until when its session may be relied on, where it is a verified agent's; else 0
        certificates_handle chain; ///< that the witness saw verified
        x509_handle leaf;          ///< whose digest the facts have
        x509_handle anchor;        ///< in which its chain ended, or that of the session that is resumed
        std::shared_ptr<const identity> who; ///< it, once somebody has asked for it
        turned_down refused;                 ///< or the one that it did not
        bool verified_apart = false;
        bool denied = false; ///< it verified, and may not come: the handshake goes on until it can say so
        pending to_count;
    };
    handshake now;

    /// Of a ClientHello that presents sessions, until it is parsed.
    std::unique_ptr<identity_walk> identities;
    /// A verification of the library's own, which runs apart from OpenSSL's; compared, never followed.
    const X509_STORE_CTX* apart = nullptr;
    borrowed put_aside;

    /// on finds it: null where there is none. make finds it or makes it; throws std::bad_alloc.
    [[nodiscard]] static server_record* on(const SSL* ssl) noexcept { return slot<SSL, server_record>::of(ssl); }
    [[nodiscard]] static server_record& make(SSL* ssl) {
        if (server_record* there = on(ssl)) return *there;
        be_found(ssl);
        return slot<SSL, server_record>::keep(ssl, std::make_unique<server_record>());
    }

    /// owner_ends is called as the SSL is freed.
    void owner_ends(const SSL* ssl) noexcept;

    /// handshake_over lets go of what only a handshake needs.
    void handshake_over() noexcept {
        now.decided_by.reset();
        now.hello.reset();
        now.facts.before_retry.reset();
        identities.reset();
    }

    /// for_duplicate goes with a copy of the SSL, which has no handshake yet: the copy has the settings, ours too.
    [[nodiscard]] std::unique_ptr<server_record> for_duplicate() const {
        if (!put_aside.changed_anything()) return nullptr;
        auto copy = std::make_unique<server_record>();
        copy->put_aside = put_aside.for_duplicate();
        return copy;
    }
};

} // namespace reqauth::detail
