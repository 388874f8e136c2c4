// SPDX-License-Identifier: Apache-2.0
#include "extension.hpp"

#include "client/handshake.hpp"
#include "base/fence.hpp"
#include "server/handshake.hpp"

namespace reqauth::detail {

namespace {

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
    return fence(al, -1, [&] {
        const auto what = message_of(context);
        if (!what) return 0;
        flag_set flags;
        const auto failed = SSL_is_server(ssl) == 1 ? server_sends(ssl, *what, flags) : client_sends(ssl, *what, flags);
        if (failed) {
            *al = *failed;
            return -1;
        }
        //= FLAG-4
        if (flags.empty()) return 0;
        connection& kept = connection_for(ssl);
        kept.out = encode(flags);
        *out = kept.out.body().data();
        *out_size = kept.out.body().size();
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

//= FLAG-9
bool register_extension(SSL_CTX& context, extension_type type, bool in_client_hello) noexcept {
    constexpr unsigned int answers = SSL_EXT_TLS1_3_HELLO_RETRY_REQUEST | SSL_EXT_TLS1_3_SERVER_HELLO |
                                     SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS | SSL_EXT_TLS1_3_CERTIFICATE_REQUEST |
                                     SSL_EXT_TLS1_3_CERTIFICATE | SSL_EXT_TLS1_3_NEW_SESSION_TICKET;
    const unsigned int messages =
        SSL_EXT_TLS_ONLY | SSL_EXT_TLS1_3_ONLY | answers | (in_client_hello ? SSL_EXT_CLIENT_HELLO : 0U);
    return SSL_CTX_add_custom_ext(&context, type, messages, add, nullptr, nullptr, parse, nullptr) == 1;
}

} // namespace reqauth::detail
