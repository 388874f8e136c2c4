// SPDX-License-Identifier: Apache-2.0
#include "hash.hpp"

#include "fence.hpp"

#include <reqauth/error.hpp>

#include <openssl/rand.h>

namespace reqauth::detail {

namespace {

void must(bool worked) {
    if (!worked) throw error(errc::openssl, "SHA-256 failed" + drain_errors());
}

} // namespace

hash::hash(std::string_view tag) : state_(EVP_MD_CTX_new()) {
    must(state_ != nullptr && EVP_DigestInit_ex2(state_.get(), EVP_sha256(), nullptr) == 1);
    add(tag);
}

hash& hash::add(std::string_view part) {
    number(part.size());
    must(EVP_DigestUpdate(state_.get(), part.data(), part.size()) == 1);
    return *this;
}

hash& hash::add(const sha256_digest& part) { return add({reinterpret_cast<const char*>(part.data()), part.size()}); }

hash& hash::number(std::uint64_t value) {
    std::array<unsigned char, 8> octets{};
    for (auto at = octets.rbegin(); at != octets.rend(); ++at, value >>= 8U)
        *at = static_cast<unsigned char>(value & 0xffU);
    must(EVP_DigestUpdate(state_.get(), octets.data(), octets.size()) == 1);
    return *this;
}

sha256_digest hash::end() {
    sha256_digest digest{};
    must(EVP_DigestFinal_ex(state_.get(), digest.data(), nullptr) == 1);
    return digest;
}

sha256_digest unmatchable() {
    sha256_digest random{};
    if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1)
        throw error(errc::openssl, "no random octets are to be had" + drain_errors());
    return random;
}

} // namespace reqauth::detail
