// SPDX-License-Identifier: Apache-2.0

// Plain OpenSSL, blocking: offers the flag, resumes by client::resume, and says by throw_if_refused where the server
// refused the certificate.
//
//   openssl-blocking CA CERTIFICATE KEY HOST PORT VISITS
//
// Exit status: 0 done, 1 a connection failed, 2 usage or credential, 3 the server refused the certificate.

#include <reqauth/client.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

namespace {

/// The newest session, for one server. With several, key them on name, port and client::scope. Each is used once.
std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)> session(nullptr, SSL_SESSION_free);

int keep(SSL*, SSL_SESSION* newest) {
    session.reset(newest);
    return 1; // it is ours now
}

[[noreturn]] void fail(SSL& ssl) {
    reqauth::throw_if_refused(ssl); // another credential, or nothing: to try again is of no use
    const char* reason = ERR_reason_error_string(ERR_peek_last_error());
    throw std::runtime_error(reason != nullptr ? reason : "the connection failed");
}

void visit(SSL_CTX& context, const std::string& host, const std::string& port) {
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> connection(BIO_new_ssl_connect(&context), BIO_free_all);
    SSL* ssl = nullptr;
    BIO_get_ssl(connection.get(), &ssl);
    BIO_set_conn_hostname(connection.get(), (host + ":" + port).c_str());
    SSL_set_tlsext_host_name(ssl, host.c_str());
    X509_VERIFY_PARAM* expected = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) != 1)
        X509_VERIFY_PARAM_set1_host(expected, host.c_str(), 0);
    // False where the session is not of this scope: a full handshake follows.
    if (const auto last = std::exchange(session, {nullptr, SSL_SESSION_free})) reqauth::client::resume(*ssl, *last);

    ERR_clear_error();
    if (BIO_do_handshake(connection.get()) != 1) fail(*ssl);
    const std::string request = "GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
    if (BIO_puts(connection.get(), request.c_str()) <= 0) fail(*ssl);
    char some[4096];
    int size = BIO_read(connection.get(), some, sizeof some);
    if (size <= 0) fail(*ssl); // in TLS 1.3 a refusal comes here, after the handshake
    const std::string answer(some, static_cast<std::size_t>(size));
    while (size > 0) size = BIO_read(connection.get(), some, sizeof some);

    const reqauth::client_outcome how = reqauth::client_outcome_of(*ssl);
    std::printf("visit: %s, sent %s, %s, %s\n", answer.substr(0, answer.find('\r')).c_str(), to_string(how.sent).data(),
                to_string(how.judged).data(), how.resumed ? "resumed" : "not resumed");
}

} // namespace

int main(int argc, char** argv) try {
    if (argc != 7) {
        std::fputs("usage: openssl-blocking CA CERTIFICATE KEY HOST PORT VISITS\n", stderr);
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    if (SSL_CTX_load_verify_file(context.get(), argv[1]) != 1) throw std::runtime_error("the CA file cannot be loaded");
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context.get(), keep);

    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(argv[2], argv[3]);
    reqauth::client(std::move(policy)).attach(*context); // after its trust

    for (int left = std::stoi(argv[6]); left > 0; --left) visit(*context, argv[4], argv[5]);
    return 0;
} catch (const reqauth::error& error) {
    std::fprintf(stderr, "openssl-blocking: %s\n", error.what());
    return error.code() == reqauth::errc::refused ? 3 : 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "openssl-blocking: %s\n", error.what());
    return 1;
}
