// SPDX-License-Identifier: Apache-2.0
#include "connection.hpp"

#include "command_line.hpp"
#include "page.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <sstream>
#include <utility>

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using net::ip::tcp;

namespace {

constexpr std::size_t record = 16 * 1024; // the most that OpenSSL gives at once

/// forget clears what an earlier call left, so that SSL_get_error speaks of the next one.
void forget() {
    ERR_clear_error();
    errno = 0;
}

} // namespace

connection::connection(tcp::socket socket, const hosts& served, const server_options& options, std::uint64_t number,
                       std::function<void()> ended)
    : socket_(std::move(socket)), deadline_(socket_.get_executor()), served_(served), options_(options),
      trace_(options_of(options.agents).extension, "[" + std::to_string(number) + "] "), ssl_(SSL_new(&served.first())),
      ended_(std::move(ended)), early_(options.early_data > 0),
      received_(limits::header + limits::body + options.early_data) {
    socket_.native_non_blocking(true);
    if (!ssl_ || SSL_set_fd(ssl_.get(), static_cast<int>(socket_.native_handle())) != 1) throw std::bad_alloc();
    watch(*ssl_, events_);
    if (options_.trace) trace_.watch(*ssl_);
}

connection::~connection() { ended_(); }

void connection::start() {
    net::dispatch(socket_.get_executor(), [self = shared_from_this()] {
        self->expect(limits::handshake, &connection::handshake_late);
        self->handshake();
    });
}

void connection::stop() {
    net::post(socket_.get_executor(), [self = shared_from_this()] {
        self->stopping_ = true;
        if (self->idle_) self->close();
    });
}

bool connection::again(int result, void (connection::*step)()) {
    const int wants = SSL_get_error(ssl_.get(), result);
    if (wants != SSL_ERROR_WANT_READ && wants != SSL_ERROR_WANT_WRITE) return false;
    const auto readiness = wants == SSL_ERROR_WANT_READ ? tcp::socket::wait_read : tcp::socket::wait_write;
    socket_.async_wait(readiness, [self = shared_from_this(), step](error_code error) {
        if (!error && !self->closing_) (self.get()->*step)();
    });
    return true;
}

void connection::expect(std::chrono::seconds within, void (connection::*late)()) {
    deadline_.expires_after(within);
    // Weak: a deadline keeps no connection alive. Where it was moved while this handler was already on
    // its way, it is in the future now.
    deadline_.async_wait([weak = weak_from_this(), late](error_code error) {
        const auto self = weak.lock();
        if (!error && self && self->deadline_.expiry() <= net::steady_timer::clock_type::now()) (self.get()->*late)();
    });
}

bool connection::read_early_data() {
    while (early_) {
        const auto space = received_.prepare(std::min(record, received_.max_size() - received_.size()));
        std::size_t count = 0;
        forget();
        const int status = SSL_read_early_data(ssl_.get(), space.data(), space.size(), &count);
        if (status == SSL_READ_EARLY_DATA_ERROR) return false;
        received_.commit(count); // never too much: OpenSSL refuses more than --early-data
        early_ = status == SSL_READ_EARLY_DATA_SUCCESS;
    }
    return true;
}

void connection::handshake() {
    int result = 0; // as SSL_get_error takes a call of SSL_read_early_data that failed
    if (read_early_data()) {
        forget();
        result = SSL_accept(ssl_.get());
    }
    if (result == 1) {
        report({});
        next_request();
    } else if (!again(result, &connection::handshake)) {
        events_.no_certificate_came = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
        report(describe_failure(*ssl_, result, "client"));
        linger();
    }
}

void connection::handshake_late() {
    report("the handshake did not end within " + std::to_string(limits::handshake.count()) + " seconds");
    abandon();
}

void connection::report(std::optional<std::string> error) {
    const visit seen = read_visit(*ssl_, events_, std::move(error));
    print_line(stdout, options_.json ? dump(to_json(seen)) : to_text(seen));
}

void connection::next_request() {
    parser_.emplace();
    parser_->eager(true);
    parser_->header_limit(limits::header);
    parser_->body_limit(limits::body);
    expect(limits::idle, &connection::close);
    read_request();
}

void connection::read_request() {
    for (;;) {
        if (received_.size() != 0) {
            idle_ = false;
            error_code error;
            received_.consume(parser_->put(received_.data(), error));
            if (error && error != http::error::need_more) return bad_request();
            if (parser_->is_done()) return answer(parser_->release());
            if (received_.size() == received_.max_size()) return bad_request();
        }
        if (!receive(&connection::read_request)) return;
    }
}

bool connection::receive(void (connection::*step)()) {
    const auto space = received_.prepare(std::min(record, received_.max_size() - received_.size()));
    const unsigned finished = events_.client_finished;
    forget();
    const int result = SSL_read(ssl_.get(), space.data(), static_cast<int>(space.size()));
    if (result > 0) {
        received_.commit(static_cast<std::size_t>(result));
        return true;
    }
    if (events_.client_finished != finished) return true; // what came was a post-handshake flight
    if (again(result, step)) return false;
    if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_ZERO_RETURN)
        close();
    else
        linger();
    return false;
}

