// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "handshake_events.hpp"
#include "hosts.hpp"
#include "server_options.hpp"
#include "tls.hpp"
#include "visit.hpp"
#include "wire_trace.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

/// limits is what one connection may take. None of it holds up another connection.
namespace limits {
inline constexpr std::chrono::seconds handshake{10};
inline constexpr std::chrono::seconds idle{30};  ///< for each request and its answer
inline constexpr std::chrono::seconds linger{2}; ///< for the client to read the last alert
inline constexpr std::uint32_t header = 8 * 1024;
inline constexpr std::uint64_t body = 8 * 1024;
} // namespace limits

/// connection is one client: a TLS handshake, its log line, HTTP requests, the end. OpenSSL works on the
/// socket itself, without blocking; where it has to wait, Asio waits for the socket, and the same call is
/// made again. All of it runs on the socket's executor, a strand.
class connection : public std::enable_shared_from_this<connection> {
public:
    /// `ended` runs once, in any thread, when the connection is gone.
    connection(boost::asio::ip::tcp::socket socket, const hosts& served, const server_options& options,
               std::uint64_t number, std::function<void()> ended);
    ~connection();
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;

    void start();

    /// stop lets a request be answered, and ends the connection then; one that is idle ends now. Any thread.
    void stop();

private:
    using http_request = boost::beast::http::request<boost::beast::http::string_body>;
    using http_parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
    using http_response = boost::beast::http::response<boost::beast::http::string_body>;

    /// again calls `step` when the socket is ready for what OpenSSL waits for; false: it does not wait.
    bool again(int result, void (connection::*step)());
    /// expect sets the deadline, and what happens when it passes.
    void expect(std::chrono::seconds within, void (connection::*late)());

    void handshake();
    /// read_early_data reads into received_ what comes before the handshake's end; false: it waits, or failed.
    bool read_early_data();
    void handshake_late();
    void report(std::optional<std::string> error);

    void next_request();
    void read_request();
    void answer(const http_request& request);
    void answer_page(const http_request& request, boost::beast::http::status status, std::string page);
    void answer_metrics(const http_request& request);
    void answer_json(const http_request& request, std::optional<std::string> error = {});
    void bad_request();
    void send(http_response response, bool head);
    void write();

    void ask_again(const http_request& request); ///< post-handshake authentication
    void send_certificate_request();
    void await_certificate();

    /// receive reads into received_; false: nothing came, and `step` is called again, or the connection ends.
    bool receive(void (connection::*step)());

    void close();  ///< says close_notify, then lingers
    void linger(); ///< lets the client read what was said last: closing at once could destroy it
    void drain();
    void abandon(); ///< closes the socket

    boost::asio::ip::tcp::socket socket_;
    boost::asio::steady_timer deadline_;
    const hosts& served_;
    const server_options& options_;
    handshake_events events_;
    wire_trace trace_;
    ssl_ptr ssl_; // after what its callbacks use
    std::function<void()> ended_;

    bool early_ = false; // early data may still come
    boost::beast::flat_buffer received_;
    std::optional<http_parser> parser_;
    http_request asked_;    // GET /pha, while its certificate is on the way
    unsigned finished_ = 0; // events_.client_finished at that moment
    std::string answer_;
    bool keep_alive_ = false;
    bool idle_ = false; // between two requests
    bool stopping_ = false;
    bool closing_ = false;
};
