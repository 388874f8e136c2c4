// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a flagged handshake changes on its SSL, and how all of it is put back: the request for a
// certificate when the handshake ends, the rest before the SSL's next handshake.

#include "../base/handle.hpp"
#include "../trust/trust_store.hpp"

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

/// borrowed keeps the application's own settings of one SSL while the library's are in force.
class borrowed {
public:
    /// for_duplicate is what goes with a copy of the SSL: SSL_dup copies settings, so it copies this too. The objects are
    /// shared.
    [[nodiscard]] borrowed for_duplicate() const {
        borrowed copy = *this;
        copy.passed_to_ = nullptr;
        copy.passed_twice_ = false;
        if (taken_ != nullptr) {
            copy.taken_ = std::make_shared<taken>(*taken_);
            copy.taken_->lender.reset();
        }
        return copy;
    }

    using info_callback = void (*)(const SSL*, int, int);

    /// watch makes `ours` the SSL's info callback, which learns when a handshake starts and ends. The application's own
    /// goes on being called, that of the SSL or of the SSL_CTX.
    void watch(SSL* ssl, info_callback ours) noexcept;

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

    /// take sets what decides about the CertificateRequest and its answer. Throws error{openssl} with
    /// everything given back.
    void take(SSL* ssl, const certificate_request& request);

    /// asking says that the request is in force.
    [[nodiscard]] bool asking() const noexcept { return taken_ != nullptr; }

    /// has_dane says that the SSL has DANE records or expected keys, which OpenSSL has no way to put aside: they are for
    /// whom the application expects, and an agent is verified apart from them.
    [[nodiscard]] bool has_dane() const noexcept { return taken_ != nullptr && taken_->dane; }

    /// customers_asked says that the application asks customers for a certificate, now or later.
    [[nodiscard]] bool customers_asked() const noexcept {
        return taken_ != nullptr && taken_->verify_mode != SSL_VERIFY_NONE;
    }

    /// customers_verification is what OpenSSL would verify a customer's certificate by, with nobody to tell of errors and
    /// however long its chain is; null: the application asks no customers. Throws error{openssl}.
    [[nodiscard]] verification_handle customers_verification(SSL* ssl, X509* leaf, STACK_OF(X509) * untrusted) const;

    /// give_back undoes `take`: verify mode, callback, store and lists where the application has not set others meanwhile,
    /// and its verify parameters always. False where there is no memory for it. Then the connection ends: nothing is read
    /// from or written to the SSL any more, and no certificate is taken, until a later call succeeds.
    bool give_back(SSL* ssl) noexcept;

    /// start_over gives back what the first ClientHello changed: the second, after a HelloRetryRequest, says all anew.
    /// `id_context` is the application's own session id context where it told us; empty: unknown.
    void start_over(SSL* ssl, std::span<const unsigned char> id_context) noexcept;

    /// give_back_all gives back everything, before another handshake of the SSL.
    void give_back_all(SSL* ssl, std::span<const unsigned char> id_context) noexcept;

    [[nodiscard]] bool changed_anything() const noexcept {
        return asking() || watching_ || info_ != nullptr || tickets_stopped_ || id_context_replaced_ ||
               early_data_refused_;
    }

    /// pass_on hands an event to the application's info callback, that of the SSL or the SSL_CTX's; `of_context` is what ours
    /// took the place of there. It may call ours, if it is what it found on the SSL:
    /// then the event goes to the one that was there before, and no callback is called within itself.
    void pass_on(const SSL* ssl, int event, int value, info_callback of_context) noexcept;
    /// passing_on says that ours is called in such a way.
    [[nodiscard]] bool passing_on() const noexcept { return passed_to_ != nullptr; }

private:
    /// taken is what `take` has put aside, and what stands in its place.
    struct taken {
        bool dane;
        int verify_mode;
        SSL_verify_cb verify;
        int our_mode;
        SSL_verify_cb our_verify;
        const X509_STORE* our_store; ///< compared, never followed
        std::shared_ptr<X509_VERIFY_PARAM> parameters;
        unsigned long verify_flags;
        std::shared_ptr<X509_STORE> store;
        std::shared_ptr<STACK_OF(X509_NAME)> client_ca_names; ///< the SSL's own; null: those of the SSL_CTX
        std::shared_ptr<STACK_OF(X509_NAME)> ca_names;
        std::shared_ptr<detail::ca_names> lender;        ///< of what is the SSL's client CA list meanwhile
        const STACK_OF(X509_NAME) * our_client_ca_names; ///< compared, never followed
        const STACK_OF(X509_NAME) * our_ca_names;
    };
    std::shared_ptr<taken> taken_; ///< null: nothing

    bool watching_ = false;
    info_callback ours_ = nullptr;
    info_callback info_ = nullptr;      ///< what the SSL had when ours was put there
    info_callback before_ = nullptr;    ///< and what it had the time before, where ours may still be called by `info_`
    info_callback passed_to_ = nullptr; ///< whom an event is being passed on to
    bool passed_twice_ = false;         ///< and it is so for the second time within one event
    bool tickets_stopped_ = false;
    std::size_t tickets_ = 0;
    bool id_context_replaced_ = false;
    bool early_data_refused_ = false;
    std::uint32_t max_early_data_ = 0;
};

} // namespace reqauth::detail
