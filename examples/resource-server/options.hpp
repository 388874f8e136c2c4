// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "endpoint.hpp"
#include "settings/settings.hpp"

#include <reqauth/oauth.hpp>

#include <optional>
#include <string>
#include <variant>
#include <vector>

/// resource_options is resource-server's command line.
struct resource_options {
    endpoint listen{"127.0.0.1", "8443"};
    std::string certificate;
    std::string key;
    reqauth_settings::settings agents;
    std::string token_key;
    std::string token_algorithm = "ES256";
    std::string issuer;
    std::string audience;
    std::string unbound; ///< there is no default
    std::string on_missing = "invalid_token";
    std::optional<endpoint> proxy_listen;
    std::string proxies_ca;
    std::vector<reqauth::oauth::thumbprint> proxies;
    bool json = false;
};

/// read_resource_options reads the command line, or gives the exit status that it ends with (--help).
/// Throws usage_error.
std::variant<resource_options, int> read_resource_options(int argc, char** argv);
