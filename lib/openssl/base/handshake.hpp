// SPDX-License-Identifier: Apache-2.0
#pragma once

// What OpenSSL says of the handshake at hand.

#include "../../wire/rules.hpp"

#include <openssl/ssl.h>

#include <cstdint>
#include <ctime>

namespace reqauth::detail {

/// The handshake's Randoms as OpenSSL has them now.
[[nodiscard]] inline hello_random client_random_of(const SSL* ssl) noexcept {
    hello_random octets{};
    SSL_get_client_random(ssl, octets.data(), octets.size());
    return octets;
}

[[nodiscard]] inline hello_random server_random_of(const SSL* ssl) noexcept {
    hello_random octets{};
    SSL_get_server_random(ssl, octets.data(), octets.size());
    return octets;
}

/// after_handshake says that the handshake has ended, so that what comes is post-handshake.
[[nodiscard]] inline bool after_handshake(const SSL* ssl) noexcept { return SSL_get_finished(ssl, nullptr, 0) > 0; }

/// client_has_finished says that the client's Finished has come. To a server that reads early data OpenSSL reports an
/// end of the handshake before that, too.
[[nodiscard]] inline bool client_has_finished(const SSL* ssl) noexcept {
    return SSL_get_peer_finished(ssl, nullptr, 0) > 0;
}

/// octets_read is how many have come over the SSL's transport.
[[nodiscard]] inline std::uint64_t octets_read(const SSL* ssl) noexcept {
    BIO* from = SSL_get_rbio(ssl);
    return from != nullptr ? BIO_number_read(from) : 0;
}

/// now is the time in seconds since 1970.
[[nodiscard]] inline std::int64_t now() noexcept { return std::time(nullptr); }

} // namespace reqauth::detail
