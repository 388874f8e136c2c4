// SPDX-License-Identifier: Apache-2.0
#pragma once

// Connections of OpenSSL's own QUIC, on sockets. Nothing is here before OpenSSL 3.5.

#include "support/pair.hpp"

#include <deque>
#include <string>
#include <string_view>

#if HAS_QUIC

namespace support {

/// quic_listener is a server of OpenSSL's own QUIC, on a socket of 127.0.0.1.
class quic_listener {
public:
    explicit quic_listener(SSL_CTX& context);
    quic_listener(const quic_listener&) = delete;
    quic_listener& operator=(const quic_listener&) = delete;
    ~quic_listener();

    /// go_on handles what has come, and takes in new connections.
    void go_on();
    /// next gives the next connection; null: there is none.
    owned<SSL> next();
    [[nodiscard]] unsigned short port() const { return port_; }

private:
    int socket_ = -1;
    unsigned short port_ = 0;
    owned<SSL> ssl_;
    std::deque<owned<SSL>> accepted_;
};

/// quic_pair is a connection between an SSL_CTX of OSSL_QUIC_client_method and a listener.
class quic_pair {
public:
    quic_pair(quic_listener& at, SSL_CTX& client_context);
    quic_pair(const quic_pair&) = delete;
    quic_pair& operator=(const quic_pair&) = delete;
    ~quic_pair();

    /// step lets both go on once; shake until both handshakes have ended, and says whether that was well.
    void step();
    bool shake();
    /// settle goes on until nothing more is to be expected: tickets, and refusals.
    void settle();
    /// exchange has the client send a text on a stream, and gives what the server read; empty: nothing.
    std::string exchange(std::string_view text);
    /// close ends it, as a well-behaved application does.
    void close();
    /// alert_to_client is what the server closed with, as a TLS alert; -1: none.
    [[nodiscard]] int alert_to_client() const;

    owned<SSL> client;
    owned<SSL> server; ///< null: it has not come yet
    transcript seen;   ///< by the client
    bool client_done = false;
    bool failed = false; ///< the client's side has

private:
    quic_listener& at_;
    int socket_ = -1;
};

} // namespace support

#endif
