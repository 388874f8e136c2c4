// SPDX-License-Identifier: Apache-2.0
#include "proof.hpp"

#include "../base/handle.hpp"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <new>

namespace reqauth::detail {

namespace {

void free_text(char* text) noexcept { OPENSSL_free(text); }

unmet if_for(bool that_name) noexcept { return that_name ? unmet::nothing : unmet::other_name; }

// Of the address at the other end of the SSL's socket.
unmet proof_of_address(const SSL* ssl, X509* leaf) noexcept {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    const int socket = SSL_get_fd(ssl);
    if (socket < 0 || getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        return unmet::unknown_name;
    const auto is_for = [&](const void* octets, std::size_t count) {
        return if_for(X509_check_ip(leaf, static_cast<const unsigned char*>(octets), count, 0) == 1);
    };
    if (address.ss_family == AF_INET) {
        const auto& four = reinterpret_cast<const sockaddr_in&>(address).sin_addr;
        return is_for(&four, sizeof four);
    }
    if (address.ss_family != AF_INET6) return unmet::unknown_name;
    const in6_addr& six = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&six)) return is_for(six.s6_addr + 12, 4);
    return is_for(&six, sizeof six);
}

} // namespace

std::string address_in(X509_VERIFY_PARAM* parameters) {
    // OpenSSL gives null where there is none, and says so; and where there is no memory for it. What it said before is told
    // apart by an error of ours.
    ERR_set_mark();
    if (ERR_peek_error() != 0) ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
    char* text = X509_VERIFY_PARAM_get1_ip_asc(parameters);
    const bool none = ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_PASSED_NULL_PARAMETER;
    ERR_pop_to_mark();
    const std::unique_ptr<char, freed_by<free_text>> held(text);
    if (text == nullptr && !none) throw std::bad_alloc();
    return text != nullptr ? std::string(text) : std::string();
}

//= SEC-9
unmet proof_of(const SSL* ssl) {
    X509* leaf = SSL_get0_peer_certificate(ssl);
    if (leaf == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return unmet::untrusted;
    // DANE has judged name and key together.
    if (SSL_get0_dane_authority(const_cast<SSL*>(ssl), nullptr, nullptr) >= 0) return unmet::nothing; // NOLINT
    // OpenSSL compares what was set to be checked, unless the application verifies in its place.
    X509_VERIFY_PARAM* asked = SSL_get0_param(const_cast<SSL*>(ssl)); // NOLINT: it only reads
    const unsigned int flags = X509_VERIFY_PARAM_get_hostflags(asked);
    if (X509_VERIFY_PARAM_get0_host(asked, 0) != nullptr) {
        for (int i = 0; X509_VERIFY_PARAM_get0_host(asked, i) != nullptr; ++i)
            if (X509_check_host(leaf, X509_VERIFY_PARAM_get0_host(asked, i), 0, flags, nullptr) == 1)
                return unmet::nothing;
        return unmet::other_name;
    }
    const std::string address = address_in(asked);
    if (!address.empty()) return if_for(X509_check_ip_asc(leaf, address.c_str(), 0) == 1);
    if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name); name != nullptr)
        return if_for(X509_check_host(leaf, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1);
    return proof_of_address(ssl, leaf);
}

} // namespace reqauth::detail
