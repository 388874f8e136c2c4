// SPDX-License-Identifier: Apache-2.0
#pragma once

/// REQAUTH_EXPORT marks what libreqauth exports; everything else has hidden visibility.
#if defined(__GNUC__)
#define REQAUTH_EXPORT __attribute__((visibility("default")))
#else
#define REQAUTH_EXPORT
#endif

// OpenSSL's types by name only: no public header includes <openssl/...>, so that an application
// can compile against any OpenSSL from 3.0 to 4.0 without an include order to respect.
extern "C" {
typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_session_st SSL_SESSION;
typedef struct x509_st X509;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct ossl_lib_ctx_st OSSL_LIB_CTX;
}

namespace reqauth {

/// openssl_scope names where OpenSSL looks for algorithms: a library context (null: the default one)
/// and a property query (null: none), as in OpenSSL's own `libctx` and `propq` parameters.
/// Not owned: both outlive what was made with them.
struct openssl_scope {
    OSSL_LIB_CTX* libctx = nullptr;
    const char* properties = nullptr;
};

} // namespace reqauth
