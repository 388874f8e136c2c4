// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a flagged handshake changes on its SSL, and how all of it is put back: the request for a
// certificate when the handshake ends, the rest before the SSL's next handshake.

#include "handle.hpp"
#include "trust_store.hpp"

#include <memory>
#include <span>

namespace reqauth::detail {

/// certificate_request is what a flagged connection asks for in place of the application's own.
struct certificate_request {
    const trust_store& trust;
    bool required;
    bool ca_names;
    SSL_verify_cb verify;
};

/// overrides keeps the application's own settings of one SSL while the library's are in force.
/// Copies share the objects: SSL_dup copies settings, so it copies this too.
class overrides {
public:
    /// watch makes the SSL's info callback tell us when a handshake starts and ends. The application's
    /// own goes on being called, that of the SSL or of the SSL_CTX.
    void watch(SSL* ssl) noexcept;

    /// stop_tickets issues none on this SSL until its next handshake.
    void stop_tickets(SSL* ssl) noexcept;

    /// allow_tickets issues them again, as many as the application wants.
    void allow_tickets(SSL* ssl) noexcept;

    /// resume_within lets this ClientHello resume sessions of that scope only: for any other, OpenSSL falls
    /// back to a full handshake, without an alert. Throws error{openssl}.
    void resume_within(SSL* ssl, std::span<const unsigned char> scope);

    /// resumption_is_settled takes the scope off the SSL again, so that no later session gets it: the
    /// application's own session id context comes back if it is known, else nothing matches. The same for a
    /// ClientHello without the flag on an SSL that had one with it. Throws error{openssl}.
    void resumption_is_settled(SSL* ssl, std::span<const unsigned char> id_context);

    /// refuse_early_data rejects it in this handshake, and in those of the tickets issued in it.
    void refuse_early_data(SSL* ssl) noexcept;

    /// ask sets what decides about the CertificateRequest and its answer. Throws error{openssl} with
    /// everything put back.
    void ask(SSL* ssl, const certificate_request& request);

    /// asking says that `ask` is in force.
    [[nodiscard]] bool asking() const noexcept { return asking_; }

    /// handshake_ended puts back what `ask` set.
    void handshake_ended(SSL* ssl) noexcept;

    /// handshake_begins puts back everything. `id_context` is the application's own session id context
    /// where it told us; empty: unknown.
    void handshake_begins(SSL* ssl, std::span<const unsigned char> id_context) noexcept;

    [[nodiscard]] bool changed_anything() const noexcept {
        return asking_ || asked_ || watching_ || tickets_stopped_ || id_context_replaced_ || early_data_refused_;
    }

    using info_callback = void (*)(const SSL*, int, int);
    /// info_of_application is whom the info callback passes its events on to; may be null.
    [[nodiscard]] info_callback info_of_application(const SSL* ssl) const noexcept;

private:
    bool asking_ = false;
    bool asked_ = false; ///< since the handshake began
    int verify_mode_ = 0;
    SSL_verify_cb verify_ = nullptr;
    std::shared_ptr<X509_VERIFY_PARAM> parameters_;
    std::shared_ptr<X509_STORE> store_;
    std::shared_ptr<STACK_OF(X509_NAME)> client_ca_names_; ///< the SSL's own; null: those of the SSL_CTX
    std::shared_ptr<STACK_OF(X509_NAME)> ca_names_;

    bool watching_ = false;
    info_callback info_ = nullptr;
    bool tickets_stopped_ = false;
    std::size_t tickets_ = 0;
    bool id_context_replaced_ = false;
    bool early_data_refused_ = false;
    std::uint32_t max_early_data_ = 0;
};

} // namespace reqauth::detail
