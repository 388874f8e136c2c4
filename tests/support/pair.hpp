// SPDX-License-Identifier: Apache-2.0
#pragma once

// Two endpoints of a TLS connection in memory, with what each saw: every handshake message in the
// clear, and every alert.

#include "support/owned.hpp"
#include "support/quic.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace support {

struct extension {
    std::uint16_t type;
    std::string body;
    friend bool operator==(const extension&, const extension&) = default;
};

/// kind is a handshake message's type on the wire. A HelloRetryRequest is a ServerHello there and has
/// a number of its own here.
enum class kind : int {
    client_hello = 1,
    server_hello = 2,
    new_session_ticket = 4,
    encrypted_extensions = 8,
    certificate = 11,
    certificate_request = 13,
    certificate_verify = 15,
    finished = 20,
    hello_retry_request = 256 + 2,
};

struct handshake_message {
    bool sent; ///< by the endpoint that recorded it
    kind type;
    std::string body;

    /// extensions are the message's; those of all entries of a TLS 1.3 Certificate.
    [[nodiscard]] std::vector<extension> extensions() const;
    [[nodiscard]] std::vector<std::uint16_t> extension_types() const;
    /// find gives an extension's body.
    [[nodiscard]] std::optional<std::string> find(std::uint16_t type) const;
    /// certificates is how many a TLS 1.3 Certificate holds.
    [[nodiscard]] std::size_t certificates() const;
};

/// wire is what carries a handshake: records, or an event loop of QUIC.
enum class wire { records, quic };
/// transcript is what an SSL saw: every handshake message in the clear, and alerts.
class transcript {
public:
    static constexpr int no_alert = -1;

    /// watch has it written, as long as the SSL is there.
    void watch(SSL* ssl);

    /// first finds the first message of a type, whoever sent it; none: it never came.
    [[nodiscard]] const handshake_message* first(kind type) const;
    [[nodiscard]] std::size_t count(kind type) const;

    int alert_sent = no_alert;
    int alert_received = no_alert;
    std::vector<handshake_message> messages;
};

class endpoint : public transcript {
public:
    explicit endpoint(owned<SSL> connection, wire over = wire::records);
    endpoint(const endpoint&) = delete;
    endpoint& operator=(const endpoint&) = delete;

    /// step goes on with the handshake and, after it, reads until nothing is left to read.
    void step();

    /// take gives what the endpoint wrote; give lets it read that.
    [[nodiscard]] std::string take();
    void give(std::string_view octets);

    [[nodiscard]] bool good() const { return done && !failed; }

    std::unique_ptr<crypto_stream> crypto; ///< null: it goes by records
    owned<SSL> ssl;
    bool done = false;   ///< the handshake ended well, as far as this side can tell
    bool failed = false; ///< then, or later
    std::string failure; ///< OpenSSL's words
    std::string data;    ///< application data received
};

/// pair is a client and a server, and the wire between them.
class pair {
public:
    pair(SSL_CTX& server_context, SSL_CTX& client_context);
    pair(owned<SSL> server_connection, owned<SSL> client_connection, wire over = wire::records);

    /// run lets both go on until nothing moves.
    void run();

    /// shake runs, and says whether both sides ended well.
    bool shake();

    /// close sends close_notify both ways, as well-behaved applications do.
    void close();

    endpoint server;
    endpoint client;

    /// If set, these see and change what goes over the wire.
    std::function<void(std::string& octets)> to_client;
    std::function<void(std::string& octets)> to_server;
};

/// octets makes a string of them.
std::string octets(std::initializer_list<int> values);

/// edit_first_message gives the body of the handshake message in the first record to `change`, and
/// corrects the lengths around it. `records` starts with a record that holds one whole message.
void edit_first_message(std::string& records, const std::function<void(std::string& body)>& change);

/// insert_extension adds an extension to the ServerHello or HelloRetryRequest that `records` starts
/// with; other octets stay as they are. Says whether there was one.
bool insert_extension(std::string& records, const extension& added);

} // namespace support
