// SPDX-License-Identifier: Apache-2.0

// A client that knows nothing of the flag and has a certificate callback of its own, set once on the SSL_CTX and, with
// a fifth argument, on the SSL. Prints "asked" each time it is called.
//
//   callbacks PORT CA CERTIFICATE KEY [SSL]

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include <cstdio>
#include <string>

namespace {

const char* certificate;
const char* key;

int present_own(SSL* ssl, void* argument) {
    std::printf("asked %s\n", static_cast<const char*>(argument));
    return SSL_use_certificate_chain_file(ssl, certificate) == 1 &&
                   SSL_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) == 1
               ? 1
               : 0;
}

} // namespace

int main(int count, char** arguments) {
    if (count < 5) return 2;
    certificate = arguments[3];
    key = arguments[4];
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_file(context, arguments[2]);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    char on_context[] = "on the SSL_CTX";
    char on_connection[] = "on the SSL";
    SSL_CTX_set_cert_cb(context, present_own, on_context);
    BIO* connection = BIO_new_ssl_connect(context);
    SSL* ssl = nullptr;
    BIO_get_ssl(connection, &ssl);
    if (count > 5) SSL_set_cert_cb(ssl, present_own, on_connection);
    SSL_set_tlsext_host_name(ssl, "localhost");
    BIO_set_conn_hostname(connection, ("127.0.0.1:" + std::string(arguments[1])).c_str());
    BIO_puts(connection, "GET /debug HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    char buffer[4096];
    int size = 0;
    bool answered = false;
    while ((size = BIO_read(connection, buffer, sizeof buffer)) > 0) answered = true;
    BIO_free_all(connection);
    SSL_CTX_free(context);
    return answered ? 0 : 1;
}
