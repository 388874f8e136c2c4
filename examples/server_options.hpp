// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "endpoint.hpp"

#include <reqauth/flags.hpp>

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
    std::string bots_ca;
    std::string default_ca;
    std::string default_auth = "none";
    std::string on_missing = "continue";
    std::string on_invalid = "fail";
    bool beside_required = false;
    std::string crl;
    std::string ca_names = "on";
    std::int64_t session_age = 3600;
    std::string label;
    std::vector<virtual_host> vhosts;
    reqauth::flag_number flag = reqauth::request_client_auth;
    reqauth::extension_type extension = reqauth::tls_flags_extension;
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
