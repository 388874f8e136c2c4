// SPDX-License-Identifier: Apache-2.0

// Takes plain connections, and carries each to a server over TLS as an agent: so whatever speaks HTTP can be one, with
// any Host, and with HTTP/2.
//
//   tunnel PORT SERVER_NAME|- CA CERTIFICATE|- KEY|- [h2|http/1.1] [resume] [offers] [presents] [own=FILE]
//
// Without a certificate it is a client without the flag, unless it `offers` it with nothing to show. `presents`: it shows
// its certificate whatever CAs are named. FILE has the certificate and the key of a customer: for requests that are not
// because of the flag, after the handshake too. Prints the port that it has taken, and then for each connection "resumed",
// "in full" or "failed". With `resume` one presents the last session that the server gave. It runs until it is killed.

#include <reqauth/client.hpp>

#include <openssl/ssl.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

struct free_ssl {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};

std::mutex shelf;
std::unique_ptr<SSL_SESSION, free_ssl> last; // under shelf

int keep(SSL* /*ssl*/, SSL_SESSION* session) {
    const std::lock_guard lock(shelf);
    last.reset(session);
    return 1;
}

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

void pump(SSL* ssl, int near, int far) {
    std::array<char, 16384> some{};
    for (;;) {
        std::array<pollfd, 2> both{{{near, POLLIN, 0}, {far, POLLIN, 0}}};
        if (SSL_pending(ssl) == 0 && poll(both.data(), both.size(), -1) < 0) return;
        if (both[0].revents != 0) {
            const auto size = read(near, some.data(), some.size());
            if (size <= 0 || SSL_write(ssl, some.data(), static_cast<int>(size)) <= 0) return;
        }
        if (SSL_pending(ssl) > 0 || both[1].revents != 0) {
            const int size = SSL_read(ssl, some.data(), some.size());
            if (size > 0 && write(near, some.data(), static_cast<std::size_t>(size)) != size) return;
            if (size <= 0 && SSL_get_error(ssl, size) != SSL_ERROR_WANT_READ) return;
        }
    }
}

struct settings {
    SSL_CTX* context;
    int port;
    std::string name;
    bool agent;
    bool resume;
};

void carry(const settings& how, int near) {
    const int far = socket(AF_INET, SOCK_STREAM, 0);
    const int at_once = 1;
    for (const int side : {near, far}) setsockopt(side, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    const sockaddr_in address = loopback(how.port);
    {
        const std::unique_ptr<SSL, free_ssl> ssl(SSL_new(how.context));
        SSL_set_fd(ssl.get(), far);
        if (how.name != "-") {
            SSL_set_tlsext_host_name(ssl.get(), how.name.c_str());
            X509_VERIFY_PARAM* const wanted = SSL_get0_param(ssl.get());
            if (X509_VERIFY_PARAM_set1_ip_asc(wanted, how.name.c_str()) != 1)
                X509_VERIFY_PARAM_set1_host(wanted, how.name.c_str(), 0);
        }
        if (how.resume) {
            const std::lock_guard lock(shelf);
            if (last && how.agent) reqauth::client::resume(*ssl, *last);
            if (last && !how.agent) SSL_set_session(ssl.get(), last.get());
        }
        if (connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
            SSL_connect(ssl.get()) == 1) {
            std::puts(SSL_session_reused(ssl.get()) == 1 ? "resumed" : "in full");
            pump(ssl.get(), near, far);
        } else {
            std::puts("failed");
        }
        SSL_shutdown(ssl.get());
    }
    close(far);
    close(near);
}

} // namespace

int main(int argc, char** argv) try {
    if (argc < 6) throw std::runtime_error("usage: tunnel PORT SERVER_NAME|- CA CERTIFICATE|- KEY|- [WORD...]");
    const std::vector<std::string_view> more(argv + 6, argv + argc);
    const auto said = [&](std::string_view word) { return std::ranges::find(more, word) != more.end(); };
    std::signal(SIGPIPE, SIG_IGN);
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
    const bool shows = std::string_view(argv[4]) != "-";
    settings how{SSL_CTX_new(TLS_client_method()), std::atoi(argv[1]), argv[2], shows || said("offers"),
                 said("resume")};
    if (SSL_CTX_load_verify_file(how.context, argv[3]) != 1) throw std::runtime_error("the CA cannot be loaded");
    SSL_CTX_set_verify(how.context, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_clear_mode(how.context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(how.context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(how.context, keep);
    for (const std::string_view protocol : {"h2", "http/1.1"}) {
        if (!said(protocol)) continue;
        std::vector<unsigned char> list(protocol.begin(), protocol.end());
        list.insert(list.begin(), static_cast<unsigned char>(protocol.size()));
        if (SSL_CTX_set_alpn_protos(how.context, list.data(), static_cast<unsigned>(list.size())) != 0)
            throw std::runtime_error("ALPN cannot be set");
    }
    for (const std::string_view word : more) {
        if (!word.starts_with("own=")) continue;
        const char* const file = word.data() + 4;
        if (SSL_CTX_use_certificate_chain_file(how.context, file) != 1 ||
            SSL_CTX_use_PrivateKey_file(how.context, file, SSL_FILETYPE_PEM) != 1)
            throw std::runtime_error("the customer's certificate cannot be loaded");
        SSL_CTX_set_post_handshake_auth(how.context, 1);
    }
    if (how.agent) {
        reqauth::client_policy policy;
        policy.danger_unproven_servers = true; // it asks for hosts that the certificate does not name, too
        if (shows) policy.credential = reqauth::credential::from_files(argv[4], argv[5]);
        if (said("offers")) policy.offer = reqauth::offer::always;
        if (said("presents")) policy.when_unsatisfiable = reqauth::unsatisfiable::present;
        reqauth::client(std::move(policy)).attach(*how.context);
    }

    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 256) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        throw std::runtime_error("no port to listen on");
    std::printf("port %d\n", ntohs(address.sin_port));
    for (int near = 0; (near = accept(listener, nullptr, nullptr)) >= 0;) std::thread(carry, how, near).detach();
    return 1;
} catch (const std::exception& error) {
    std::fprintf(stderr, "tunnel: %s\n", error.what());
    return 2;
}
