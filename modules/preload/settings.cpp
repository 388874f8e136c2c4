// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <reqauth/error.hpp>

#include <nlohmann/json.hpp>
#include <openssl/crypto.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

template <> inline constexpr auto reqauth::detail::description<settings> =
    described<settings>(setting("table", &settings::of), setting("server", &settings::server),
                        setting("certificate", &settings::certificate), setting("key", &settings::key),
                        setting("providers", &settings::providers), setting("visible", &settings::visible),
                        setting("danger_unproven_servers", &settings::danger_unproven_servers),
                        setting("on_unacknowledged", &settings::on_unacknowledged),
                        setting("retry_without_flag", &settings::retry_without_flag),
                        setting("verbose", &settings::verbose), setting("log", &settings::log));

namespace reqauth_settings {

static void to_json(nlohmann::json& out, const settings& all) {
    for (std::size_t row = 0; row < std::size(table); ++row) out.push_back(said(all, row));
}

static void from_json(const nlohmann::json& in, settings& all) {
    for (std::size_t row = 0; row < std::size(table); ++row)
        if (const auto words = in.at(row).get<std::string>(); !words.empty()) set(all, row, words);
}

} // namespace reqauth_settings

std::string written(const settings& all) {
    nlohmann::json out;
    reqauth::detail::for_each_setting(all, [&](const auto& one, const auto& value) { out[one.name] = value; });
    return out.dump();
}

settings read_settings(const std::string& text) {
    const auto in = nlohmann::json::parse(text);
    settings all;
    reqauth::detail::for_each_setting(all, [&](const auto& one, auto& value) { in.at(one.name).get_to(value); });
    return all;
}

bool is_uri(const std::string& key) {
    const auto colon = key.find(':');
    return colon != std::string::npos && colon > 1 && !std::filesystem::exists(key) &&
           std::all_of(key.begin(), key.begin() + static_cast<std::ptrdiff_t>(colon), [](unsigned char each) {
               return std::isalnum(each) != 0 || each == '+' || each == '-' || each == '.';
           });
}

namespace {

using reqauth::named_text;

named_text read(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::string text(std::istreambuf_iterator<char>(in), {});
    if (!in.is_open() || in.bad())
        throw std::runtime_error(file.string() + ": cannot be read: " + std::strerror(errno));
    return {file.string(), std::move(text)};
}

// The files that trust::from_directory reads, in its order.
std::vector<named_text> read_directory(const std::filesystem::path& directory) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
        for (const char* ending : {".pem", ".crt", ".cer", ".crl", ".der"})
            if (entry.path().extension() == ending && !entry.is_directory()) files.push_back(entry.path());
    std::ranges::sort(files);
    std::vector<named_text> all;
    for (const auto& file : files) all.push_back(read(file));
    return all;
}

reqauth::credential_options credential_options_of(const settings& all) {
    reqauth::credential_options how;
    how.providers.insert(how.providers.end(), all.providers.begin(), all.providers.end());
    return how;
}

reqauth::client_policy client_policy_of(const settings& all, reqauth::credential mine) {
    reqauth::client_policy policy;
    policy.credential = std::move(mine);
    policy.danger_unproven_servers = all.danger_unproven_servers;
    policy.when_unacknowledged = all.on_unacknowledged == "flag"    ? reqauth::unacknowledged::present
                                 : all.on_unacknowledged == "empty" ? reqauth::unacknowledged::empty
                                                                    : reqauth::unacknowledged::as_before;
    const reqauth::server_options numbers = options_of(all.of);
    policy.label = numbers.label;
    policy.flag = numbers.flag;
    policy.extension = numbers.extension;
    return policy;
}

} // namespace

pinned pin(const settings& all) {
    pinned files;
    if (all.server) {
        files.agents = std::filesystem::is_directory(all.of.agents) ? read_directory(all.of.agents)
                                                                    : std::vector{read(all.of.agents)};
        if (!all.of.crl.empty()) files.crl = read(all.of.crl);
        if (!all.of.admitted.empty()) files.admitted = read(all.of.admitted);
    } else if (!is_uri(all.key)) {
        files.certificate = read(all.certificate);
        files.key = read(all.key);
    }
    return files;
}

reqauth::client_policy client_policy_of(const settings& all) {
    const auto how = credential_options_of(all);
    return client_policy_of(all, is_uri(all.key) ? reqauth::credential::from_uri(all.certificate, all.key, how)
                                                 : reqauth::credential::from_files(all.certificate, all.key, how));
}

reqauth::client_policy client_policy_of(const settings& all, pinned& files) {
    if (files.key.name.empty()) return client_policy_of(all); // a provider's
    struct cleansed {
        std::string& text;
        ~cleansed() { OPENSSL_cleanse(text.data(), text.size()); }
    } const at_the_end{files.key.text};
    return client_policy_of(all,
                            reqauth::credential::from_texts(files.certificate, files.key, credential_options_of(all)));
}

reqauth::server_options server_options_of(const settings& all) {
    reqauth::server_options options = options_of(all.of);
    // An SSL_CTX that was just made has none yet: it is looked at before its first connection.
    options.certificate_is_chosen_by_callback = true;
    return options;
}

reqauth::server_policy server_policy_of(const settings& all) { return policy_of(all.of, load(all.of)); }

reqauth::server_policy server_policy_of(const settings& all, const pinned& files) {
    auto agents = reqauth::trust::from_texts(files.agents);
    if (!all.of.crl.empty()) agents = agents.with_crls(files.crl.text, files.crl.name);
    if (!all.of.admitted.empty()) agents = agents.with_admitted(files.admitted.text, files.admitted.name);
    return policy_of(all.of, agents);
}
