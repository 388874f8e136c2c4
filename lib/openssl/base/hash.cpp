// SPDX-License-Identifier: Apache-2.0
#include "hash.hpp"

#include "fence.hpp"

#include <reqauth/error.hpp>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <endian.h>

namespace reqauth::detail {

hash& hash::add(std::string_view part) {
    number(part.size());
    octets_ += part;
    return *this;
}

hash& hash::add(const sha256_digest& part) { return add({reinterpret_cast<const char*>(part.data()), part.size()}); }

hash& hash::number(std::uint64_t value) {
    const std::uint64_t octets = htobe64(value);
    octets_.append(reinterpret_cast<const char*>(&octets), sizeof octets);
    return *this;
}

sha256_digest sha256_of(std::string_view octets) {
    sha256_digest digest{};
    if (EVP_Digest(octets.data(), octets.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1)
        throw error(errc::openssl, "SHA-256 failed" + drain_errors());
    return digest;
}

sha256_digest unmatchable() {
    sha256_digest random{};
    if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1)
        throw error(errc::openssl, "no random octets are to be had" + drain_errors());
    return random;
}

} // namespace reqauth::detail
