// SPDX-License-Identifier: Apache-2.0
// A server without libreqauth that asks everyone, and says whatever it is told in tls_flags of its CertificateRequest:
// bad-server CERTIFICATE KEY [OCTETS IN HEX]. Prints `port N`, and serves one client after another until it is ended.
#include "support/bad_peer.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <openssl/ssl.h>

#include <array>
#include <iostream>
#include <string>
#include <string_view>

int main(int count, char** arguments) {
    if (count != 4) {
        std::cerr << "bad-server: give CERTIFICATE KEY OCTETS\n";
        return 2;
    }
    const std::string_view hex = arguments[3];
    std::string octets;
    for (std::size_t at = 0; at + 1 < hex.size(); at += 2)
        octets += static_cast<char>(std::stoi(std::string(hex.substr(at, 2)), nullptr, 16));

    support::owned<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
    if (SSL_CTX_use_certificate_chain_file(context.get(), arguments[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context.get(), arguments[2], SSL_FILETYPE_PEM) != 1)
        return 2;
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
    const support::bad_peer peer(std::move(context), {{support::in::certificate_request, {octets}}});

    boost::asio::io_context io;
    using boost::asio::ip::tcp;
    tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
    std::cout << "port " << acceptor.local_endpoint().port() << std::endl;
    for (;;) {
        tcp::socket client = acceptor.accept();
        const support::owned<SSL> ssl(SSL_new(peer.context.get()));
        SSL_set_fd(ssl.get(), client.native_handle());
        std::array<char, 4096> request{};
        constexpr std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
        if (SSL_accept(ssl.get()) == 1 && SSL_read(ssl.get(), request.data(), static_cast<int>(request.size())) > 0 &&
            SSL_write(ssl.get(), answer.data(), static_cast<int>(answer.size())) > 0)
            SSL_shutdown(ssl.get());
    }
}
