// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which flags may stand in which message: the illegal_parameter rules of both drafts, and nothing else.

#include <reqauth/flags.hpp>

#include <array>
#include <cstdint>
#include <string_view>

namespace reqauth::detail {

/// alert is a TLS alert's number (RFC 8446, section 6).
using alert = int;

/// hello_random is a Random of the handshake. Facts name the handshake they belong to by one, so that nothing survives
/// into the next handshake of an SSL that is used again (SSL_clear).
using hello_random = std::array<std::uint8_t, 32>;

enum class message {
    client_hello,
    hello_retry_request,
    server_hello,
    encrypted_extensions,
    certificate_request,
    certificate,
    new_session_ticket,
};

enum class role { client, server };

/// violation is what is illegal about a received extension; each is answered illegal_parameter.
enum class violation {
    none,
    unsolicited_flag,       ///< FLAG-7: a flag in a response that no request proposed
    acknowledged_unoffered, ///< RCA-9: the CertificateRequest has a flag that the client did not offer
    flag_in_other_message,  ///< RCA-10, RCA-11: the flag where it never belongs
};

/// arrival is one tls_flags extension as `receiver` got it.
struct arrival {
    role receiver;
    message in;
    const flag_set& flags;
    const flag_set& proposed; ///< what the receiver proposed in the message that this one answers
    flag_number ours;         ///< request_client_auth's number
};

[[nodiscard]] violation judge(const arrival& arrived) noexcept;

/// text_of names the rule that was broken, for the error queue.
[[nodiscard]] std::string_view text_of(violation broken) noexcept;
[[nodiscard]] std::string_view text_of(malformed why) noexcept;
[[nodiscard]] std::string_view name_of(message which) noexcept;

} // namespace reqauth::detail
