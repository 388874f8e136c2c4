// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "endpoint.hpp"

#include <reqauth/flags.hpp>

#include <string>
#include <variant>
#include <vector>

/// client_options is reqauth-client's command line.
struct client_options {
    endpoint connect;
    std::string server_name; ///< --servername, else the host of --connect
    std::string ca;
    std::string certificate;
    std::string key; ///< a file, or a provider's URI
    std::vector<std::string> key_providers;
    std::string other_certificate;
    std::string other_key;
    std::string offer = "auto";
    std::string on_unacknowledged;
    std::string on_unsatisfiable = "empty";
    reqauth::flag_number flag = reqauth::request_client_auth;
    reqauth::extension_type extension = reqauth::tls_flags_extension;
    std::vector<reqauth::flag_number> flags;
    bool foreign_session = false;
    std::string session_in;
    std::string session_out;
    std::string early_data;
    bool post_handshake = false;
    bool tls12 = false;
    std::vector<std::string> get;
    std::string keylog;
    bool json = false;
    bool trace = false;
};

/// read_client_options reads the command line, or gives the exit status that it ends with (--help).
/// Throws usage_error.
std::variant<client_options, int> read_client_options(int argc, char** argv);
