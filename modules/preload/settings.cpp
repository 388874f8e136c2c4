// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(settings, server, certificate, key, providers, agents, crl, require,
                                   invalid_is_anonymous, beside_required, ca_names, session_age, label, flag, extension,
                                   verbose, log)

std::string written(const settings& all) { return nlohmann::json(all).dump(); }
settings read_settings(const std::string& text) { return nlohmann::json::parse(text).get<settings>(); }

bool is_uri(const std::string& key) {
    const auto colon = key.find(':');
    return colon != std::string::npos && colon > 1 && !std::filesystem::exists(key) &&
           std::all_of(key.begin(), key.begin() + static_cast<std::ptrdiff_t>(colon), [](unsigned char each) {
               return std::isalnum(each) != 0 || each == '+' || each == '-' || each == '.';
           });
}

reqauth::client_policy client_policy_of(const settings& all) {
    reqauth::credential_options how;
    how.providers.insert(how.providers.end(), all.providers.begin(), all.providers.end());
    reqauth::client_policy policy;
    policy.credential = is_uri(all.key) ? reqauth::credential::from_uri(all.certificate, all.key, how)
                                        : reqauth::credential::from_files(all.certificate, all.key, how);
    policy.label = all.label;
    policy.flag = all.flag;
    policy.extension = all.extension;
    return policy;
}

reqauth::server_options server_options_of(const settings& all) {
    reqauth::server_options options;
    options.max_session_age = std::chrono::seconds(all.session_age);
    options.label = all.label;
    options.flag = all.flag;
    options.extension = all.extension;
    return options;
}

reqauth::server_policy server_policy_of(const settings& all) {
    auto agents = std::filesystem::is_directory(all.agents) ? reqauth::trust::from_directory(all.agents)
                                                            : reqauth::trust::from_file(all.agents);
    if (!all.crl.empty()) agents = agents.with_crls_from_file(all.crl);
    auto how = all.require ? reqauth::client_auth::require(agents) : reqauth::client_auth::request(agents);
    if (all.invalid_is_anonymous) how = how.invalid_is_anonymous();
    reqauth::server_policy policy;
    policy.when_offered = how;
    policy.ca_names = all.ca_names;
    policy.beside_customers = true;
    policy.beside_required = all.beside_required;
    return policy;
}
