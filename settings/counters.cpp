// SPDX-License-Identifier: Apache-2.0
#include "counters.hpp"

#include <openssl/x509.h>

#include <string_view>

namespace reqauth_settings {

namespace {

using label = std::pair<std::string_view, std::string>;

std::string escaped(std::string_view value) {
    std::string text;
    for (const char each : value) {
        if (each == '\\' || each == '"') text += '\\';
        text += each == '\n' ? std::string("\\n") : std::string(1, each);
    }
    return text;
}

std::string line(const char* name, const std::string& server, std::vector<label> labels, std::uint64_t value) {
    if (!server.empty()) labels.insert(labels.begin(), {"server", server});
    std::string text;
    for (const auto& [what, is] : labels)
        text += (text.empty() ? "" : ",") + std::string(what) + "=\"" + escaped(is) + '"';
    return name + (text.empty() ? text : '{' + text + '}') + ' ' + std::to_string(value) + '\n';
}

std::string lines(const counter& of, const one_server& server) {
    const auto& [name, all] = server;
    std::string text;
    if (const auto* one = std::get_if<0>(&of.field)) return line(of.name, name, {}, all.*(*one));
    if (const auto* reasons = std::get_if<1>(&of.field)) {
        for (std::size_t i = 0; i < (all.*(*reasons)).size(); ++i)
            text += line(of.name, name, {{"reason", std::string(to_string(static_cast<reqauth::reason>(i)))}},
                         (all.*(*reasons))[i]);
        return text;
    }
    const auto& errors = all.*std::get<2>(of.field);
    for (std::size_t i = 0; i < errors.size(); ++i)
        if (errors[i] != 0)
            text += line(of.name, name,
                         {{"code", std::to_string(i)}, {"error", X509_verify_cert_error_string(static_cast<long>(i))}},
                         errors[i]);
    return text;
}

} // namespace

std::string metrics(const std::vector<one_server>& servers) {
    std::string text;
    for (const counter& each : counters) {
        text += std::string("# HELP ") + each.name + ' ' + each.help + "\n# TYPE " + each.name + " counter\n";
        for (const one_server& server : servers) text += lines(each, server);
    }
    return text;
}

} // namespace reqauth_settings
