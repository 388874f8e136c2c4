// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the SSL_CTXs of one reqauth::client share: its policy, and its credentials at any moment.

#include "../base/hash.hpp"
#include "../base/slot.hpp"

#include <reqauth/client.hpp>

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace reqauth::detail {

struct client_side;

/// security is what an SSL_CTX allows of keys and certificates.
struct security {
    int level;
    int (*callback)(const SSL*, const SSL_CTX*, int operation, int bits, int id, void* other, void* argument);
    void* argument;
    bool operator==(const security&) const = default;
};

/// credential_set is a client's credentials at one moment. Never changed once made.
struct credential_set {
    std::vector<credential> all; ///< in the order of preference
    sha256_digest digest{};
    const client_side* of = nullptr; ///< whose they are; compared, never followed

    /// offered is why the flag is not offered at a time, under a policy.
    [[nodiscard]] withheld offered(offer when, std::int64_t now) const noexcept;
};

/// client_side is one client: its policy, and its credentials as they are now.
struct client_side {
    client_policy policy;   ///< but for the credentials
    sha256_digest digest{}; ///< its
    mutable client_counters counters;

    [[nodiscard]] std::shared_ptr<const credential_set> current() const {
        const std::lock_guard lock(guard_);
        return current_;
    }
    /// publish gives it new credentials, under `changing`. The digests of a few earlier sets are remembered, and of
    /// every key that it ever had. Throws, and then nothing has changed.
    void publish(std::shared_ptr<const credential_set> next);
    /// had says that it has, or once had, a credential of that key.
    [[nodiscard]] bool had(const sha256_digest& key) const;
    /// spend remembers the id of a session whose handshake failed: the newest few. is_spent finds it.
    void spend(std::string session) const;
    [[nodiscard]] bool is_spent(const std::string& session) const;
    [[nodiscard]] std::vector<sha256_digest> former() const {
        const std::lock_guard lock(guard_);
        return former_;
    }
    std::recursive_mutex changing; ///< replace and reload, one at a time; a passphrase callback may replace, too
    /// Of the SSL_CTXs to which it is attached, each once. Under `changing`.
    std::vector<std::weak_ptr<const security>> securities;

private:
    mutable std::mutex guard_; ///< held for a reference count only
    std::shared_ptr<const credential_set> current_;
    std::vector<sha256_digest> former_;
    std::vector<sha256_digest> keys_; ///< sorted
    mutable std::deque<std::string> spent_;
};

/// attached_client is what an SSL_CTX carries. Written while it is configured, read by its handshakes.
struct attached_client {
    std::shared_ptr<const client_side> of;
    std::shared_ptr<const security> allows;
    mutable last_digest scopes;
    bool sends_extension = false; ///< its ClientHellos can have it
    /// The application's client_cert_cb and info callback, as they were when the client was attached.
    int (*client_cert_cb)(SSL*, X509**, EVP_PKEY**) = nullptr;
    void (*info)(const SSL*, int, int) = nullptr;

    /// on finds it: null where no client is attached.
    [[nodiscard]] static const attached_client* on(const SSL_CTX* context) noexcept {
        return slot<SSL_CTX, attached_client>::of(context);
    }
    [[nodiscard]] static const attached_client* on(const SSL* ssl) noexcept { return on(SSL_get_SSL_CTX(ssl)); }
};

} // namespace reqauth::detail
