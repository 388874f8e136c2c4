// SPDX-License-Identifier: Apache-2.0
#include "client_certificates.hpp"

#include "fence.hpp"

#include <reqauth/error.hpp>

namespace reqauth::detail {

void client_certificates::present(SSL* ssl, const loaded_credential* credential) {
    if (!changed_) {
        own_.clear();
        for (long step = SSL_CERT_SET_FIRST; SSL_set_current_cert(ssl, step) == 1; step = SSL_CERT_SET_NEXT) {
            STACK_OF(X509)* chain = nullptr;
            SSL_get0_chain_certs(ssl, &chain);
            own_.push_back({{reference(SSL_get_certificate(ssl)).release(), X509_free},
                            {reference(SSL_get_privatekey(ssl)).release(), EVP_PKEY_free},
                            {chain != nullptr ? X509_chain_up_ref(chain) : nullptr, free_certificates}});
        }
        changed_ = true;
    }
    SSL_certs_clear(ssl);
    presented_ = nullptr;
    if (credential == nullptr) return;
    if (SSL_use_cert_and_key(ssl, credential->certificate.get(), credential->key.get(), credential->chain.get(), 1) !=
        1)
        throw error(errc::openssl, "the credential cannot be used on this SSL");
    presented_ = credential->certificate.get();
}

void client_certificates::give_back(SSL* ssl) {
    if (!changed_) return;
    SSL_certs_clear(ssl);
    for (const entry& one : own_)
        if (SSL_use_cert_and_key(ssl, one.certificate.get(), one.key.get(), one.chain.get(), 1) != 1)
            throw error(errc::openssl, "the application's own certificate cannot be given back");
    own_.clear();
    changed_ = false;
}

void client_certificates::new_handshake(SSL* ssl) {
    if (!changed_) return;
    if (SSL_get_certificate(ssl) == presented_) return give_back(ssl);
    own_.clear();
    changed_ = false;
}

} // namespace reqauth::detail
