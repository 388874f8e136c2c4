// SPDX-License-Identifier: Apache-2.0

// Plain OpenSSL on a socket that does not block. The library waits for nothing, so all waiting is OpenSSL's ordinary
// SSL_ERROR_WANT_READ and SSL_ERROR_WANT_WRITE, and a refusal shows wherever a call fails for good.
//
//   openssl-poll CA CERTIFICATE KEY HOST PORT VISITS
//
// Exit status: 0 done, 1 a connection failed, 2 usage or credential, 3 the server refused the certificate.

#include <reqauth/client.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <poll.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

namespace {

std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)> session(nullptr, SSL_SESSION_free);

int keep(SSL*, SSL_SESSION* newest) {
    session.reset(newest);
    return 1; // it is ours now
}

void wait(int descriptor, short what) {
    pollfd socket{descriptor, what, 0};
    poll(&socket, 1, -1); // a program with an event loop goes back to it here
}

/// done repeats a call until it is; 0 says that the server has closed.
template <typename call> int done(SSL& ssl, call again) {
    for (;;) {
        ERR_clear_error();
        const int result = again();
        if (result > 0) return result;
        switch (SSL_get_error(&ssl, result)) {
        case SSL_ERROR_WANT_READ: wait(SSL_get_fd(&ssl), POLLIN); break;
        case SSL_ERROR_WANT_WRITE: wait(SSL_get_fd(&ssl), POLLOUT); break;
        case SSL_ERROR_ZERO_RETURN: return 0;
        default: {
            reqauth::throw_if_refused(ssl);
            const char* reason = ERR_reason_error_string(ERR_peek_last_error());
            throw std::runtime_error(reason != nullptr ? reason : "the connection failed");
        }
        }
    }
}

void visit(SSL_CTX& context, const std::string& host, const std::string& port) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(&context), SSL_free);
    BIO* socket = BIO_new_connect((host + ":" + port).c_str());
    SSL_set_bio(ssl.get(), socket, socket); // the SSL's now
    BIO_set_nbio(socket, 1);
    while (BIO_do_connect(socket) != 1) {
        if (BIO_should_retry(socket) == 0) throw std::runtime_error("nobody listens there");
        wait(static_cast<int>(BIO_get_fd(socket, nullptr)), POLLOUT);
    }
    SSL_set_tlsext_host_name(ssl.get(), host.c_str());
    X509_VERIFY_PARAM* expected = SSL_get0_param(ssl.get());
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) != 1)
        X509_VERIFY_PARAM_set1_host(expected, host.c_str(), 0);
    if (const auto last = std::exchange(session, {nullptr, SSL_SESSION_free})) reqauth::client::resume(*ssl, *last);

    done(*ssl, [&] { return SSL_connect(ssl.get()); });
    const std::string request = "GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
    done(*ssl, [&] { return SSL_write(ssl.get(), request.data(), static_cast<int>(request.size())); });
    std::string answer;
    char some[4096];
    while (const int size = done(*ssl, [&] { return SSL_read(ssl.get(), some, sizeof some); }))
        answer.append(some, static_cast<std::size_t>(size));
    SSL_shutdown(ssl.get()); // else OpenSSL gives up its sessions

    const reqauth::client_outcome how = reqauth::client_outcome_of(*ssl);
    std::printf("visit: %s, sent %s, %s, %s\n", answer.substr(0, answer.find('\r')).c_str(), to_string(how.sent).data(),
                to_string(how.judged).data(), how.resumed ? "resumed" : "not resumed");
}

} // namespace

int main(int argc, char** argv) try {
    if (argc != 7) {
        std::fputs("usage: openssl-poll CA CERTIFICATE KEY HOST PORT VISITS\n", stderr);
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
    reqauth::client(std::move(policy)).attach(*context);

    for (int left = std::stoi(argv[6]); left > 0; --left) visit(*context, argv[4], argv[5]);
    return 0;
} catch (const reqauth::error& error) {
    std::fprintf(stderr, "openssl-poll: %s\n", error.what());
    return error.code() == reqauth::errc::refused ? 3 : 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "openssl-poll: %s\n", error.what());
    return 1;
}
