// SPDX-License-Identifier: Apache-2.0
#include "support/quic_connections.hpp"

#if HAS_QUIC

#include <openssl/err.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <utility>

namespace support {

namespace {

void must(bool worked, const char* what) {
    if (!worked) throw std::runtime_error(std::string(what) + " failed");
}

int bound_socket(unsigned short& port) {
    const int made = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* where = reinterpret_cast<sockaddr*>(&address);
    must(made >= 0 && bind(made, where, size) == 0 && getsockname(made, where, &size) == 0, "a socket");
    port = ntohs(address.sin_port);
    return made;
}

// SSL_get_error, with an empty error queue afterwards.
bool is_fatal(SSL& ssl, int result) {
    const int error = SSL_get_error(&ssl, result);
    ERR_clear_error();
    return error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL;
}

} // namespace

quic_listener::quic_listener(SSL_CTX& context) {
    SSL_CTX_set_alpn_select_cb(
        &context,
        [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned, void*) {
            *out = in + 1;
            *size = *in;
            return SSL_TLSEXT_ERR_OK;
        },
        nullptr);
    socket_ = bound_socket(port_);
    ssl_.reset(SSL_new_listener(&context, 0));
    must(ssl_ != nullptr && SSL_set_fd(ssl_.get(), socket_) == 1 && SSL_set_blocking_mode(ssl_.get(), 0) == 1 &&
             SSL_listen(ssl_.get()) == 1,
         "a listener of QUIC");
}

quic_listener::~quic_listener() {
    accepted_.clear();
    ssl_.reset();
    ::close(socket_);
}

void quic_listener::go_on() {
    SSL_handle_events(ssl_.get());
    while (SSL* came = SSL_accept_connection(ssl_.get(), SSL_ACCEPT_CONNECTION_NO_BLOCK)) {
        accepted_.emplace_back(came);
        SSL_set_blocking_mode(came, 0);
    }
    ERR_clear_error();
}

owned<SSL> quic_listener::next() {
    if (accepted_.empty()) return nullptr;
    owned<SSL> found = std::move(accepted_.front());
    accepted_.pop_front();
    return found;
}

quic_pair::quic_pair(quic_listener& at, SSL_CTX& client_context) : client(SSL_new(&client_context)), at_(at) {
    seen.watch(client.get());
    unsigned short own = 0;
    socket_ = bound_socket(own);
    const std::unique_ptr<BIO_ADDR, decltype(&BIO_ADDR_free)> to(BIO_ADDR_new(), BIO_ADDR_free);
    const in_addr loopback{htonl(INADDR_LOOPBACK)};
    constexpr unsigned char alpn[] = {4, 't', 'e', 's', 't'};
    must(client != nullptr && SSL_set_fd(client.get(), socket_) == 1 && SSL_set_blocking_mode(client.get(), 0) == 1 &&
             BIO_ADDR_rawmake(to.get(), AF_INET, &loopback, sizeof loopback, htons(at.port())) == 1 &&
             SSL_set1_initial_peer_addr(client.get(), to.get()) == 1 &&
             SSL_set_alpn_protos(client.get(), alpn, sizeof alpn) == 0,
         "a client of QUIC");
}

quic_pair::~quic_pair() {
    client.reset();
    server.reset();
    ::close(socket_);
}

void quic_pair::step() {
    if (!client_done && !failed) {
        const int result = SSL_connect(client.get());
        client_done = result == 1;
        failed = !client_done && is_fatal(*client, result);
    } else {
        SSL_handle_events(client.get());
    }
    at_.go_on();
    if (server == nullptr) server = at_.next();
    if (server != nullptr) SSL_handle_events(server.get());
    ERR_clear_error();
    pollfd wait{socket_, POLLIN, 0};
    poll(&wait, 1, 1);
}

bool quic_pair::shake() {
    const auto over = [&] { return failed || alert_to_client() >= 0; };
    for (int i = 0; i < 5000 && !over(); ++i) {
        step();
        if (client_done && server != nullptr && SSL_is_init_finished(server.get()) == 1) break;
    }
    // Calls that end a handshake return to the application only when it makes one.
    if (server != nullptr && !over()) SSL_do_handshake(server.get());
    ERR_clear_error();
    return !over() && client_done && server != nullptr && SSL_is_init_finished(server.get()) == 1;
}

void quic_pair::settle() {
    for (int i = 0; i < 30 && alert_to_client() < 0; ++i) step();
}

std::string quic_pair::exchange(std::string_view text) {
    const owned<SSL> out(SSL_new_stream(client.get(), 0));
    std::size_t written = 0;
    if (out == nullptr || SSL_write_ex2(out.get(), text.data(), text.size(), SSL_WRITE_FLAG_CONCLUDE, &written) != 1) {
        ERR_clear_error();
        return {};
    }
    owned<SSL> in;
    std::string found;
    for (int i = 0; i < 5000 && found.size() < text.size() && alert_to_client() < 0; ++i) {
        step();
        if (in == nullptr) in.reset(SSL_accept_stream(server.get(), SSL_ACCEPT_STREAM_NO_BLOCK));
        char buffer[256];
        std::size_t size = 0;
        if (in != nullptr && SSL_read_ex(in.get(), buffer, sizeof buffer, &size) == 1) found.append(buffer, size);
    }
    ERR_clear_error();
    return found;
}

void quic_pair::close() {
    const SSL_SHUTDOWN_EX_ARGS how{};
    SSL_shutdown_ex(client.get(), SSL_SHUTDOWN_FLAG_RAPID, &how, sizeof how);
    for (int i = 0; i < 3; ++i) step();
    if (server != nullptr) SSL_shutdown_ex(server.get(), SSL_SHUTDOWN_FLAG_RAPID, &how, sizeof how);
}

int quic_pair::alert_to_client() const {
    SSL_CONN_CLOSE_INFO how{};
    if (SSL_get_conn_close_info(client.get(), &how, sizeof how) != 1 || (how.flags & SSL_CONN_CLOSE_FLAG_LOCAL) != 0 ||
        how.error_code < OSSL_QUIC_ERR_CRYPTO_ERR_BEGIN || how.error_code > OSSL_QUIC_ERR_CRYPTO_ERR_END)
        return -1;
    return static_cast<int>(how.error_code - OSSL_QUIC_ERR_CRYPTO_ERR_BEGIN);
}

} // namespace support

#endif
