// SPDX-License-Identifier: Apache-2.0
#include "connection.hpp"

#include "base/fence.hpp"

#include <new>

namespace reqauth::detail {

namespace {

void free_connection(void*, void* kept, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<connection*>(kept); }

// SSL_dup copies settings, ours too: the copy must know what to put back. It has no handshake yet.
int copy_connection(CRYPTO_EX_DATA*, const CRYPTO_EX_DATA*, void** kept, int, long, void*) {
    return fence(0, [&] {
        const auto* from = static_cast<const connection*>(*kept);
        *kept = nullptr;
        if (from == nullptr) return 1;
        if (!from->put_aside.changed_anything() && !from->own.changed() && from->client_info == nullptr) return 1;
        auto copy = std::make_unique<connection>();
        copy->put_aside = from->put_aside.for_duplicate();
        copy->own = from->own;
        copy->client_info = from->client_info;
        *kept = copy.release();
        return 1;
    });
}

int slot() noexcept {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, copy_connection, free_connection);
    return index;
}

} // namespace

connection* connection_of(const SSL* ssl) noexcept {
    const int index = slot();
    return index < 0 ? nullptr : static_cast<connection*>(SSL_get_ex_data(ssl, index));
}

connection& connection_for(SSL* ssl) {
    if (connection* there = connection_of(ssl)) return *there;
    auto fresh = std::make_unique<connection>();
    if (SSL_set_ex_data(ssl, slot(), fresh.get()) != 1) throw std::bad_alloc();
    return *fresh.release(); // the SSL owns it now
}

hello_random client_random_of(const SSL* ssl) noexcept {
    hello_random octets{};
    SSL_get_client_random(ssl, octets.data(), octets.size());
    return octets;
}

hello_random server_random_of(const SSL* ssl) noexcept {
    hello_random octets{};
    SSL_get_server_random(ssl, octets.data(), octets.size());
    return octets;
}

bool after_handshake(const SSL* ssl) noexcept { return SSL_get_finished(ssl, nullptr, 0) > 0; }

} // namespace reqauth::detail
