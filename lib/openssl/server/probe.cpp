// SPDX-License-Identifier: Apache-2.0
#include "probe.hpp"

#include "../base/fence.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <string>

namespace reqauth::detail {

namespace {

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

/// found are the extensions of a ClientHello that an SSL knew.
struct found {
    std::vector<extension_type> types;
    bool seen = false;
};
thread_local found* wanted = nullptr; ///< where the probe of this thread asks for them

/// asking has the extensions of this thread's ClientHellos noted as long as it is there.
struct asking {
    explicit asking(found& all) noexcept { wanted = &all; }
    asking(const asking&) = delete;
    asking& operator=(const asking&) = delete;
    ~asking() { wanted = nullptr; }
};

int note_extensions(SSL* ssl, int* alert, void*) {
    if (wanted == nullptr) return SSL_CLIENT_HELLO_SUCCESS;
    return fence(alert, SSL_CLIENT_HELLO_ERROR, [&] {
        int* types = nullptr;
        std::size_t count = 0;
        if (SSL_client_hello_get1_extensions_present(ssl, &types, &count) != 1) return SSL_CLIENT_HELLO_ERROR;
        const std::unique_ptr<int, decltype([](int* array) { OPENSSL_free(array); })> owned(types);
        for (std::size_t i = 0; i < count; ++i) wanted->types.push_back(static_cast<extension_type>(types[i]));
        wanted->seen = true;
        return SSL_CLIENT_HELLO_ERROR; // nothing else is to run
    });
}

// An SSL_CTX of our own, made once and never freed: to make one takes longer than to ask it.
SSL_CTX* own() {
    static SSL_CTX* const made = [] {
        SSL_CTX* context = SSL_CTX_new(TLS_server_method());
        must(context != nullptr);
        SSL_CTX_set_client_hello_cb(context, note_extensions, nullptr);
        return context;
    }();
    return made;
}

/// stand_in makes SSLs of our own SSL_CTX that have what `context` puts into an SSL with its certificates.
class stand_in {
public:
    explicit stand_in(SSL_CTX& context) : model_(SSL_new(&context)) {
        must(model_ != nullptr);
        // Both are the model's alone: an SSL has a copy of its SSL_CTX's.
        SSL_set_cert_cb(model_.get(), nullptr, nullptr);
        SSL_set_security_callback(model_.get(),
                                  [](const SSL*, const SSL_CTX*, int, int, int, void*, void*) { return 1; });
    }

    /// meet has an SSL take in a ClientHello. The handshake fails.
    [[nodiscard]] ssl_handle meet(const std::string& hello) const {
        ssl_handle ssl(SSL_new(own()));
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
    ssl_handle model_;
};

// The types that OpenSSL does not handle itself, and that of TLS 1.2's SCTs, which may be registered although it does.
bool can_be_registered(unsigned int type) noexcept {
    return SSL_extension_supported(type) != 1 || type == TLSEXT_TYPE_signed_certificate_timestamp;
}

// ClientHellos with all of them.
const std::vector<std::string>& hellos_with_every_type() {
    static const std::vector<std::string> made = [] {
        constexpr std::size_t most = 16000; // what fits into one ClientHello
        std::vector<std::string> hellos;
        std::vector<extension_type> types;
        for (unsigned int type = 0; type <= 0xffff; ++type) {
            if (can_be_registered(type)) types.push_back(static_cast<extension_type>(type));
            if (types.size() < most && type != 0xffff) continue;
            hellos.push_back(client_hello_with(types));
            types.clear();
        }
        return hellos;
    }();
    return made;
}

} // namespace

std::vector<extension_type> extensions_of(SSL_CTX& context, const std::vector<extension_type>* known) {
    const stand_in probe(context);
    found all;
    const auto ask = [&](const std::string& hello) {
        all.seen = false;
        const asking about(all);
        (void)probe.meet(hello);
        must(all.seen);
    };
    std::vector<extension_type> types;
    if (known == nullptr) {
        for (const std::string& hello : hellos_with_every_type()) ask(hello);
        types.resize(std::size_t{0xffff} + 1);
        std::iota(types.begin(), types.end(), extension_type{0});
    } else {
        constexpr extension_type assigned = 256; // by IANA, all but a few of them
        types = *known;
        for (extension_type type = 0; type < assigned; ++type) types.push_back(type);
        std::ranges::sort(types);
        types.erase(std::unique(types.begin(), types.end()), types.end());
        std::vector<extension_type> asked;
        std::ranges::copy_if(types, std::back_inserter(asked), can_be_registered);
        ask(client_hello_with(asked));
    }
    // What a client's role knows stands in the same list.
    std::ranges::copy_if(types, std::back_inserter(all.types),
                         [&](extension_type type) { return SSL_CTX_has_client_custom_ext(&context, type) == 1; });
    std::erase_if(all.types, [](extension_type type) { return type == TLSEXT_TYPE_supported_versions; });
    std::ranges::sort(all.types);
    return all.types;
}

bool negotiates_tls13(SSL_CTX& context) {
    static const std::string hello = client_hello_with({});
    return SSL_version(stand_in(context).meet(hello).get()) == TLS1_3_VERSION;
}

} // namespace reqauth::detail
