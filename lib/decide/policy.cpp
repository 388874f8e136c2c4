// SPDX-License-Identifier: Apache-2.0
#include "policy.hpp"

#include <reqauth/error.hpp>

namespace reqauth {

void client_auth::check() const {
    if (asks() == mode::require && lets_invalid_pass())
        throw error(errc::contradiction,
                    "a client without a certificate would be refused, and one with a bad certificate let in",
                    "require a certificate, or let bad ones pass: take one of the two out");
    if (agents() && agents()->size() == 0 && !takes_unvouched())
        throw error(errc::contradiction, "a certificate is asked for, and none could verify: there is no trust anchor",
                    "name the agents' CAs, or take certificates that nobody vouches for");
}

namespace detail {

namespace {

// OpenSSL has resumed an agent's session where a certificate that is there is taken for a customer's: nothing else ends
// it.
decision ignored(const circumstances& now) noexcept {
    //= TLS-2
    return now.agents_session && now.customers_asked ? decision::refuse : decision::ignore;
}

} // namespace

decision decide(const circumstances& now) noexcept {
    //= RCA-8
    if (!now.offered || now.asks == client_auth::mode::none) return ignored(now);
    //= SEC-5
    if (!now.same_server || !now.wanted) return ignored(now);
    //= SEC-7
    if (now.customers_asked && !now.beside_customers) return ignored(now);
    if (now.everyone_required && !now.beside_required) return ignored(now);
    // Nothing vouches for it: an external PSK, or a session of another outcome. It cannot be undone.
    //= SEC-1
    if (now.resumed && !now.vouched && now.asks == client_auth::mode::require) return decision::refuse;
    return decision::accept;
}

} // namespace detail
} // namespace reqauth
