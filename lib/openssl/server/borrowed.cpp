// SPDX-License-Identifier: Apache-2.0
#include "borrowed.hpp"

#include "../base/fence.hpp"
#include "../base/hash.hpp"

#include <reqauth/error.hpp>

#include <cstdint>
#include <limits>
#include <utility>

namespace reqauth::detail {

namespace {

using names = std::shared_ptr<STACK_OF(X509_NAME)>;

using parameters = std::shared_ptr<X509_VERIFY_PARAM>;

// A copy of every field, or with `from` null the defaults. As a source it overwrites every field, too.
parameters parameters_like(const X509_VERIFY_PARAM* from) {
    parameters copy(X509_VERIFY_PARAM_new(), X509_VERIFY_PARAM_free);
    if (copy == nullptr ||
        X509_VERIFY_PARAM_set_inh_flags(copy.get(), X509_VP_FLAG_OVERWRITE | X509_VP_FLAG_RESET_FLAGS) != 1 ||
        X509_VERIFY_PARAM_set1(copy.get(), from) != 1)
        throw error(errc::openssl, "the verify parameters cannot be copied");
    return copy;
}

names_handle owned(STACK_OF(X509_NAME) * list) {
    if (list == nullptr) throw error(errc::openssl, "a list of CA names cannot be made" + drain_errors());
    return names_handle(list);
}

names_handle empty_list() { return owned(sk_X509_NAME_new_null()); }

// OpenSSL gives no way to tell an SSL's own list from its SSL_CTX's but the pointer.
names own_list(const STACK_OF(X509_NAME) * of_ssl, const STACK_OF(X509_NAME) * of_context) {
    if (of_ssl == nullptr || of_ssl == of_context) return nullptr;
    return owned(SSL_dup_CA_list(of_ssl));
}

// What OpenSSL does where there is no verify callback.
int no_verify_callback(int ok, X509_STORE_CTX*) { return ok; }

// Gives the list to a setter that takes ownership. False: there is no memory for the copy.
template <class Setter> bool set_list(SSL* ssl, const names& list, Setter setter) noexcept {
    STACK_OF(X509_NAME)* copy = list != nullptr ? SSL_dup_CA_list(list.get()) : nullptr;
    if (list != nullptr && copy == nullptr) return false;
    setter(ssl, copy);
    return true;
}

// Of an SSL whose own settings are lost.
int refuse_everybody(int, X509_STORE_CTX* verification) {
    X509_STORE_CTX_set_error(verification, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

// OpenSSL has no getter. Such a record cannot be taken, and to an SSL without DANE none can be given.
bool knows_dane(SSL* ssl) noexcept {
    constexpr std::uint8_t no_usage = 255;
    constexpr unsigned char nothing = 0;
    ERR_set_mark();
    const bool knows = SSL_dane_tlsa_add(ssl, no_usage, 0, 0, &nothing, 0) >= 0;
    ERR_pop_to_mark();
    return knows;
}

} // namespace

void borrowed::watch(SSL* ssl, info_callback ours) noexcept {
    if (watching_) return;
    watching_ = true;
    ours_ = ours;
    const info_callback current = SSL_get_info_callback(ssl);
    if (current == ours_) return;
    before_ = info_;
    info_ = current;
    SSL_set_info_callback(ssl, ours_);
}

void borrowed::pass_on(const SSL* ssl, int event, int value, info_callback of_context) noexcept {
    const info_callback found = SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl));
    if (found != ours_) of_context = found;
    const info_callback own = passing_on() ? before_ : info_;
    const info_callback next = own != nullptr ? own : of_context;
    if (next == nullptr || next == ours_ || next == passed_to_ || passed_twice_) return;
    const info_callback outer = std::exchange(passed_to_, next);
    passed_twice_ = outer != nullptr;
    next(ssl, event, value);
    passed_twice_ = false;
    passed_to_ = outer;
}

void borrowed::stop_tickets(SSL* ssl) noexcept {
    if (tickets_stopped_) return;
    tickets_ = SSL_get_num_tickets(ssl);
    SSL_set_num_tickets(ssl, 0);
    tickets_stopped_ = true;
}

void borrowed::allow_tickets(SSL* ssl) noexcept {
    if (tickets_stopped_ && SSL_get_num_tickets(ssl) == 0) SSL_set_num_tickets(ssl, tickets_);
    tickets_stopped_ = false;
}

void borrowed::resume_within(SSL* ssl, std::span<const unsigned char> scope) {
    if (SSL_set_session_id_context(ssl, scope.data(), static_cast<unsigned int>(scope.size())) != 1)
        throw error(errc::openssl, "the session id context cannot be set");
    id_context_replaced_ = true;
}

void borrowed::resumption_is_settled(SSL* ssl, std::span<const unsigned char> id_context) {
    if (!id_context_replaced_) return;
    if (id_context.empty())
        resume_within(ssl, unmatchable());
    else
        resume_within(ssl, id_context);
    id_context_replaced_ = id_context.empty();
}

void borrowed::refuse_early_data(SSL* ssl) noexcept {
    if (early_data_refused_) return;
    max_early_data_ = SSL_get_max_early_data(ssl);
    SSL_set_max_early_data(ssl, 0);
    early_data_refused_ = true;
}

void borrowed::take(SSL* ssl, const certificate_request& request) {
    if (!give_back(ssl)) throw error(errc::openssl, "the application's settings cannot be put back");
    names_handle named(request.ca_names ? request.trust.names->lend() : empty_list());
    names_handle unnamed(empty_list());
    const parameters plain_parameters = parameters_like(nullptr);
    X509_STORE* store = nullptr;
    SSL_get0_verify_cert_store(ssl, &store);
    if (store != nullptr) X509_STORE_up_ref(store);
    std::shared_ptr<X509_STORE> own_store(store, X509_STORE_free);
    const SSL_CTX* context = SSL_get_SSL_CTX(ssl);
    auto all = std::make_shared<taken>(taken{
        .dane = knows_dane(ssl),
        .verify_mode = SSL_get_verify_mode(ssl),
        .verify = SSL_get_verify_callback(ssl),
        .our_mode = SSL_VERIFY_PEER | (request.required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        .our_verify = request.verify,
        .our_store = request.trust.store.get(),
        .parameters = parameters_like(SSL_get0_param(ssl)),
        .verify_flags = X509_VERIFY_PARAM_get_flags(SSL_get0_param(ssl)),
        .store = std::move(own_store),
        .client_ca_names = own_list(SSL_get_client_CA_list(ssl), SSL_CTX_get_client_CA_list(context)),
        .ca_names = own_list(SSL_get0_CA_list(ssl), SSL_CTX_get0_CA_list(context)),
        .lender = request.ca_names ? request.trust.names : nullptr,
        .our_client_ca_names = named.get(),
        .our_ca_names = unnamed.get(),
    });
    if (SSL_set1_verify_cert_store(ssl, request.trust.store.get()) != 1)
        throw error(errc::openssl, "the trust store cannot be set");
    taken_ = std::move(all);
    SSL_set_client_CA_list(ssl, named.release());
    SSL_set0_CA_list(ssl, unnamed.release());
    SSL_set_verify(ssl, taken_->our_mode, taken_->our_verify);
    // A host name, a purpose, a laxer or stricter check that the application set up for its own clients
    // does not judge agents: the outcome's trust has parameters of its own.
    if (X509_VERIFY_PARAM_set1(SSL_get0_param(ssl), plain_parameters.get()) != 1) {
        give_back(ssl);
        throw error(errc::openssl, "the verify parameters cannot be set");
    }
}

verification_handle borrowed::customers_verification(SSL* ssl, X509* leaf, STACK_OF(X509) * untrusted) const {
    if (!customers_asked()) return nullptr;
    X509_STORE* own = taken_->store != nullptr ? taken_->store.get() : SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
    verification_handle all(X509_STORE_CTX_new());
    if (all == nullptr || X509_STORE_CTX_init(all.get(), own, leaf, untrusted) != 1 ||
        X509_STORE_CTX_set_default(all.get(), "ssl_client") != 1)
        throw error(errc::openssl, "a verification cannot be set up" + drain_errors());
    X509_VERIFY_PARAM* in_force = X509_STORE_CTX_get0_param(all.get());
    X509_VERIFY_PARAM_set_auth_level(in_force, SSL_get_security_level(ssl));
    // A copy that says nothing of what the application has not set.
    const parameters own_parameters(X509_VERIFY_PARAM_new(), X509_VERIFY_PARAM_free);
    if (own_parameters == nullptr || X509_VERIFY_PARAM_set1(own_parameters.get(), taken_->parameters.get()) != 1 ||
        X509_VERIFY_PARAM_set1(in_force, own_parameters.get()) != 1)
        throw error(errc::openssl, "the verify parameters cannot be set" + drain_errors());
    // Else one that is too long for customers ends before it is seen where it leads.
    X509_VERIFY_PARAM_set_depth(in_force, std::numeric_limits<std::uint16_t>::max());
    X509_STORE_CTX_set_verify_cb(all.get(), no_verify_callback);
    return all;
}

//= SEC-2
bool borrowed::give_back(SSL* ssl) noexcept {
    if (taken_ == nullptr) return true;
    taken& was = *taken_;
    ERR_set_mark();
    if (was.lender != nullptr && SSL_get_client_CA_list(ssl) == was.our_client_ca_names)
        was.lender->take_back(SSL_get_client_CA_list(ssl));
    was.lender.reset();
    X509_STORE* store = nullptr;
    SSL_get0_verify_cert_store(ssl, &store);
    const bool all = X509_VERIFY_PARAM_set1(SSL_get0_param(ssl), was.parameters.get()) == 1 &&
                     (store != was.our_store || SSL_set1_verify_cert_store(ssl, was.store.get()) == 1) &&
                     (SSL_get_client_CA_list(ssl) != was.our_client_ca_names ||
                      set_list(ssl, was.client_ca_names, SSL_set_client_CA_list)) &&
                     (SSL_get0_CA_list(ssl) != was.our_ca_names || set_list(ssl, was.ca_names, SSL_set0_CA_list));
    ERR_pop_to_mark();
    if (!all) {
        SSL_set_verify(ssl, SSL_get_verify_mode(ssl), refuse_everybody);
        SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        return false;
    }
    // A copy of parameters with policies has a flag that the application may not have set.
    X509_VERIFY_PARAM_clear_flags(SSL_get0_param(ssl), ~was.verify_flags);
    const int mode = SSL_get_verify_mode(ssl);
    const SSL_verify_cb verify = SSL_get_verify_callback(ssl);
    // SSL_set_verify keeps the callback that is there when it is given none.
    const SSL_verify_cb own = was.verify != nullptr ? was.verify : no_verify_callback;
    const bool ours = verify == was.our_verify || verify == refuse_everybody;
    SSL_set_verify(ssl, ours && mode == was.our_mode ? was.verify_mode : mode, ours ? own : verify);
    taken_.reset();
    return true;
}

void borrowed::start_over(SSL* ssl, std::span<const unsigned char> id_context) noexcept {
    allow_tickets(ssl);
    if (early_data_refused_ && SSL_get_max_early_data(ssl) == 0) SSL_set_max_early_data(ssl, max_early_data_);
    early_data_refused_ = false;
    if (id_context_replaced_ && !id_context.empty()) {
        SSL_set_session_id_context(ssl, id_context.data(), static_cast<unsigned int>(id_context.size()));
        id_context_replaced_ = false;
    }
    // OpenSSL has left there what a session said that was looked at. It is no result of this handshake.
    //= SEC-8
    SSL_set_verify_result(ssl, X509_V_OK);
}

void borrowed::give_back_all(SSL* ssl, std::span<const unsigned char> id_context) noexcept {
    give_back(ssl);
    start_over(ssl, id_context);
    // Only our own is taken away: the application may have set another since.
    if (SSL_get_info_callback(ssl) == ours_) {
        SSL_set_info_callback(ssl, info_);
        info_ = before_ = nullptr;
    }
    watching_ = false;
}

} // namespace reqauth::detail
