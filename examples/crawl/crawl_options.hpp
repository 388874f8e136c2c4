// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/flags.hpp>

#include <string>
#include <variant>
#include <vector>

/// page is one URL of the list.
struct page {
    std::string url;
    std::string host; ///< in lower case, with the port where that is not 443
};

/// crawl_options is reqauth-crawl's command line.
struct crawl_options {
    std::vector<page> pages; ///< of the arguments, then of --urls
    std::vector<std::string> certificates;
    std::vector<std::string> keys; ///< each a file, or a provider's URI: one for each certificate
    std::vector<std::string> key_providers;
    std::string ca;
    std::string offer = "auto";
    std::string on_unacknowledged = "empty";
    reqauth::flag_number flag = reqauth::request_client_auth;
    reqauth::extension_type extension = reqauth::tls_flags_extension;
    unsigned parallel = 32;
    unsigned per_host = 2;
    unsigned timeout = 30; ///< seconds
    unsigned retries = 2;
    bool retry_without_flag = false;
    unsigned give_up = 3; ///< 0: never
    std::vector<std::string> resolve;
    std::string user_agent = "reqauth-crawl";
    std::string output;
    bool json = false;
};

/// read_crawl_options reads the command line and --urls, or gives the exit status that it ends with (--help).
/// Throws usage_error.
std::variant<crawl_options, int> read_crawl_options(int argc, char** argv);
