// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a client learns of one handshake. Plain data: no OpenSSL.

#include "../wire/rules.hpp"

#include <reqauth/client.hpp>
#include <reqauth/flags.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace reqauth::detail {

/// client_facts are those of one handshake.
struct client_facts {
    std::optional<hello_random> client_random;      ///< names the handshake
    flag_set proposed;                              ///< what its ClientHellos had (TLS-1: both the same)
    bool offered = false;                           ///< the flag was among them,
    withheld why = withheld::never;                 ///< or why it was not
    unsigned hellos = 0;                            ///< how many have been made: two around a HelloRetryRequest
    bool acknowledged_now = false;                  ///< by the CertificateRequest that is being answered
    bool requested = false;                         ///< a CertificateRequest came,
    bool acknowledged = false;                      ///< it had the flag,
    bool answered = false;                          ///< and OpenSSL was told what to send:
    bool presented = false;                         ///< the flag's credential
    reqauth::unmet unmet = reqauth::unmet::nothing; ///< why it was not
    std::vector<std::string> issuers;               ///< ours, where the authorities are unmet
    bool ticket = false;                            ///< a NewSessionTicket came, and was told of
    bool counted = false;
    std::uint64_t octets = 0; ///< read when the ClientHello was made, and the last message of a handshake had come
    std::optional<std::uint8_t> alert; ///< the fatal alert that came,
    bool after_data = false;           ///< after application data
    flag_set server_flags;
};

} // namespace reqauth::detail
