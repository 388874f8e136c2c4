// SPDX-License-Identifier: Apache-2.0
#pragma once

// Owners for OpenSSL's objects.

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>

namespace reqauth::detail {

template <auto Free> struct freed_by {
    template <class Object> void operator()(Object* object) const noexcept { Free(object); }
};

inline void free_names(STACK_OF(X509_NAME) * names) noexcept { sk_X509_NAME_pop_free(names, X509_NAME_free); }
inline void free_certificates(STACK_OF(X509) * certificates) noexcept { sk_X509_pop_free(certificates, X509_free); }

using bio_handle = std::unique_ptr<BIO, freed_by<BIO_free_all>>;
using x509_handle = std::unique_ptr<X509, freed_by<X509_free>>;
using pkey_handle = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using digest_context_handle = std::unique_ptr<EVP_MD_CTX, freed_by<EVP_MD_CTX_free>>;
using verification_handle = std::unique_ptr<X509_STORE_CTX, freed_by<X509_STORE_CTX_free>>;
using ssl_handle = std::unique_ptr<SSL, freed_by<SSL_free>>;
using names_handle = std::unique_ptr<STACK_OF(X509_NAME), freed_by<free_names>>;
using certificates_handle = std::unique_ptr<STACK_OF(X509), freed_by<free_certificates>>;

/// reference takes a reference of its own to an object that somebody else owns.
inline x509_handle reference(X509* certificate) noexcept {
    if (certificate != nullptr) X509_up_ref(certificate);
    return x509_handle(certificate);
}
inline pkey_handle reference(EVP_PKEY* key) noexcept {
    if (key != nullptr) EVP_PKEY_up_ref(key);
    return pkey_handle(key);
}

} // namespace reqauth::detail
