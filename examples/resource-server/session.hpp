// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "handshake_events.hpp"
#include "options.hpp"
#include "token.hpp"

#include <reqauth/oauth.hpp>

#include <boost/asio/ssl/context.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

/// settings is what all sessions share. Nothing in it changes.
struct settings {
    const resource_options& options;
    const token_issuer& issuer;
    const reqauth::oauth::policy& direct;  ///< for clients that connect to this server
    const reqauth::oauth::policy& proxied; ///< for those of a proxy
};

/// session is one connection: the handshake, its log line, and requests until the client goes, or is silent for too
/// long.
class session : public std::enable_shared_from_this<session> {
public:
    /// `from_proxies` says that the connection came in where only proxies do.
    session(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& tls, const settings& all,
            bool from_proxies);

    void start();

private:
    using request = boost::beast::http::request<boost::beast::http::string_body>;
    using response = boost::beast::http::response<boost::beast::http::string_body>;

    void handshake_done(std::optional<std::string> error);
    void read();
    void write(response answer);

    [[nodiscard]] response answer(const request& asked);
    [[nodiscard]] response resource(const request& asked);
    /// shown is the client's certificate, as the connection or the proxy on it shows it.
    [[nodiscard]] reqauth::oauth::client_certificate shown(const request& asked);
    [[nodiscard]] response refusal(const request& asked, int status, std::string_view error,
                                   std::string_view description, const std::string& challenge, std::string_view why);
    void log(const request& asked, const response& answered, std::string_view why) const;

    handshake_events events_; // before the stream, whose callback writes into it
    boost::beast::ssl_stream<boost::beast::tcp_stream> stream_;
    const settings& all_;
    const bool from_proxies_;
    boost::beast::flat_buffer received_;
    std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
    response answer_;
};
