// SPDX-License-Identifier: Apache-2.0
#pragma once

// What is attached to an SSL_CTX, kept in an ex_data slot of the library's own.

#include "../decide/exchange.hpp"
#include "../wire/rules.hpp"
#include "server/listener.hpp"
#include "trust/trust_store.hpp"

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>
#include <reqauth/server.hpp>

#include <memory>
#include <mutex>
#include <vector>

namespace reqauth::detail {

struct client_side;

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
    client_policy policy; ///< but for the credentials

    [[nodiscard]] std::shared_ptr<const credential_set> current() const {
        const std::lock_guard lock(guard_);
        return current_;
    }
    /// publish gives it new credentials, under `changing`. The digests of a few earlier sets are remembered, and of
    /// every key that it ever had. Throws, and then nothing has changed.
    void publish(std::shared_ptr<const credential_set> next);
    /// had says that it has, or once had, a credential of that key.
    [[nodiscard]] bool had(const sha256_digest& key) const;
    [[nodiscard]] std::vector<sha256_digest> former() const {
        const std::lock_guard lock(guard_);
        return former_;
    }
    std::recursive_mutex changing; ///< replace and reload, one at a time; a passphrase callback may replace, too

private:
    mutable std::mutex guard_; ///< held for a reference count only
    std::shared_ptr<const credential_set> current_;
    std::vector<sha256_digest> former_;
    std::vector<sha256_digest> keys_; ///< sorted
};

/// attached is what an SSL_CTX carries. Written while it is configured, read by its handshakes.
struct attached {
    std::shared_ptr<attached_policy> server;
    std::shared_ptr<const client_side> client;
    /// The application's client_cert_cb and info callback, as they were when the client was attached.
    int (*client_cert_cb)(SSL*, X509**, EVP_PKEY**) = nullptr;
    void (*client_info)(const SSL*, int, int) = nullptr;
    extension_type extension = 0;
    bool in_client_hello = false;
};

/// attached_to finds it: null where nothing is attached.
[[nodiscard]] const attached* attached_to(const SSL_CTX* context) noexcept;

/// attach_to registers the extension, where that is still to be done, and keeps `sides`, whose parts
/// are added to what is there. Throws error and changes nothing where it cannot.
void attach_to(SSL_CTX& context, const attached& sides);

/// probe_of makes an SSL of the context, to ask it what an SSL_CTX has no getter for. Throws error
/// where the context cannot carry the flag at all.
[[nodiscard]] ssl_handle probe_of(SSL_CTX& context);

/// check_numbers throws error{contradiction} unless the numbers can be used.
void check_numbers(flag_number flag, extension_type extension);

} // namespace reqauth::detail
