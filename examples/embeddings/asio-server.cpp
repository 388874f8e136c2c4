// SPDX-License-Identifier: Apache-2.0

// An Asio server. native_handle() of the ssl::context is where the server attaches; after the handshake peer_of says
// who is at the other end of the stream. Boost.Asio, or standalone Asio with STANDALONE_ASIO: only names differ.
//
//   boost-asio-server CERTIFICATE KEY AGENTS_CA        (or standalone-asio-server)
//
// Prints the port it has taken, then a line for each visitor; SIGTERM ends it. ../reqauth-server.cpp is a whole server.

#include <reqauth/peer.hpp>
#include <reqauth/server.hpp>

#include <utility> // Boost 1.74 needs it before its Asio

#ifdef STANDALONE_ASIO
#include <asio.hpp>
#include <asio/ssl.hpp>
namespace net = asio;
using asio::error_code;
#else
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
namespace net = boost::asio;
using boost::system::error_code;
#endif

#include <cstdio>
#include <memory>
#include <string>

using net::ip::tcp;

namespace {

class connection : public std::enable_shared_from_this<connection> {
public:
    connection(tcp::socket socket, net::ssl::context& tls) : stream_(std::move(socket), tls) {}

    void start() {
        stream_.async_handshake(net::ssl::stream_base::server, [self = shared_from_this()](error_code error) {
            if (error) { // an agent whose certificate does not verify is refused here
                std::printf("failed: %s\n", error.message().c_str());
                return;
            }
            self->greet();
            net::async_read_until(self->stream_, net::dynamic_buffer(self->request_, 8192), "\r\n\r\n",
                                  [self](error_code end, std::size_t) {
                                      if (!end) self->answer();
                                  });
        });
    }

private:
    void greet() {
        const reqauth::peer who = reqauth::peer_of(*stream_.native_handle());
        const auto* agent = std::get_if<reqauth::flagged_peer>(&who);
        const bool resumed = SSL_session_reused(stream_.native_handle()) == 1;
        std::string name = agent != nullptr ? "agent " + agent->subject() : "visitor";
        std::printf("%s, %s\n", name.c_str(), resumed ? "resumed" : "not resumed");
        answer_ = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + std::to_string(name.size()) +
                  "\r\n\r\n" + name;
    }

    void answer() {
        net::async_write(stream_, net::buffer(answer_), [self = shared_from_this()](error_code error, std::size_t) {
            if (!error) self->stream_.async_shutdown([self](error_code) {});
        });
    }

    net::ssl::stream<tcp::socket> stream_;
    std::string request_, answer_;
};

void take(tcp::acceptor& acceptor, net::ssl::context& tls) {
    acceptor.async_accept([&](error_code error, tcp::socket socket) {
        if (!acceptor.is_open()) return;
        if (!error) std::make_shared<connection>(std::move(socket), tls)->start();
        take(acceptor, tls);
    });
}

} // namespace

int main(int argc, char** argv) try {
    if (argc != 4) {
        std::fputs("usage: asio-server CERTIFICATE KEY AGENTS_CA\n", stderr);
        return 2;
    }
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
    net::ssl::context tls(net::ssl::context::tls_server);
    tls.use_certificate_chain_file(argv[1]);
    tls.use_private_key_file(argv[2], net::ssl::context::pem);

    const auto agents = reqauth::trust::from_file(argv[3]);
    reqauth::server().attach(*tls.native_handle(), {.when_offered = reqauth::client_auth::request(agents)});

    net::io_context io;
    tcp::acceptor acceptor(io, {net::ip::address_v4::loopback(), 0});
    net::signal_set end(io, SIGINT, SIGTERM);
    end.async_wait([&](error_code, int) { acceptor.close(); });
    take(acceptor, tls);
    std::printf("port %d\n", acceptor.local_endpoint().port());
    io.run();
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "asio-server: %s\n", error.what());
    return 1;
}
