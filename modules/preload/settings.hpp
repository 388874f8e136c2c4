// SPDX-License-Identifier: Apache-2.0
#pragma once

// What reqauth-exec was told, and how the library that it preloads learns of it: by an environment variable, so that
// the programs which a program starts have it, too. Paths and URIs alone: never a key, nor a PIN.

#include <reqauth/client.hpp>
#include <reqauth/server.hpp>

#include <string>
#include <vector>

struct settings {
    bool server = false;

    // A client's. All paths are absolute: programs change their directory.
    std::string certificate;
    std::string key; ///< a file, or a provider's URI
    std::vector<std::string> providers;

    // A server's.
    std::string agents; ///< a file or a directory
    std::string crl;
    bool require = false;
    bool invalid_is_anonymous = false;
    bool beside_required = false;
    bool visible = false; ///< the program sees agents' certificates
    bool ca_names = true;
    unsigned session_age = 3600;

    std::string label;
    reqauth::flag_number flag = reqauth::request_client_auth;
    reqauth::extension_type extension = reqauth::tls_flags_extension;

    bool verbose = false;
    std::string log;
};

/// written and read_settings are one another's inverse. read_settings throws std::exception.
std::string written(const settings& all);
settings read_settings(const std::string& text);

/// is_uri tells "pkcs11:object=me" from a file.
bool is_uri(const std::string& key);

/// named_text is a file's octets, and what it is called.
struct named_text {
    std::string name;
    std::string text;
};

/// pinned is what the files had in them when the program had not run yet. The key is not kept once it was read.
struct pinned {
    named_text certificate;
    named_text key; ///< empty where it is a provider's
    named_text agents;
    named_text crl;
};

/// pin reads the files. Throws std::exception, naming the file.
pinned pin(const settings& all);

/// These load them. They throw reqauth::error.
reqauth::client_policy client_policy_of(const settings& all);
reqauth::client_policy client_policy_of(const settings& all, pinned& files);
reqauth::server_options server_options_of(const settings& all);
reqauth::server_policy server_policy_of(const settings& all);
reqauth::server_policy server_policy_of(const settings& all, const pinned& files);
