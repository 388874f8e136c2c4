// SPDX-License-Identifier: Apache-2.0
#pragma once

// One connection over a pair of BIOs, in one thread, each side's work counted apart.

#include "meter.hpp"

#include "support/owned.hpp"

#include <functional>

namespace bench {

using support::owned;

/// side is one end of a connection, and what it has taken so far.
struct side {
    owned<SSL> ssl;
    heap spent;
    std::uint64_t flights = 0; ///< times that it wrote something
    bool done = false;
};

class conversation {
public:
    enum class count { none, server, client };

    /// What callgrind counts is `counted`'s work, from SSL_new on.
    conversation(SSL_CTX& server, SSL_CTX& client, SSL_SESSION* session = nullptr, count counted = count::none);

    /// run goes on until nothing moves, and throws where the handshake fails.
    void run();

    /// turn has one side go on as far as it can without the other.
    void turn(side& who);

    /// work counts what `does` does as that side's.
    void work(side& who, const std::function<void()>& does);

    /// close frees both.
    void close();

    [[nodiscard]] std::uint64_t to_server() const { return BIO_number_written(client_end_.get()); }
    [[nodiscard]] std::uint64_t to_client() const { return BIO_number_written(server_end_.get()); }

    side server;
    side client;

private:
    void shake(side& who);
    owned<BIO> server_end_;
    owned<BIO> client_end_;
    count counted_;
};

} // namespace bench
