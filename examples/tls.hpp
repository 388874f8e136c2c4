// SPDX-License-Identifier: Apache-2.0
#pragma once

// The plain OpenSSL that the programs need.

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>

template <auto Free> struct free_with {
    template <class T> void operator()(T* object) const { Free(object); }
};
using context_ptr = std::unique_ptr<SSL_CTX, free_with<SSL_CTX_free>>;
using ssl_ptr = std::unique_ptr<SSL, free_with<SSL_free>>;

/// named_file is a file, and the option that names it.
struct named_file {
    std::string option;
    std::string file;
};

/// require_readable throws usage_error where `what` is no file that can be read. It does not read: of a pipe nothing is lost.
void require_readable(const named_file& what);

/// use_certificate loads a certificate chain and its key. An encrypted key is an error.
/// Throws usage_error.
void use_certificate(SSL_CTX& context, const named_file& certificate, const named_file& key);

/// load_anchors adds the CAs of a PEM file to `store`. Throws usage_error.
void load_anchors(X509_STORE& store, const named_file& anchors);

/// keylog appends an NSS key log to `file`, which only its owner may read. Throws usage_error. It must
/// outlive the connections of the SSL_CTXs that it watches.
class keylog {
public:
    explicit keylog(const std::string& file);
    ~keylog();
    keylog(const keylog&) = delete;
    keylog& operator=(const keylog&) = delete;
    void watch(SSL_CTX& context);

private:
    int descriptor_;
};

/// negotiated_version is "TLSv1.3"; nothing before the hellos have settled it.
std::optional<std::string> negotiated_version(const SSL& ssl);

/// openssl_error is the first error of OpenSSL's queue, the cause of the others, in one line. It empties the queue.
std::string openssl_error();

/// describe_failure says in one line why the call on `ssl` that returned `result` failed. `peer` is
/// "client" or "server".
std::string describe_failure(const SSL& ssl, int result, const std::string& peer);