void connection::answer(const http_request& request) {
    keep_alive_ = request.keep_alive();
    expect(limits::idle, &connection::close);
    const std::string target(request.target());
    const std::string path = target.substr(0, target.find('?'));
    if (request.method() != http::verb::get && request.method() != http::verb::head)
        return answer_page(request, http::status::method_not_allowed,
                           plain_page("Only GET and HEAD", "There is nothing to change on this server."));
    if (path == "/pha" && options_.post_handshake) return ask_again(request);
    if (path == "/debug") return answer_json(request);
    if (path == "/metrics") return answer_metrics(request);
    if (path == "/")
        return answer_page(request, http::status::ok, welcome_page(read_visit(*ssl_, events_, std::nullopt)));
    answer_page(request, http::status::not_found,
                plain_page("Nothing here", "This server has three pages: /, /debug and /metrics."));
}

void connection::answer_page(const http_request& request, http::status status, std::string page) {
    http_response response(status, request.version());
    response.set(http::field::content_type, "text/html; charset=utf-8");
    response.set("Content-Security-Policy", content_security_policy());
    if (status == http::status::method_not_allowed) response.set(http::field::allow, "GET, HEAD");
    response.body() = std::move(page);
    send(std::move(response), request.method() == http::verb::head);
}

void connection::answer_metrics(const http_request& request) {
    http_response response(http::status::ok, request.version());
    response.set(http::field::content_type, reqauth_settings::metrics_type);
    response.body() = served_.metrics();
    send(std::move(response), request.method() == http::verb::head);
}

void connection::answer_json(const http_request& request, std::optional<std::string> error) {
    visit seen = read_visit(*ssl_, events_, std::nullopt);
    seen.error = std::move(error);
    http_response response(http::status::ok, request.version());
    response.set(http::field::content_type, "application/json");
    response.body() = dump(to_json(seen)) + "\n";
    send(std::move(response), request.method() == http::verb::head);
}

void connection::bad_request() {
    keep_alive_ = false;
    answer_page(http_request(http::verb::get, "/", 11), http::status::bad_request,
                plain_page("Not understood", "This was no HTTP request, or a very long one."));
}

void connection::send(http_response response, bool head) {
    response.set(http::field::server, "reqauth-server");
    response.set(http::field::cache_control, "no-store"); // it is about this very visitor
    response.set("X-Content-Type-Options", "nosniff");
    response.keep_alive(keep_alive_ && !stopping_);
    response.prepare_payload();
    std::ostringstream text;
    if (head)
        text << response.base();
    else
        text << response;
    answer_ = text.str();
    write();
}

void connection::write() {
    forget();
    const int result = SSL_write(ssl_.get(), answer_.data(), static_cast<int>(answer_.size()));
    if (result <= 0) {
        if (!again(result, &connection::write)) linger();
        return;
    }
    if (!keep_alive_ || stopping_) return close();
    idle_ = true;
    // Posted, so that a client which sends many requests at once lets others have their turn.
    net::post(socket_.get_executor(), [self = shared_from_this()] {
        if (!self->closing_) self->next_request();
    });
}

void connection::ask_again(const http_request& request) {
    asked_ = request;
    // Plain OpenSSL: the certificate is judged by the SSL_CTX's own trust, --customers-ca.
    if ((SSL_get_verify_mode(ssl_.get()) & SSL_VERIFY_PEER) == 0) SSL_set_verify(ssl_.get(), SSL_VERIFY_PEER, nullptr);
    forget();
    if (SSL_verify_client_post_handshake(ssl_.get()) != 1) return answer_json(asked_, openssl_error());
    send_certificate_request();
}

void connection::send_certificate_request() {
    forget();
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) {
        finished_ = events_.client_finished;
        await_certificate();
    } else if (!again(result, &connection::send_certificate_request)) {
        linger();
    }
}

void connection::await_certificate() {
    // OpenSSL reads the certificate as part of reading; what it reads besides is the next request.
    while (events_.client_finished == finished_) {
        if (received_.size() == received_.max_size()) return bad_request();
        if (!receive(&connection::await_certificate)) return;
    }
    answer_json(asked_);
}

void connection::close() {
    forget();
    SSL_shutdown(ssl_.get()); // it cannot be told again if the socket is full
    linger();
}

void connection::linger() {
    if (std::exchange(closing_, true)) return;
    idle_ = false;
    error_code ignored;
    socket_.cancel(ignored);
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    expect(limits::linger, &connection::abandon);
    drain();
}

void connection::drain() {
    socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](error_code error) {
        if (error) return;
        std::array<char, 4096> waste;
        self->socket_.read_some(net::buffer(waste), error);
        if (error && error != net::error::would_block)
            self->abandon();
        else
            self->drain();
    });
}

void connection::abandon() {
    closing_ = true;
    error_code ignored;
    deadline_.cancel();
    socket_.close(ignored);
}
