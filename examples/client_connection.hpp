// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "endpoint.hpp"

#include <boost/beast/core/flat_buffer.hpp>

#include <openssl/ssl.h>

#include <chrono>
#include <stdexcept>
#include <string>

/// patience is how long the client gives the other side for each step, whatever that sends meanwhile.
namespace patience {
inline constexpr std::chrono::seconds connect{15};
inline constexpr std::chrono::seconds handshake{15};
inline constexpr std::chrono::seconds request{30};
inline constexpr std::chrono::seconds parting{5};
} // namespace patience

/// connection_failed is what ends a connection early; its text is one line.
struct connection_failed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// descriptor owns a socket.
class descriptor {
public:
    explicit descriptor(int number) : number_(number) {}
    ~descriptor();
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    [[nodiscard]] int number() const { return number_; }

private:
    int number_;
};

/// client_connection is a TCP connection on which `ssl` runs; it must not outlive `ssl`. Each call ends
/// within its patience, or throws connection_failed.
class client_connection {
public:
    client_connection(const endpoint& server, SSL& ssl);
    ~client_connection();
    client_connection(const client_connection&) = delete;
    client_connection& operator=(const client_connection&) = delete;

    /// send_early sends `text` as early data, which the session that is resumed must allow; the handshake comes next.
    void send_early(const std::string& text);

    void handshake();

    /// get sends a GET request and returns the body of its answer.
    std::string get(const std::string& host, const std::string& path, bool last);

    /// answer_to_early reads the answer to a request that went out as early data.
    std::string answer_to_early();

    /// part says close_notify and reads until the server has said its last word. In TLS 1.3 a client has
    /// finished before the server has judged its certificate: a refusal only comes now.
    void part();

private:
    using clock = std::chrono::steady_clock;
    template <class Call> int call(Call call, clock::time_point deadline);
    /// answer reads one, to `what`. `cannot_write` says why the request did not go out; empty: it did.
    std::string answer(const std::string& what, const std::string& cannot_write, clock::time_point deadline);

    descriptor socket_;
    SSL& ssl_;
    boost::beast::flat_buffer received_;
};
