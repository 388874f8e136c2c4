// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

namespace support {

/// sockets are two that are connected, by TCP. The client's end is connected to 127.0.0.1.
struct sockets {
    sockets() {
        const int listening = socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* where = reinterpret_cast<sockaddr*>(&address);
        client = socket(AF_INET, SOCK_STREAM, 0);
        const bool connected = bind(listening, where, size) == 0 && listen(listening, 1) == 0 &&
                               getsockname(listening, where, &size) == 0 && connect(client, where, size) == 0;
        if (connected) server = accept(listening, nullptr, nullptr);
        close(listening);
        if (server < 0) throw std::runtime_error("two sockets cannot be connected");
    }
    sockets(const sockets&) = delete;
    sockets& operator=(const sockets&) = delete;
    ~sockets() {
        close(client);
        if (server >= 0) close(server);
    }
    /// reset ends the connection at once, from the server's side.
    void reset() {
        const linger at_once{1, 0};
        setsockopt(server, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(std::exchange(server, -1));
    }
    int client = -1;
    int server = -1;
};

} // namespace support
