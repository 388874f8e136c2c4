// SPDX-License-Identifier: Apache-2.0
#include "base64.hpp"

namespace reqauth::detail {

namespace {

constexpr std::string_view common = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

constexpr std::string_view last_two(alphabet which) noexcept { return which == alphabet::base64url ? "-_" : "+/"; }

std::optional<std::uint32_t> value_of(char character, alphabet which) noexcept {
    auto at = common.find(character);
    if (at == std::string_view::npos) {
        at = last_two(which).find(character);
        if (at == std::string_view::npos) return std::nullopt;
        at += common.size();
    }
    return static_cast<std::uint32_t>(at);
}

char character_of(std::uint32_t value) noexcept {
    return value < common.size() ? common[value] : last_two(alphabet::base64url)[value - common.size()];
}

} // namespace

bool belongs(char character, alphabet which) noexcept { return value_of(character, which).has_value(); }

std::string base64url(std::span<const std::uint8_t> octets) {
    std::string text;
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const std::uint8_t octet : octets) {
        bits = bits << 8U | octet;
        for (held += 8; held >= 6; held -= 6) text += character_of(bits >> (held - 6) & 63U);
    }
    if (held > 0) text += character_of(bits << (6 - held) & 63U);
    return text;
}

std::optional<std::vector<std::uint8_t>> unpadded(std::string_view text, alphabet which) {
    if (text.size() % 4 == 1) return std::nullopt;
    std::vector<std::uint8_t> octets;
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char character : text) {
        const auto value = value_of(character, which);
        if (!value) return std::nullopt;
        bits = bits << 6U | *value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            octets.push_back(static_cast<std::uint8_t>(bits >> held & 255U));
        }
    }
    return octets;
}

std::optional<std::vector<std::uint8_t>> padded(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    if (text.ends_with('=')) text.remove_suffix(text.ends_with("==") ? 2 : 1);
    return unpadded(text, alphabet::base64);
}

} // namespace reqauth::detail
