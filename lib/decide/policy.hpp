// SPDX-License-Identifier: Apache-2.0
#pragma once

// The server's decision about one ClientHello: a pure function of what is known when it is taken.

#include <reqauth/server.hpp>

namespace reqauth::detail {

enum class decision {
    ignore, ///< as without the flag: the SSL_CTX's own client authentication, no acknowledgement
    accept, ///< ask, acknowledge, and verify against the policy's trust
    refuse, ///< end the handshake with certificate_required
};

/// circumstances are what the decision rests on, those of the final SSL_CTX (SEC-5).
struct circumstances {
    bool offered;           ///< the ClientHello that counts had the flag
    bool wanted;            ///< the predicate did not turn it down
    bool same_server;       ///< and belongs to the server of the final SSL_CTX
    client_auth::mode asks; ///< the policy's when_offered
    bool customers_asked;   ///< the SSL_CTX asks customers for a certificate, in the handshake or later
    bool beside_customers;  ///< and the code there tells agents from customers
    bool everyone_required; ///< the SSL_CTX requires a certificate of everyone
    bool beside_required;   ///< and the policy lets agents in beside
    bool resumed;           ///< the handshake resumes a session: no CertificateRequest can be sent
    bool vouched;           ///< and the session has a mark for just this outcome
    bool agents_session;    ///< and it is an agent's, vouched for or not
};

[[nodiscard]] decision decide(const circumstances& now) noexcept;

} // namespace reqauth::detail
