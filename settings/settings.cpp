// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace reqauth_settings {

namespace {

using reqauth::errc;

template <class... Functions> struct overloaded : Functions... { using Functions::operator()...; };
template <class... Functions> overloaded(Functions...) -> overloaded<Functions...>;

bool same_word(std::string_view a, std::string_view b) {
    const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return std::ranges::equal(a, b, {}, small, small);
}

// An error within is one about that setting.
template <class Body> auto of_setting(std::size_t row, Body&& body) {
    try {
        return body();
    } catch (const reqauth::error& failed) {
        throw wrong(row, failed);
    }
}

} // namespace

std::string said(const settings& all, std::size_t row) {
    return std::visit(overloaded{[&](const choice& of) { return std::string(all.*of.field ? of.yes : of.no); },
                                 [&](const use& of) { return std::string(to_string(all.*of.field)); },
                                 [&](const number& of) {
                                     return all.*of.field == not_said ? std::string() : std::to_string(all.*of.field);
                                 },
                                 [&](const auto& of) { return all.*of.field; }},
                      table[row].kind);
}

std::string takes(std::size_t row) {
    return std::visit(
        overloaded{[](const choice& of) { return of.yes + std::string(" or ") + of.no; },
                   [](const use&) { return std::string("client, server or any"); },
                   [](const number& of) { return of.what + std::string(", 0 to ") + std::to_string(of.most); },
                   [](const path&) { return std::string("a path"); },
                   [](const text&) { return std::string("a text"); }},
        table[row].kind);
}

void set(settings& all, std::size_t row, std::string_view words) {
    const bool taken = std::visit(
        overloaded{
            [&](const choice& of) {
                all.*of.field = same_word(words, of.yes);
                return all.*of.field || same_word(words, of.no);
            },
            [&](const use& of) {
                for (const auto each : {reqauth::purpose::client, reqauth::purpose::server, reqauth::purpose::any})
                    if (same_word(words, to_string(each))) {
                        all.*of.field = each;
                        return true;
                    }
                return false;
            },
            [&](const number& of) {
                const char* end = words.data() + words.size();
                const auto read = std::from_chars(words.data(), end, all.*of.field);
                return read.ec == std::errc() && read.ptr == end && all.*of.field <= of.most;
            },
            [&](const auto& of) {
                all.*of.field = words;
                return true;
            }},
        table[row].kind);
    if (!taken)
        throw wrong(row,
                    reqauth::error(errc::out_of_range, "takes " + takes(row) + ", not \"" + std::string(words) + '"'));
}

std::string in_words(std::string text, const char* (*spelled)(std::size_t)) {
    for (std::size_t each = 0; each < std::size(table); ++each) {
        const std::string_view name = table[each].name;
        if (name.find('_') == name.npos) continue; // a word as any other
        const std::string_view spelling = spelled(each);
        for (auto at = text.find(name); at != text.npos; at = text.find(name, at + spelling.size()))
            text.replace(at, name.size(), spelling);
    }
    return text;
}

std::string in_words(const reqauth::error& what, const char* (*spelled)(std::size_t)) {
    constexpr std::pair<errc, const char*> remedies[] = {
        {errc::shared_anchor, "take it out of one of the two"},
        {errc::unsuitable_context,
         "allow TLS 1.3, and give a certificate and its key that it can use, as of P-256, RSA or Ed25519"},
        {errc::provider, "if it never asks, name it with --key-provider"},
    };
    const auto* own = std::ranges::find(remedies, what.code(), &std::pair<errc, const char*>::first);
    const std::string remedy = own != std::end(remedies) ? own->second : what.remedy();
    return in_words(what.cause() + (remedy.empty() ? "" : "; " + remedy), spelled);
}

reqauth::trust load(const settings& all, std::optional<reqauth::trust> anchors) {
    if (!anchors && all.agents.empty() && all.unvouched) anchors = reqauth::trust::nobody();
    if (!anchors)
        anchors = of_setting(row("agents"), [&] {
            std::error_code none;
            if (all.agents.empty())
                throw reqauth::error(errc::holds_nothing, "no CA of agents is given",
                                     "name a PEM file or a directory with their CAs");
            return std::filesystem::is_directory(all.agents, none) ? reqauth::trust::from_directory(all.agents)
                                                                   : reqauth::trust::from_file(all.agents);
        });
    if (!all.crl.empty()) anchors = of_setting(row("crl"), [&] { return anchors->with_crls_from_file(all.crl); });
    if (all.admitted.empty()) return *anchors;
    return of_setting(row("admitted"), [&] { return anchors->with_admitted_from_file(all.admitted); });
}

reqauth::server_policy policy_of(const settings& all, const reqauth::trust& agents) {
    const auto for_purpose = all.purpose != reqauth::purpose::client ? agents.with_purpose(all.purpose) : agents;
    const auto trust = all.verify_depth != not_said
                           ? for_purpose.with_depth(static_cast<std::uint16_t>(all.verify_depth))
                           : for_purpose;
    reqauth::server_policy policy;
    policy.when_offered =
        all.missing_fails ? reqauth::client_auth::require(trust) : reqauth::client_auth::request(trust);
    if (all.unvouched) policy.when_offered = policy.when_offered.or_unvouched();
    if (all.invalid_continues) policy.when_offered = policy.when_offered.invalid_is_anonymous();
    of_setting(row("invalid"), [&] { policy.when_offered.check(); });
    policy.ca_names = all.ca_names;
    policy.beside_customers = true;
    policy.beside_required = all.beside_required;
    policy.cross_signed = all.cross_signed;
    return policy;
}

reqauth::server_options options_of(const settings& all) {
    reqauth::server_options options;
    options.max_session_age = std::chrono::seconds(all.session_age);
    options.label = all.label;
    options.flag = static_cast<reqauth::flag_number>(all.flag);
    options.extension = static_cast<reqauth::extension_type>(all.extension);
    return options;
}

} // namespace reqauth_settings
