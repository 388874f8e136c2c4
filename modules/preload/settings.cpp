// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <reqauth/error.hpp>

#include <nlohmann/json.hpp>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(settings, server, certificate, key, providers, agents, crl, require,
                                   invalid_is_anonymous, beside_required, visible, ca_names, session_age, label, flag,
                                   extension, verbose, log)

std::string written(const settings& all) { return nlohmann::json(all).dump(); }
settings read_settings(const std::string& text) { return nlohmann::json::parse(text).get<settings>(); }

bool is_uri(const std::string& key) {
    const auto colon = key.find(':');
    return colon != std::string::npos && colon > 1 && !std::filesystem::exists(key) &&
           std::all_of(key.begin(), key.begin() + static_cast<std::ptrdiff_t>(colon), [](unsigned char each) {
               return std::isalnum(each) != 0 || each == '+' || each == '-' || each == '.';
           });
}

namespace {

named_text read(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::string text(std::istreambuf_iterator<char>(in), {});
    if (!in.is_open() || in.bad())
        throw std::runtime_error(file.string() + ": cannot be read: " + std::strerror(errno));
    return {file.string(), std::move(text)};
}

// The files that trust::from_directory reads, in its order.
named_text read_directory(const std::filesystem::path& directory) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
        for (const char* ending : {".pem", ".crt", ".cer", ".crl"})
            if (entry.path().extension() == ending && !entry.is_directory()) files.push_back(entry.path());
    std::ranges::sort(files);
    named_text all{directory.string(), {}};
    for (const auto& file : files) all.text += read(file).text + "\n";
    return all;
}

template <auto Free> struct freed {
    template <class Object> void operator()(Object* object) const noexcept { Free(object); }
};

reqauth::credential credential_of(pinned& files, const reqauth::credential_options& how) {
    const auto fail = [](const named_text& file, const char* what) {
        throw reqauth::error(reqauth::errc::malformed, file.name + ": " + what, "did it change meanwhile?");
    };
    const auto opened = [](const named_text& file) {
        return std::unique_ptr<BIO, freed<BIO_free>>(
            BIO_new_mem_buf(file.text.data(), static_cast<int>(file.text.size())));
    };
    const auto nobody = [](char*, int, int, void*) { return -1; };
    const auto in = opened(files.certificate);
    std::vector<std::unique_ptr<X509, freed<X509_free>>> certificates;
    while (in != nullptr) {
        certificates.emplace_back(PEM_read_bio_X509(in.get(), nullptr, nobody, nullptr));
        if (certificates.back() == nullptr) break;
    }
    if (certificates.size() < 2) fail(files.certificate, "there is no certificate in it");
    certificates.pop_back();
    const auto key_in = opened(files.key);
    const std::unique_ptr<EVP_PKEY, freed<EVP_PKEY_free>> key(
        key_in != nullptr ? PEM_read_bio_PrivateKey(key_in.get(), nullptr, nobody, nullptr) : nullptr);
    OPENSSL_cleanse(files.key.text.data(), files.key.text.size());
    ERR_clear_error();
    if (key == nullptr) fail(files.key, "the private key cannot be read");
    std::vector<X509*> chain;
    for (std::size_t i = 1; i < certificates.size(); ++i) chain.push_back(certificates[i].get());
    return reqauth::credential::from_objects(*certificates.front(), *key, chain, how);
}

reqauth::credential_options credential_options_of(const settings& all) {
    reqauth::credential_options how;
    how.providers.insert(how.providers.end(), all.providers.begin(), all.providers.end());
    return how;
}

reqauth::client_policy client_policy_of(const settings& all, reqauth::credential mine) {
    reqauth::client_policy policy;
    policy.credential = std::move(mine);
    policy.label = all.label;
    policy.flag = all.flag;
    policy.extension = all.extension;
    return policy;
}

reqauth::server_policy server_policy_of(const settings& all, const reqauth::trust& agents) {
    auto how = all.require ? reqauth::client_auth::require(agents) : reqauth::client_auth::request(agents);
    if (all.invalid_is_anonymous) how = how.invalid_is_anonymous();
    reqauth::server_policy policy;
    policy.when_offered = how;
    policy.ca_names = all.ca_names;
    // The program sees no agent's certificate, or whoever runs it has vouched for it by --visible.
    policy.beside_customers = true;
    policy.beside_required = all.beside_required;
    return policy;
}

} // namespace

pinned pin(const settings& all) {
    pinned files;
    if (all.server) {
        files.agents = std::filesystem::is_directory(all.agents) ? read_directory(all.agents) : read(all.agents);
        if (!all.crl.empty()) files.crl = read(all.crl);
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
    return client_policy_of(all, credential_of(files, credential_options_of(all)));
}

reqauth::server_options server_options_of(const settings& all) {
    reqauth::server_options options;
    options.max_session_age = std::chrono::seconds(all.session_age);
    options.label = all.label;
    options.flag = all.flag;
    options.extension = all.extension;
    // An SSL_CTX that was just made has none yet: it is looked at before its first connection.
    options.certificate_is_chosen_by_callback = true;
    return options;
}

reqauth::server_policy server_policy_of(const settings& all) {
    auto agents = std::filesystem::is_directory(all.agents) ? reqauth::trust::from_directory(all.agents)
                                                            : reqauth::trust::from_file(all.agents);
    if (!all.crl.empty()) agents = agents.with_crls_from_file(all.crl);
    return server_policy_of(all, agents);
}

reqauth::server_policy server_policy_of(const settings& all, const pinned& files) {
    auto agents = reqauth::trust::from_pem(files.agents.text, files.agents.name);
    if (!all.crl.empty()) agents = agents.with_crls(files.crl.text, files.crl.name);
    return server_policy_of(all, agents);
}
