// SPDX-License-Identifier: Apache-2.0
#include "support/client_hello.hpp"

#include "support/owned.hpp"

#include <stdexcept>

namespace support {

namespace {

std::string number(std::size_t octets, std::size_t value) {
    std::string text;
    while (octets-- > 0) text += static_cast<char>(value >> 8U * octets & 0xffU);
    return text;
}
std::string sized(std::size_t octets, const std::string& body) { return number(octets, body.size()) + body; }

std::string in_records(const std::string& message) {
    std::string records;
    for (std::size_t at = 0; at < message.size(); at += SSL3_RT_MAX_PLAIN_LENGTH)
        records += "\x16\x03\x01" + sized(2, message.substr(at, SSL3_RT_MAX_PLAIN_LENGTH));
    return records;
}

} // namespace

std::string x25519_share() {
    const owned<EVP_PKEY> key(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
    std::string octets(32, '\0');
    std::size_t size = octets.size();
    if (EVP_PKEY_get_raw_public_key(key.get(), reinterpret_cast<unsigned char*>(octets.data()), &size) != 1)
        throw std::runtime_error("no key");
    return number(2, 29) + sized(2, octets);
}

std::string client_hello(const client_hello_shape& about, const std::string& random,
                         const std::optional<std::string>& share) {
    std::string extensions;
    const auto add = [&](unsigned int type, const std::string& body) {
        extensions += number(2, type) + sized(2, body);
    };
    add(TLSEXT_TYPE_supported_versions, sized(1, number(2, TLS1_3_VERSION)));
    add(TLSEXT_TYPE_signature_algorithms, sized(2, number(2, 0x0403) + number(2, 0x0804)));
    add(TLSEXT_TYPE_psk_kex_modes, sized(1, number(1, 1)));
    if (share) {
        add(TLSEXT_TYPE_supported_groups, sized(2, number(2, 29)));
        add(TLSEXT_TYPE_key_share, sized(2, *share));
    }
    if (!about.flags.empty()) add(62, about.flags);
    if (about.server_name > 0)
        add(TLSEXT_TYPE_server_name, sized(2, number(1, 0) + sized(2, std::string(about.server_name, 'a'))));
    if (about.alpn > 0) {
        std::string names;
        for (std::size_t i = 0; i < about.alpn; ++i) names += sized(1, "h");
        add(TLSEXT_TYPE_application_layer_protocol_negotiation, sized(2, names));
    }
    if (about.padding > 0) add(TLSEXT_TYPE_padding, std::string(about.padding, '\0'));
    for (std::size_t i = 0; i < about.unknown; ++i) add(static_cast<unsigned int>(0x8000 + i), "");
    if (about.identities > 0 || about.ticket) {
        std::string identities;
        std::string binders;
        for (std::size_t i = 0; i < about.identities; ++i) {
            identities += sized(2, std::string(about.identity_size, static_cast<char>(i))) + number(4, 0);
            if (about.binds_ticket) binders += sized(1, ""); // OpenSSL reads the one that it needs
        }
        if (about.ticket) identities += sized(2, *about.ticket) + number(4, 0);
        add(TLSEXT_TYPE_psk, sized(2, identities) + sized(2, binders + sized(1, std::string(32, 'b'))));
    }
    std::string suites = number(2, 0x1301);
    for (std::size_t i = 0; i < about.ciphers; ++i) suites += number(2, 0x5a5a);
    if (extensions.size() > 0xffff) throw std::runtime_error("a ClientHello is too long");
    const std::string body = number(2, TLS1_2_VERSION) + random + sized(1, "") + sized(2, suites) +
                             sized(1, number(1, 0)) + sized(2, extensions);
    return in_records(number(1, SSL3_MT_CLIENT_HELLO) + sized(3, body));
}

} // namespace support
