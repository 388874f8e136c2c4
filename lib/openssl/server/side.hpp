// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the SSL_CTXs of one reqauth::server share: its options, and their policies at any moment.

#include "../../decide/mark.hpp"
#include "../base/hash.hpp"
#include "../base/slot.hpp"

#include <reqauth/server.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace reqauth::detail {

struct server_side;

/// attached_server is one SSL_CTX's place in a server. It lives as long as the SSL_CTX.
struct attached_server {
    SSL_CTX* context; ///< not owned: it owns this
    std::shared_ptr<server_side> of;
    std::uint64_t number; ///< no other SSL_CTX ever has it
    /// The application's info callback: ours is in its place.
    void (*info)(const SSL*, int, int) = nullptr;
    server_counters* counters = nullptr; ///< the application's, beside those of the server
    mutable last_digest scopes;

    attached_server(SSL_CTX* attached_to, std::shared_ptr<server_side> server, std::uint64_t place)
        : context(attached_to), of(std::move(server)), number(place) {}

    /// on finds it: null where no server is attached.
    [[nodiscard]] static const attached_server* on(const SSL_CTX* context) noexcept {
        const auto* kept = slot<SSL_CTX, std::shared_ptr<attached_server>>::of(context);
        return kept != nullptr ? kept->get() : nullptr;
    }
    [[nodiscard]] static const attached_server* on(const SSL* ssl) noexcept { return on(SSL_get_SSL_CTX(ssl)); }
};

/// policies are those of all SSL_CTXs of a server at one moment. Never changed once made: a handshake keeps the ones with
/// which it began.
struct policies {
    struct entry {
        std::uint64_t number; ///< of the SSL_CTX
        std::weak_ptr<attached_server> where;
        std::shared_ptr<const server_policy> policy;
        sha256_digest digest; ///< over everything in it that decides about a client

        /// Throws error{openssl}, std::bad_alloc.
        entry(const std::shared_ptr<attached_server>& there, server_policy what);
    };
    std::vector<entry> entries; ///< in the order of their numbers
    sha256_digest digest{};     ///< over all of them in any order, and the options: the same on each node of a fleet
    bool refuse_early_data = false; ///< one of them says so

    /// Leaves out those whose SSL_CTX is gone. Throws error{openssl}, std::bad_alloc.
    policies(const server_options& options, std::vector<entry> all);

    /// find gives the policy of an SSL_CTX: null where it was attached later.
    [[nodiscard]] const entry* find(std::uint64_t number) const noexcept;
};

struct server_side {
    server_options options;
    server_counters counters;
    last_digest leaves;                                    ///< of agents
    std::mutex changing;                                   ///< attach and replace, one at a time
    std::optional<std::vector<extension_type>> extensions; ///< those of the first SSL_CTX, without ours

    /// current gives the policies in force. The first to ask after attach makes them, since thousands of SSL_CTXs may be
    /// attached one after another. Throws as policies does.
    [[nodiscard]] std::shared_ptr<const policies> current();

    // While `changing` is held.
    /// all gives what there is, also of SSL_CTXs that are gone.
    [[nodiscard]] const std::vector<policies::entry>& all() const noexcept { return entries_; }
    /// make_room has the next add succeed. Throws std::bad_alloc.
    void make_room();
    void add(policies::entry entry) noexcept;
    /// set replaces all. Throws as policies does, and then nothing has changed.
    void set(std::vector<policies::entry> entries);

private:
    std::mutex reading_; ///< held for a reference count, or while `made_` is made
    std::vector<policies::entry> entries_;
    std::shared_ptr<const policies> made_; ///< of them; null where it has yet to be made
};

} // namespace reqauth::detail
