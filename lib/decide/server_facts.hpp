// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a server learns of one handshake, and decides. Plain data: no OpenSSL.

#include "../wire/rules.hpp"
#include "mark.hpp"
#include "policy.hpp"

#include <reqauth/flags.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace reqauth::detail {

/// kept_flags is a flag_set as it is on the wire, which is short: a connection keeps it.
class kept_flags {
public:
    kept_flags() = default;
    kept_flags(const flag_set& flags) { // NOLINT: the same in another form
        const encoded_flags body = encode(flags);
        body_.assign(body.body().begin(), body.body().end());
    }
    operator flag_set() const noexcept { // NOLINT
        return decode({reinterpret_cast<const std::uint8_t*>(body_.data()), body_.size()}).flags;
    }

private:
    std::string body_;
};

/// heard is what one ClientHello with a tls_flags extension said.
struct heard {
    hello_random client_random{};
    kept_flags flags;
    std::int64_t at = 0;       ///< when it came, in seconds
    bool offered = false;      ///< it had the flag
    bool wanted = false;       ///< and the predicate did not turn it down
    bool started_anew = false; ///< a handshake began after it: of this one's, if its Random is (SSL_stateless)
};

/// witnessed is what the library's own verify callback saw of the client's certificate (SEC-1).
struct witnessed {
    bool held = false;      ///< the verification came to its end, under the outcome's own terms
    bool failed = false;    ///< an ok = 0: the chain is not verified
    int error = 0;          ///< the first verify error
    bool unvouched = false; ///< all that is wrong is that nobody vouches for the leaf, and the policy takes such
    sha256_digest leaf{};   ///< of the leaf that this is about
};

/// server_facts are those of one handshake.
struct server_facts {
    std::optional<heard> hello;                ///< the ClientHello that counts
    std::shared_ptr<heard> before_retry;       ///< the one before a HelloRetryRequest, for TLS-1's comparison only
    std::optional<hello_random> server_random; ///< names the handshake in which `decided` was decided
    decision decided = decision::ignore;
    witnessed witness;           ///< of this handshake, or of the one whose session this one resumed
    bool vouched = false;        ///< the session that was resumed has a mark for just this outcome
    bool agents_session = false; ///< the session that was resumed is an agent's, whatever was decided now
};

} // namespace reqauth::detail
