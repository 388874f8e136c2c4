// SPDX-License-Identifier: Apache-2.0
#include "support/quic.hpp"

#include <openssl/core_dispatch.h>

#include <cstdint>
#include <stdexcept>
#include <utility>

namespace support {

namespace {

[[maybe_unused]] void must(bool worked, const char* what) {
    if (!worked) throw std::runtime_error(std::string(what) + " failed");
}

} // namespace

std::string crypto_stream::take() { return std::exchange(out_, {}); }

// A piece is its level, its length in three octets, and octets; one of level 255 is an alert.
void crypto_stream::give(std::string_view octets) {
    while (octets.size() >= 4) {
        const auto octet = [&](std::size_t at) { return static_cast<unsigned char>(octets[at]); };
        const std::size_t size = std::size_t{octet(1)} << 16U | std::size_t{octet(2)} << 8U | octet(3);
        const auto piece = octets.substr(4, size);
        if (octet(0) == 255)
            alert_received = static_cast<unsigned char>(piece.at(0));
        else
            in_[octet(0)] += piece;
        octets.remove_prefix(4 + size);
    }
}

#if HAS_QUIC

struct crypto_callbacks {
    static crypto_stream& of(void* argument) { return *static_cast<crypto_stream*>(argument); }

    static void put(crypto_stream& to, int level, std::string_view piece) {
        for (const std::size_t each : {static_cast<std::size_t>(level), piece.size() >> 16U & 255U,
                                       piece.size() >> 8U & 255U, piece.size() & 255U})
            to.out_ += static_cast<char>(each);
        to.out_ += piece;
    }
    static int send(SSL*, const unsigned char* octets, std::size_t size, std::size_t* consumed, void* argument) {
        put(of(argument), of(argument).writing_, {reinterpret_cast<const char*>(octets), size});
        *consumed = size;
        return 1;
    }
    static int receive(SSL*, const unsigned char** octets, std::size_t* size, void* argument) {
        const std::string& in = of(argument).in_[of(argument).reading_];
        *octets = reinterpret_cast<const unsigned char*>(in.data());
        *size = in.size();
        return 1;
    }
    static int release(SSL*, std::size_t size, void* argument) {
        of(argument).in_[of(argument).reading_].erase(0, size);
        return 1;
    }
    static int secret(SSL*, std::uint32_t level, int is_writing, const unsigned char*, std::size_t, void* argument) {
        constexpr std::uint32_t early = 1;
        if (level == early) // only data are protected by these
            of(argument).early_keys = true;
        else
            (is_writing != 0 ? of(argument).writing_ : of(argument).reading_) = static_cast<int>(level);
        return 1;
    }
    static int parameters(SSL*, const unsigned char*, std::size_t, void*) { return 1; }
    static int alert(SSL*, unsigned char code, void* argument) {
        if (code == SSL_AD_CLOSE_NOTIFY) return 1;
        if (of(argument).alert_sent < 0) of(argument).alert_sent = code;
        const char octet = static_cast<char>(code);
        put(of(argument), 255, {&octet, 1});
        return 1;
    }
};

crypto_stream::crypto_stream(SSL& ssl) {
    using function = void (*)();
    static const OSSL_DISPATCH callbacks[] = {
        {OSSL_FUNC_SSL_QUIC_TLS_CRYPTO_SEND, reinterpret_cast<function>(crypto_callbacks::send)},
        {OSSL_FUNC_SSL_QUIC_TLS_CRYPTO_RECV_RCD, reinterpret_cast<function>(crypto_callbacks::receive)},
        {OSSL_FUNC_SSL_QUIC_TLS_CRYPTO_RELEASE_RCD, reinterpret_cast<function>(crypto_callbacks::release)},
        {OSSL_FUNC_SSL_QUIC_TLS_YIELD_SECRET, reinterpret_cast<function>(crypto_callbacks::secret)},
        {OSSL_FUNC_SSL_QUIC_TLS_GOT_TRANSPORT_PARAMS, reinterpret_cast<function>(crypto_callbacks::parameters)},
        {OSSL_FUNC_SSL_QUIC_TLS_ALERT, reinterpret_cast<function>(crypto_callbacks::alert)},
        OSSL_DISPATCH_END};
    static const unsigned char none[] = {0x0f, 0x00}; // initial_source_connection_id, empty
    must(SSL_set_quic_tls_cbs(&ssl, callbacks, this) == 1, "SSL_set_quic_tls_cbs");
    must(SSL_set_quic_tls_transport_params(&ssl, none, sizeof none) == 1, "SSL_set_quic_tls_transport_params");
}

bool crypto_stream::allow_early(SSL& ssl) { return SSL_set_quic_tls_early_data_enabled(&ssl, 1) == 1; }

#else

crypto_stream::crypto_stream(SSL&) { throw std::runtime_error(no_quic); }
bool crypto_stream::allow_early(SSL&) { return false; }

#endif

} // namespace support
