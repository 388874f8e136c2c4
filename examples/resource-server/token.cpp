// SPDX-License-Identifier: Apache-2.0
#include "token.hpp"

#include "command_line.hpp"
#include "tls.hpp"

#include <jwt.h>
#include <nlohmann/json.hpp>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

namespace {

using jwt_ptr = std::unique_ptr<jwt_t, free_with<jwt_free>>;

/// decoded is a part of a token that libjwt has decoded already.
std::string decoded(std::string part) {
    std::ranges::replace(part, '-', '+');
    std::ranges::replace(part, '_', '/');
    const std::size_t padding = (4 - part.size() % 4) % 4;
    part.append(padding, '=');
    std::vector<unsigned char> octets(part.size());
    const int size = EVP_DecodeBlock(octets.data(), reinterpret_cast<const unsigned char*>(part.data()),
                                     static_cast<int>(part.size()));
    if (size < static_cast<int>(padding)) throw refused_token{"the token's second part is not base64url"};
    return {octets.begin(), octets.begin() + size - static_cast<int>(padding)};
}

/// number is a NumericDate of RFC 7519; `absent`, if there is none.
double number(const nlohmann::json& claims, const char* name, double absent) {
    const auto found = claims.find(name);
    if (found == claims.end()) return absent;
    if (!found->is_number()) throw refused_token{"a time in the token is not a number"};
    return found->get<double>();
}

bool names(const nlohmann::json& claims, const char* name, const std::string& wanted) {
    const auto found = claims.find(name);
    if (found == claims.end()) return false;
    return *found == wanted || (found->is_array() && std::find(found->begin(), found->end(), wanted) != found->end());
}

} // namespace

token_issuer::token_issuer(const std::string& key, std::string algorithm, std::string issuer, std::string audience)
    : algorithm_(std::move(algorithm)), issuer_(std::move(issuer)), audience_(std::move(audience)) {
    require_readable("--token-key", key);
    std::ifstream in(key, std::ios::binary);
    key_.assign(std::istreambuf_iterator<char>(in), {});
    const std::unique_ptr<BIO, free_with<BIO_free_all>> text(
        BIO_new_mem_buf(key_.data(), static_cast<int>(key_.size())));
    const std::unique_ptr<EVP_PKEY, free_with<EVP_PKEY_free>> read(
        PEM_read_bio_PUBKEY(text.get(), nullptr, nullptr, nullptr));
    if (!read || EVP_PKEY_is_a(read.get(), algorithm_[0] == 'E' ? "EC" : "RSA") != 1)
        throw usage_error("--token-key " + key + " is no public key for " + algorithm_ + " in PEM");
}

std::string token_issuer::verify(const std::string& token) const {
    jwt_t* made = nullptr;
    const int failed = jwt_decode(&made, token.c_str(), reinterpret_cast<const unsigned char*>(key_.data()),
                                  static_cast<int>(key_.size()));
    const jwt_ptr jwt(made);
    // libjwt goes by the algorithm in the token's header. With HS256 there, the public key would be the secret.
    if (failed != 0 || jwt_get_alg(jwt.get()) != jwt_str_alg(algorithm_.c_str()))
        throw refused_token{"the token is no JWT that the authorization server has signed"};

    // The very text that was signed: check_binding refuses what this parser and another would read differently.
    const auto first = token.find('.');
    std::string text = decoded(token.substr(first + 1, token.find('.', first + 1) - first - 1));
    const auto claims = nlohmann::json::parse(text, nullptr, false);
    const auto now = static_cast<double>(std::time(nullptr));
    if (!claims.is_object() || claims.value("iss", "") != issuer_)
        throw refused_token{"the token is not of the authorization server that this server knows"};
    if (!names(claims, "aud", audience_)) throw refused_token{"the token is for another server"};
    if (now >= number(claims, "exp", 0)) throw refused_token{"the token has expired: get a new one"};
    if (now < number(claims, "nbf", 0)) throw refused_token{"the token is not valid yet"};
    return text;
}
