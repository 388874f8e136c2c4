// SPDX-License-Identifier: Apache-2.0
#include "client_connection.hpp"

#include "tls.hpp"

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <openssl/err.h>

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <sstream>

namespace http = boost::beast::http;
using boost::system::error_code;
using time_point = std::chrono::steady_clock::time_point;

namespace {

constexpr std::size_t largest_header = 64 * 1024;
constexpr std::size_t largest_body = 16 * 1024 * 1024;
constexpr std::size_t record = 16 * 1024;

time_point in(std::chrono::seconds time) { return std::chrono::steady_clock::now() + time; }

/// ready waits until `socket` is ready for `events`; false: not before the deadline.
bool ready(int socket, short events, time_point deadline) {
    for (;;) {
        using std::chrono::milliseconds;
        const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left <= milliseconds::zero()) return false;
        pollfd wait{socket, events, 0};
        const int found = ::poll(&wait, 1, static_cast<int>(left.count()));
        if (found > 0) return true;
        if (found < 0 && errno != EINTR) return false;
    }
}

/// try_address returns 0, or why it cannot connect.
int try_address(int socket, const addrinfo& address, time_point deadline) {
    if (::connect(socket, address.ai_addr, address.ai_addrlen) == 0) return 0;
    if (errno != EINPROGRESS) return errno;
    if (!ready(socket, POLLOUT, deadline)) return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

int connect_to(const endpoint& server) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int error = ::getaddrinfo(server.host.c_str(), server.port.c_str(), &hints, &found))
        throw connection_failed(server.host + " does not resolve: " + ::gai_strerror(error) + "; look at the name");
    const std::unique_ptr<addrinfo, free_with<::freeaddrinfo>> addresses(found);

    const time_point deadline = in(patience::connect);
    int error = 0;
    for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
        const int socket = ::socket(each->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, each->ai_protocol);
        if (socket < 0) {
            error = errno;
            continue;
        }
        error = try_address(socket, *each, deadline);
        if (error == 0) return socket;
        ::close(socket);
    }
    throw connection_failed("cannot connect to " + to_string(server) + ": " + std::strerror(error) +
                            "; does the server run, and is this its port?");
}

} // namespace

descriptor::~descriptor() { ::close(number_); }

client_connection::client_connection(const endpoint& server, SSL& ssl)
    : socket_(connect_to(server)), ssl_(ssl), received_(largest_header + record) {
    if (SSL_set_fd(&ssl_, socket_.number()) != 1) throw connection_failed(openssl_error());
}

client_connection::~client_connection() {
    // Reads what still comes: closing on unread data would reset the connection, and destroy an alert of
    // ours that the server has not read yet.
    ::shutdown(socket_.number(), SHUT_WR);
    std::array<char, 4096> waste;
    const time_point deadline = in(patience::parting);
    while (ready(socket_.number(), POLLIN, deadline) && ::read(socket_.number(), waste.data(), waste.size()) > 0) {}
}

/// call calls OpenSSL until it needs no more waiting.
template <class Call> int client_connection::call(Call call, clock::time_point deadline) {
    for (;;) {
        ERR_clear_error();
        errno = 0;
        const int result = call();
        const int wants = SSL_get_error(&ssl_, result);
        if (wants != SSL_ERROR_WANT_READ && wants != SSL_ERROR_WANT_WRITE) return result;
        if (!ready(socket_.number(), wants == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline))
            throw connection_failed("the server took too long");
    }
}

void client_connection::send_early(const std::string& text) {
    std::size_t written = 0;
    const int result =
        call([&] { return SSL_write_early_data(&ssl_, text.data(), text.size(), &written); }, in(patience::handshake));
    if (result != 1) throw connection_failed(describe_failure(ssl_, result, "server"));
}

void client_connection::handshake() {
    const int result = call([&] { return SSL_connect(&ssl_); }, in(patience::handshake));
    if (result != 1) throw connection_failed(describe_failure(ssl_, result, "server"));
}

std::string client_connection::get(const std::string& host, const std::string& path, bool last) {
    const time_point deadline = in(patience::request);
    http::request<http::empty_body> request(http::verb::get, path, 11);
    request.set(http::field::host, host);
    request.set(http::field::user_agent, "reqauth-client");
    request.keep_alive(!last);
    std::ostringstream text;
    text << request;
    const std::string question = text.str();
    const int written =
        call([&] { return SSL_write(&ssl_, question.data(), static_cast<int>(question.size())); }, deadline);
    // Where it could not be written the server has refused us, perhaps: its alert is still to be read.
    const std::string cannot_write = written > 0 ? "" : describe_failure(ssl_, written, "server");
    return answer("GET " + path, cannot_write, deadline);
}

std::string client_connection::answer_to_early() { return answer("--early-data", "", in(patience::request)); }

std::string client_connection::answer(const std::string& what, const std::string& cannot_write,
                                      clock::time_point deadline) {
    for (;;) { // answers, of which 1xx are not yet the one
        http::response_parser<http::string_body> parser;
        parser.eager(true);
        parser.header_limit(largest_header);
        parser.body_limit(largest_body);
        while (!parser.is_done()) {
            error_code error;
            if (received_.size() != 0) received_.consume(parser.put(received_.data(), error));
            if (error && error != http::error::need_more)
                throw connection_failed("the answer to " + what + " cannot be read: " + error.message());
            if (parser.is_done()) break;
            if (received_.size() == received_.max_size())
                throw connection_failed("the answer to " + what + " has a line without end");
            const auto space = received_.prepare(std::min(record, received_.max_size() - received_.size()));
            const int result =
                call([&] { return SSL_read(&ssl_, space.data(), static_cast<int>(space.size())); }, deadline);
            if (result > 0) {
                received_.commit(static_cast<std::size_t>(result));
                continue;
            }
            const bool ended = SSL_get_error(&ssl_, result) == SSL_ERROR_ZERO_RETURN;
            if (ended && parser.got_some()) parser.put_eof(error = {});
            if (!ended || !parser.is_done())
                throw connection_failed(
                    "no answer to " + what + ": " +
                    (cannot_write.empty() ? describe_failure(ssl_, result, "server") : cannot_write));
        }
        if (http::to_status_class(parser.get().result()) != http::status_class::informational)
            return parser.release().body();
    }
}

void client_connection::part() {
    const time_point deadline = in(patience::parting);
    call([&] { return SSL_shutdown(&ssl_) < 0 ? -1 : 1; }, deadline);
    std::array<char, 4096> waste;
    int result = 1;
    try {
        while (result > 0)
            result = call([&] { return SSL_read(&ssl_, waste.data(), static_cast<int>(waste.size())); }, deadline);
    } catch (const connection_failed&) {
        return; // it has nothing to say, or never ends: not a refusal
    }
    const int kind = SSL_get_error(&ssl_, result);
    const bool cut =
        kind == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    if (kind != SSL_ERROR_ZERO_RETURN && !cut) throw connection_failed(describe_failure(ssl_, result, "server"));
}
