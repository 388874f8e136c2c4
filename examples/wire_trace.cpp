// SPDX-License-Identifier: Apache-2.0
#include "wire_trace.hpp"

#include "command_line.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <array>
#include <iterator>

namespace {

using octets = std::span<const std::uint8_t>;

/// reader takes fields off the front of a message. Past its end it gives nothing, and says so.
class reader {
public:
    explicit reader(octets rest) : rest_(rest) {}

    octets take(std::size_t size) {
        if (size > rest_.size()) {
            broken_ = true;
            size = rest_.size();
        }
        const octets taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }
    std::size_t number(std::size_t width) {
        std::size_t value = 0;
        for (const std::uint8_t octet : take(width)) value = value << 8 | octet;
        return value;
    }
    /// vector takes a field that begins with its own length, in `width` octets.
    octets vector(std::size_t width) { return take(number(width)); }

    [[nodiscard]] bool done() const { return rest_.empty() || broken_; }
    [[nodiscard]] bool broken() const { return broken_; }

private:
    octets rest_;
    bool broken_ = false;
};

std::string type_name(std::size_t type) {
    switch (type) {
    case SSL3_MT_HELLO_REQUEST: return "HelloRequest";
    case SSL3_MT_CLIENT_HELLO: return "ClientHello";
    case SSL3_MT_SERVER_HELLO: return "ServerHello";
    case SSL3_MT_NEWSESSION_TICKET: return "NewSessionTicket";
    case SSL3_MT_END_OF_EARLY_DATA: return "EndOfEarlyData";
    case SSL3_MT_ENCRYPTED_EXTENSIONS: return "EncryptedExtensions";
    case SSL3_MT_CERTIFICATE: return "Certificate";
    case 25: return "CompressedCertificate"; // RFC 8879; OpenSSL has a name for it from 3.2 on
    case SSL3_MT_SERVER_KEY_EXCHANGE: return "ServerKeyExchange";
    case SSL3_MT_CERTIFICATE_REQUEST: return "CertificateRequest";
    case SSL3_MT_SERVER_DONE: return "ServerHelloDone";
    case SSL3_MT_CERTIFICATE_VERIFY: return "CertificateVerify";
    case SSL3_MT_CLIENT_KEY_EXCHANGE: return "ClientKeyExchange";
    case SSL3_MT_FINISHED: return "Finished";
    case SSL3_MT_CERTIFICATE_STATUS: return "CertificateStatus";
    case SSL3_MT_KEY_UPDATE: return "KeyUpdate";
    default: return "handshake message " + std::to_string(type);
    }
}

std::string describe_flags(octets body) {
    const reqauth::decoded decoded = reqauth::decode(body);
    if (!decoded) return "  tls_flags malformed";
    std::string numbers;
    decoded.flags.for_each(
        [&](reqauth::flag_number flag) { numbers += (numbers.empty() ? "" : ",") + std::to_string(flag); });
    return "  tls_flags {" + numbers + "}";
}

std::string find_flags(octets extensions, reqauth::extension_type wanted) {
    for (reader each(extensions); !each.done();) {
        const std::size_t type = each.number(2);
        const octets body = each.vector(2);
        if (type == wanted && !each.broken()) return describe_flags(body);
    }
    return {};
}

// RFC 8446, section 4.1.3: a ServerHello with this random is a HelloRetryRequest.
constexpr std::array<std::uint8_t, 32> retry_random = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
                                                       0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
                                                       0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};

} // namespace

std::string describe_message(octets message, bool tls13, reqauth::extension_type extension) {
    reader header(message);
    const std::size_t type = header.number(1);
    reader body(header.vector(3));
    std::string text = type_name(type);
    switch (type) {
    case SSL3_MT_CLIENT_HELLO:
        body.take(2 + 32); // version, random
        body.vector(1);    // session id
        body.vector(2);    // cipher suites
        body.vector(1);    // compression
        text += find_flags(body.vector(2), extension);
        break;
    case SSL3_MT_SERVER_HELLO: {
        body.take(2);
        if (std::ranges::equal(body.take(32), retry_random)) text = "HelloRetryRequest";
        body.vector(1);
        body.take(2 + 1); // cipher suite, compression
        text += find_flags(body.vector(2), extension);
        break;
    }
    case SSL3_MT_ENCRYPTED_EXTENSIONS: text += find_flags(body.vector(2), extension); break;
    case SSL3_MT_CERTIFICATE_REQUEST:
        if (!tls13) break;
        body.vector(1); // context
        text += find_flags(body.vector(2), extension);
        break;
    case SSL3_MT_CERTIFICATE: {
        if (tls13) body.vector(1);
        const octets list = body.vector(3);
        if (list.empty()) text += " (empty)";
        for (reader entries(list); tls13 && !entries.done();) {
            entries.vector(3); // a certificate
            text += find_flags(entries.vector(2), extension);
        }
        break;
    }
    case SSL3_MT_NEWSESSION_TICKET:
        if (!tls13) break;
        body.take(4 + 4); // lifetime, age_add
        body.vector(1);   // nonce
        body.vector(2);   // ticket
        text += find_flags(body.vector(2), extension);
        break;
    default: break;
    }
    if (header.broken() || body.broken()) text += "  (cut short)";
    return text;
}

wire_trace::wire_trace(reqauth::extension_type extension, std::string prefix)
    : extension_(extension), prefix_(std::move(prefix)) {}

void wire_trace::watch(SSL& ssl) {
    SSL_set_msg_callback(&ssl, on_message);
    SSL_set_msg_callback_arg(&ssl, this);
}

void wire_trace::on_message(int sent, int, int content_type, const void* data, std::size_t size, SSL* ssl, void* self) {
    const auto& trace = *static_cast<const wire_trace*>(self);
    const octets message(static_cast<const std::uint8_t*>(data), size);
    std::string text;
    if (content_type == SSL3_RT_HANDSHAKE) {
        text = describe_message(message, SSL_version(ssl) == TLS1_3_VERSION, trace.extension_);
    } else if (content_type == SSL3_RT_ALERT && size == 2) {
        text = "alert " + reqauth::alert_name(message[1]);
    } else {
        return; // record headers and the like
    }
    print_line(stderr, trace.prefix_ + (sent != 0 ? "→ " : "← ") + text);
}
