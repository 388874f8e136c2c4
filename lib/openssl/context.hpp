// SPDX-License-Identifier: Apache-2.0
#pragma once

// What is attached to an SSL_CTX, kept in an ex_data slot of the library's own.

#include "../exchange.hpp"
#include "../rules.hpp"
#include "listener.hpp"
#include "trust_store.hpp"

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>
#include <reqauth/server.hpp>

#include <memory>

namespace reqauth::detail {

/// client_side is one client's policy and what follows from it.
struct client_side {
    client_policy policy;
    bool offers = false;
    flag_set proposed; ///< what its ClientHellos have: the flag, if it offers, and the further flags
};

/// attached is what an SSL_CTX carries. Written while it is configured, read by its handshakes.
struct attached {
    std::shared_ptr<attached_policy> server;
    std::shared_ptr<const client_side> client;
    /// The application's client_cert_cb, as it was when the client was attached.
    int (*client_cert_cb)(SSL*, X509**, EVP_PKEY**) = nullptr;
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
