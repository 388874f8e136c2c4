// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include "command_line.hpp"
#include "json.hpp"
#include "page.hpp"
#include "printable.hpp"
#include "tls.hpp"
#include "visit.hpp"

#include <boost/asio/dispatch.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace net = boost::asio;
namespace oauth = reqauth::oauth;
using boost::system::error_code;

namespace {

constexpr std::chrono::seconds patience{30}; // for a handshake, a request, an answer
constexpr std::uint32_t longest_header = 16 * 1024;
constexpr std::string_view any_challenge = R"(Bearer realm="resource")";

bool is_token_character(char c) { // b68token, RFC 6750, section 2.1
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._~+/=").find(c) != std::string_view::npos;
}

/// note_request sees each message: whether somebody was asked for a certificate is the point of it all. The app data
/// of the SSL, which watch() would take, is Asio's.
void note_request(int sent, int, int type, const void* message, std::size_t size, SSL*, void* events) {
    if (sent == 1 && type == SSL3_RT_HANDSHAKE && size > 0 &&
        *static_cast<const unsigned char*>(message) == SSL3_MT_CERTIFICATE_REQUEST)
        static_cast<handshake_events*>(events)->certificate_requested = true;
}

} // namespace

session::session(net::ip::tcp::socket socket, net::ssl::context& tls, const settings& all, bool from_proxies)
    : stream_(std::move(socket), tls), all_(all), from_proxies_(from_proxies) {
    SSL_set_msg_callback(stream_.native_handle(), note_request);
    SSL_set_msg_callback_arg(stream_.native_handle(), &events_);
}

void session::start() {
    net::dispatch(stream_.get_executor(), [self = shared_from_this()] {
        beast::get_lowest_layer(self->stream_).expires_after(patience);
        self->stream_.async_handshake(net::ssl::stream_base::server, [self](error_code error) {
            self->handshake_done(error ? std::optional(error.message()) : std::nullopt);
        });
    });
}

void session::handshake_done(std::optional<std::string> error) {
    const bool failed = error.has_value();
    const visit seen = read_visit(*stream_.native_handle(), events_, std::move(error));
    json line = to_json(seen);
    line["asked"] = events_.certificate_requested;
    line["from_proxies"] = from_proxies_;
    print_line(stdout, all_.options.json ? dump(line) : to_text(seen));
    if (!failed) read();
}

void session::read() {
    parser_.emplace();
    parser_->header_limit(longest_header);
    parser_->body_limit(0); // only GET and HEAD
    beast::get_lowest_layer(stream_).expires_after(patience);
    // The header alone: of an empty body in chunks Beast adds the trailers to the fields, and whoever a proxy serves may
    // have written those.
    http::async_read_header(stream_, received_, *parser_, [self = shared_from_this()](error_code error, std::size_t) {
        if (!error && self->parser_->is_done()) return self->write(self->answer(self->parser_->get()));
        beast::get_lowest_layer(self->stream_).expires_after(patience);
        self->stream_.async_shutdown([self](error_code) {});
    });
}

void session::write(response answered) {
    answer_ = std::move(answered);
    answer_.set(http::field::server, "resource-server");
    answer_.set(http::field::cache_control, "no-store");
    answer_.set("X-Content-Type-Options", "nosniff");
    answer_.keep_alive(parser_->get().keep_alive());
    answer_.prepare_payload();
    if (parser_->get().method() == http::verb::head) answer_.body().clear(); // Content-Length stays
    beast::get_lowest_layer(stream_).expires_after(patience);
    http::async_write(stream_, answer_, [self = shared_from_this()](error_code error, std::size_t) {
        if (!error && self->answer_.keep_alive()) return self->read();
        self->stream_.async_shutdown([self](error_code) {});
    });
}

