// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "endpoint.hpp"

#include <reqauth/flags.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

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
    std::string ca_names = "on";
    reqauth::flag_number flag = reqauth::request_client_auth;
    reqauth::extension_type extension = reqauth::tls_flags_extension;
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
