// SPDX-License-Identifier: Apache-2.0

// A server of HTTP/2 that answers the flag: it ends TLS, and passes what is inside to a server of HTTP/2 in the clear.
//
//   h2-front CERTIFICATE KEY AGENTS_CA PORT-BEHIND
//
// Prints the port it has taken, then a line for each connection. It runs until it is killed.

#include <reqauth/peer.hpp>
#include <reqauth/server.hpp>

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
#include <stdexcept>
#include <thread>

namespace {

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int choose_h2(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned int length,
              void*) {
    static constexpr std::array<unsigned char, 3> h2 = {2, 'h', '2'};
    return SSL_select_next_proto(const_cast<unsigned char**>(out), size, h2.data(), h2.size(), in, length) ==
                   OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

void pump(SSL* ssl, int near, int far) {
    std::array<char, 16384> some{};
    for (;;) {
        std::array<pollfd, 2> both{{{near, POLLIN, 0}, {far, POLLIN, 0}}};
        if (SSL_pending(ssl) == 0 && poll(both.data(), both.size(), -1) < 0) return;
        if (SSL_pending(ssl) > 0 || both[0].revents != 0) {
            const int size = SSL_read(ssl, some.data(), some.size());
            if (size > 0 && write(far, some.data(), static_cast<std::size_t>(size)) != size) return;
            if (size <= 0 && SSL_get_error(ssl, size) != SSL_ERROR_WANT_READ) return;
        }
        if (both[1].revents != 0) {
            const auto size = read(far, some.data(), some.size());
            if (size <= 0 || SSL_write(ssl, some.data(), static_cast<int>(size)) <= 0) return;
        }
    }
}

void serve(SSL_CTX* context, int near, int behind) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context), SSL_free);
    SSL_set_fd(ssl.get(), near);
    const int far = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = loopback(behind);
    if (SSL_accept(ssl.get()) != 1) {
        std::puts("failed");
    } else if (connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        const reqauth::peer who = reqauth::peer_of(*ssl);
        const auto* agent = std::get_if<reqauth::flagged_peer>(&who);
        std::printf("%s, %s\n", agent != nullptr ? agent->subject().c_str() : "visitor",
                    SSL_session_reused(ssl.get()) == 1 ? "resumed" : "not resumed");
        pump(ssl.get(), near, far);
        SSL_shutdown(ssl.get());
    }
    close(far);
    close(near);
}

} // namespace

int main(int argc, char** argv) try {
    if (argc != 5) throw std::runtime_error("usage: h2-front CERTIFICATE KEY AGENTS_CA PORT-BEHIND");
    std::signal(SIGPIPE, SIG_IGN);
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[2], SSL_FILETYPE_PEM) != 1)
        throw std::runtime_error("the certificate or its key cannot be loaded");
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_alpn_select_cb(context, choose_h2, nullptr);
    const auto agents = reqauth::trust::from_file(argv[3]);
    reqauth::server().attach(*context, {.when_offered = reqauth::client_auth::request(agents)});

    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 64) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        throw std::runtime_error("no port to listen on");
    std::printf("port %d\n", ntohs(address.sin_port));
    for (int near = 0; (near = accept(listener, nullptr, nullptr)) >= 0;)
        std::thread(serve, context, near, std::atoi(argv[4])).detach();
    return 1;
} catch (const std::exception& error) {
    std::fprintf(stderr, "h2-front: %s\n", error.what());
    return 2;
}
