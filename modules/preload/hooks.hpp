// SPDX-License-Identifier: Apache-2.0
#pragma once

// Between the two halves of what is preloaded. The first, libreqauth-preload.so, is in every process that reqauth-exec
// started and needs nothing but libc. The second, libreqauth-exec.so, needs libreqauth and OpenSSL, and is loaded where
// a program makes its first SSL_CTX.

#include <reqauth/export.hpp>

/// The environment variables: settings.hpp's, and tally.hpp's as PROCESS:FILE.
inline constexpr const char* settings_variable = "REQAUTH_EXEC";
inline constexpr const char* tally_variable = "REQAUTH_EXEC_TALLY";

using certificate_function = int (*)(SSL*, void*);

struct reqauth_exec_hooks {
    /// An address in the libssl that the second half works with: the program's must be the same.
    const void* libssl;
    /// An address in libreqauth: what that does itself is left alone.
    const void* libreqauth;
    /// Called with a new SSL_CTX. Says whether it was given the flag.
    bool (*made)(SSL_CTX*);
    /// Called before an SSL is made of an SSL_CTX.
    void (*begins)(SSL_CTX*);
    /// Called in place of SSL_CTX_set_cert_cb and SSL_set_cert_cb. They say whether that is done so.
    bool (*set_cert_cb)(SSL_CTX*, certificate_function, void*);
    bool (*set_ssl_cert_cb)(SSL*, certificate_function, void*);
    /// Says whether a session is a verified agent's: its scope is its id context, which no program may change.
    bool (*keeps_id_context)(const SSL_SESSION*);
};

/// The one function that the second half exports: null where it cannot work, and has said why.
extern "C" REQAUTH_EXPORT const reqauth_exec_hooks* reqauth_exec_begin() noexcept;
