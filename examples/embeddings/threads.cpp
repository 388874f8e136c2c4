// SPDX-License-Identifier: Apache-2.0

// Threads over one client object: one SSL_CTX, attached before the first handshake, and an SSL for each connection. The
// client needs no lock, not even where its credentials are read again meanwhile; the program's shelf of sessions does.
//
//   threads CA CERTIFICATE KEY HOST PORT THREADS VISITS
//
// Each thread makes that many visits. Exit status: 0 done, 1 a connection failed, 2 usage or credential, 3 refused.

#include <reqauth/client.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace {

using session_ptr = std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)>;

/// Sessions for one server and one scope. OpenSSL gives two with each full handshake; each is used once.
std::mutex guard;
std::vector<session_ptr> shelf;

int put(SSL*, SSL_SESSION* session) {
    const std::lock_guard lock(guard);
    shelf.emplace_back(session, SSL_SESSION_free);
    return 1;
}

session_ptr take() {
    const std::lock_guard lock(guard);
    if (shelf.empty()) return {nullptr, SSL_SESSION_free};
    session_ptr last = std::move(shelf.back());
    shelf.pop_back();
    return last;
}

[[noreturn]] void fail(SSL& ssl) {
    reqauth::throw_if_refused(ssl);
    const char* reason = ERR_reason_error_string(ERR_peek_last_error());
    throw std::runtime_error(reason != nullptr ? reason : "the connection failed");
}

reqauth::client_outcome visit(SSL_CTX& context, const std::string& host, const std::string& port) {
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> connection(BIO_new_ssl_connect(&context), BIO_free_all);
    SSL* ssl = nullptr;
    BIO_get_ssl(connection.get(), &ssl);
    BIO_set_conn_hostname(connection.get(), (host + ":" + port).c_str());
    SSL_set_tlsext_host_name(ssl, host.c_str());
    X509_VERIFY_PARAM* expected = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) != 1)
        X509_VERIFY_PARAM_set1_host(expected, host.c_str(), 0);
    if (const session_ptr last = take()) reqauth::client::resume(*ssl, *last);
    ERR_clear_error();
    if (BIO_do_handshake(connection.get()) != 1) fail(*ssl);
    const std::string request = "GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
    char some[4096];
    if (BIO_puts(connection.get(), request.c_str()) <= 0 || BIO_read(connection.get(), some, sizeof some) <= 0)
        fail(*ssl);
    while (BIO_read(connection.get(), some, sizeof some) > 0) {}
    return reqauth::client_outcome_of(*ssl); // in the thread that uses the SSL
}

} // namespace

int main(int argc, char** argv) try {
    if (argc != 8) {
        std::fputs("usage: threads CA CERTIFICATE KEY HOST PORT THREADS VISITS\n", stderr);
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    if (SSL_CTX_load_verify_file(context.get(), argv[1]) != 1) throw std::runtime_error("the CA file cannot be loaded");
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context.get(), put);

    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(argv[2], argv[3]);
    reqauth::client client(std::move(policy));
    client.attach(*context);

    std::atomic<int> shown = 0, resumed = 0;
    std::vector<std::future<void>> threads;
    for (int i = std::stoi(argv[6]); i > 0; --i)
        threads.push_back(std::async(std::launch::async, [&] {
            for (int left = std::stoi(argv[7]); left > 0; --left) {
                const reqauth::client_outcome how = visit(*context, argv[4], argv[5]);
                if (how.sent == reqauth::client_outcome::answer::flag) ++shown;
                if (how.resumed) ++resumed;
            }
        }));
    client.reload(); // whenever the files may have changed: handshakes that have begun go on as they began
    for (std::future<void>& thread : threads) thread.get();
    std::printf("visits: %d showed the certificate, %d resumed\n", shown.load(), resumed.load());
    return 0;
} catch (const reqauth::error& error) {
    std::fprintf(stderr, "threads: %s\n", error.what());
    return error.code() == reqauth::errc::refused ? 3 : 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "threads: %s\n", error.what());
    return 1;
}
