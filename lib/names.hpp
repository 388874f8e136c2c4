// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string_view>

namespace reqauth::detail {

/// name_in gives the name of an enum's value out of a table in the order of the enumerators.
template <class Enum> constexpr std::string_view name_in(std::initializer_list<std::string_view> table, Enum value) {
    const auto at = static_cast<std::size_t>(value);
    return at < table.size() ? table.begin()[at] : std::string_view();
}

} // namespace reqauth::detail
