// SPDX-License-Identifier: Apache-2.0
#include "borrowed.hpp"

#include "../base/fence.hpp"
#include "../base/hash.hpp"

#include <reqauth/error.hpp>

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
    const sha256_digest nothing = unmatchable();
    resume_within(ssl, id_context.empty() ? std::span<const unsigned char>(nothing) : id_context);
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
    dane_ = knows_dane(ssl);
    const names client_ca_names =
        own_list(SSL_get_client_CA_list(ssl), SSL_CTX_get_client_CA_list(SSL_get_SSL_CTX(ssl)));
    const names ca_names = own_list(SSL_get0_CA_list(ssl), SSL_CTX_get0_CA_list(SSL_get_SSL_CTX(ssl)));
    names_handle named(request.ca_names ? request.trust.names->lend() : empty_list());
    names_handle unnamed(empty_list());
    const parameters own_parameters = parameters_like(SSL_get0_param(ssl));
    const parameters plain_parameters = parameters_like(nullptr);

    X509_STORE* store = nullptr;
    SSL_get0_verify_cert_store(ssl, &store);
    if (store != nullptr) X509_STORE_up_ref(store);
    store_.reset(store, X509_STORE_free);
    if (SSL_set1_verify_cert_store(ssl, request.trust.store.get()) != 1)
        throw error(errc::openssl, "the trust store cannot be set");

    asking_ = true;
    parameters_ = own_parameters;
    verify_flags_ = X509_VERIFY_PARAM_get_flags(SSL_get0_param(ssl));
    client_ca_names_ = client_ca_names;
    ca_names_ = ca_names;
    our_store_ = request.trust.store.get();
    lender_ = request.ca_names ? request.trust.names : nullptr;
    our_client_ca_names_ = named.get();
    our_ca_names_ = unnamed.get();
    SSL_set_client_CA_list(ssl, named.release());
    SSL_set0_CA_list(ssl, unnamed.release());

    verify_mode_ = SSL_get_verify_mode(ssl);
    verify_ = SSL_get_verify_callback(ssl);
    // A host name, a purpose, a laxer or stricter check that the application set up for its own clients
    // does not judge agents: the outcome's trust has parameters of its own.
    const bool set = X509_VERIFY_PARAM_set1(SSL_get0_param(ssl), plain_parameters.get()) == 1;
    our_mode_ = SSL_VERIFY_PEER | (request.required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    our_verify_ = request.verify;
    SSL_set_verify(ssl, our_mode_, our_verify_);
    if (!set) {
        give_back(ssl);
        throw error(errc::openssl, "the verify parameters cannot be set");
    }
}

//= SEC-2
bool borrowed::give_back(SSL* ssl) noexcept {
    if (!asking_) return true;
    ERR_set_mark();
    if (lender_ != nullptr && SSL_get_client_CA_list(ssl) == our_client_ca_names_)
        lender_->take_back(SSL_get_client_CA_list(ssl));
    lender_.reset();
    X509_STORE* store = nullptr;
    SSL_get0_verify_cert_store(ssl, &store);
    const bool all = X509_VERIFY_PARAM_set1(SSL_get0_param(ssl), parameters_.get()) == 1 &&
                     (store != our_store_ || SSL_set1_verify_cert_store(ssl, store_.get()) == 1) &&
                     (SSL_get_client_CA_list(ssl) != our_client_ca_names_ ||
                      set_list(ssl, client_ca_names_, SSL_set_client_CA_list)) &&
                     (SSL_get0_CA_list(ssl) != our_ca_names_ || set_list(ssl, ca_names_, SSL_set0_CA_list));
    ERR_pop_to_mark();
    if (!all) {
        SSL_set_verify(ssl, SSL_get_verify_mode(ssl), refuse_everybody);
        SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        return false;
    }
    asking_ = false;
    // A copy of parameters with policies has a flag that the application may not have set.
    X509_VERIFY_PARAM_clear_flags(SSL_get0_param(ssl), ~verify_flags_);
    const int mode = SSL_get_verify_mode(ssl);
    const SSL_verify_cb verify = SSL_get_verify_callback(ssl);
    // SSL_set_verify keeps the callback that is there when it is given none.
    const SSL_verify_cb own = verify_ != nullptr ? verify_ : no_verify_callback;
    const bool ours = verify == our_verify_ || verify == refuse_everybody;
    SSL_set_verify(ssl, ours && mode == our_mode_ ? verify_mode_ : mode, ours ? own : verify);
    store_.reset();
    parameters_.reset();
    client_ca_names_.reset();
    ca_names_.reset();
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
