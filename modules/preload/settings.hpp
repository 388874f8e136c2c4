// SPDX-License-Identifier: Apache-2.0
#pragma once

// What reqauth-exec was told, and how the library that it preloads learns of it: by an environment variable, so that
// the programs which a program starts have it, too. Paths and URIs alone: never a key, nor a PIN.

#include "settings/settings.hpp"

#include <reqauth/client.hpp>
#include <reqauth/server.hpp>

#include <string>
#include <vector>

struct settings {
    reqauth_settings::settings of; ///< what the table has: a client's label, flag and extension, and all of a server's
    bool server = false;

    // A client's. All paths are absolute: programs change their directory.
    std::string certificate;
    std::string key; ///< a file, or a provider's URI
    std::vector<std::string> providers;

    bool visible = false; ///< the program sees agents' certificates
    bool danger_unproven_servers = false;
    std::string on_unacknowledged = "other"; ///< empty, other or flag
    bool retry_without_flag = false;
    bool verbose = false;
    std::string log;
};

/// written and read_settings are one another's inverse. read_settings throws std::exception.
std::string written(const settings& all);
settings read_settings(const std::string& text);

/// is_uri tells "pkcs11:object=me" from a file.
bool is_uri(const std::string& key);

/// pinned is what the files had in them when the program had not run yet. The key is not kept once it was read.
struct pinned {
    reqauth::named_text certificate;
    reqauth::named_text key; ///< empty where it is a provider's
    std::vector<reqauth::named_text> agents;
    reqauth::named_text crl;
    reqauth::named_text admitted;
};

/// pin reads the files. Throws std::exception, naming the file.
pinned pin(const settings& all);

/// These load them. They throw reqauth::error. A server's program sees no agent's certificate, or whoever runs it has
/// vouched for it by --visible: so the policy lets agents in beside customers.
reqauth::client_policy client_policy_of(const settings& all);
reqauth::client_policy client_policy_of(const settings& all, pinned& files);
reqauth::server_options server_options_of(const settings& all);
reqauth::server_policy server_policy_of(const settings& all);
reqauth::server_policy server_policy_of(const settings& all, const pinned& files);
