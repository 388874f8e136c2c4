// SPDX-License-Identifier: Apache-2.0
#include "extension.hpp"

#include "base/fence.hpp"
#include "base/quic.hpp"
#include "base/slot.hpp"
#include "client/handshake.hpp"
#include "server/handshake.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <array>
#include <string>

namespace reqauth::detail {

namespace {

/// registration is what an SSL_CTX has.
struct registration {
    extension_type type;
    bool in_client_hello;
};

std::optional<message> message_of(unsigned int context) noexcept {
    if ((context & SSL_EXT_CLIENT_HELLO) != 0) return message::client_hello;
    if ((context & SSL_EXT_TLS1_3_HELLO_RETRY_REQUEST) != 0) return message::hello_retry_request;
    if ((context & SSL_EXT_TLS1_3_SERVER_HELLO) != 0) return message::server_hello;
    if ((context & SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS) != 0) return message::encrypted_extensions;
    if ((context & SSL_EXT_TLS1_3_CERTIFICATE_REQUEST) != 0) return message::certificate_request;
    if ((context & SSL_EXT_TLS1_3_CERTIFICATE) != 0) return message::certificate;
    if ((context & SSL_EXT_TLS1_3_NEW_SESSION_TICKET) != 0) return message::new_session_ticket;
    return std::nullopt;
}

// OpenSSL asks before a message: 1 sends *out, 0 sends nothing, -1 ends the handshake with *alert.
int add(SSL* ssl, unsigned int, unsigned int context, const unsigned char** out, std::size_t* out_size, X509*,
        std::size_t, int* al, void*) {
    const auto what = message_of(context);
    const bool is_server = SSL_is_server(ssl) == 1;
    constexpr unsigned int servers = SSL_EXT_TLS1_3_HELLO_RETRY_REQUEST | SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS |
                                     SSL_EXT_TLS1_3_CERTIFICATE_REQUEST | SSL_EXT_TLS1_3_NEW_SESSION_TICKET;
    if (!what || (context & (is_server ? servers : SSL_EXT_CLIENT_HELLO)) == 0) return 0;
    return fence(al, -1, [&] {
        flag_set flags;
        const auto failed = is_server ? server_sends(ssl, *what, flags) : client_sends(ssl, flags);
        if (failed) {
            *al = *failed;
            return -1;
        }
        //= FLAG-4
        if (flags.empty()) return 0;
        // OpenSSL copies it when this returns.
        thread_local encoded_flags body;
        body = encode(flags);
        *out = body.body().data();
        *out_size = body.body().size();
        return 1;
    });
}

// OpenSSL hands over what a message carried: 1 goes on, 0 ends the handshake with *alert.
int parse(SSL* ssl, unsigned int, unsigned int context, const unsigned char* in, std::size_t in_size, X509*,
          std::size_t, int* al, void*) {
    return fence(al, 0, [&] {
        const auto which = message_of(context);
        if (!which) return 1;
        const decoded body = decode({in, in_size});
        if (!body) {
            //= FLAG-5
            raise(std::string("tls_flags in ") += std::string(name_of(*which)) +=
                  ": " + std::string(text_of(body.why)));
            *al = SSL_AD_ILLEGAL_PARAMETER;
            return 0;
        }
        const auto failed = SSL_is_server(ssl) == 1 ? server_received(ssl, *which, body.flags)
                                                    : client_received(ssl, *which, body.flags);
        if (failed) {
            *al = *failed;
            return 0;
        }
        return 1;
    });
}

} // namespace

void check_extension(extension_type extension) {
    // Those of raw keys, of compressed certificates and of signatures in them OpenSSL parses, and does not name.
    constexpr std::array<extension_type, 4> unnamed = {19, 20, 27, 50};
    if (SSL_extension_supported(extension) == 1 || std::ranges::find(unnamed, extension) != unnamed.end())
        throw error(errc::extension_taken,
                    "extension type " + std::to_string(extension) + " is one that this OpenSSL handles itself",
                    "take another: tls_flags is " + std::to_string(tls_flags_extension));
}

ssl_handle probe_of(SSL_CTX& context) {
    ERR_clear_error();
    ssl_handle probe(SSL_new(&context));
    if (probe == nullptr) throw error(errc::unsuitable_context, "no SSL can be made of this SSL_CTX" + drain_errors());
    if (SSL_is_dtls(probe.get()) == 1)
        throw error(errc::unsuitable_context,
                    "this SSL_CTX speaks DTLS, and the tls_flags extension belongs to TLS 1.3 only",
                    "attach to one of TLS", "FLAG-9");
    if (is_quic(probe.get()) && quic_role_of(context) != quic_role::client)
        throw error(errc::unsuitable_context,
                    "this SSL_CTX speaks QUIC in threads of OpenSSL's, or libreqauth was built with one before 3.5",
                    "make it with OSSL_QUIC_client_method, and build libreqauth with OpenSSL 3.5");
    return probe;
}

//= FLAG-9
bool register_extension(SSL_CTX& context, extension_type type, bool in_client_hello) {
    if (const auto* there = slot<SSL_CTX, registration>::of(&context)) {
        if (there->type != type)
            throw error(errc::contradiction,
                        "this SSL_CTX carries extension type " + std::to_string(there->type) + " already",
                        "give its server and its client the same");
        if (in_client_hello && !there->in_client_hello)
            throw error(errc::extension_taken,
                        "the client attached to this SSL_CTX never offers, and registered the extension "
                        "without ClientHello",
                        "attach the server first, the client after it");
        return there->in_client_hello;
    }
    slot<SSL_CTX, registration>::keep(&context, std::make_unique<registration>(registration{type, in_client_hello}));
    constexpr unsigned int answers = SSL_EXT_TLS1_3_HELLO_RETRY_REQUEST | SSL_EXT_TLS1_3_SERVER_HELLO |
                                     SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS | SSL_EXT_TLS1_3_CERTIFICATE_REQUEST |
                                     SSL_EXT_TLS1_3_CERTIFICATE | SSL_EXT_TLS1_3_NEW_SESSION_TICKET;
    const unsigned int messages =
        SSL_EXT_TLS_ONLY | SSL_EXT_TLS1_3_ONLY | answers | (in_client_hello ? SSL_EXT_CLIENT_HELLO : 0U);
    ERR_clear_error();
    if (SSL_CTX_add_custom_ext(&context, type, messages, add, nullptr, nullptr, parse, nullptr) == 1)
        return in_client_hello;
    slot<SSL_CTX, registration>::drop(&context);
    throw error(errc::extension_taken,
                "extension type " + std::to_string(type) +
                    " is taken: the application registered it on this SSL_CTX, or this OpenSSL handles it itself" +
                    drain_errors(),
                "remove that registration, or choose another type for both sides");
}

} // namespace reqauth::detail
