// SPDX-License-Identifier: Apache-2.0
#include <reqauth/http.hpp>

#include "../openssl/base/fence.hpp"
#include "../openssl/base/handle.hpp"
#include "../openssl/base/pem.hpp"

#include <reqauth/error.hpp>

#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <span>
#include <vector>

namespace reqauth {

namespace {

std::size_t base64_size(std::size_t octets) noexcept { return (octets + 2) / 3 * 4; }

[[noreturn]] void cannot_be_written() {
    throw error(errc::openssl, "a certificate cannot be written" + detail::drain_errors());
}

std::string base64(std::span<const unsigned char> octets) {
    std::vector<unsigned char> text(base64_size(octets.size()) + 1); // and the NUL of EVP_EncodeBlock
    EVP_EncodeBlock(text.data(), octets.data(), static_cast<int>(octets.size()));
    return {text.begin(), text.end() - 1};
}

// A byte sequence of RFC 8941, appended. False where the values would get larger than `left` octets.
bool append(std::string& value, X509& certificate, std::size_t& left) {
    const int size = i2d_X509(&certificate, nullptr);
    if (size <= 0) cannot_be_written();
    const std::size_t separator = value.empty() ? 0 : 2;
    const std::size_t octets = separator + 2 + base64_size(static_cast<std::size_t>(size));
    if (octets > left) return false;
    left -= octets;

    std::vector<unsigned char> der(static_cast<std::size_t>(size));
    unsigned char* end = der.data();
    if (i2d_X509(&certificate, &end) != size) cannot_be_written();
    value.append(separator == 0 ? ":" : ", :").append(base64(der)).append(":");
    return true;
}

std::string pem_of(X509& certificate) {
    const detail::bio_handle out(BIO_new(BIO_s_mem()));
    if (out == nullptr || PEM_write_bio_X509(out.get(), &certificate) != 1) cannot_be_written();
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(size)};
}

std::string escaped(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    constexpr std::string_view plain = "-._~";
    std::string out;
    for (const char c : text) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            plain.find(c) != std::string_view::npos) {
            out += c;
            continue;
        }
        const auto octet = static_cast<unsigned char>(c);
        ((out += '%') += digits[octet >> 4U]) += digits[octet & 15U];
    }
    return out;
}

std::string x5t_s256_of(X509& certificate) {
    std::string text = base64(detail::sha256(certificate));
    text.pop_back(); // 32 octets have one =
    std::ranges::replace(text, '+', '-');
    std::ranges::replace(text, '/', '_');
    return text;
}

// One element. What a value has is in quotes, so that no name can add another.
std::string xfcc_of(X509& certificate) {
    std::string text = "Hash=" + detail::hex(detail::sha256(certificate)) + ";Cert=\"" + escaped(pem_of(certificate)) +
                       "\";Subject=" + reqauth::quoted(detail::name_text(X509_get_subject_name(&certificate)));
    ERR_set_mark();
    const std::unique_ptr<GENERAL_NAMES, detail::freed_by<GENERAL_NAMES_free>> names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
    ERR_pop_to_mark();
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
        int type = 0;
        const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type);
        if (type != GEN_URI && type != GEN_DNS) continue;
        const auto* string = static_cast<const ASN1_STRING*>(value);
        const std::string_view octets(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                                      static_cast<std::size_t>(ASN1_STRING_length(string)));
        text += (type == GEN_URI ? ";URI=" : ";DNS=") + reqauth::quoted(octets);
    }
    return text;
}

// `chain` is with the leaf, or empty.
client_cert fields_of(authenticated_by by, X509& leaf, const std::vector<X509*>& chain,
                      const client_cert_options& options) {
    client_cert_fields fields{.by = by, .client_cert = {}, .client_cert_chain = {}};
    std::size_t left = options.most;
    if (!append(fields.client_cert, leaf, left)) return no_client_cert::too_large;
    for (std::size_t i = 1; options.chain && i < chain.size(); ++i)
        if (!append(fields.client_cert_chain, *chain[i], left)) return no_client_cert::too_large;
    return fields;
}

} // namespace

client_cert client_cert_of_agent(const flagged_peer& agent, const client_cert_options& options) {
    return fields_of(authenticated_by::flag, agent.certificate(), agent.chain(), options);
}

std::string written_as(X509& certificate, cert_format format) {
    std::size_t left = std::numeric_limits<std::size_t>::max();
    std::string value;
    switch (format) {
    case cert_format::client_cert: append(value, certificate, left); break;
    case cert_format::pem: return pem_of(certificate);
    case cert_format::escaped_pem: return escaped(pem_of(certificate));
    case cert_format::x5t_s256: return x5t_s256_of(certificate);
    case cert_format::xfcc: return xfcc_of(certificate);
    }
    return value;
}

//= RCA-14
//= SEC-8
client_cert client_cert_of_customer(const SSL& ssl, const client_cert_options& options) {
    if (SSL_is_server(&ssl) != 1) return no_client_cert::no_certificate;
    if (SSL_is_init_finished(&ssl) != 1) return no_client_cert::handshake_unfinished;
    if (is_of_agent(ssl)) return no_client_cert::agent;
    X509* leaf = SSL_get0_peer_certificate(&ssl);
    if (leaf == nullptr) return no_client_cert::no_certificate;
    if (SSL_get_verify_result(&ssl) != X509_V_OK) return no_client_cert::not_verified;
    // What an earlier handshake of the SSL verified is not this one's chain.
    const STACK_OF(X509)* verified = SSL_session_reused(&ssl) == 1 ? nullptr : SSL_get0_verified_chain(&ssl);
    std::vector<X509*> chain;
    for (int i = 0; i < sk_X509_num(verified); ++i) chain.push_back(sk_X509_value(verified, i));
    return fields_of(authenticated_by::application, *leaf, chain, options);
}

} // namespace reqauth