session::response session::answer(const request& asked) {
    const std::string path = std::string(asked.target()).substr(0, asked.target().find('?'));
    if (asked.method() != http::verb::get && asked.method() != http::verb::head) {
        response out(http::status::method_not_allowed, asked.version());
        out.set(http::field::allow, "GET, HEAD");
        log(asked, out, "");
        return out;
    }
    if (path == "/resource") return resource(asked);
    const bool home = path == "/";
    response out(home ? http::status::ok : http::status::not_found, asked.version());
    out.set(http::field::content_type, "text/html; charset=utf-8");
    out.set("Content-Security-Policy", content_security_policy());
    out.body() = home ? welcome_page(read_visit(*stream_.native_handle(), events_, std::nullopt))
                      : plain_page("Nothing here", "This server has two addresses: / and /resource.");
    log(asked, out, "");
    return out;
}

oauth::client_certificate session::shown(const request& asked) {
    SSL& ssl = *stream_.native_handle();
    // No word of Client-Cert is read on any other connection: whoever wrote it there is nobody's proxy.
    const auto hop = from_proxies_ ? oauth::trusted_hop::by_certificate(ssl, all_.options.proxies) : std::nullopt;
    if (!hop) return oauth::client_certificate::of(ssl);
    std::vector<std::string_view> fields;
    const auto [begin, end] = asked.equal_range("Client-Cert");
    for (auto at = begin; at != end; ++at) fields.emplace_back(at->value().data(), at->value().size());
    return oauth::client_certificate::forwarded(*hop, fields);
}

session::response session::resource(const request& asked) {
    const auto count = asked.count(http::field::authorization);
    const std::string credentials(asked[http::field::authorization]);
    if (count == 0)
        return refusal(asked, 401, "", "this needs an access token: Authorization: Bearer", std::string(any_challenge),
                       "no_token");
    const std::string_view scheme = std::string_view(credentials).substr(0, credentials.find(' '));
    const std::string token = credentials.substr(std::min(credentials.size(), scheme.size() + 1));
    if (!beast::iequals({scheme.data(), scheme.size()}, "bearer"))
        return refusal(asked, 401, "", "this server takes tokens by the scheme Bearer alone",
                       std::string(any_challenge), "other_scheme");
    if (count != 1 || token.empty() || !std::ranges::all_of(token, is_token_character))
        return refusal(asked, 400, "invalid_request", "Authorization has to be Bearer and one token",
                       std::string(any_challenge) + ", error=\"invalid_request\"", "malformed_authorization");

    std::string text;
    try {
        text = all_.issuer.verify(token);
    } catch (const refused_token& refused) {
        return refusal(asked, 401, "invalid_token", refused.why,
                       std::string(any_challenge) + ", error=\"invalid_token\", error_description=\"" + refused.why +
                           "\"",
                       "token_not_valid");
    }

    // What concerns the library: the certificate of this connection, and what the token says of it.
    const auto claims = oauth::token_claims::from_jwt(text);
    const oauth::decision made = check_binding(shown(asked), claims, from_proxies_ ? all_.proxied : all_.direct);
    if (!made.accepted())
        return refusal(asked, made.status, made.error, made.description, made.www_authenticate, to_string(made.why));

    response out(http::status::ok, asked.version());
    out.set(http::field::content_type, "application/json");
    out.body() =
        dump({{"resource", "forty-two"}, {"sub", json::parse(text)["sub"]}, {"binding", to_string(made.why)}}) + "\n";
    log(asked, out, to_string(made.why));
    return out;
}

session::response session::refusal(const request& asked, int status, std::string_view error,
                                   std::string_view description, const std::string& challenge, std::string_view why) {
    response out(http::int_to_status(static_cast<unsigned>(status)), asked.version());
    out.result(static_cast<unsigned>(status));
    out.set(http::field::content_type, "application/json");
    if (!challenge.empty()) out.set(http::field::www_authenticate, challenge);
    json body = json::object();
    if (!error.empty()) body["error"] = error;
    body["error_description"] = description;
    out.body() = dump(body) + "\n";
    log(asked, out, why);
    return out;
}

void session::log(const request& asked, const response& answered, std::string_view why) const {
    const std::string target = printable({asked.target().data(), asked.target().size()});
    const unsigned status = answered.result_int();
    print_line(stdout, all_.options.json
                           ? dump({{"event", "request"}, {"target", target}, {"status", status}, {"cause", why}})
                           : target + " " + std::to_string(status) + (why.empty() ? "" : " " + std::string(why)));
}
