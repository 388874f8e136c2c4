// SPDX-License-Identifier: Apache-2.0
#pragma once

// What nginx's and Apache's variables and logs say of an agent, in one spelling for both.

#include <reqauth/error.hpp>
#include <reqauth/http.hpp>
#include <reqauth/peer.hpp>

#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

namespace reqauth_modules {

/// hexadecimal writes a fingerprint in small letters.
inline std::string hexadecimal(const std::array<std::uint8_t, 32>& octets) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t octet : octets) {
        text += digits[octet >> 4U];
        text += digits[octet & 15U];
    }
    return text;
}

/// end_of writes the end of a certificate as 2027-01-31T12:00:00Z. Not by not_after(): its clock ends before the year 9999,
/// which stands for "for ever".
inline std::string end_of(const reqauth::flagged_peer& agent) {
    std::tm parts{};
    std::array<char, 32> text{};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(&agent.certificate()), &parts) != 1) return {};
    return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

/// names_of gives the subjectAltNames of one kind, with commas between them: no value has one.
template <reqauth::subject_alt_name::kind wanted> std::string names_of(const reqauth::flagged_peer& agent) {
    std::string text;
    for (const auto& name : agent.alt_names())
        if (name.type == wanted) text += (text.empty() ? "" : ",") + name.value;
    return text;
}

/// variable is one of nginx's and one of Apache's that say the same.
template <class Certificate> struct variable {
    const char* nginx;
    const char* apache;
    std::string (*text)(const Certificate&);
};

/// agent_variables are those that a verified agent has, presented_variables those of a certificate that did not verify, and was let pass.
inline constexpr variable<reqauth::flagged_peer> agent_variables[] = {
    {"reqauth_subject", "REQAUTH_SUBJECT", [](auto& agent) { return agent.subject(); }},
    {"reqauth_issuer", "REQAUTH_ISSUER", [](auto& agent) { return agent.issuer(); }},
    {"reqauth_serial", "REQAUTH_SERIAL", [](auto& agent) { return agent.serial(); }},
    {"reqauth_not_after", "REQAUTH_NOT_AFTER", end_of},
    {"reqauth_san_dns", "REQAUTH_SAN_DNS", names_of<reqauth::subject_alt_name::kind::dns>},
    {"reqauth_san_uri", "REQAUTH_SAN_URI", names_of<reqauth::subject_alt_name::kind::uri>},
    {"reqauth_fingerprint", "REQAUTH_FINGERPRINT", [](auto& agent) { return hexadecimal(agent.thumbprint()); }},
    {"reqauth_resumed", "REQAUTH_RESUMED", [](auto& agent) { return std::string(agent.resumed() ? "1" : "0"); }},
};
inline constexpr variable<reqauth::presented_certificate> presented_variables[] = {
    {"reqauth_presented_subject", "REQAUTH_PRESENTED_SUBJECT", [](auto& shown) { return shown.subject; }},
    {"reqauth_presented_issuer", "REQAUTH_PRESENTED_ISSUER", [](auto& shown) { return shown.issuer; }},
    {"reqauth_presented_serial", "REQAUTH_PRESENTED_SERIAL", [](auto& shown) { return shown.serial; }},
    {"reqauth_presented_not_before", "REQAUTH_PRESENTED_NOT_BEFORE", [](auto& shown) { return shown.not_before; }},
    {"reqauth_presented_not_after", "REQAUTH_PRESENTED_NOT_AFTER", [](auto& shown) { return shown.not_after; }},
    {"reqauth_presented_fingerprint", "REQAUTH_PRESENTED_FINGERPRINT",
     [](auto& shown) { return hexadecimal(shown.thumbprint); }},
    {"reqauth_presented_depth", "REQAUTH_PRESENTED_DEPTH", [](auto& shown) { return std::to_string(shown.depth); }},
    {"reqauth_presented_failed", "REQAUTH_PRESENTED_FAILED", [](auto& shown) { return shown.failed; }},
    {"reqauth_presented_because", "REQAUTH_PRESENTED_BECAUSE", [](auto& shown) { return shown.because; }},
};

/// refusal_of says in one line for a log whom a failed handshake refused, at which server name, and why.
inline std::string refusal_of(const SSL& ssl, const std::optional<reqauth::presented_certificate>& what, int alert) {
    const char* name = SSL_get_servername(&ssl, TLSEXT_NAMETYPE_host_name);
    std::string text = "refused a client with the flag, ";
    // An error log's line ends at 2,048 octets in nginx, with the client's address at its end.
    constexpr std::size_t most = 120;
    text += name != nullptr ? "server name " + reqauth::quoted(std::string_view(name).substr(0, most))
                            : "without a server name";
    if (what) return text + ": " + to_string(*what);
    if (alert == SSL_AD_CERTIFICATE_REQUIRED) return text + ": it presented no certificate";
    return text + ": no certificate that can be read came, alert " + reqauth::alert_name(alert);
}

} // namespace reqauth_modules
