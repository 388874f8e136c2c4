// SPDX-License-Identifier: Apache-2.0

// reqauth-server: an HTTPS server that asks for a client certificate only where the client offers one.
// What concerns the library stands in make_context(); the rest is sockets and HTTP.

#include "command_line.hpp"
#include "connection.hpp"
#include "server_options.hpp"
#include "tls.hpp"

#include <reqauth/error.hpp>
#include <reqauth/server.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/strand.hpp>

#include <openssl/err.h>

#include <csignal>
#include <map>
#include <thread>
#include <vector>

namespace net = boost::asio;
using boost::system::error_code;
using net::ip::tcp;

namespace {

constexpr std::string_view program = "reqauth-server";

/// ask_everybody is client authentication as any server has it: on the SSL_CTX, without the library.
void ask_everybody(SSL_CTX& context, const server_options& options) {
    if (options.default_auth == "none") return;
    const bool require = options.default_auth == "require";
    SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | (require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
    if (options.default_ca.empty()) return;
    require_readable("--default-ca", options.default_ca);
    ERR_clear_error();
    STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(options.default_ca.c_str());
    if (names == nullptr || SSL_CTX_load_verify_file(&context, options.default_ca.c_str()) != 1)
        throw usage_error("--default-ca " + options.default_ca + " holds no certificate in PEM: " + openssl_error());
    SSL_CTX_set_client_CA_list(&context, names);
}

/// answer_the_flag is what the library adds: who offers the flag is asked, and judged by --bots-ca.
void answer_the_flag(SSL_CTX& context, const server_options& options) {
    reqauth::server_policy policy;
    if (!options.bots_ca.empty()) {
        const auto agents = reqauth::trust::from_file(options.bots_ca);
        policy.when_offered = options.on_missing == "fail" ? reqauth::client_auth::require(agents)
                                                           : reqauth::client_auth::request(agents);
        if (options.on_invalid == "continue") policy.when_offered = policy.when_offered.invalid_is_anonymous();
    }
    policy.ca_names = options.ca_names == "on";
    policy.beside_required = options.beside_required;

    reqauth::server_options numbers;
    numbers.flag = options.flag;
    numbers.extension = options.extension;
    const reqauth::attachment attached = reqauth::server(numbers).attach(context, policy);
    for (const std::string& warning : attached.warnings) complain(program, "warning: " + warning, 0);
}

context_ptr make_context(const server_options& options) {
    context_ptr context(SSL_CTX_new(TLS_server_method()));
    if (!context) throw std::runtime_error(openssl_error());
    SSL_CTX_set_min_proto_version(context.get(), options.tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
    // Back to the event loop after each record: a client that floods the server holds nobody up.
    SSL_CTX_clear_mode(context.get(), SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_id_context(context.get(), reinterpret_cast<const unsigned char*>(program.data()),
                                   static_cast<unsigned>(program.size()));
    require_readable("--cert", options.certificate);
    require_readable("--key", options.key);
    use_certificate(*context, options.certificate, options.key);
    ask_everybody(*context, options);
    answer_the_flag(*context, options);
    return context;
}

/// listener takes connections and knows which are open. It runs on a strand of its own.
class listener {
public:
    listener(net::io_context& io, const tcp::endpoint& address, SSL_CTX& context, const server_options& options)
        : io_(io), strand_(net::make_strand(io)), acceptor_(strand_, address), retry_(strand_),
          signals_(strand_, SIGINT, SIGTERM), context_(context), options_(options) {
        signals_.async_wait([this](error_code error, int) {
            if (!error) stop();
        });
        take();
    }

    [[nodiscard]] std::string address() const {
        const tcp::endpoint bound = acceptor_.local_endpoint();
        return to_string(endpoint{bound.address().to_string(), std::to_string(bound.port())});
    }

private:
    void take() {
        acceptor_.async_accept(net::make_strand(io_), [this](error_code error, tcp::socket socket) {
            if (!acceptor_.is_open()) {
                stop_waiting_when_done();
            } else if (error) { // no descriptor left, perhaps: soon there is one
                retry_.expires_after(std::chrono::milliseconds(100));
                retry_.async_wait([this](error_code cancelled) {
                    if (!cancelled && acceptor_.is_open()) take();
                });
            } else {
                if (++taken_ == options_.max_connections)
                    acceptor_.close();
                else
                    take();
                open(std::move(socket), taken_);
            }
        });
    }

    void open(tcp::socket socket, std::uint64_t number) {
        const auto accepted =
            std::make_shared<connection>(std::move(socket), context_, options_, number, [this, number] {
                net::post(strand_, [this, number] {
                    open_.erase(number);
                    stop_waiting_when_done();
                });
            });
        open_[number] = accepted;
        accepted->start();
    }

    void stop() {
        acceptor_.close();
        retry_.cancel();
        signals_.clear(); // a second signal ends the program at once
        for (const auto& [number, weak] : open_)
            if (const auto open = weak.lock()) open->stop();
    }

    /// With no connection to come and none open, nothing is left but the wait for a signal.
    void stop_waiting_when_done() {
        if (!acceptor_.is_open() && open_.empty()) signals_.cancel();
    }

    net::io_context& io_;
    net::strand<net::io_context::executor_type> strand_;
    tcp::acceptor acceptor_;
    net::steady_timer retry_;
    net::signal_set signals_;
    SSL_CTX& context_;
    const server_options& options_;
    std::uint64_t taken_ = 0;
    std::map<std::uint64_t, std::weak_ptr<connection>> open_;
};

/// work runs the event loop. What one connection could not bear (memory) is its end, not the server's.
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

void serve(const server_options& options, SSL_CTX& context) {
    net::io_context io;
    const tcp::endpoint address =
        *tcp::resolver(io).resolve(options.listen.host, options.listen.port, tcp::resolver::passive).begin();
    listener listener(io, address, context, options);
    print_line(stdout, options.json ? dump({{"event", "listening"}, {"address", listener.address()}})
                                    : "listening on " + listener.address());

    std::vector<std::thread> threads;
    for (unsigned i = 1; i < options.threads; ++i) threads.emplace_back([&io] { work(io); });
    work(io);
    for (std::thread& thread : threads) thread.join();
}

} // namespace

int main(int argc, char** argv) {
    try {
        const auto read = read_server_options(argc, argv);
        if (const int* status = std::get_if<int>(&read)) return *status;
        const auto& options = std::get<server_options>(read);

        std::signal(SIGPIPE, SIG_IGN);
        const context_ptr context = make_context(options);
        std::optional<keylog> keys;
        if (!options.keylog.empty()) keys.emplace(*context, options.keylog);
        serve(options, *context);
        return 0;
    } catch (const usage_error& error) {
        return complain(program, error.what(), 2);
    } catch (const reqauth::error& error) {
        return complain(program, error.what(), 2);
    } catch (const boost::system::system_error& error) {
        return complain(program, std::string("cannot listen: ") + error.what(), 1);
    } catch (const std::exception& error) {
        return complain(program, error.what(), 1);
    }
}
