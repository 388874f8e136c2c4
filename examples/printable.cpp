// SPDX-License-Identifier: Apache-2.0
#include "printable.hpp"

std::string printable(std::string_view text) {
    static constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (const char each : text) {
        const auto octet = static_cast<unsigned char>(each);
        if (octet >= 0x20 && octet < 0x7f)
            out += each;
        else
            out += {'\\', digits[octet >> 4], digits[octet & 15]};
    }
    return out;
}
