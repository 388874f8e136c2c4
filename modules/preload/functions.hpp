// SPDX-License-Identifier: Apache-2.0
#pragma once

// The functions of OpenSSL in whose place the preloaded library's stand, and the ones that are really called.

/// What attaches, what keeps an agent's session what it is, and what fails where a server has refused and closed.
#define REQAUTH_EXEC_TAKEN(one)                                                                                        \
    one(SSL_CTX_new) one(SSL_CTX_new_ex) one(SSL_new) one(SSL_CTX_set_cert_cb) one(SSL_set_cert_cb)                    \
        one(SSL_CTX_set_cert_verify_callback) one(SSL_SESSION_set1_id_context) one(SSL_SESSION_set1_ticket_appdata)    \
            one(SSL_SESSION_get0_ticket_appdata) one(SSL_write) one(SSL_write_ex) one(SSL_free)

/// What tells of the peer's certificate: hidden.cpp. tests/modules/preload/libssl.functions has all that libssl exports.
#define REQAUTH_EXEC_HIDDEN(one)                                                                                       \
    one(SSL_get0_peer_certificate) one(SSL_get1_peer_certificate) one(SSL_get_peer_cert_chain)                         \
        one(SSL_get0_verified_chain) one(SSL_get_verify_result) one(SSL_get0_peername) one(SSL_get0_peer_rpk)          \
            one(SSL_get0_peer_scts) one(SSL_get_peer_signature_type_nid) one(SSL_get_negotiated_client_cert_type)      \
                one(SSL_get0_dane_authority) one(SSL_get0_dane_tlsa) one(SSL_ctrl) one(SSL_SESSION_get0_peer)          \
                    one(SSL_SESSION_get0_peer_rpk) one(SSL_SESSION_print) one(SSL_SESSION_print_fp)

#define REQAUTH_EXEC_NAME(name) name,
enum class function : unsigned { REQAUTH_EXEC_TAKEN(REQAUTH_EXEC_NAME) REQAUTH_EXEC_HIDDEN(REQAUTH_EXEC_NAME) count };
#undef REQAUTH_EXEC_NAME

/// caller is who calls: libreqauth with the second half, or anybody else. OpenSSL counts as anybody: a callback of the
/// program's can end in a call of ours, which then seems to come from where the callback returns to.
enum class caller { anybody, reqauth };

/// target is the function that would have been called.
struct target {
    void* real; ///< null: there is none in that OpenSSL
    caller who;
    bool known; ///< of the libssl for which this was built
};

/// find gives it. A program can load several OpenSSLs, each for a library of its own. Once a place of the program has
/// called, no lock is taken for it: the program may fork while other threads call.
target find(function which, void* caller);

/// within is a call of OpenSSL's or of the second half's: what they call counts as libreqauth's.
class within {
public:
    /// `function` is OpenSSL's that runs then: what it calls is of the same OpenSSL. Its own calls can look like ours.
    explicit within(void* function = nullptr);
    ~within();
    within(const within&) = delete;
    within& operator=(const within&) = delete;

    /// any says that the thread is in one.
    [[nodiscard]] static bool any();

private:
    void* before_;
};

/// as calls a target as the function that it is.
template <class Function> Function* as(Function*, const target& found) {
    return reinterpret_cast<Function*>(found.real);
}
