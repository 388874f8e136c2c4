// SPDX-License-Identifier: Apache-2.0

// A server that answers the flag, and closes as soon as it has refused: what the client still sends meets a reset.
//
//   closes-at-once CERTIFICATE KEY AGENTS_CA close|reset|linger
//
// close: as an event loop does that frees what has failed; reset: with SO_LINGER 0; linger: once the client has closed.
// It names no CAs, so that clients show it whatever they have. It prints the port that it has taken, then a line for each
// connection, and runs until it is killed.

#include <reqauth/peer.hpp>
#include <reqauth/server.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

int listening_socket() {
    const int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listening, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listening, 64) != 0 ||
        getsockname(listening, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        throw std::runtime_error("no port can be had");
    std::printf("port %d\n", ntohs(address.sin_port));
    return listening;
}

void greet(SSL& ssl) {
    std::array<char, 4096> request{};
    if (SSL_read(&ssl, request.data(), request.size()) <= 0) return;
    const std::string answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n";
    SSL_write(&ssl, answer.data(), static_cast<int>(answer.size()));
}

void close_as(const std::string& how, int connection) {
    std::array<char, 4096> waste{};
    const linger at_once{1, 0};
    if (how == "reset") setsockopt(connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (how == "linger") {
        shutdown(connection, SHUT_WR);
        while (read(connection, waste.data(), waste.size()) > 0) {}
    }
    close(connection);
}

} // namespace

int main(int argc, char** argv) try {
    if (argc != 5) {
        std::fputs("usage: closes-at-once CERTIFICATE KEY AGENTS_CA close|reset|linger\n", stderr);
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
    if (SSL_CTX_use_certificate_chain_file(context.get(), argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context.get(), argv[2], SSL_FILETYPE_PEM) != 1)
        throw std::runtime_error("the certificate and its key cannot be loaded");
    reqauth::server_policy policy{.when_offered = reqauth::client_auth::request(reqauth::trust::from_file(argv[3]))};
    policy.ca_names = false;
    reqauth::server().attach(*context, policy);
    const int listening = listening_socket();
    for (;;) {
        const int connection = accept(listening, nullptr, nullptr);
        const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
        SSL_set_fd(ssl.get(), connection);
        ERR_clear_error();
        const bool up = SSL_accept(ssl.get()) == 1;
        if (up) greet(*ssl);
        SSL_shutdown(ssl.get());
        close_as(argv[4], connection);
        std::puts(up ? "up" : "refused");
    }
} catch (const std::exception& error) {
    std::fprintf(stderr, "closes-at-once: %s\n", error.what());
    return 1;
}
