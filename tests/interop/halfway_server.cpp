// SPDX-License-Identifier: Apache-2.0
// A server that knows the flag halfway: halfway-server CERTIFICATE KEY. Prints `port N`, then a line for each connection:
// whether it went well, whether it resumed, and the certificate that it was shown. Serves one client after another.
#include "support/halfway.hpp"
#include "support/owned.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <array>
#include <csignal>
#include <iostream>
#include <string>
#include <string_view>

int main(int count, char** arguments) {
    if (count != 3) {
        std::cerr << "halfway-server: give CERTIFICATE KEY\n";
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    const support::owned<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
    if (SSL_CTX_use_certificate_chain_file(context.get(), arguments[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context.get(), arguments[2], SSL_FILETYPE_PEM) != 1)
        return 2;
    support::know_the_flag_halfway(*context);

    boost::asio::io_context io;
    using boost::asio::ip::tcp;
    tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
    std::cout << "port " << acceptor.local_endpoint().port() << std::endl;
    for (;;) {
        tcp::socket client = acceptor.accept();
        const support::owned<SSL> ssl(SSL_new(context.get()));
        SSL_set_fd(ssl.get(), client.native_handle());
        std::array<char, 4096> request{};
        constexpr std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
        const bool good = SSL_accept(ssl.get()) == 1 &&
                          SSL_read(ssl.get(), request.data(), static_cast<int>(request.size())) > 0 &&
                          SSL_write(ssl.get(), answer.data(), static_cast<int>(answer.size())) > 0;
        if (good) SSL_shutdown(ssl.get());
        const X509* shown = SSL_get0_peer_certificate(ssl.get());
        std::array<char, 256> name{};
        if (shown != nullptr) X509_NAME_oneline(X509_get_subject_name(shown), name.data(), name.size());
        std::cout << (good ? "good" : "failed") << (SSL_session_reused(ssl.get()) == 1 ? " resumed " : " full ")
                  << (shown != nullptr ? name.data() : "-") << std::endl;
        client.shutdown(tcp::socket::shutdown_send);
        boost::system::error_code gone; // what still comes would reset the connection, and lose the alert
        while (client.read_some(boost::asio::buffer(request), gone) > 0) {}
    }
}
