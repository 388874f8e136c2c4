// SPDX-License-Identifier: Apache-2.0
#include "conversation.hpp"

#include <openssl/err.h>

#include <stdexcept>
#include <string>

namespace bench {

conversation::conversation(SSL_CTX& server_context, SSL_CTX& client_context, SSL_SESSION* session, count counted)
    : counted_(counted) {
    BIO* near_end = nullptr;
    BIO* far_end = nullptr;
    if (BIO_new_bio_pair(&near_end, 1 << 17, &far_end, 1 << 17) != 1)
        throw std::runtime_error("BIO_new_bio_pair failed");
    server_end_.reset(near_end);
    client_end_.reset(far_end);
    const auto begin = [this](side& who, SSL_CTX& context, BIO* end) {
        // The BIOs count what went over them after the SSL is gone.
        BIO_up_ref(end);
        work(who, [&] {
            who.ssl.reset(SSL_new(&context));
            if (who.ssl == nullptr) throw std::runtime_error("SSL_new failed");
            SSL_set_bio(who.ssl.get(), end, end);
        });
    };
    begin(server, server_context, near_end);
    begin(client, client_context, far_end);
    SSL_set_accept_state(server.ssl.get());
    SSL_set_connect_state(client.ssl.get());
    SSL_set_tlsext_host_name(client.ssl.get(), "server.example");
    if (session != nullptr) SSL_set_session(client.ssl.get(), session);
}

void conversation::work(side& who, const std::function<void()>& does) {
    const heap before = heap_now();
    if ((counted_ == count::server && &who == &server) || (counted_ == count::client && &who == &client)) {
        CALLGRIND_TOGGLE_COLLECT;
        does();
        CALLGRIND_TOGGLE_COLLECT;
    } else {
        does();
    }
    who.spent += heap_now() - before;
}

void conversation::shake(side& who) {
    int result = 1;
    if (!who.done) {
        result = SSL_do_handshake(who.ssl.get());
        who.done = result == 1;
    }
    char octet = 0;
    if (who.done) result = SSL_peek(who.ssl.get(), &octet, 1); // takes tickets, and what comes after the handshake
    if (result == 1) return;
    const int error = SSL_get_error(who.ssl.get(), result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
    char text[256];
    ERR_error_string_n(ERR_peek_error(), text, sizeof text);
    throw std::runtime_error(std::string(&who == &server ? "server: " : "client: ") + text);
}

void conversation::turn(side& who) {
    BIO* end = &who == &server ? server_end_.get() : client_end_.get();
    const auto before = BIO_number_written(end);
    work(who, [&] { shake(who); });
    if (BIO_number_written(end) > before) ++who.flights;
}

void conversation::run() {
    std::uint64_t before = 0;
    do {
        before = client.flights + server.flights;
        turn(client);
        turn(server);
    } while (client.flights + server.flights > before);
    if (!client.done || !server.done) throw std::runtime_error("the handshake does not end");
}

void conversation::close() {
    // As after close_notify both ways: else OpenSSL takes the session for broken.
    for (side* who : {&client, &server}) {
        SSL_set_quiet_shutdown(who->ssl.get(), 1);
        SSL_shutdown(who->ssl.get());
        work(*who, [&] { who->ssl.reset(); });
    }
}

} // namespace bench
