// SPDX-License-Identifier: Apache-2.0
#include "load_credential.hpp"

#include "command_line.hpp"
#include "settings/command_line.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>

namespace {

/// is_uri tells "pkcs11:object=me" from a file.
bool is_uri(const std::string& key) {
    const auto colon = key.find(':');
    return colon != std::string::npos && colon > 1 && !std::filesystem::exists(key) &&
           std::all_of(key.begin(), key.begin() + static_cast<std::ptrdiff_t>(colon), [](unsigned char each) {
               return std::isalnum(each) != 0 || each == '+' || each == '-' || each == '.';
           });
}

} // namespace

reqauth::credential load_credential(const std::string& certificate, const std::string& key,
                                    const std::vector<std::string>& providers) {
    reqauth::credential_options how;
    how.providers.insert(how.providers.end(), providers.begin(), providers.end());
    try {
        return is_uri(key) ? reqauth::credential::from_uri(certificate, key, how)
                           : reqauth::credential::from_files(certificate, key, how);
    } catch (const reqauth::error& error) {
        throw usage_error(reqauth_settings::in_words(error, {{"--cert", certificate}, {"--key", key}}));
    }
}
