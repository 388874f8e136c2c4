// SPDX-License-Identifier: Apache-2.0
#pragma once

// Conversations of our client with a scripted server, and of our server with a scripted client.

#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

namespace support {

/// a_retry makes the client's first ClientHello end in a HelloRetryRequest.
inline void a_retry(SSL_CTX& server, SSL_CTX& client) {
    SSL_CTX_set1_groups_list(&client, "X25519:P-256");
    SSL_CTX_set1_groups_list(&server, "P-256");
}

/// with_bad_server has our client speak to a server that asks for a certificate, and that sends a
/// HelloRetryRequest first where its script has a line for one.
struct with_bad_server {
    explicit with_bad_server(script says, const reqauth::client_policy& policy = agent_policy(), unsigned type = 62)
        : peer(server_context(), std::move(says), type), ours(attached_client(policy)) {
        ask(*peer.context, SSL_VERIFY_PEER, the_cast().agents_ca);
        if (peer.says.count(in::retry) != 0) a_retry(*peer.context, *ours);
    }
    bad_peer peer;
    owned<SSL_CTX> ours;

    /// run has them speak; from then on `both` is there.
    bool run() { return both.emplace(*peer.context, *ours).shake(); }
    /// answer runs it, and gives the alert that the server received.
    std::string answer() {
        run();
        return alert_to_server(*both);
    }
    std::optional<pair> both;
};

/// with_bad_client has our server speak to a client that presents the agent's certificate.
struct with_bad_client {
    explicit with_bad_client(script says, const reqauth::server_policy& policy = asking(),
                             const reqauth::server_options& options = {}, unsigned type = 62)
        : peer(client_context(), std::move(says), type), ours(attached_server(policy, options)) {
        present(*peer.context, the_cast().agent);
    }
    bad_peer peer;
    owned<SSL_CTX> ours;

    /// run has them speak; from then on `both` is there.
    bool run() { return both.emplace(*ours, *peer.context).shake(); }
    /// answer runs it, and gives the alert that the client received.
    std::string answer() {
        run();
        return alert_to_client(*both);
    }
    std::optional<pair> both;
};

/// client_side is our client's outcome.
inline reqauth::client_outcome client_side(const pair& both) { return reqauth::client_outcome_of(*both.client.ssl); }
/// server_side is our server's.
inline reqauth::server_outcome server_side(const pair& both) { return reqauth::server_outcome_of(*both.server.ssl); }

} // namespace support
