// SPDX-License-Identifier: Apache-2.0
#include "policy.hpp"

namespace reqauth::detail {

verdict decide(const circumstances& now) noexcept {
    //= RCA-8
    if (!now.offered || now.asks == client_auth::mode::none) return verdict::ignore;
    //= SEC-5
    if (!now.same_server) return verdict::ignore;
    if (!now.wanted) return verdict::ignore;
    //= SEC-7
    if (now.everyone_required && !now.beside_required) return verdict::ignore;
    // Nothing vouches for a session that OpenSSL resumed although a flagged ClientHello resumes none.
    //= SEC-1
    if (now.resumed && now.asks == client_auth::mode::require) return verdict::refuse;
    return verdict::accept;
}

} // namespace reqauth::detail
