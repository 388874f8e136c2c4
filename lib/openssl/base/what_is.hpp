// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a file is that is not what it should be.

#include <string>
#include <string_view>

namespace reqauth::detail {

/// nature is what octets are, in words: "a certificate in DER". `cure` is how to make what was wanted of them; empty where
/// that is another file.
struct nature {
    std::string words;
    std::string_view cure;
};

/// what_is looks at the octets of a file that should hold PEM. Leaves OpenSSL's error queue as it is.
[[nodiscard]] nature what_is(std::string_view octets);

/// block_in_words is what the label of a PEM block stands for: "a private key" for EC PRIVATE KEY.
[[nodiscard]] nature block_in_words(std::string_view label);

} // namespace reqauth::detail
