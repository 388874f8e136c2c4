// SPDX-License-Identifier: Apache-2.0
#pragma once

// Servers and clients of one kind of key, with the library and without.

#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <string>
#include <vector>

namespace bench {

using support::identity;
using support::owned;

/// kinds_of_keys are those that this OpenSSL has.
std::vector<std::string> kinds_of_keys();

/// people is who plays, with keys of one kind.
struct people {
    explicit people(const std::string& kind);
    identity server_ca;
    identity server;
    identity agents_ca;
    identity agent;
};

/// bare_server asks nobody, and mutual_server everybody, for a certificate of the agents' CA; a client without one goes on.
owned<SSL_CTX> bare_server(const people& who);
owned<SSL_CTX> mutual_server(const people& who);
/// flag_server asks those that offer the flag.
owned<SSL_CTX> flag_server(const people& who);
reqauth::server_policy asking(const people& who);

/// bare_client has no certificate, mutual_client the agent's.
owned<SSL_CTX> bare_client(const people& who);
owned<SSL_CTX> mutual_client(const people& who);
/// flag_client has what the policy says.
owned<SSL_CTX> flag_client(const people& who, const reqauth::client_policy& policy);
reqauth::client_policy offering(const people& who);

} // namespace bench
