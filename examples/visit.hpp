// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "handshake_events.hpp"
#include "json.hpp"

#include <reqauth/peer.hpp>

#include <optional>
#include <string>
#include <vector>

/// visit is what the server saw of one connection: its log line, /debug and the page all come from it.
/// Its texts are printable ASCII.
struct visit {
    bool ok = false; ///< the handshake ended well
    std::optional<std::string> version;
    std::optional<std::string> server_name;
    bool offered = false;
    std::string outcome;               ///< not_offered, ignored, accepted
    std::optional<std::string> reason; ///< why there is no flagged peer; nothing where there is one
    std::string certificate;           ///< not_requested, awaited, empty, verified, invalid
    std::optional<std::string> trust;  ///< agents, customers: the trust that verified the certificate
    bool resumed = false;
    bool early_data = false;
    std::vector<reqauth::flag_number> flags;
    std::optional<std::string> subject; ///< this and the next two: of a verified certificate only
    std::vector<std::string> alt_names;
    std::optional<std::string> thumbprint; ///< SHA-256, base64url, as RFC 8705 has it
    /// A certificate that the flag brought, where nobody is authenticated by it. No identity: anybody can present it.
    std::optional<reqauth::presented_certificate> presented;
    std::optional<std::string> alert_sent;
    std::optional<std::string> alert_received;
    std::optional<std::string> error; ///< one line
};

/// read_visit asks the library who is there and, where the flag was not accepted, plain OpenSSL what the
/// SSL_CTX's own client authentication found. `error` says why the handshake failed; nothing: it did not.
visit read_visit(const SSL& ssl, const handshake_events& events, std::optional<std::string> error);

/// to_json is the contract's object.
json to_json(const visit& seen);

/// to_text is the same in a short line for people.
std::string to_text(const visit& seen);
