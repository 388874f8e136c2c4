// SPDX-License-Identifier: Apache-2.0
#pragma once

// QUIC as OpenSSL has it since 3.5: a connection is an SSL of its own, with one of TLS inside. Callbacks get the
// connection, with which all is kept, but for a client's certificate callback, and the info callback for an alert that goes
// out. It is locked meanwhile: what reads or writes, and SSL_get_options, SSL_get_error, SSL_want and SSL_pending, would
// wait for ever.

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#if OPENSSL_VERSION_NUMBER >= 0x30500000L && !defined(OPENSSL_NO_QUIC)
#include <openssl/quic.h>
#define REQAUTH_HAS_QUIC 1
#else
#define REQAUTH_HAS_QUIC 0
#endif

namespace reqauth::detail {

/// is_quic says whether it is a connection of QUIC.
[[nodiscard]] inline bool is_quic(const SSL* ssl) noexcept {
    constexpr int quic_1 = 1; // OSSL_QUIC1_VERSION
    return SSL_version(ssl) == quic_1;
}

/// is_tls13 says whether it is TLS 1.3, as QUIC always is.
[[nodiscard]] inline bool is_tls13(const SSL* ssl) noexcept {
    return is_quic(ssl) || SSL_version(ssl) >= TLS1_3_VERSION;
}

/// be_found has connection_of find a connection of QUIC; of another SSL it does nothing. The two SSLs share what no other
/// has, and what lives as long as the inner one: a X509_VERIFY_PARAM. Nothing of OpenSSL's reads the name of an SSL's.
inline constexpr std::string_view found_by = "libreqauth, connection of QUIC ";
inline void be_found(const SSL* connection) {
    if (!is_quic(connection)) return;
    std::array<char, 2 * sizeof(std::uintptr_t) + 1> digits{};
    std::to_chars(digits.begin(), digits.end(), reinterpret_cast<std::uintptr_t>(connection), 16);
    const std::string name = std::string(found_by) + digits.data();
    if (X509_VERIFY_PARAM_set1_name(SSL_get0_param(const_cast<SSL*>(connection)), name.c_str()) != 1) // NOLINT
        throw std::bad_alloc();
}

/// connection_of is the connection of QUIC that `ssl` is inside of; else `ssl`.
[[nodiscard]] inline SSL* connection_of(SSL* ssl) noexcept {
    const char* name = is_quic(ssl) ? nullptr : X509_VERIFY_PARAM_get0_name(SSL_get0_param(ssl));
    const std::string_view text(name != nullptr ? name : "");
    std::uintptr_t found = 0;
    if (!text.starts_with(found_by)) return ssl;
    std::from_chars(text.begin() + found_by.size(), text.end(), found, 16);
    return reinterpret_cast<SSL*>(found); // NOLINT: it was one
}

/// quic_role is what an SSL_CTX is for; threaded is that of a client whose callbacks come in threads of OpenSSL's.
enum class quic_role : std::uint8_t { none, client, threaded, server };

[[nodiscard]] inline quic_role quic_role_of([[maybe_unused]] const SSL_CTX& context) noexcept {
#if REQAUTH_HAS_QUIC
    const SSL_METHOD* method = SSL_CTX_get_ssl_method(&context);
    if (method == OSSL_QUIC_client_method()) return quic_role::client;
    if (method == OSSL_QUIC_client_thread_method()) return quic_role::threaded;
    if (method == OSSL_QUIC_server_method()) return quic_role::server;
#endif
    return quic_role::none;
}

/// alert_in_close is the TLS alert with which the other side has closed a connection of QUIC. No callback tells of it.
[[nodiscard]] inline std::optional<std::uint8_t> alert_in_close([[maybe_unused]] const SSL* ssl) noexcept {
#if REQAUTH_HAS_QUIC
    SSL_CONN_CLOSE_INFO how{};
    if (is_quic(ssl) &&
        SSL_get_conn_close_info(const_cast<SSL*>(ssl), &how, sizeof how) == 1 && // NOLINT: it only reads
        (how.flags & SSL_CONN_CLOSE_FLAG_LOCAL) == 0 && (how.flags & SSL_CONN_CLOSE_FLAG_TRANSPORT) != 0 &&
        how.error_code >= OSSL_QUIC_ERR_CRYPTO_ERR_BEGIN && how.error_code <= OSSL_QUIC_ERR_CRYPTO_ERR_END)
        return static_cast<std::uint8_t>(how.error_code - OSSL_QUIC_ERR_CRYPTO_ERR_BEGIN);
#endif
    return std::nullopt;
}

} // namespace reqauth::detail
