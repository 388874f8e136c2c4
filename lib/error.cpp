// SPDX-License-Identifier: Apache-2.0
#include <reqauth/error.hpp>

#include <cstdint>

namespace reqauth {

namespace {

// Names of files and words of others end no line, and tell a terminal nothing.
std::string one_line(const std::string& text) {
    constexpr char digits[] = "0123456789ABCDEF";
    std::string line;
    for (const char c : text) {
        const auto octet = static_cast<std::uint8_t>(c);
        if (octet < 0x20 || octet == 0x7f)
            line += {'\\', digits[octet >> 4U], digits[octet & 15U]};
        else
            line += c;
    }
    return line;
}

} // namespace

error::error(errc code, const std::string& cause, const std::string& remedy, const std::string& rule)
    : error(code, std::make_shared<const parts>(parts{one_line(cause), one_line(remedy), rule})) {}
error::error(errc code, std::shared_ptr<const parts> made_of)
    : std::runtime_error(made_of->cause + (made_of->rule.empty() ? "" : " (" + made_of->rule + ")") +
                         (made_of->remedy.empty() ? "" : "; " + made_of->remedy)),
      code_(code), parts_(std::move(made_of)) {}
error::~error() = default;

} // namespace reqauth
