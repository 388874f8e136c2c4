// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/ssl.h>

#include <optional>
#include <string>

/// handshake_events is what happens on a connection that OpenSSL has no getter for.
struct handshake_events {
    std::optional<std::string> alert_sent;     ///< by name; close_notify, which ends every connection, is not noted
    std::optional<std::string> alert_received; ///< the same
    bool certificate_requested = false;        ///< a server's CertificateRequest went out
    bool no_certificate_came = false;          ///< it was required, and the client's Certificate was empty
    unsigned client_finished = 0; ///< grows with each Finished of a client, also after a post-handshake request
};

/// watch notes into `events` what happens on `ssl` from now on. It takes the app data and the info callback
/// of `ssl`; `events` must outlive them.
void watch(SSL& ssl, handshake_events& events);
