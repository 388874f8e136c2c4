// SPDX-License-Identifier: Apache-2.0

// An Asio client. native_handle() of the ssl::context is where the client attaches, native_handle() of the stream where
// everything else is asked. Boost.Asio, or standalone Asio with STANDALONE_ASIO: only names differ.
//
//   boost-asio-client CA CERTIFICATE KEY HOST PORT VISITS        (or standalone-asio-client)
//
// Exit status: 0 done, 1 a connection failed, 2 usage or credential, 3 the server refused the certificate.

#include <reqauth/client.hpp>

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

std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)> session(nullptr, SSL_SESSION_free);

int keep(SSL*, SSL_SESSION* newest) {
    session.reset(newest);
    return 1; // it is ours now
}

class visit : public std::enable_shared_from_this<visit> {
public:
    visit(net::io_context& io, net::ssl::context& tls, const std::string& host)
        : stream_(io, tls), request_("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n") {
        SSL_set_tlsext_host_name(stream_.native_handle(), host.c_str());
        X509_VERIFY_PARAM* expected = SSL_get0_param(stream_.native_handle());
        if (X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) != 1)
            X509_VERIFY_PARAM_set1_host(expected, host.c_str(), 0);
        if (const auto last = std::exchange(session, {nullptr, SSL_SESSION_free}))
            reqauth::client::resume(*stream_.native_handle(), *last);
    }

    void start(const tcp::resolver::results_type& where) {
        net::async_connect(stream_.lowest_layer(), where, [self = shared_from_this()](error_code error, const auto&) {
            self->check(error);
            self->stream_.async_handshake(net::ssl::stream_base::client, [self](error_code failed) {
                self->check(failed);
                self->ask();
            });
        });
    }

private:
    void ask() {
        net::async_write(stream_, net::buffer(request_), [self = shared_from_this()](error_code error, std::size_t) {
            self->check(error);
            net::async_read(
                self->stream_, net::dynamic_buffer(self->answer_), [self](error_code end, std::size_t size) {
                    if (size == 0) self->check(end); // a refusal comes here, after the handshake
                    self->tell();
                    self->stream_.async_shutdown([self](error_code) {}); // else OpenSSL gives up its sessions
                });
        });
    }

    /// What is thrown comes out of io_context::run.
    void check(error_code error) {
        if (!error) return;
        // Asio reads for OpenSSL: where it could not write, the alert is still in the socket.
        reqauth::throw_if_refused(*stream_.native_handle(), stream_.lowest_layer().native_handle());
        throw std::runtime_error(error.message());
    }

    void tell() {
        const reqauth::client_outcome how = reqauth::client_outcome_of(*stream_.native_handle());
        std::printf("visit: %s, sent %s, %s, %s\n", answer_.substr(0, answer_.find('\r')).c_str(),
                    to_string(how.sent).data(), to_string(how.judged).data(), how.resumed ? "resumed" : "not resumed");
    }

    net::ssl::stream<tcp::socket> stream_;
    std::string request_, answer_;
};

} // namespace

int main(int argc, char** argv) try {
    if (argc != 7) {
        std::fputs("usage: asio-client CA CERTIFICATE KEY HOST PORT VISITS\n", stderr);
        return 2;
    }
    net::ssl::context tls(net::ssl::context::tls_client);
    tls.load_verify_file(argv[1]);
    tls.set_verify_mode(net::ssl::verify_peer);
    SSL_CTX_set_session_cache_mode(tls.native_handle(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls.native_handle(), keep);

    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(argv[2], argv[3]);
    reqauth::client(std::move(policy)).attach(*tls.native_handle());

    net::io_context io;
    const auto where = tcp::resolver(io).resolve(argv[4], argv[5]);
    for (int left = std::stoi(argv[6]); left > 0; --left) {
        std::make_shared<visit>(io, tls, argv[4])->start(where);
        io.run();
        io.restart();
    }
    return 0;
} catch (const reqauth::error& error) {
    std::fprintf(stderr, "asio-client: %s\n", error.what());
    return error.code() == reqauth::errc::refused ? 3 : 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "asio-client: %s\n", error.what());
    return 1;
}
