// SPDX-License-Identifier: Apache-2.0
#pragma once

// One connection's facts about the flag, as each side gathers them. Plain data: no OpenSSL.

#include "mark.hpp"
#include "policy.hpp"

#include <reqauth/client.hpp>
#include <reqauth/flags.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

namespace reqauth::detail {

/// hello_random is a Random of the handshake. What was recorded names the handshake it belongs to by one, so
/// that nothing survives into the next handshake of an SSL that is used again (SSL_clear).
using hello_random = std::array<std::uint8_t, 32>;

/// heard is what one ClientHello with a tls_flags extension said.
struct heard {
    hello_random client_random{};
    flag_set flags;
    std::int64_t at = 0;            ///< when it came, in seconds
    bool offered = false;  ///< it had the flag
    bool wanted = false;   ///< and the predicate did not turn it down
    sha256_digest scope{}; ///< which sessions it may resume, and what a new one belongs to
    bool started_anew = false; ///< a handshake began after it: of this one's, if its Random is (SSL_stateless)
};

/// witnessed is what the library's own verify callback saw of the client's certificate (SEC-1).
struct witnessed {
    bool held = false;                   ///< the verification came to its end, under the outcome's own terms
    bool failed = false;                 ///< an ok = 0: the chain is not verified
    int error = 0;                       ///< the first verify error
    std::array<std::uint8_t, 32> leaf{}; ///< SHA-256 of the leaf that it held for
};

/// server_exchange is a server's record of one handshake.
struct server_exchange {
    std::optional<heard> hello;                ///< the ClientHello that counts
    std::optional<heard> before_retry;         ///< the one before a HelloRetryRequest, for TLS-1's comparison only
    std::optional<hello_random> server_random; ///< names the handshake in which `decided` was decided
    verdict decided = verdict::ignore;
    witnessed witness;           ///< of this handshake, or of the one whose session this one resumed
    bool vouched = false;        ///< the session that was resumed has a mark for just this outcome
    bool agents_session = false; ///< the session that was resumed is a flagged client's, whatever was decided now
};

/// client_exchange is a client's record of one handshake.
struct client_exchange {
    std::optional<hello_random> client_random; ///< names the handshake
    flag_set proposed;                         ///< what its ClientHellos had (TLS-1: both the same)
    bool offered = false;                      ///< the flag was among them,
    withheld why = withheld::never;            ///< or why it was not
    bool acknowledged_now = false;             ///< by the CertificateRequest that is being answered
    bool requested = false;                    ///< a CertificateRequest came,
    bool acknowledged = false;                 ///< it had the flag,
    bool answered = false;                     ///< and OpenSSL was told what to send:
    bool presented = false;                    ///< the flag's credential
    bool ticket = false;                       ///< a NewSessionTicket came, and was told of
    std::optional<std::uint8_t> alert;         ///< the fatal alert that came
    flag_set server_flags;
};

} // namespace reqauth::detail
