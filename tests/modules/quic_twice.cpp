// SPDX-License-Identifier: Apache-2.0
// quic-twice PORT NAME ROOTS [CERT KEY]: two connections of QUIC to 127.0.0.1, as an agent or as a person; the second
// presents the session of the first, if there is one. Says of each what came of it. There is no HTTP/3 in it.

#include <reqauth/client.hpp>

#include <openssl/quic.h>
#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

SSL_SESSION* session = nullptr;

void must(bool worked, const char* what) {
    if (!worked) throw std::runtime_error(std::string(what) + " failed");
}

void visit(SSL_CTX& context, unsigned short port, const char* name) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(&context), SSL_free);
    const std::unique_ptr<BIO_ADDR, decltype(&BIO_ADDR_free)> to(BIO_ADDR_new(), BIO_ADDR_free);
    const in_addr loopback{htonl(INADDR_LOOPBACK)};
    constexpr unsigned char alpn[] = {2, 'h', '3'};
    const int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    must(ssl != nullptr && udp >= 0 && SSL_set_fd(ssl.get(), udp) == 1 &&
             BIO_ADDR_rawmake(to.get(), AF_INET, &loopback, sizeof loopback, htons(port)) == 1 &&
             SSL_set1_initial_peer_addr(ssl.get(), to.get()) == 1 &&
             SSL_set_alpn_protos(ssl.get(), alpn, sizeof alpn) == 0 && SSL_set_tlsext_host_name(ssl.get(), name) == 1 &&
             SSL_set1_host(ssl.get(), name) == 1,
         "a connection");
    if (session != nullptr) must(SSL_set_session(ssl.get(), session) == 1, "SSL_set_session");
    const bool good = SSL_connect(ssl.get()) == 1;
    for (int i = 0; good && i < 100; ++i) { // for tickets, or an alert
        SSL_handle_events(ssl.get());
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
    const auto outcome = reqauth::last_outcome_of(*ssl);
    std::cout << (good ? "good" : "failed") << (outcome.resumed ? " resumed" : "") << ' ' << to_string(outcome.sent)
              << ' ' << to_string(outcome.judged) << std::endl;
    const SSL_SHUTDOWN_EX_ARGS how{};
    SSL_shutdown_ex(ssl.get(), SSL_SHUTDOWN_FLAG_RAPID, &how, sizeof how);
    close(udp);
}

} // namespace

int main(int count, char** arguments) try {
    must(count == 4 || count == 6, "quic-twice PORT NAME ROOTS [CERT KEY]: this");
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(OSSL_QUIC_client_method()),
                                                                    SSL_CTX_free);
    must(context != nullptr && SSL_CTX_load_verify_file(context.get(), arguments[3]) == 1, "an SSL_CTX");
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context.get(), [](SSL*, SSL_SESSION* made) {
        SSL_SESSION_free(session);
        session = made;
        return 1;
    });
    if (count == 6) {
        reqauth::client_policy policy;
        policy.credential = reqauth::credential::from_files(arguments[4], arguments[5]);
        policy.when_unsatisfiable = reqauth::unsatisfiable::present;
        reqauth::client(std::move(policy)).attach(*context);
    }
    for (int i = 0; i < 2; ++i) visit(*context, static_cast<unsigned short>(std::stoi(arguments[1])), arguments[2]);
    SSL_SESSION_free(session);
    return 0;
} catch (const std::exception& failed) {
    std::cerr << "quic-twice: " << failed.what() << '\n';
    return 2;
}
