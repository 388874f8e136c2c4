// SPDX-License-Identifier: Apache-2.0
#pragma once

// TLS of QUIC that an event loop carries (SSL_set_quic_tls_cbs), which is there from OpenSSL 3.5 on.

#include "support/owned.hpp"

#include <string>
#include <string_view>

#if OPENSSL_VERSION_NUMBER >= 0x30500000L && !defined(OPENSSL_NO_QUIC)
#define HAS_QUIC 1
#else
#define HAS_QUIC 0
#endif

namespace support {

/// no_quic is why tests of QUIC are skipped where it is not there.
inline constexpr const char* no_quic = "OpenSSL before 3.5 has no QUIC server";

/// crypto_stream carries the handshake of one SSL as an event loop of QUIC does, without encryption.
class crypto_stream {
public:
    /// Both sides' transport parameters are the same. Throws where there is no QUIC.
    explicit crypto_stream(SSL& ssl);
    crypto_stream(const crypto_stream&) = delete;
    crypto_stream& operator=(const crypto_stream&) = delete;

    /// allow_early has the SSL take or send 0-RTT. A client's has a session.
    static bool allow_early(SSL& ssl);

    /// take gives what is to go to the other side; give takes what came from there.
    std::string take();
    void give(std::string_view octets);

    int alert_sent = -1;
    int alert_received = -1;
    bool early_keys = false; ///< those of 0-RTT are there: the server accepts it, and the client sends it

private:
    friend struct crypto_callbacks;
    static constexpr int levels = 4;
    int reading_ = 0; ///< the level of protection
    int writing_ = 0;
    std::string in_[levels];
    std::string out_;
};

} // namespace support
