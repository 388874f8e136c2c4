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

/// require_readable throws usage_error, naming `option`, where `file` cannot be opened.
void require_readable(const std::string& option, const std::string& file);

/// encrypted_key says what to do about one: nobody is ever asked for a passphrase.
std::string encrypted_key(const std::string& key);

/// use_certificate loads a certificate chain and its key. An encrypted key is an error.
/// Throws usage_error.
void use_certificate(SSL_CTX& context, const std::string& certificate, const std::string& key);

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
