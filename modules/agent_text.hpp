// SPDX-License-Identifier: Apache-2.0
#pragma once

// What nginx's variables and Apache's environment say of an agent, in one spelling for both.

#include <reqauth/peer.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace reqauth_modules {

/// hexadecimal writes a fingerprint in small letters.
inline std::string hexadecimal(const std::array<std::uint8_t, 32>& octets) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t octet : octets) {
        text += digits[octet >> 4U];
        text += digits[octet & 15U];
    }
    return text;
}

/// utc writes a time as 2027-01-31T12:00:00Z; empty where the calendar ends before.
inline std::string utc(std::chrono::system_clock::time_point when) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
    std::tm parts{};
    std::array<char, 32> text{};
    if (gmtime_r(&seconds, &parts) == nullptr) return {};
    return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

/// names_of gives the subjectAltNames of one kind, with commas between them: no value has one.
inline std::string names_of(const reqauth::flagged_peer& agent, reqauth::subject_alt_name::kind wanted) {
    std::string text;
    for (const auto& name : agent.alt_names())
        if (name.type == wanted) text += (text.empty() ? "" : ",") + name.value;
    return text;
}

} // namespace reqauth_modules
