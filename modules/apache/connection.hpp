// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../standing.hpp"
#include "apache.hpp"

#include <reqauth/peer.hpp>

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace reqauth_apache {

/// connection is what is known of a TLS connection, from the end of its handshake on. HTTP/2 serves the requests of
/// one connection in several threads: nothing here changes after that, but on HTTP/1.1 (see is_still_the_agents).
struct connection {
    conn_rec* of = nullptr;
    SSL* ssl = nullptr;
    /// The virtual host that the handshake chose; null before its end.
    server_rec* server = nullptr;
    bool settled = false;

    /// The agent; nothing where `why` says so.
    std::optional<reqauth::flagged_peer> agent = {};
    reqauth::reason why = reqauth::reason::handshake_unfinished;
    int verify_error = 0;
    /// The flag was accepted here.
    bool accepted = false;
    bool resumed = false;

    /// The certificate that the flag brought, held so that no other can have its address; null where none came. While
    /// it is there mod_ssl sees a client without certificate: see customers.cpp.
    X509* hidden = nullptr;
    /// mod_ssl's check was met with a result that is not to stay.
    bool shown_as_ok = false;

    /// What is said of an agent to requests, by name.
    std::vector<std::pair<const char*, std::string>> said = {};

    ~connection();
};

/// prepare begins to watch a connection, before its handshake (mod_ssl's pre_handshake).
int prepare(conn_rec* c, SSL* ssl, int is_proxy) noexcept;

/// settle_filter reads right above mod_ssl: what comes through has its handshake behind it.
apr_status_t settle_filter(ap_filter_t* filter, apr_bucket_brigade* brigade, ap_input_mode_t mode,
                           apr_read_type_e block, apr_off_t octets) noexcept;

/// connection_of gives it for the connection, or for that which carries an HTTP/2 stream; null where there is none.
connection* connection_of(const conn_rec* c) noexcept;

/// standing_of says what the client of a connection is at a virtual host, or at a place in it.
reqauth_modules::standing standing_of(const connection& kept, const server_rec* host,
                                      bool place_requires_customer = false) noexcept;

/// hides_certificate says whether mod_ssl's words on the client's certificate are to read as without one.
bool hides_certificate(const conn_rec* c) noexcept;

/// is_still_the_agents says whether no post-handshake request brought another certificate since. HTTP/1.1 only, where
/// alone mod_ssl makes such requests. Where one did, nobody is authenticated from then on, by neither.
bool is_still_the_agents(conn_rec* c) noexcept;

} // namespace reqauth_apache
