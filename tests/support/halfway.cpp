// SPDX-License-Identifier: Apache-2.0
#include "support/halfway.hpp"

#include <array>

namespace support {

namespace {

int offered_slot() {
    static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return slot;
}

int hear(SSL* ssl, unsigned, unsigned, const unsigned char*, std::size_t, X509*, std::size_t, int*, void* something) {
    SSL_set_ex_data(ssl, offered_slot(), something);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
    return 1;
}

int say(SSL* ssl, unsigned, unsigned, const unsigned char**, std::size_t*, X509*, std::size_t, int* alert, void*) {
    if (SSL_session_reused(ssl) != 1 || SSL_get_ex_data(ssl, offered_slot()) == nullptr) return 0;
    *alert = SSL_AD_UNEXPECTED_MESSAGE;
    return -1;
}

} // namespace

void know_the_flag_halfway(SSL_CTX& context) {
    static char something;
    constexpr std::array<unsigned char, 7> id{'h', 'a', 'l', 'f', 'w', 'a', 'y'};
    SSL_CTX_set_session_id_context(&context, id.data(), id.size());
    SSL_CTX_add_custom_ext(&context, 62, SSL_EXT_TLS1_3_ONLY | SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_3_NEW_SESSION_TICKET,
                           say, nullptr, nullptr, hear, &something);
}

} // namespace support
