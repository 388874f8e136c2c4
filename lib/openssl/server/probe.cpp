// SPDX-License-Identifier: Apache-2.0
#include "probe.hpp"

#include "../base/fence.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <string>

namespace reqauth::detail {

namespace {

using context_handle = std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>>;

void must(bool worked) {
    if (!worked) throw error(errc::openssl, "an SSL_CTX cannot be probed" + drain_errors());
}

void number(std::string& to, std::size_t octets, std::size_t value) {
    while (octets-- > 0) to += static_cast<char>(value >> 8U * octets & 0xffU);
}

// A ClientHello for TLS 1.3 with these extensions, all empty. It has no cipher suite and no compression method that a
// server could take, so that the handshake ends before the certificate callback.
std::string client_hello_with(const std::vector<extension_type>& types) {
    std::string extensions;
    number(extensions, 2, TLSEXT_TYPE_supported_versions);
    number(extensions, 2, 3);
    number(extensions, 1, 2);
    number(extensions, 2, TLS1_3_VERSION);
    for (const extension_type type : types) number(extensions, 4, std::size_t{type} << 16U);
    std::string body;
    number(body, 2, TLS1_2_VERSION);
    body.append(SSL3_RANDOM_SIZE, '\0');
    number(body, 1, 0);                                    // session id
    number(body, 4, 2U << 16U | (SSL3_CK_SCSV & 0xffffU)); // cipher suites
    number(body, 2, 1U << 8U | 1U);                        // compression methods
    number(body, 2, extensions.size());
    body += extensions;
    std::string message;
    number(message, 4, std::size_t{SSL3_MT_CLIENT_HELLO} << 24U | body.size());
    message += body;
    std::string records;
    for (std::size_t at = 0; at < message.size(); at += SSL3_RT_MAX_PLAIN_LENGTH) {
        const std::string part = message.substr(at, SSL3_RT_MAX_PLAIN_LENGTH);
        number(records, 1, SSL3_RT_HANDSHAKE);
        number(records, 2, TLS1_VERSION);
        number(records, 2, part.size());
        records += part;
    }
    return records;
}

/// stand_in is an SSL_CTX of our own whose SSLs have what `context` puts into an SSL with its certificates.
class stand_in {
public:
    explicit stand_in(SSL_CTX& context) : own_(SSL_CTX_new(TLS_server_method())), model_(SSL_new(&context)) {
        must(own_ != nullptr && model_ != nullptr);
        // Both are the model's alone: an SSL has a copy of its SSL_CTX's.
        SSL_set_cert_cb(model_.get(), nullptr, nullptr);
        SSL_set_security_callback(model_.get(),
                                  [](const SSL*, const SSL_CTX*, int, int, int, void*, void*) { return 1; });
    }
    [[nodiscard]] SSL_CTX* context() const noexcept { return own_.get(); }

    /// meet has an SSL take in a ClientHello. The handshake fails.
    [[nodiscard]] ssl_handle meet(const std::string& hello) const {
        ssl_handle ssl(SSL_new(own_.get()));
        must(ssl != nullptr && SSL_copy_session_id(ssl.get(), model_.get()) == 1);
        bio_handle in(BIO_new_mem_buf(hello.data(), static_cast<int>(hello.size())));
        bio_handle out(BIO_new(BIO_s_null()));
        must(in != nullptr && out != nullptr);
        SSL_set_bio(ssl.get(), in.release(), out.release());
        SSL_set_accept_state(ssl.get());
        ERR_set_mark();
        (void)SSL_do_handshake(ssl.get());
        ERR_pop_to_mark();
        return ssl;
    }

private:
    context_handle own_;
    ssl_handle model_;
};

struct present {
    std::vector<extension_type> types;
    bool seen = false;
};

int note_extensions(SSL* ssl, int* alert, void* argument) {
    return fence(alert, SSL_CLIENT_HELLO_ERROR, [&] {
        auto& found = *static_cast<present*>(argument);
        int* types = nullptr;
        std::size_t count = 0;
        if (SSL_client_hello_get1_extensions_present(ssl, &types, &count) != 1) return SSL_CLIENT_HELLO_ERROR;
        const std::unique_ptr<int, decltype([](int* array) { OPENSSL_free(array); })> owned(types);
        for (std::size_t i = 0; i < count; ++i) found.types.push_back(static_cast<extension_type>(types[i]));
        found.seen = true;
        return SSL_CLIENT_HELLO_ERROR; // nothing else is to run
    });
}

} // namespace

std::vector<extension_type> extensions_of(SSL_CTX& context) {
    const stand_in probe(context);
    present found;
    SSL_CTX_set_client_hello_cb(probe.context(), note_extensions, &found);
    constexpr std::size_t most = 16000; // what fits into one ClientHello
    std::vector<extension_type> types;
    for (unsigned int type = 0; type <= 0xffff; ++type) {
        // What a client's role knows stands in the same list. TLS 1.2's SCTs may be registered although OpenSSL knows them.
        if (SSL_CTX_has_client_custom_ext(&context, type) == 1)
            found.types.push_back(static_cast<extension_type>(type));
        if (SSL_extension_supported(type) != 1 || type == TLSEXT_TYPE_signed_certificate_timestamp)
            types.push_back(static_cast<extension_type>(type));
        if (types.size() < most && type != 0xffff) continue;
        found.seen = false;
        (void)probe.meet(client_hello_with(types));
        must(found.seen);
        types.clear();
    }
    std::erase_if(found.types, [](extension_type type) { return type == TLSEXT_TYPE_supported_versions; });
    std::ranges::sort(found.types);
    return found.types;
}

bool negotiates_tls13(SSL_CTX& context) {
    const stand_in probe(context);
    return SSL_version(probe.meet(client_hello_with({})).get()) == TLS1_3_VERSION;
}

} // namespace reqauth::detail
