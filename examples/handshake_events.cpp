// SPDX-License-Identifier: Apache-2.0
#include "handshake_events.hpp"

#include <reqauth/error.hpp>

namespace {

void note(const SSL* ssl, int where, int value) {
    // That of the SSL_CTX, which this one hides, counts handshakes, and marks a client's sessions.
    const auto of_context = SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl));
    if (of_context != nullptr) of_context(ssl, where, value);
    auto& events = *static_cast<handshake_events*>(SSL_get_app_data(ssl));
    if ((where & SSL_CB_ALERT) != 0) {
        const int description = value & 0xff; // the octet above is the level
        if (description == SSL_AD_CLOSE_NOTIFY) return;
        ((where & SSL_CB_READ) != 0 ? events.alert_received : events.alert_sent) = reqauth::alert_name(description);
    } else if ((where & SSL_CB_LOOP) != 0) {
        const OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);
        if (state == TLS_ST_SW_CERT_REQ) events.certificate_requested = true;
        if (state == TLS_ST_SR_FINISHED) ++events.client_finished;
    }
}

} // namespace

void watch(SSL& ssl, handshake_events& events) {
    SSL_set_app_data(&ssl, &events);
    SSL_set_info_callback(&ssl, note);
}
