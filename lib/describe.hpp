// SPDX-License-Identifier: Apache-2.0
#pragma once

// Descriptions of settings: every field of a struct with its name, what it may be, and whether it decides about a client.
// Digests and bounds are read from them.

#include <reqauth/error.hpp>

#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>

namespace reqauth::detail {

/// anything stands for a value of a field, whatever its type, where fields are counted.
struct anything {
    template <class Type> operator Type() const; // NOLINT
};

/// fields_of counts the fields of an aggregate.
template <class Struct, class... Found> consteval std::size_t fields_of() {
    if constexpr (requires { Struct{Found()..., anything()}; })
        return fields_of<Struct, Found..., anything>();
    else
        return sizeof...(Found);
}

/// bounds are what a number, a duration in seconds or the size of a list may be, and the requirement that says so.
struct bounds {
    std::int64_t least = 0;
    std::int64_t most = std::numeric_limits<std::int64_t>::max();
    const char* unit = "";
    const char* rule = "";
};

/// setting describes one field. `Decides`: it is part of the digest.
template <class Struct, class Type, bool Decides = true> struct setting {
    constexpr setting(const char* called, Type Struct::*member, bounds allowed = {})
        : name(called), field(member), within(allowed) {}
    static constexpr bool decides = Decides;
    const char* name;
    Type Struct::*field;
    bounds within;
};

/// apart describes a field that is no part of the digest.
template <class Struct, class Type> constexpr auto apart(const char* called, Type Struct::*member) {
    return setting<Struct, Type, false>(called, member);
}

/// same_field says whether two pointers are to the same field.
template <class A, class B> constexpr bool same_field(A a, B b) {
    if constexpr (std::same_as<A, B>) return a == b;
    return false;
}

/// described makes the description of `Struct`, whose fields all have to be there.
template <class Struct, class... Types, bool... Decides>
consteval auto described(setting<Struct, Types, Decides>... each) {
    static_assert(sizeof...(Types) == fields_of<Struct>(),
                  "a field of these settings is not described: add it to the description of its struct");
    const auto times = [&](auto field) { return (0 + ... + int{same_field(field, each.field)}); };
    if ((... || (times(each.field) != 1))) throw "a field of these settings is described twice";
    return std::tuple(each...);
}

/// description is that of a struct's settings: each has its own.
template <class Struct> inline constexpr auto description = nullptr;

/// for_each_setting calls `visit(setting, value)` for each field.
template <class Struct, class Visit> void for_each_setting(Struct& settings, Visit&& visit) {
    std::apply([&](const auto&... each) { (visit(each, settings.*each.field), ...); },
               description<std::remove_const_t<Struct>>);
}

/// check_bounds throws error{out_of_range} where a field has a value that it cannot have.
template <class Struct> void check_bounds(const Struct& settings) {
    for_each_setting(settings, [](const auto& one, const auto& value) {
        std::int64_t size = one.within.least;
        if constexpr (requires { std::int64_t{value}; })
            size = value;
        else if constexpr (requires { value.count(); })
            size = value.count();
        else if constexpr (requires { std::size(value); })
            size = static_cast<std::int64_t>(std::size(value));
        if (size >= one.within.least && size <= one.within.most) return;
        throw error(errc::out_of_range,
                    std::string(one.name) + ": " + std::to_string(size) + " is not within " +
                        std::to_string(one.within.least) + " to " + std::to_string(one.within.most) + one.within.unit,
                    "give a value that is", one.within.rule);
    });
}

} // namespace reqauth::detail
