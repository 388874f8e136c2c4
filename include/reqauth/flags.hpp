// SPDX-License-Identifier: Apache-2.0
#pragma once

// The tls_flags extension on the wire: draft-ietf-tls-tlsflags-16, sections 2 and 3.
// Everything here is constexpr, allocates nothing and may be called from any thread.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string_view>

namespace reqauth {

/// flag_number is a flag's number in the TLS Flags registry: 0 to 2039 (FLAG-1).
using flag_number = std::uint16_t;

/// extension_type is a TLS ExtensionType.
using extension_type = std::uint16_t;

/// tls_flags_extension is the type that IANA assigned to tls_flags.
inline constexpr extension_type tls_flags_extension = 62;

/// request_client_auth is the experimental number in use; the draft's own is still to be assigned.
inline constexpr flag_number request_client_auth = 80;

struct decoded;

/// flag_set is a set of flags: what one tls_flags extension says.
class flag_set {
public:
    /// octets is the most that one extension can hold, capacity the number of flags in them.
    static constexpr std::size_t octets = 255;
    static constexpr std::size_t capacity = octets * 8;

    constexpr flag_set() = default;
    constexpr flag_set(std::initializer_list<flag_number> flags) {
        for (flag_number flag : flags) insert(flag);
    }

    /// contains says whether `flag` is in the set; a number out of range never is.
    [[nodiscard]] constexpr bool contains(flag_number flag) const noexcept {
        return flag < capacity && (bits_[flag / 8U] & bit(flag)) != 0;
    }

    /// insert adds `flag`. Throws std::out_of_range, and changes nothing, for 2040 and above.
    constexpr void insert(flag_number flag) {
        if (flag >= capacity) throw std::out_of_range("TLS flags are numbered 0 to 2039");
        bits_[flag / 8U] = static_cast<std::uint8_t>(bits_[flag / 8U] | bit(flag));
        used_ = std::max(used_, static_cast<std::uint8_t>(flag / 8U + 1U));
    }

    /// erase takes `flag` out, if it was there.
    constexpr void erase(flag_number flag) noexcept {
        if (!contains(flag)) return;
        bits_[flag / 8U] = static_cast<std::uint8_t>(bits_[flag / 8U] ^ bit(flag));
        shrink();
    }

    [[nodiscard]] constexpr bool empty() const noexcept { return used_ == 0; }

    /// used_octets is how many octets the highest flag needs: 0 for the empty set (FLAG-3).
    [[nodiscard]] constexpr std::size_t used_octets() const noexcept { return used_; }

    /// bits are the flags as they stand on the wire: flag n is bit n mod 8, the least significant
    /// first, of octet n / 8 (FLAG-2).
    [[nodiscard]] constexpr std::span<const std::uint8_t, octets> bits() const noexcept { return bits_; }

    /// for_each calls `visit(flag_number)` for each flag, lowest first.
    template <class Visit> constexpr void for_each(Visit&& visit) const {
        for (std::size_t flag = 0; flag < used_ * 8U; ++flag)
            if (contains(static_cast<flag_number>(flag))) visit(static_cast<flag_number>(flag));
    }

    /// a | b holds what either holds; a - b what `a` holds and `b` does not.
    friend constexpr flag_set operator|(flag_set a, const flag_set& b) noexcept {
        for (std::size_t i = 0; i < b.used_; ++i) a.bits_[i] = static_cast<std::uint8_t>(a.bits_[i] | b.bits_[i]);
        a.used_ = std::max(a.used_, b.used_);
        return a;
    }
    friend constexpr flag_set operator-(flag_set a, const flag_set& b) noexcept {
        for (std::size_t i = 0; i < b.used_; ++i) a.bits_[i] = static_cast<std::uint8_t>(a.bits_[i] & ~b.bits_[i]);
        a.shrink();
        return a;
    }
    friend constexpr bool operator==(const flag_set&, const flag_set&) = default;

private:
    friend constexpr decoded decode(std::span<const std::uint8_t> body) noexcept;
    static constexpr std::uint8_t bit(flag_number flag) noexcept {
        return static_cast<std::uint8_t>(1U << (flag % 8U));
    }
    constexpr void shrink() noexcept {
        while (used_ > 0 && bits_[used_ - 1U] == 0) --used_;
    }
    std::array<std::uint8_t, octets> bits_{};
    std::uint8_t used_ = 0; ///< up to the last octet that is not zero
};

/// encoded_flags is the extension's body, extension_data: a length octet and the flags.
/// body() is empty for the empty set, which is never sent (FLAG-4).
class encoded_flags {
public:
    [[nodiscard]] constexpr std::span<const std::uint8_t> body() const noexcept { return {octets_.data(), size_}; }

private:
    friend constexpr encoded_flags encode(const flag_set&) noexcept;
    std::array<std::uint8_t, 1 + flag_set::octets> octets_{};
    std::size_t size_ = 0;
};

/// encode gives the one minimal encoding of `flags` (FLAG-1, FLAG-2, FLAG-3).
constexpr encoded_flags encode(const flag_set& flags) noexcept {
    encoded_flags out;
    //= FLAG-4
    const std::size_t used = flags.used_octets();
    if (used == 0) return out;
    //= FLAG-1
    out.octets_[0] = static_cast<std::uint8_t>(used);
    //= FLAG-2
    //= FLAG-3
    std::copy_n(flags.bits().begin(), used, out.octets_.begin() + 1);
    out.size_ = 1 + used;
    return out;
}

/// malformed names what is wrong with a received extension body (FLAG-5).
enum class malformed {
    no,            ///< nothing is
    empty,         ///< no octet at all, or a length of zero
    length,        ///< the length octet does not match the data
    trailing_zero, ///< the last octet is zero: all zero, or not minimal
};

/// to_string gives the enumerator's name.
[[nodiscard]] constexpr std::string_view to_string(malformed why) noexcept {
    constexpr std::string_view names[] = {"no", "empty", "length", "trailing_zero"};
    const auto at = static_cast<std::size_t>(why);
    return at < std::size(names) ? names[at] : std::string_view();
}

/// decoded is what decode found: the flags, or why there are none.
struct decoded {
    flag_set flags;
    malformed why = malformed::no;
    constexpr explicit operator bool() const noexcept { return why == malformed::no; }
};

/// decode reads an extension body. A malformed one gives no flags and the reason; the endpoint that
/// received it answers with a fatal illegal_parameter alert (FLAG-5).
constexpr decoded decode(std::span<const std::uint8_t> body) noexcept {
    //= FLAG-5
    if (body.empty() || body[0] == 0) return {{}, body.size() > 1 ? malformed::length : malformed::empty};
    if (body.size() != 1U + body[0]) return {{}, malformed::length};
    if (body.back() == 0) return {{}, malformed::trailing_zero};
    decoded out;
    std::copy(body.begin() + 1, body.end(), out.flags.bits_.begin());
    out.flags.used_ = body[0];
    return out;
}

} // namespace reqauth
