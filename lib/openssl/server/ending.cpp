// SPDX-License-Identifier: Apache-2.0
#include "ending.hpp"

#include "../base/fence.hpp"
#include "../base/handshake.hpp"
#include "session.hpp"

namespace reqauth::detail {

void handshake_done(SSL* ssl, server_record& record) {
    if (record.now.hello == nullptr) return; // it was seen, or nobody offered the flag
    record.put_aside.give_back(ssl);
    server_facts& facts = record.now.facts;
    const long result = SSL_get_verify_result(ssl);
    // Whatever came after the verification, and left another result, says otherwise.
    //= SEC-1
    if (facts.witness.held && !facts.vouched && facts.server_random == server_random_of(ssl) &&
        result != X509_V_ERR_APPLICATION_VERIFICATION) {
        facts.witness.held = false;
        fence(0, [&] {
            disown_session(ssl, record);
            return 1;
        });
    }
    // A check that knows only OpenSSL looks at the result where it knows that there is a certificate.
    const bool looked_at =
        SSL_get0_peer_certificate(ssl) != nullptr || (SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0;
    const bool accepted = facts.decided == decision::accept;
    const bool shown_ok = accepted && facts.witness.held && record.now.decided_by != nullptr &&
                          record.now.decided_by->policy->verify_result_ok;
    //= SEC-8
    if (!(accepted || facts.agents_session) || facts.server_random != server_random_of(ssl)) {
        // Another's result, or an earlier handshake's facts.
    } else if (!shown_ok && result == X509_V_OK && looked_at) {
        SSL_set_verify_result(ssl, X509_V_ERR_APPLICATION_VERIFICATION);
    } else if (shown_ok && result == X509_V_ERR_APPLICATION_VERIFICATION) {
        SSL_set_verify_result(ssl, X509_V_OK);
    }
    record.handshake_over();
}

} // namespace reqauth::detail
