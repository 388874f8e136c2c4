// SPDX-License-Identifier: Apache-2.0

// Plain OpenSSL through a CONNECT proxy: the proxy's answer is read to its end, and not one octet more, then TLS begins
// on the same socket. The proxy sees the flag, as anybody on the way does; the certificate is encrypted.
// (libcurl does all that by CURLOPT_PROXY: curl-easy.cpp.)
//
//   connect-proxy PROXY CA CERTIFICATE KEY HOST PORT        PROXY as host:port
//
// Exit status: 0 done, 1 a connection failed, 2 usage or credential, 3 the server refused the certificate.

#include <reqauth/client.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>

namespace {

[[noreturn]] void fail(SSL& ssl) {
    reqauth::throw_if_refused(ssl);
    const char* reason = ERR_reason_error_string(ERR_peek_last_error());
    throw std::runtime_error(reason != nullptr ? reason : "the connection failed");
}

/// connect_through throws what the proxy says where it does not connect: that is no word of the server's.
BIO* connect_through(const char* proxy, const std::string& target) {
    std::unique_ptr<BIO, decltype(&BIO_free_all)> socket(BIO_new_connect(proxy), BIO_free_all);
    if (BIO_do_connect(socket.get()) != 1) throw std::runtime_error("no proxy there");
    BIO_puts(socket.get(), ("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n").c_str());
    std::string answer;
    char one = 0;
    while (!answer.ends_with("\r\n\r\n") && answer.size() < 8192 && BIO_read(socket.get(), &one, 1) == 1) answer += one;
    const auto status = answer.find(' ');
    if (!answer.ends_with("\r\n\r\n") || answer.compare(status, 2, " 2") != 0)
        throw std::runtime_error("the proxy does not connect: " + answer.substr(0, answer.find('\r')));
    return socket.release();
}

} // namespace

int main(int argc, char** argv) try {
    if (argc != 7) {
        std::fputs("usage: connect-proxy PROXY CA CERTIFICATE KEY HOST PORT\n", stderr);
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    const std::string host = argv[5];
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    if (SSL_CTX_load_verify_file(context.get(), argv[2]) != 1) throw std::runtime_error("the CA file cannot be loaded");
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);

    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(argv[3], argv[4]);
    reqauth::client(std::move(policy)).attach(*context);

    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
    SSL_set_tlsext_host_name(ssl.get(), host.c_str()); // the server's, not the proxy's
    X509_VERIFY_PARAM* expected = SSL_get0_param(ssl.get());
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) != 1)
        X509_VERIFY_PARAM_set1_host(expected, host.c_str(), 0);
    BIO* socket = connect_through(argv[1], host + ":" + argv[6]);
    SSL_set_bio(ssl.get(), socket, socket);
    ERR_clear_error();
    if (SSL_connect(ssl.get()) != 1) fail(*ssl);
    const std::string request = "GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
    char some[4096];
    if (SSL_write(ssl.get(), request.data(), static_cast<int>(request.size())) <= 0) fail(*ssl);
    const int size = SSL_read(ssl.get(), some, sizeof some);
    if (size <= 0) fail(*ssl);
    const std::string answer(some, static_cast<std::size_t>(size));

    const reqauth::client_outcome how = reqauth::client_outcome_of(*ssl);
    std::printf("visit: %s, sent %s, %s\n", answer.substr(0, answer.find('\r')).c_str(), to_string(how.sent).data(),
                to_string(how.judged).data());
    SSL_shutdown(ssl.get());
    return 0;
} catch (const reqauth::error& error) {
    std::fprintf(stderr, "connect-proxy: %s\n", error.what());
    return error.code() == reqauth::errc::refused ? 3 : 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "connect-proxy: %s\n", error.what());
    return 1;
}
