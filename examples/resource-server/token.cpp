// SPDX-License-Identifier: Apache-2.0
#include "token.hpp"

#include "command_line.hpp"
#include "tls.hpp"

#include <cjose/cjose.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>

namespace {

using jws_ptr = std::unique_ptr<cjose_jws_t, free_with<cjose_jws_release>>;

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
    require_readable({"--token-key", key});
    std::ifstream in(key, std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(in), {});
    const auto read = nlohmann::json::parse(text, nullptr, false);
    key_.reset(cjose_jwk_import(text.data(), text.size(), nullptr), cjose_jwk_release);
    const auto kind = algorithm_[0] == 'E' ? CJOSE_JWK_KTY_EC : CJOSE_JWK_KTY_RSA;
    if (!key_ || cjose_jwk_get_kty(key_.get(), nullptr) != kind || !read.is_object() || read.contains("d"))
        throw usage_error("--token-key " + key + " is no public key for " + algorithm_ + " as a JWK");
}

std::string token_issuer::verify(const std::string& token) const {
    const refused_token not_signed{"the token is no JWT that the authorization server has signed"};
    const jws_ptr jws(cjose_jws_import(token.data(), token.size(), nullptr));
    if (!jws) throw not_signed;
    cjose_header_t* header = cjose_jws_get_protected(jws.get());
    const char* algorithm = cjose_header_get(header, CJOSE_HDR_ALG, nullptr);
    // The algorithm is this server's choice, and not the token's.
    if (algorithm == nullptr || algorithm != algorithm_ || !cjose_jws_verify(jws.get(), key_.get(), nullptr))
        throw not_signed;
    const std::unique_ptr<char, free_with<std::free>> critical(cjose_header_get_raw(header, "crit", nullptr));
    if (critical) throw refused_token{"the token's header has crit, and this server knows none of its conditions"};

    // The very text that was signed: check_binding refuses what this parser and another would read differently.
    std::uint8_t* octets = nullptr;
    std::size_t size = 0;
    if (!cjose_jws_get_plaintext(jws.get(), &octets, &size, nullptr)) throw not_signed;
    std::string text(reinterpret_cast<const char*>(octets), size);
    const auto claims = nlohmann::json::parse(text, nullptr, false);
    const auto now = static_cast<double>(std::time(nullptr));
    if (!claims.is_object() || !names(claims, "iss", issuer_))
        throw refused_token{"the token is not of the authorization server that this server knows"};
    if (!names(claims, "aud", audience_)) throw refused_token{"the token is for another server"};
    if (now >= number(claims, "exp", 0)) throw refused_token{"the token has expired: get a new one"};
    if (now < number(claims, "nbf", 0)) throw refused_token{"the token is not valid yet"};
    return text;
}
