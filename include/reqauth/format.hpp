// SPDX-License-Identifier: Apache-2.0
#pragma once

// fmt formatters for the library's types, for those who use fmt. Opt-in: nothing else includes fmt.

#include <reqauth/client.hpp>
#include <reqauth/flags.hpp>
#include <reqauth/peer.hpp>
#include <reqauth/server.hpp>

#include <fmt/format.h>

#include <type_traits>

namespace reqauth::detail {
/// plain_formatter takes no format specification.
struct plain_formatter {
    constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
};
} // namespace reqauth::detail

/// A flag_set prints as its numbers: {8, 80}.
template <> struct fmt::formatter<reqauth::flag_set> : reqauth::detail::plain_formatter {
    auto format(const reqauth::flag_set& flags, format_context& context) const {
        auto out = fmt::format_to(context.out(), "{{");
        const char* separator = "";
        flags.for_each([&](reqauth::flag_number flag) {
            out = fmt::format_to(out, "{}{}", separator, flag);
            separator = ", ";
        });
        return fmt::format_to(out, "}}");
    }
};

/// Every enum of the library prints as its name.
template <class Enum>
requires std::is_enum_v<Enum> && requires(Enum value) { reqauth::to_string(value); }
struct fmt::formatter<Enum, char> : formatter<string_view> {
    auto format(Enum value, format_context& context) const {
        const auto name = reqauth::to_string(value);
        return formatter<string_view>::format({name.data(), name.size()}, context);
    }
};

/// A subject_alt_name prints as DNS:crawler.example.
template <> struct fmt::formatter<reqauth::subject_alt_name> : formatter<string_view> {
    auto format(const reqauth::subject_alt_name& name, format_context& context) const {
        return formatter<string_view>::format(to_string(name), context);
    }
};

/// A peer prints as one line: flagged_peer CN=crawler.example [DNS:crawler.example], or
/// other_peer (not_offered).
template <> struct fmt::formatter<reqauth::flagged_peer> : reqauth::detail::plain_formatter {
    auto format(const reqauth::flagged_peer& peer, format_context& context) const {
        auto out = fmt::format_to(context.out(), "flagged_peer {} [", peer.subject());
        const char* separator = "";
        for (const auto& name : peer.alt_names()) {
            out = fmt::format_to(out, "{}{}", separator, name);
            separator = ", ";
        }
        return fmt::format_to(out, "]");
    }
};
template <> struct fmt::formatter<reqauth::other_peer> : reqauth::detail::plain_formatter {
    auto format(const reqauth::other_peer& peer, format_context& context) const {
        auto out = fmt::format_to(context.out(), "other_peer ({}", peer.why);
        if (peer.verify_error != 0) out = fmt::format_to(out, ", verify error {}", peer.verify_error);
        return fmt::format_to(out, ")");
    }
};
