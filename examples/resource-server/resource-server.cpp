// SPDX-License-Identifier: Apache-2.0

// resource-server: an OAuth 2.0 resource server for browsers and for clients whose tokens are bound to their
// certificates, on one host name and port. What concerns the library stands in main and in session::resource.

#include "command_line.hpp"
#include "json.hpp"
#include "options.hpp"
#include "session.hpp"
#include "settings/command_line.hpp"
#include "tls.hpp"

#include <reqauth/error.hpp>
#include <reqauth/server.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <csignal>
#include <deque>

namespace net = boost::asio;
namespace oauth = reqauth::oauth;
using boost::system::error_code;
using net::ip::tcp;

namespace {

constexpr std::string_view program = "resource-server";

/// listener takes connections at one address.
class listener {
public:
    listener(net::io_context& io, const endpoint& at, net::ssl::context& tls, const settings& all, bool from_proxies)
        : acceptor_(io, *tcp::resolver(io).resolve(at.host, at.port, tcp::resolver::passive).begin()), retry_(io),
          tls_(tls), all_(all), from_proxies_(from_proxies) {
        const tcp::endpoint bound = acceptor_.local_endpoint();
        const std::string address = to_string(endpoint{bound.address().to_string(), std::to_string(bound.port())});
        print_line(stdout, all.options.json ? dump({{"event", from_proxies ? "listening_for_proxies" : "listening"},
                                                    {"address", address}})
                                            : "listening on " + address + (from_proxies ? " for proxies" : ""));
        take();
    }

    void stop() {
        acceptor_.close();
        retry_.cancel();
    }

private:
    void take() {
        acceptor_.async_accept([this](error_code error, tcp::socket socket) {
            if (!acceptor_.is_open()) return;
            if (!error) {
                std::make_shared<session>(std::move(socket), tls_, all_, from_proxies_)->start();
                return take();
            }
            retry_.expires_after(std::chrono::milliseconds(100)); // no descriptor left, perhaps: soon there is one
            retry_.async_wait([this](error_code cancelled) {
                if (!cancelled) take();
            });
        });
    }

    tcp::acceptor acceptor_;
    net::steady_timer retry_;
    net::ssl::context& tls_;
    const settings& all_;
    const bool from_proxies_;
};

net::ssl::context new_context(const resource_options& options) {
    net::ssl::context tls(net::ssl::context::tls_server);
    SSL_CTX_set_min_proto_version(tls.native_handle(), TLS1_3_VERSION);
    use_certificate(*tls.native_handle(), {"--cert", options.certificate}, {"--key", options.key});
    return tls;
}

/// for_everybody asks nobody for a certificate, but those who offer the flag.
net::ssl::context for_everybody(const resource_options& options) {
    net::ssl::context tls = new_context(options);
    const auto attached =
        reqauth::server().attach(*tls.native_handle(), policy_of(options.agents, load(options.agents)));
    for (const std::string& warning : attached.warnings)
        complain(program, "warning: " + reqauth_settings::in_words(warning, reqauth_settings::spelled), 0);
    return tls;
}

/// for_proxies wants a certificate of everyone, as any server can.
net::ssl::context for_proxies(const resource_options& options) {
    net::ssl::context tls = new_context(options);
    load_anchors(*SSL_CTX_get_cert_store(tls.native_handle()), {"--proxies-ca", options.proxies_ca});
    SSL_CTX_set_verify(tls.native_handle(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    constexpr unsigned char id[] = "resource-server proxies";
    SSL_CTX_set_session_id_context(tls.native_handle(), id, sizeof id - 1);
    return tls;
}

oauth::policy policy_of(const resource_options& options, bool proxied) {
    oauth::policy how(options.unbound == "accept" ? oauth::unbound_tokens::accept : oauth::unbound_tokens::refuse,
                      "resource");
    how.by_flagged = !proxied;
    how.by_forwarded = proxied;
    how.missing_is_invalid_request = options.on_missing == "invalid_request";
    return how;
}

/// work runs the event loop. What one connection could not bear is its end, not the server's.
void work(net::io_context& io) {
    for (;;) {
        try {
            io.run();
            return;
        } catch (const std::exception& error) {
            complain(program, error.what(), 0);
        }
    }
}

void serve(const resource_options& options) {
    const token_issuer issuer(options.token_key, options.token_algorithm, options.issuer, options.audience);
    const oauth::policy direct = policy_of(options, false), proxied = policy_of(options, true);
    const settings all{options, issuer, direct, proxied};
    net::io_context io;
    net::ssl::context tls = for_everybody(options);
    std::optional<net::ssl::context> tls_for_proxies;
    std::deque<listener> listeners;
    listeners.emplace_back(io, options.listen, tls, all, false);
    if (options.proxy_listen) {
        tls_for_proxies.emplace(for_proxies(options));
        listeners.emplace_back(io, *options.proxy_listen, *tls_for_proxies, all, true);
    }
    net::signal_set signals(io, SIGINT, SIGTERM);
    signals.async_wait([&](error_code, int) {
        for (listener& each : listeners) each.stop();
        io.stop();
    });
    work(io);
}

} // namespace

int main(int argc, char** argv) {
    try {
        const auto read = read_resource_options(argc, argv);
        if (const int* status = std::get_if<int>(&read)) return *status;
        std::signal(SIGPIPE, SIG_IGN);
        serve(std::get<resource_options>(read));
        return 0;
    } catch (const usage_error& error) {
        return complain(program, error.what(), 2);
    } catch (const reqauth_settings::wrong& error) {
        return complain(program, in_words(error), 2);
    } catch (const reqauth::error& error) {
        return complain(program, reqauth_settings::in_words(error), 2);
    } catch (const boost::system::system_error& error) {
        return complain(program, std::string("cannot listen: ") + error.what(), 1);
    } catch (const std::exception& error) {
        return complain(program, error.what(), 1);
    }
}
