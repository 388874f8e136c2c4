// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who may come, of those whose chain verifies: rules over the names of a leaf.

#include "../base/handle.hpp"
#include "../base/hash.hpp"
#include "anchor.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace reqauth::detail {

/// admission is one rule.
struct admission {
    enum class kind : std::uint8_t { dns, uri, spiffe, sha256 };
    bool denies = false;
    kind type = kind::dns;
    std::string value;             ///< as names are compared; a trust domain; hex
    std::vector<sha256_digest> by; ///< the anchors under which it holds, sorted; empty: any
    friend auto operator<=>(const admission&, const admission&) = default; // NOLINT(modernize-use-nullptr)
};

inline void add_to(hash& all, const admission& one) {
    all.number(one.denies).number(static_cast<std::uint64_t>(one.type)).add(one.value).number(one.by.size());
    for (const sha256_digest& each : one.by) all.add(each);
}

/// admissions_in reads rules, one a line, as trust::with_admitted has them. Throws error{malformed} with the line,
/// error{holds_nothing}.
[[nodiscard]] std::vector<admission> admissions_in(std::string_view text, std::string_view name,
                                                   const std::vector<anchor>& anchors);

/// admits says whether a leaf may come. `anchor` is the thumbprint of that in which its chain ends; null: nobody vouches for
/// its names. Throws error{openssl}.
[[nodiscard]] bool admits(const std::vector<admission>& rules, const X509& leaf, const sha256_digest* anchor);

} // namespace reqauth::detail
