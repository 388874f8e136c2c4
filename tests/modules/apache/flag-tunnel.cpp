// SPDX-License-Identifier: Apache-2.0

// Lets any program speak to a TLS server as an agent: each plain connection to it becomes a TLS connection that offers
// the flag. So a test can send whatever header it likes.
//
//   flag-tunnel CA CERTIFICATE KEY PORT SERVERNAME ALPN [resume]
//
// With `resume` a connection resumes the last session, if the server gave one. Prints the port it has taken, then a line
// for each handshake. It runs until it is killed.

#include <reqauth/client.hpp>

#include <openssl/ssl.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

std::mutex guard;
std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)> last_session(nullptr, SSL_SESSION_free);

int keep(SSL*, SSL_SESSION* newest) {
    const std::lock_guard lock(guard);
    last_session.reset(newest);
    return 1;
}

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

void pump(SSL* ssl, int tls, int plain) {
    std::array<char, 16384> some{};
    for (;;) {
        std::array<pollfd, 2> both{{{tls, POLLIN, 0}, {plain, POLLIN, 0}}};
        if (SSL_pending(ssl) == 0 && poll(both.data(), both.size(), -1) < 0) return;
        if (SSL_pending(ssl) > 0 || both[0].revents != 0) {
            const int size = SSL_read(ssl, some.data(), some.size());
            if (size > 0 && write(plain, some.data(), static_cast<std::size_t>(size)) != size) return;
            if (size <= 0 && SSL_get_error(ssl, size) != SSL_ERROR_WANT_READ) return;
        }
        if (both[1].revents != 0) {
            const auto size = read(plain, some.data(), some.size());
            if (size <= 0 || SSL_write(ssl, some.data(), static_cast<int>(size)) <= 0) return;
        }
    }
}

void carry(SSL_CTX* context, int plain, int port, const std::string& name, bool resume) {
    const int tls = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = loopback(port);
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context), SSL_free);
    SSL_set_fd(ssl.get(), tls);
    SSL_set_tlsext_host_name(ssl.get(), name.c_str());
    if (resume) {
        const std::lock_guard lock(guard);
        if (last_session != nullptr && SSL_SESSION_is_resumable(last_session.get()) == 1)
            reqauth::client::resume(*ssl, *last_session);
    }
    if (connect(tls, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || SSL_connect(ssl.get()) != 1) {
        std::puts("failed");
    } else {
        std::puts(SSL_session_reused(ssl.get()) == 1 ? "resumed" : "in full");
        pump(ssl.get(), tls, plain);
        SSL_shutdown(ssl.get());
    }
    close(tls);
    close(plain);
}

} // namespace

int main(int argc, char** argv) try {
    if (argc < 7) throw std::runtime_error("usage: flag-tunnel CA CERTIFICATE KEY PORT SERVERNAME ALPN [resume]");
    std::signal(SIGPIPE, SIG_IGN);
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    const std::string protocol = static_cast<char>(std::string(argv[6]).size()) + std::string(argv[6]);
    if (SSL_CTX_load_verify_file(context, argv[1]) != 1 ||
        SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(protocol.data()),
                                static_cast<unsigned int>(protocol.size())) != 0)
        throw std::runtime_error("the CA cannot be loaded");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep);
    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(argv[2], argv[3]);
    reqauth::client(std::move(policy)).attach(*context);

    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        throw std::runtime_error("no port to listen on");
    std::printf("port %d\n", ntohs(address.sin_port));
    for (int plain = 0; (plain = accept(listener, nullptr, nullptr)) >= 0;)
        std::thread(carry, context, plain, std::atoi(argv[4]), std::string(argv[5]), argc > 7).detach();
    return 1;
} catch (const std::exception& error) {
    std::fprintf(stderr, "flag-tunnel: %s\n", error.what());
    return 2;
}
