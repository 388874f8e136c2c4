// SPDX-License-Identifier: Apache-2.0
#include "ca_names.hpp"

#include <algorithm>
#include <new>

namespace reqauth::detail {

ca_names::ca_names(names_handle names) : names_(std::move(names)) {
    constexpr int kept = 4000; // names in all lists
    spare_.reserve(static_cast<std::size_t>(std::clamp(kept / std::max(sk_X509_NAME_num(names_.get()), 1), 1, 64)));
}

names_handle ca_names::lend() {
    {
        const std::lock_guard lock(lending_);
        if (!spare_.empty()) {
            names_handle list = std::move(spare_.back());
            spare_.pop_back();
            return list;
        }
    }
    names_handle list(SSL_dup_CA_list(names_.get()));
    if (list == nullptr) throw std::bad_alloc();
    return list;
}

void ca_names::take_back(STACK_OF(X509_NAME) * lent) noexcept {
    const std::lock_guard lock(lending_);
    if (spare_.size() == spare_.capacity()) return;
    names_handle list(sk_X509_NAME_dup(lent));
    if (list == nullptr) return;
    sk_X509_NAME_zero(lent);
    spare_.push_back(std::move(list));
}

} // namespace reqauth::detail
