// SPDX-License-Identifier: Apache-2.0
#include <reqauth/http.hpp>

#include <algorithm>

namespace reqauth {

namespace {

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
constexpr bool is_lower(char c) noexcept { return c >= 'a' && c <= 'z'; }
constexpr bool is_upper(char c) noexcept { return c >= 'A' && c <= 'Z'; }

constexpr char folded(char c) noexcept {
    if (is_upper(c)) return static_cast<char>(c - 'A' + 'a');
    return is_lower(c) || is_digit(c) ? c : '-';
}

} // namespace

bool is_spelling_of(std::string_view name, std::string_view field) noexcept {
    return std::ranges::equal(name, field, {}, folded, folded);
}

bool is_client_cert_field(std::string_view name) noexcept {
    return is_spelling_of(name, "client-cert") || is_spelling_of(name, "client-cert-chain");
}

std::string quoted(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out = "\"";
    for (const char c : text) {
        const auto octet = static_cast<unsigned char>(c);
        if (octet < 0x20 || octet > 0x7e) {
            out += "\\\\";
            out += digits[octet >> 4U];
            out += digits[octet & 15U];
            continue;
        }
        if (c == '\\' || c == '"') out += '\\';
        out += c;
    }
    return out += '"';
}

std::string_view to_string(authenticated_by whose) noexcept {
    switch (whose) {
    case authenticated_by::flag: return "flag";
    case authenticated_by::application: return "application";
    }
    return "";
}

std::string_view to_string(no_client_cert why) noexcept {
    switch (why) {
    case no_client_cert::handshake_unfinished: return "handshake_unfinished";
    case no_client_cert::no_certificate: return "no_certificate";
    case no_client_cert::not_verified: return "not_verified";
    case no_client_cert::agent: return "agent";
    case no_client_cert::too_large: return "too_large";
    }
    return "";
}

} // namespace reqauth
