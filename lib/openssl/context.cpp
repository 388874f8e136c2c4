// SPDX-License-Identifier: Apache-2.0
#include "context.hpp"

#include "extension.hpp"
#include "base/fence.hpp"

#include <algorithm>
#include <array>

namespace reqauth::detail {

namespace {

void free_attached(void*, void* kept, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<attached*>(kept); }

int slot() noexcept {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_attached);
    return index;
}

} // namespace

const attached* attached_to(const SSL_CTX* context) noexcept {
    const int index = slot();
    return index < 0 || context == nullptr ? nullptr
                                           : static_cast<const attached*>(SSL_CTX_get_ex_data(context, index));
}

void attach_to(SSL_CTX& context, const attached& sides) {
    const int index = slot();
    if (index < 0) throw error(errc::openssl, "no ex_data slot is to be had on SSL_CTX" + drain_errors());
    if (auto* there = static_cast<attached*>(SSL_CTX_get_ex_data(&context, index))) {
        if (there->extension != sides.extension)
            throw error(errc::contradiction, "this SSL_CTX carries extension type " + std::to_string(there->extension) +
                                                 " already; give its server and its client the same");
        if (sides.in_client_hello && !there->in_client_hello)
            throw error(errc::extension_taken,
                        "the client attached to this SSL_CTX never offers, and registered the extension "
                        "without ClientHello; attach the server first, the client after it");
        if (sides.server != nullptr) there->server = sides.server;
        if (sides.client != nullptr) {
            there->client = sides.client;
            there->client_cert_cb = sides.client_cert_cb;
            there->client_info = sides.client_info;
        }
        return;
    }
    auto fresh = std::make_unique<attached>(sides);
    if (SSL_CTX_set_ex_data(&context, index, fresh.get()) != 1)
        throw error(errc::openssl, "out of memory while attaching" + drain_errors());
    ERR_clear_error();
    if (!register_extension(context, sides.extension, sides.in_client_hello)) {
        SSL_CTX_set_ex_data(&context, index, nullptr);
        throw error(errc::extension_taken,
                    "extension type " + std::to_string(sides.extension) +
                        " is taken: the application registered it on this SSL_CTX, or this OpenSSL handles it itself; "
                        "remove that registration, or choose another type for both sides" +
                        drain_errors());
    }
    (void)fresh.release(); // the SSL_CTX owns it now
}

ssl_handle probe_of(SSL_CTX& context) {
    ERR_clear_error();
    ssl_handle probe(SSL_new(&context));
    if (probe == nullptr) throw error(errc::unsuitable_context, "no SSL can be made of this SSL_CTX" + drain_errors());
    if (SSL_is_dtls(probe.get()) == 1)
        throw error(errc::unsuitable_context,
                    "this SSL_CTX speaks DTLS; the tls_flags extension belongs to TLS 1.3 only (FLAG-9)");
    return probe;
}

void check_numbers(flag_number flag, extension_type extension) {
    if (flag >= flag_set::capacity)
        throw error(errc::contradiction,
                    "flag " + std::to_string(flag) + ": TLS flags are numbered 0 to 2039 (FLAG-1)");
    // Those of raw keys, of compressed certificates and of signatures in them OpenSSL parses, and does not name.
    constexpr std::array<extension_type, 4> unnamed = {19, 20, 27, 50};
    if (SSL_extension_supported(extension) == 1 || std::ranges::find(unnamed, extension) != unnamed.end())
        throw error(errc::contradiction, "extension type " + std::to_string(extension) +
                                             " is one that this OpenSSL handles itself; tls_flags is 62");
}

} // namespace reqauth::detail
