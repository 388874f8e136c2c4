// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the SSL_CTXs of one reqauth::server share: its options, and their policies at any moment.

#include "../../decide/mark.hpp"

#include <reqauth/server.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace reqauth::detail {

struct listener;

/// attached_policy is one SSL_CTX's place in a listener. It lives as long as the SSL_CTX.
struct attached_policy {
    SSL_CTX* context; ///< not owned: it owns this
    std::shared_ptr<listener> of;
};

/// policies are those of all SSL_CTXs of a listener at one moment. Never changed once made: a handshake
/// keeps the ones with which it began.
struct policies {
    struct entry {
        std::weak_ptr<attached_policy> where;
        std::shared_ptr<const server_policy> policy;
        sha256_digest digest;
    };
    std::vector<entry> entries;
    sha256_digest digest{};         ///< over all of them and the options: the same on each node of a fleet
    bool refuse_early_data = false; ///< one of them says so

    /// find gives the policy of an SSL_CTX: null where it was attached later.
    [[nodiscard]] const entry* find(const attached_policy* where) const noexcept;
};

struct listener {
    server_options options;
    std::mutex changing;                                   ///< attach and replace, one at a time
    std::optional<std::vector<extension_type>> extensions; ///< those of the first SSL_CTX, without ours

    [[nodiscard]] std::shared_ptr<const policies> current() const {
        const std::lock_guard lock(reading_);
        return current_;
    }
    void publish(std::shared_ptr<const policies> next) {
        const std::lock_guard lock(reading_);
        current_.swap(next);
    }

private:
    mutable std::mutex reading_; ///< held for a reference count only
    std::shared_ptr<const policies> current_ = std::make_shared<const policies>();
};

} // namespace reqauth::detail
