// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a server does when a handshake has ended.

#include "../../decide/outcome.hpp"
#include "record.hpp"

namespace reqauth::detail {

/// handshake_done gives back what is the application's, and lets go of what only the handshake needs. Again it does nothing.
/// The info callback tells of it, unless the application has put another over ours: then it is seen at the next occasion.
void handshake_done(SSL* ssl, server_record& record);

/// findings_of is what OpenSSL says of a connection now.
[[nodiscard]] findings findings_of(const SSL& ssl, const server_record::handshake* now) noexcept;

/// These count a handshake that ended otherwise: as one without the flag does; in a fatal alert of an agent's, which ours
/// is or the client's; or not at all.
void count_person(const SSL* ssl, reason why) noexcept;
void count_refusal(const SSL* ssl, server_record& record, std::optional<int> alert_sent) noexcept;
void broken_off(const SSL* ssl, const server_record::handshake& of) noexcept;

} // namespace reqauth::detail
