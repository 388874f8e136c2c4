// SPDX-License-Identifier: Apache-2.0
#pragma once

// The anchors' subjects, as the lists that an SSL takes for certificate_authorities.

#include "../base/handle.hpp"

#include <mutex>
#include <vector>

namespace reqauth::detail {

/// ca_names lends lists of its names. OpenSSL wants a list of each SSL's own, and to copy a name takes as long as to read
/// it: so a list that comes back serves the next SSL. Any thread may use it.
class ca_names {
public:
    /// Throws std::bad_alloc.
    explicit ca_names(names_handle names);

    /// lend gives a list to an SSL, which owns it. Throws std::bad_alloc.
    [[nodiscard]] names_handle lend();

    /// take_back takes the names out of a list that was lent. The list itself stays with its SSL.
    void take_back(STACK_OF(X509_NAME) * lent) noexcept;

private:
    names_handle names_;
    std::mutex lending_;
    std::vector<names_handle> spare_; ///< as many as it has room for
};

} // namespace reqauth::detail
