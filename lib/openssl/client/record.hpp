// SPDX-License-Identifier: Apache-2.0
#pragma once

// What is kept of a client's SSL.

#include "../../decide/client_facts.hpp"
#include "../base/quic.hpp"
#include "certificates.hpp"
#include "side.hpp"

#include <memory>
#include <optional>
#include <string>

namespace reqauth::detail {

/// client_record is what is kept of one SSL.
struct client_record {
    client_facts facts; ///< of the handshake at hand
    client_certificates own;

    /// The credentials, as they were when the ClientHello went out: to the end of the handshake. Their digest stays.
    std::shared_ptr<const credential_set> credentials;
    sha256_digest credentials_digest{};
    /// The scope of the connection, before anything of ours was presented on it.
    std::optional<client_scope> scope;
    std::string presented_session; ///< its id; empty: none

    /// The info callback that the application had set on the SSL; null: none.
    void (*info)(const SSL*, int, int) = nullptr;
    bool told_of_start = false; ///< it was called for this handshake

    /// on finds it: null where there is none. make finds it or makes it; throws std::bad_alloc.
    [[nodiscard]] static client_record* on(const SSL* ssl) noexcept { return slot<SSL, client_record>::of(ssl); }
    [[nodiscard]] static client_record& make(SSL* ssl) {
        if (client_record* there = on(ssl)) return *there;
        be_found(ssl);
        return slot<SSL, client_record>::keep(ssl, std::make_unique<client_record>());
    }

    /// for_duplicate goes with a copy of the SSL, which has no handshake yet: the copy has the settings, ours too.
    [[nodiscard]] std::unique_ptr<client_record> for_duplicate() const {
        if (!own.changed() && info == nullptr) return nullptr;
        auto copy = std::make_unique<client_record>();
        copy->own = client_certificates(own);
        copy->info = info;
        return copy;
    }
};

} // namespace reqauth::detail
