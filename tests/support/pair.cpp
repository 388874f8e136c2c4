// SPDX-License-Identifier: Apache-2.0
#include "support/pair.hpp"

#include <openssl/err.h>

#include <algorithm>
#include <stdexcept>

namespace support {
namespace {

/// reader takes numbers and vectors off the front of a message.
class reader {
public:
    explicit reader(std::string_view text) : text_(text) {}
    [[nodiscard]] bool at_end() const { return text_.empty(); }
    std::string_view take(std::size_t size) {
        if (size > text_.size()) throw std::runtime_error("handshake message is cut short");
        const auto taken = text_.substr(0, size);
        text_.remove_prefix(size);
        return taken;
    }
    std::size_t number(std::size_t size) {
        std::size_t value = 0;
        for (const char octet : take(size)) value = value << 8U | static_cast<unsigned char>(octet);
        return value;
    }
    std::string_view vector(std::size_t length_size) { return take(number(length_size)); }

private:
    std::string_view text_;
};

void append_extensions(reader& from, std::vector<extension>& found) {
    if (from.at_end()) return; // before TLS 1.3 the list may be missing
    reader list(from.vector(2));
    while (!list.at_end()) {
        const auto type = static_cast<std::uint16_t>(list.number(2));
        found.push_back({type, std::string(list.vector(2))});
    }
}

constexpr std::string_view retry_random = "\xCF\x21\xAD\x74\xE5\x9A\x61\x11\xBE\x1D\x8C\x02\x1E\x65\xB8\x91"
                                          "\xC2\xA2\x11\x16\x7A\xBB\x8C\x5E\x07\x9E\x09\xE2\xC8\xA8\x33\x9C";

void record(int sent, int, int content_type, const void* data, std::size_t size, SSL*, void* argument) {
    auto& side = *static_cast<transcript*>(argument);
    const std::string_view text(static_cast<const char*>(data), size);
    if (content_type == SSL3_RT_ALERT && size == 2) {
        int& alert = sent != 0 ? side.alert_sent : side.alert_received;
        if (alert == transcript::no_alert && text[1] != SSL_AD_CLOSE_NOTIFY)
            alert = static_cast<unsigned char>(text[1]);
    } else if (content_type == SSL3_RT_HANDSHAKE && size >= 4) {
        auto type = static_cast<kind>(static_cast<unsigned char>(text[0]));
        if (type == kind::server_hello && text.substr(6, 32) == retry_random) type = kind::hello_retry_request;
        side.messages.push_back({sent != 0, type, std::string(text.substr(4))});
    }
}

owned<SSL> connection(SSL_CTX& context, bool server) {
    owned<SSL> ssl(SSL_new(&context));
    if (ssl == nullptr) throw std::runtime_error("SSL_new failed");
    if (server)
        SSL_set_accept_state(ssl.get());
    else
        SSL_set_connect_state(ssl.get());
    return ssl;
}

std::string two_octets(std::size_t value) {
    return octets({static_cast<int>(value >> 8U), static_cast<int>(value & 0xffU)});
}

} // namespace

std::vector<extension> handshake_message::extensions() const {
    std::vector<extension> found;
    reader from(body);
    switch (type) {
    case kind::client_hello:
        from.take(2 + 32);
        from.vector(1); // session id
        from.vector(2); // cipher suites
        from.vector(1); // compression methods
        append_extensions(from, found);
        break;
    case kind::server_hello:
    case kind::hello_retry_request:
        from.take(2 + 32);
        from.vector(1);
        from.take(2 + 1);
        append_extensions(from, found);
        break;
    case kind::new_session_ticket:
        from.take(4 + 4);
        from.vector(1); // nonce
        from.vector(2); // ticket
        append_extensions(from, found);
        break;
    case kind::encrypted_extensions: append_extensions(from, found); break;
    case kind::certificate_request:
        from.vector(1); // context
        append_extensions(from, found);
        break;
    case kind::certificate: {
        from.vector(1);
        reader list(from.vector(3));
        while (!list.at_end()) {
            list.vector(3); // the certificate
            append_extensions(list, found);
        }
        break;
    }
    case kind::certificate_verify:
    case kind::finished: break;
    }
    return found;
}

std::vector<std::uint16_t> handshake_message::extension_types() const {
    std::vector<std::uint16_t> types;
    for (const extension& each : extensions()) types.push_back(each.type);
    return types;
}

std::optional<std::string> handshake_message::find(std::uint16_t wanted) const {
    for (extension& each : extensions())
        if (each.type == wanted) return std::move(each.body);
    return std::nullopt;
}

std::size_t handshake_message::certificates() const {
    reader from(body);
    from.vector(1);
    reader list(from.vector(3));
    std::size_t count = 0;
    for (; !list.at_end(); ++count) {
        list.vector(3);
        list.vector(2);
    }
    return count;
}

endpoint::endpoint(owned<SSL> connection, wire over) : ssl(std::move(connection)) {
    if (over == wire::records) {
        BIO* in = BIO_new(BIO_s_mem());
        BIO* out = BIO_new(BIO_s_mem());
        if (in == nullptr || out == nullptr) throw std::runtime_error("BIO_new failed");
        SSL_set_bio(ssl.get(), in, out);
    } else {
        crypto = std::make_unique<crypto_stream>(*ssl);
    }
    watch(ssl.get());
}

void endpoint::step() {
    if (failed) return;
    ERR_clear_error();
    int result = 1;
    if (!done) {
        result = SSL_do_handshake(ssl.get());
        done = result == 1;
    }
    char buffer[4096];
    while (done && result > 0) {
        result = SSL_read(ssl.get(), buffer, sizeof buffer);
        if (result > 0) data.append(buffer, static_cast<std::size_t>(result));
    }
    switch (SSL_get_error(ssl.get(), result)) {
    case SSL_ERROR_NONE:
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
    case SSL_ERROR_WANT_X509_LOOKUP:
    case SSL_ERROR_WANT_CLIENT_HELLO_CB:
    case SSL_ERROR_ZERO_RETURN: break;
    default:
        failed = true;
        char text[256];
        ERR_error_string_n(ERR_peek_error(), text, sizeof text);
        failure = text;
    }
    ERR_clear_error();
}

std::string endpoint::take() {
    if (crypto != nullptr) {
        if (alert_sent == no_alert) alert_sent = crypto->alert_sent;
        return crypto->take();
    }
    BIO* out = SSL_get_wbio(ssl.get());
    std::string taken(BIO_ctrl_pending(out), '\0');
    if (taken.empty()) return taken;
    const int got = BIO_read(out, taken.data(), static_cast<int>(taken.size()));
    taken.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return taken;
}

void endpoint::give(std::string_view given) {
    if (given.empty()) return;
    if (crypto != nullptr) {
        crypto->give(given);
        if (alert_received == no_alert) alert_received = crypto->alert_received;
        failed = failed || alert_received != no_alert;
        return;
    }
    if (BIO_write(SSL_get_rbio(ssl.get()), given.data(), static_cast<int>(given.size())) !=
        static_cast<int>(given.size()))
        throw std::runtime_error("BIO_write failed");
}

void transcript::watch(SSL* ssl) {
    SSL_set_msg_callback(ssl, record);
    SSL_set_msg_callback_arg(ssl, this);
}

const handshake_message* transcript::first(kind type) const {
    const auto found =
        std::find_if(messages.begin(), messages.end(), [&](const auto& each) { return each.type == type; });
    return found == messages.end() ? nullptr : &*found;
}

std::size_t transcript::count(kind type) const {
    return static_cast<std::size_t>(
        std::count_if(messages.begin(), messages.end(), [&](const auto& each) { return each.type == type; }));
}

pair::pair(SSL_CTX& server_context, SSL_CTX& client_context)
    : pair(connection(server_context, true), connection(client_context, false)) {}

pair::pair(owned<SSL> server_connection, owned<SSL> client_connection, wire over)
    : server(std::move(server_connection), over), client(std::move(client_connection), over) {}

void pair::run() {
    bool moved = true;
    while (moved) {
        client.step();
        std::string flight = client.take();
        moved = !flight.empty();
        if (to_server) to_server(flight);
        server.give(flight);

        server.step();
        flight = server.take();
        moved = moved || !flight.empty();
        if (to_client) to_client(flight);
        client.give(flight);
    }
}

bool pair::shake() {
    run();
    return client.good() && server.good();
}

void pair::close() {
    SSL_shutdown(client.ssl.get());
    SSL_shutdown(server.ssl.get());
    run();
    SSL_shutdown(client.ssl.get());
    SSL_shutdown(server.ssl.get());
    ERR_clear_error();
}

std::string octets(std::initializer_list<int> values) {
    std::string made;
    for (const int value : values) made.push_back(static_cast<char>(value));
    return made;
}

void edit_first_message(std::string& records, const std::function<void(std::string& body)>& change) {
    reader from(records);
    const std::string type_and_version(from.take(3));
    const std::string message(from.vector(2));
    reader inner(message);
    const std::string message_type(inner.take(1));
    std::string body(inner.vector(3));
    if (!inner.at_end()) throw std::runtime_error("the first record holds more than one message");
    const std::string rest = records.substr(5 + message.size());
    change(body);
    records = type_and_version + two_octets(body.size() + 4) + message_type + octets({0}) + two_octets(body.size()) +
              body + rest;
}

bool insert_extension(std::string& records, const extension& added) {
    const bool server_hello =
        records.size() > 5 && records[0] == SSL3_RT_HANDSHAKE && records[5] == SSL3_MT_SERVER_HELLO;
    if (!server_hello) return false;
    edit_first_message(records, [&](std::string& body) {
        reader from(body);
        from.take(2 + 32);
        const std::size_t start = 2 + 32 + 1 + from.vector(1).size() + 2 + 1;
        from.take(2 + 1);
        const std::string list =
            std::string(from.vector(2)) + two_octets(added.type) + two_octets(added.body.size()) + added.body;
        body = body.substr(0, start) + two_octets(list.size()) + list;
    });
    return true;
}

} // namespace support
