// SPDX-License-Identifier: Apache-2.0

// reqauth-server: an HTTPS server that asks for a client certificate only where the client offers one.
// What concerns the library stands in hosts.cpp; the rest is sockets and HTTP.

#include "command_line.hpp"
#include "connection.hpp"
#include "hosts.hpp"
#include "server_options.hpp"
#include "settings/command_line.hpp"
#include "tls.hpp"

#include <reqauth/error.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include <csignal>
#include <map>
#include <thread>
#include <vector>

namespace net = boost::asio;
using boost::system::error_code;
using net::ip::tcp;

namespace {

constexpr std::string_view program = "reqauth-server";

/// why is an error in the words of the options.
std::string why(const std::exception& problem) {
    if (const auto* wrong = dynamic_cast<const reqauth_settings::wrong*>(&problem)) return in_words(*wrong);
    if (const auto* error = dynamic_cast<const reqauth::error*>(&problem)) return reqauth_settings::in_words(*error);
    return problem.what();
}

/// listener takes connections and knows which are open. It runs on a strand of its own.
class listener {
public:
    listener(net::io_context& io, const tcp::endpoint& address, hosts& served, const server_options& options)
        : io_(io), strand_(net::make_strand(io)), acceptor_(strand_, address), retry_(strand_),
          signals_(strand_, SIGINT, SIGTERM), hangup_(strand_, SIGHUP), served_(served), options_(options) {
        signals_.async_wait([this](error_code error, int) {
            if (!error) stop();
        });
        await_hangup();
        take();
    }

    [[nodiscard]] std::string address() const {
        const tcp::endpoint bound = acceptor_.local_endpoint();
        return to_string(endpoint{bound.address().to_string(), std::to_string(bound.port())});
    }

private:
    /// Reading many anchors takes a while: in a thread of its own, so that no connection waits for it.
    void await_hangup() {
        hangup_.async_wait([this](error_code error, int) {
            if (error) return;
            net::post(loading_, [this] { reload(); });
            await_hangup();
        });
    }

    void reload() {
        std::optional<std::string> error;
        try {
            for (const std::string& warning : served_.reload()) complain(program, "warning: " + warning, 0);
        } catch (const std::exception& problem) {
            error = why(problem);
            complain(program, "nothing is reloaded, what was loaded before stays: " + *error, 0);
        }
        if (options_.json)
            print_line(stdout, dump({{"event", "reload"}, {"ok", !error}, {"error", or_null(error)}}));
        else if (!error)
            print_line(stdout, "reloaded");
    }

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
            std::make_shared<connection>(std::move(socket), served_, options_, number, [this, number] {
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
        if (!acceptor_.is_open() && open_.empty()) {
            signals_.cancel();
            hangup_.cancel();
        }
    }

    net::io_context& io_;
    net::strand<net::io_context::executor_type> strand_;
    tcp::acceptor acceptor_;
    net::steady_timer retry_;
    net::signal_set signals_;
    net::signal_set hangup_;
    hosts& served_;
    const server_options& options_;
    std::uint64_t taken_ = 0;
    std::map<std::uint64_t, std::weak_ptr<connection>> open_;
    net::thread_pool loading_{1}; // last: a reload that goes on ends before the rest
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

/// cannot_listen says in one line why, and what to do.
std::string cannot_listen(const endpoint& where, const error_code& why) {
    const std::string what =
        why == net::error::address_in_use
            ? "another program listens there; stop it, or give another port, or 0 for a free one"
        : why == net::error::access_denied ? "this user may not, as for ports below 1024; give a higher one"
        : why == boost::system::errc::address_not_available
            ? "that is no address of this machine; give one, or 0.0.0.0 or [::] for all"
        : why.category() == net::error::get_netdb_category() || why.category() == net::error::get_addrinfo_category()
            ? "the name does not resolve; give an address"
            : why.message();
    return "--listen " + to_string(where) + ": " + what;
}

void serve(const server_options& options, hosts& served) {
    net::io_context io;
    const tcp::endpoint address =
        *tcp::resolver(io).resolve(options.listen.host, options.listen.port, tcp::resolver::passive).begin();
    listener listener(io, address, served, options);
    print_line(stdout, options.json ? dump({{"event", "listening"}, {"address", listener.address()}})
                                    : "listening on " + listener.address());

    std::vector<std::thread> threads;
    for (unsigned i = 1; i < options.threads; ++i) threads.emplace_back([&io] { work(io); });
    work(io);
    for (std::thread& thread : threads) thread.join();
}

} // namespace

int main(int argc, char** argv) {
    server_options options;
    try {
        auto read = read_server_options(argc, argv);
        if (const int* status = std::get_if<int>(&read)) return *status;
        options = std::get<server_options>(std::move(read));

        std::signal(SIGPIPE, SIG_IGN);
        hosts served(options);
        for (const std::string& warning : served.warnings()) complain(program, "warning: " + warning, 0);
        std::optional<keylog> keys;
        if (!options.keylog.empty()) {
            keys.emplace(options.keylog);
            served.log_keys(*keys);
        }
        serve(options, served);
        return 0;
    } catch (const usage_error& error) {
        return complain(program, error.what(), 2);
    } catch (const reqauth::error& error) {
        return complain(program, why(error), 2);
    } catch (const boost::system::system_error& error) {
        return complain(program, cannot_listen(options.listen, error.code()), 1);
    } catch (const std::exception& error) {
        return complain(program, error.what(), 1);
    }
}
