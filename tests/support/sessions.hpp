// SPDX-License-Identifier: Apache-2.0
#pragma once

// A client's session cache of its own making.

#include "support/pair.hpp"

namespace support {

/// session_shelf keeps the last session that clients of an SSL_CTX got, and counts them. It takes the
/// SSL_CTX's app data.
class session_shelf {
public:
    session_shelf() = default;
    session_shelf(const session_shelf&) = delete;
    session_shelf& operator=(const session_shelf&) = delete;

    void serve(SSL_CTX& context) {
        SSL_CTX_set_app_data(&context, this);
        SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(&context, [](SSL* ssl, SSL_SESSION* made) {
            auto* shelf = static_cast<session_shelf*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
            shelf->last.reset(made);
            ++shelf->count;
            return 1;
        });
    }

    owned<SSL_SESSION> last;
    int count = 0;
};

} // namespace support
