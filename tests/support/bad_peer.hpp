// SPDX-License-Identifier: Apache-2.0
#pragma once

// OpenSSL as a scripted peer, without libreqauth: it puts chosen octets into any message that can
// carry the extension, and keeps what it received there.

#include "support/owned.hpp"
#include "support/pki.hpp"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// in names messages as OpenSSL's SSL_EXT_ contexts do. Those of a server and of a client:
namespace in {
inline constexpr unsigned client_hello = SSL_EXT_CLIENT_HELLO;
inline constexpr unsigned server_hello = SSL_EXT_TLS1_3_SERVER_HELLO;
inline constexpr unsigned retry = SSL_EXT_TLS1_3_HELLO_RETRY_REQUEST;
inline constexpr unsigned encrypted_extensions = SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS;
inline constexpr unsigned certificate = SSL_EXT_TLS1_3_CERTIFICATE;
inline constexpr unsigned certificate_request = SSL_EXT_TLS1_3_CERTIFICATE_REQUEST;
inline constexpr unsigned ticket = SSL_EXT_TLS1_3_NEW_SESSION_TICKET;
inline constexpr unsigned all =
    client_hello | server_hello | retry | encrypted_extensions | certificate | certificate_request | ticket;
} // namespace in

/// script is what to say in which message: the nth message of its kind takes the nth line, and the
/// last line stays. No value: the extension is left out there.
using line = std::optional<std::string>;
using script = std::map<unsigned, std::vector<line>>;

class bad_peer {
public:
    /// `messages` is what the extension is registered for; SSL_EXT_TLS1_3_ONLY can be left out.
    bad_peer(owned<SSL_CTX> context, script says, unsigned type = 62,
             unsigned messages = in::all | SSL_EXT_TLS1_3_ONLY);
    bad_peer(const bad_peer&) = delete;
    bad_peer& operator=(const bad_peer&) = delete;

    owned<SSL_CTX> context;
    script says;
    std::map<unsigned, std::size_t> said;
    std::vector<std::pair<unsigned, std::string>> heard;
};

/// flagged_client offers flag 80 and presents `who` to every request, whatever the request says; and any session.
bad_peer flagged_client(const identity& who);
/// empty_handed_client offers it and has nothing to present.
bad_peer empty_handed_client();

} // namespace support
