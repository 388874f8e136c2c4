// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a file is that is not what it should be.

#include <string>
#include <string_view>

namespace reqauth::detail {

/// nature is what octets are, in words: "a certificate in DER".
struct nature {
    std::string words;
    std::string_view cure;       ///< what to do; empty: another file is needed
    std::string_view gives = {}; ///< the labels of PEM that come of it; empty: any

    /// cure_for says what to do where PEM with `label` was wanted.
    [[nodiscard]] std::string cure_for(std::string_view label) const;
};

/// what_is looks at the octets of a file that should hold PEM. Leaves OpenSSL's error queue as it is.
[[nodiscard]] nature what_is(std::string_view octets);

} // namespace reqauth::detail
