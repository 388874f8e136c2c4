// SPDX-License-Identifier: Apache-2.0
#pragma once

// SHA-256 over parts: scopes and digests of settings.

#include "../../describe.hpp"

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace reqauth::detail {

using sha256_digest = std::array<std::uint8_t, 32>;

/// sha256_of is SHA-256. Throws error{openssl}.
[[nodiscard]] sha256_digest sha256_of(std::string_view octets);

/// hash takes parts, each with its length in front, so that no two lists of parts read the same.
class hash {
public:
    explicit hash(std::string_view tag) {
        octets_.reserve(480); // most of them
        add(tag);
    }
    hash& add(std::string_view part);
    hash& add(const sha256_digest& part);
    hash& number(std::uint64_t value);
    /// settings adds every field that decides.
    template <class Struct> hash& settings(const Struct& all);
    /// end gives SHA-256 over them. Throws error{openssl}.
    [[nodiscard]] sha256_digest end() const { return sha256_of(octets_); }
    /// octets are what that is over.
    [[nodiscard]] const std::string& octets() const noexcept { return octets_; }

private:
    std::string octets_;
};

/// add_to adds a setting's value by its type. What has fields that do not count has an overload of its own.
template <class Value> void add_to(hash& all, const Value& value) {
    if constexpr (requires { static_cast<std::uint64_t>(value); })
        all.number(static_cast<std::uint64_t>(value));
    else if constexpr (requires { all.add(value); })
        all.add(value);
    else if constexpr (requires { value.count(); })
        all.number(static_cast<std::uint64_t>(value.count()));
    else if constexpr (requires { value.has_value(); }) {
        all.number(value.has_value());
        if (value) add_to(all, *value);
    } else {
        all.number(value.size());
        for (const auto& one : value) add_to(all, one);
    }
}

template <class Struct> hash& hash::settings(const Struct& all) {
    for_each_setting(all, [&](const auto& one, const auto& value) {
        if constexpr (std::remove_cvref_t<decltype(one)>::decides) add_to(*this, value);
    });
    return *this;
}

/// last_digest remembers the last digest: connections that follow one another are mostly alike.
class last_digest {
public:
    /// of gives sha256_of.
    [[nodiscard]] sha256_digest of(std::string_view octets) {
        const std::lock_guard lock(guard_);
        if (octets_ != octets) {
            octets_.clear(); // nothing is remembered if this throws
            digest_ = sha256_of(octets);
            octets_ = octets;
        }
        return digest_;
    }

private:
    std::mutex guard_;
    std::string octets_;
    sha256_digest digest_{};
};

/// unmatchable is a digest that nothing else has. Throws error{openssl}.
[[nodiscard]] sha256_digest unmatchable();

} // namespace reqauth::detail
