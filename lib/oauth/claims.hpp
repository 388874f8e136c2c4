// SPDX-License-Identifier: Apache-2.0
#pragma once

// A token's claims as JSON text, read as far as the binding needs it.

#include <optional>
#include <string>
#include <string_view>

namespace reqauth::detail {

/// Bounds of what is read at all.
inline constexpr std::size_t claims_octets = 64 * 1024;
inline constexpr std::size_t claims_depth = 32;

/// claim is a member that has to be a string; nothing: it is something else.
using claim = std::optional<std::string>;

/// claims is what a text says.
struct claims {
    enum class fault { none, too_large, malformed, repeated_member } broken = fault::none;
    enum class confirmation { none, object, other } cnf = confirmation::none;
    std::optional<claim> x5t_s256; ///< cnf's "x5t#S256", where it has one
    std::optional<claim> jkt;
    bool others = false; ///< cnf has further members
    enum class state { unsaid, yes, no } active = state::unsaid;
};

/// read_claims reads one JSON object, to its end. Throws std::bad_alloc.
[[nodiscard]] claims read_claims(std::string_view json);

} // namespace reqauth::detail
