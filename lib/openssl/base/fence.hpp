// SPDX-License-Identifier: Apache-2.0
#pragma once

// The fence around every callback that OpenSSL calls, and what the library says in OpenSSL's error queue.

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <exception>
#include <string>
#include <string_view>

namespace reqauth::detail {

/// raise puts one line of the library's own into OpenSSL's error queue, where the log finds it.
void raise(std::string_view text) noexcept;

/// drain_errors empties OpenSSL's error queue and gives its lines, ": a; b", or nothing.
[[nodiscard]] std::string drain_errors();

/// fence runs a callback's body. No exception leaves it: one ends in `on_failure`. What the body leaves
/// in OpenSSL's error queue is kept only where it failed.
//= SEC-3
template <class Result, class Body> Result fence(Result on_failure, Body&& body) noexcept {
    ERR_set_mark();
    try {
        const Result result = body();
        if (result != on_failure)
            ERR_pop_to_mark();
        else
            ERR_clear_last_mark();
        return result;
    } catch (const std::exception& thrown) {
        raise(thrown.what());
    } catch (...) {
        raise("an exception of unknown type");
    }
    ERR_clear_last_mark();
    return on_failure;
}

/// quietly runs the body of a callback that can fail nothing: no exception leaves it, and nothing is left in OpenSSL's error
/// queue.
template <class Body> void quietly(Body&& body) noexcept {
    ERR_set_mark();
    try {
        body();
    } catch (...) { // NOLINT: whatever it is
    }
    ERR_pop_to_mark();
}

/// fence with an alert: internal_error, unless the body sets another before it fails (SEC-2, SEC-3).
template <class Result, class Body> Result fence(int* alert, Result on_failure, Body&& body) noexcept {
    *alert = SSL_AD_INTERNAL_ERROR;
    return fence(on_failure, static_cast<Body&&>(body));
}

} // namespace reqauth::detail
