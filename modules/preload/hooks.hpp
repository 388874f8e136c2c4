// SPDX-License-Identifier: Apache-2.0
#pragma once

// Between the two halves of what is preloaded. The first, libreqauth-preload.so, is in every process that reqauth-exec
// started and needs nothing but libc. The second, libreqauth-exec.so, needs libreqauth and OpenSSL. It is loaded before
// the program runs where that links OpenSSL, and else where it first uses it.

#include <reqauth/export.hpp>

#include <openssl/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>

/// The environment variables: settings.hpp's, and tally.hpp's as PROGRAM:KEEPER:FILE.
inline constexpr const char* settings_variable = "REQAUTH_EXEC";
inline constexpr const char* tally_variable = "REQAUTH_EXEC_TALLY";

/// A mark is what libreqauth writes into an agent's session, first in its ticket application data, and where in it the
/// leaf's digest stands: docs/reference.md. What the program writes there stands behind it.
inline constexpr std::size_t mark_octets = 34;
inline constexpr char mark_begins[] = {'r', 'q'}; // NOLINT: for memcmp
inline constexpr std::size_t leaf_in_mark = 3;
inline constexpr std::size_t leaf_octets = 12;

/// printable_name is a program's name for people, by default this one's: whoever runs it has chosen it, and it may have any octet but a slash.
struct printable_name {
    char text[256] = {};
    explicit printable_name(const char* name = program_invocation_short_name) {
        for (std::size_t at = 0; at + 1 < sizeof text && name[at] != '\0'; ++at) {
            const char octet = name[at];
            text[at] = octet >= ' ' && octet <= '~' ? octet : '?';
        }
    }
};

/// Symbols by which Apache httpd and nginx are known, which export them to their modules, and what is said of them.
inline constexpr const char* of_apache = "ap_get_server_banner";
inline constexpr const char* of_nginx = "ngx_cycle";
inline constexpr const char* apache_instead =
    "is Apache httpd, whose mod_ssl resets the connection of every agent; load mod_reqauth into it (docs/apache.md)";
inline constexpr const char* nginx_instead =
    "is nginx with ssl_verify_client, which answers every agent with 400; load ngx_http_reqauth_module into it "
    "(docs/nginx.md)";

using certificate_function = int (*)(SSL*, void*);
using verify_function = int (*)(X509_STORE_CTX*, void*);

struct reqauth_exec_hooks {
    /// An address in the libssl that the second half works with: the program's must be the same.
    const void* libssl;
    /// Called with a new SSL_CTX. Says whether it was given the flag.
    bool (*made)(SSL_CTX*);
    /// Called before an SSL is made of an SSL_CTX.
    void (*begins)(SSL_CTX*);
    /// Called in place of SSL_CTX_set_cert_cb, SSL_set_cert_cb and SSL_CTX_set_cert_verify_callback. They say whether
    /// that is done so.
    bool (*set_cert_cb)(SSL_CTX*, certificate_function, void*);
    bool (*set_ssl_cert_cb)(SSL*, certificate_function, void*);
    bool (*set_verify)(SSL_CTX*, verify_function, void*);
    /// Called where a write has failed: an alert may have come that nobody reads any more.
    void (*write_failed)(SSL*, int result);
    /// Called before an SSL is freed.
    void (*ends)(SSL*);
    /// Whether a program is not to see the certificate of this connection, or of this session.
    bool (*hides)(const SSL*);
    bool (*hides_session)(const SSL_SESSION*);
    /// Whether a mark stands first in a session's ticket application data.
    bool (*is_agents_session)(const SSL_SESSION*);
    /// What SSL_get_verify_result says to the program where the certificate is hidden.
    long (*verify_result)(const SSL*);
    /// SSL_SESSION_print and SSL_SESSION_print_fp without the verify result.
    int (*print_session)(BIO*, std::FILE*, const SSL_SESSION*); ///< to one of the two
};

struct tally;

/// What the second half exports. The first call is reqauth_exec_pin, with the settings and the tally, or null: it reads files and opens the
/// log, and does not touch OpenSSL, which is the program's to set up; it gives an address in libreqauth, whose own calls
/// are left alone. reqauth_exec_begin comes where the program has
/// done so: null where nothing can be done, and that has been said. `moved`: the process sees other files by now than
/// those that it began with.
extern "C" REQAUTH_EXPORT const void* reqauth_exec_pin(const char* settings, tally* counts) noexcept;
extern "C" REQAUTH_EXPORT const reqauth_exec_hooks* reqauth_exec_begin(bool moved) noexcept;
