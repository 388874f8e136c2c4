// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "endpoint.hpp"

#include "settings/settings.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// virtual_host is one --vhost: a server name, and the directory with its files.
struct virtual_host {
    std::string name;
    std::string directory;
};

/// server_options is reqauth-server's command line.
struct server_options {
    endpoint listen{"127.0.0.1", "8443"};
    std::string certificate;
    std::string key;
    reqauth_settings::settings agents; ///< what the table of settings has
    std::string customers_ca;
    std::string customers_auth = "none";
    std::vector<virtual_host> vhosts;
    std::string ticket_key;
    bool no_tickets = false;
    std::uint32_t early_data = 0;
    bool post_handshake = false;
    bool tls12 = false;
    unsigned threads = 1;
    std::optional<std::uint64_t> max_connections;
    std::string keylog;
    bool json = false;
    bool trace = false;
};

/// read_server_options reads the command line, or gives the exit status that it ends with (--help).
/// Throws usage_error.
std::variant<server_options, int> read_server_options(int argc, char** argv);
