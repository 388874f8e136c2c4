// SPDX-License-Identifier: Apache-2.0
#pragma once

// The life of a ticket, from end to end.
//
//   found      A ClientHello resumes sessions of its own scope only. The scope is the session's id context.
//   vouched    What OpenSSL has resumed counts if its mark is of this scope, policy and certificate, and in time. The mark
//              is the ticket's application data.
//   made       A new session has a scope that nothing matches, no mark, and no ticket.
//   marked     The witness has seen the certificate verified: scope, mark and time are written, tickets go out.
//   disowned   Something later says otherwise: all of that is taken back.
//   limited    Whatever is renewed, the time counts from that verification.

#include "record.hpp"

#include <span>

namespace reqauth::detail {

/// scope_of is what a session made or presented under such a ClientHello belongs to: server name (letter
/// case does not count, absent is not empty), flag offered, the predicate's answer, the policy of the SSL_CTX at
/// which it arrives, and all policies (TLS-2, SEC-5). Throws error{openssl}.
[[nodiscard]] sha256_digest scope_of(const considered& hello, const attached_server& there);

/// id_context_of is the application's own session id context for an SSL_CTX, where it told us; else empty.
[[nodiscard]] std::span<const unsigned char> id_context_of(const policies& now, const attached_server& there) noexcept;

/// digest_of is SHA-256 of a leaf. An agent mostly comes again, and to digest it takes longer than all else here.
/// Throws error{openssl}.
[[nodiscard]] sha256_digest digest_of(const X509& leaf, const considered& hello);

/// examine_session looks at the session that OpenSSL has resumed: whether it is an agent's, and whether its mark is for
/// what was decided now.
void examine_session(SSL* ssl, server_record::handshake& now);

/// session_is_new keeps a session that was not resumed from being found: nobody has vouched for it. Throws error{openssl}.
void session_is_new(SSL* ssl);

/// session_of_ignored gives a session to somebody whose flag is ignored. Where the policy names no id context that keeps
/// such sessions apart, no ticket is issued. Throws error{openssl}.
void session_of_ignored(SSL* ssl, server_record& record, const server_policy& policy);

/// vouch_for_session lets the connection's new session resume as what the witness has seen. `chain` is the verified one,
/// `anchor` the place of that in which it ends.
/// Throws error{openssl}.
void vouch_for_session(SSL* ssl, server_record& record, const STACK_OF(X509) * chain, std::uint32_t anchor);

/// disown_session takes that back. Throws error{openssl}.
void disown_session(SSL* ssl, server_record& record);

/// limit_session bounds tickets before the first goes out: none where nobody vouches for the session or no time is left.
void limit_session(SSL* ssl, server_record& record);

/// limit_ticket bounds a ticket that goes out. It runs on a session that is this connection's alone.
void limit_ticket(SSL* ssl, const server_record::handshake& now);

} // namespace reqauth::detail
