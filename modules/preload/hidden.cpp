// SPDX-License-Identifier: Apache-2.0

// All that gives a server's program the peer's certificate, names, keys or verify result: of an agent it says what it
// says of a client without a certificate. No header of OpenSSL's declares them here, since parameters became const over
// time, and since older ones have not all of them.

#include "functions.hpp"
#include "hooks.hpp"
#include "preload.hpp"

#include <cstdint>
#include <cstdio>

namespace {

const reqauth_exec_hooks* hiding(const target& found) {
    const reqauth_exec_hooks* hooks = found.known && found.who == caller::anybody ? hooks_there() : nullptr;
    return hooks != nullptr && hooks->hides != nullptr ? hooks : nullptr;
}

bool hides(const target& found, const SSL* ssl) {
    const reqauth_exec_hooks* hooks = ssl != nullptr ? hiding(found) : nullptr;
    const within guard;
    return hooks != nullptr && hooks->hides(ssl);
}

bool hides(const target& found, const SSL_SESSION* session) {
    const reqauth_exec_hooks* hooks = session != nullptr ? hiding(found) : nullptr;
    const within guard;
    return hooks != nullptr && hooks->hides_session(session);
}

int print(BIO* out, std::FILE* file, const SSL_SESSION* session) {
    const within guard;
    return hooks_there()->print_session(out, file, session);
}

} // namespace

#define CALLER __builtin_return_address(0)
#define HIDDEN(type, name, nothing, parameters, of, ...)                                                               \
    REQAUTH_EXPORT type name parameters {                                                                              \
        const target found = find(function::name, CALLER);                                                             \
        if (found.real == nullptr || hides(found, of)) return nothing;                                                 \
        return as(&name, found)(__VA_ARGS__);                                                                          \
    }

extern "C" {

HIDDEN(X509*, SSL_get0_peer_certificate, nullptr, (const SSL* ssl), ssl, ssl)
HIDDEN(X509*, SSL_get1_peer_certificate, nullptr, (const SSL* ssl), ssl, ssl)
HIDDEN(void*, SSL_get_peer_cert_chain, nullptr, (const SSL* ssl), ssl, ssl)
HIDDEN(void*, SSL_get0_verified_chain, nullptr, (const SSL* ssl), ssl, ssl)
HIDDEN(const char*, SSL_get0_peername, nullptr, (SSL * ssl), ssl, ssl)
HIDDEN(EVP_PKEY*, SSL_get0_peer_rpk, nullptr, (const SSL* ssl), ssl, ssl)
HIDDEN(const void*, SSL_get0_peer_scts, nullptr, (SSL * ssl), ssl, ssl)
HIDDEN(int, SSL_get_peer_signature_type_nid, 0, (const SSL* ssl, int* nid), ssl, ssl, nid)
HIDDEN(int, SSL_get_negotiated_client_cert_type, 0, (const SSL* ssl), ssl, ssl)
HIDDEN(int, SSL_get0_dane_authority, -1, (SSL * ssl, X509** certificate, EVP_PKEY** key), ssl, ssl, certificate, key)
HIDDEN(int, SSL_get0_dane_tlsa, -1,
       (SSL * ssl, std::uint8_t* usage, std::uint8_t* selector, std::uint8_t* type, const unsigned char** data,
        std::size_t* size),
       ssl, ssl, usage, selector, type, data, size)
HIDDEN(X509*, SSL_SESSION_get0_peer, nullptr, (SSL_SESSION * session), session, session)
HIDDEN(EVP_PKEY*, SSL_SESSION_get0_peer_rpk, nullptr, (SSL_SESSION * session), session, session)

REQAUTH_EXPORT long SSL_get_verify_result(const SSL* ssl) {
    const target found = find(function::SSL_get_verify_result, CALLER);
    if (found.real == nullptr) return 0;
    if (hides(found, ssl)) {
        const within guard;
        return hooks_there()->verify_result(ssl);
    }
    return as(&SSL_get_verify_result, found)(ssl);
}

REQAUTH_EXPORT long SSL_ctrl(SSL* ssl, int command, long number, void* pointer) {
    const target found = find(function::SSL_ctrl, CALLER);
    if (found.real == nullptr) return 0;
    // SSL_CTRL_GET_PEER_SIGNATURE_NID, and SSL_CTRL_GET_PEER_SIGNATURE_NAME of OpenSSL 3.5.
    if ((command == 108 || command == 141) && hides(found, ssl)) return 0;
    return as(&SSL_ctrl, found)(ssl, command, number, pointer);
}

REQAUTH_EXPORT int SSL_SESSION_print(BIO* out, const SSL_SESSION* session) {
    const target found = find(function::SSL_SESSION_print, CALLER);
    if (found.real == nullptr) return 0;
    if (hides(found, session)) return print(out, nullptr, session);
    return as(&SSL_SESSION_print, found)(out, session);
}

REQAUTH_EXPORT int SSL_SESSION_print_fp(std::FILE* out, const SSL_SESSION* session) {
    const target found = find(function::SSL_SESSION_print_fp, CALLER);
    if (found.real == nullptr) return 0;
    if (hides(found, session)) return print(nullptr, out, session);
    return as(&SSL_SESSION_print_fp, found)(out, session);
}
}
