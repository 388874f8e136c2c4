// SPDX-License-Identifier: Apache-2.0
#include "pem.hpp"

#include "fence.hpp"

#include <reqauth/error.hpp>

#include <openssl/pem.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace reqauth::detail {

namespace {

/// pem_block owns what PEM_read_bio hands out.
struct pem_block {
    char* name = nullptr;
    char* header = nullptr;
    unsigned char* data = nullptr;
    long size = 0;

    pem_block() = default;
    pem_block(const pem_block&) = delete;
    pem_block& operator=(const pem_block&) = delete;
    ~pem_block() {
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, size > 0 ? static_cast<std::size_t>(size) : 0);
    }
};

bool is_certificate(std::string_view name) { return name == PEM_STRING_X509 || name == PEM_STRING_X509_OLD; }

std::size_t occurrences(std::string_view text, std::string_view word) {
    std::size_t count = 0;
    for (auto at = text.find(word); at != text.npos; at = text.find(word, at + word.size())) ++count;
    return count;
}

[[noreturn]] void malformed_certificate(std::string_view name, std::size_t place, const std::string& what) {
    throw error(errc::malformed, std::string(name) + ": certificate " + std::to_string(place) + " " + what +
                                     "; replace it, nothing of the file was used" + drain_errors());
}

} // namespace

std::string read_file(const std::filesystem::path& file) {
    struct closed {
        void operator()(std::FILE* open) const noexcept { std::fclose(open); }
    };
    const auto fail = [&](int why) {
        throw error(errc::unreadable, file.string() + ": cannot be read: " + std::strerror(why));
    };
    std::string octets;
    const std::unique_ptr<std::FILE, closed> in(std::fopen(file.c_str(), "rb"));
    if (in == nullptr) fail(errno);
    char buffer[16384];
    errno = 0;
    while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, in.get())) octets.append(buffer, got);
    if (std::ferror(in.get()) != 0) fail(errno);
    return octets;
}

std::vector<x509_handle> certificates_in(std::string_view pem, std::string_view name, other_blocks others,
                                         const openssl_scope& scope) {
    ERR_clear_error();
    const bio_handle in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    if (in == nullptr) throw error(errc::openssl, std::string(name) + ": out of memory" + drain_errors());

    std::vector<x509_handle> certificates;
    for (std::size_t place = 1;; ++place) {
        pem_block block;
        if (PEM_read_bio(in.get(), &block.name, &block.header, &block.data, &block.size) != 1) {
            const unsigned long code = ERR_peek_last_error();
            if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
                malformed_certificate(name, place, "is broken or cut short");
            ERR_clear_error();
            break;
        }
        if (!is_certificate(block.name)) {
            if (others == other_blocks::skip) {
                --place;
                continue;
            }
            throw error(errc::malformed, std::string(name) + ": block " + std::to_string(place) + " is " + block.name +
                                             ", not CERTIFICATE; give a file with certificates only");
        }
        x509_handle certificate(X509_new_ex(scope.libctx, scope.properties));
        if (certificate == nullptr) throw error(errc::openssl, std::string(name) + ": out of memory" + drain_errors());
        X509* into = certificate.get();
        const unsigned char* der = block.data;
        if (d2i_X509(&into, &der, block.size) == nullptr) {
            (void)certificate.release(); // d2i_X509 freed it
            malformed_certificate(name, place, "is not a certificate");
        }
        if (der != block.data + block.size) malformed_certificate(name, place, "has octets after its end");
        certificates.push_back(std::move(certificate));
    }
    // A damaged BEGIN or END line turns a block into text: notice it, so that no anchor gets lost.
    const std::size_t marked =
        std::max(occurrences(pem, "BEGIN CERTIFICATE") + occurrences(pem, "BEGIN X509 CERTIFICATE"),
                 occurrences(pem, "END CERTIFICATE") + occurrences(pem, "END X509 CERTIFICATE"));
    if (marked != certificates.size())
        throw error(errc::malformed, std::string(name) + ": " + std::to_string(marked) +
                                         " certificates begin or end, but only " + std::to_string(certificates.size()) +
                                         " can be read; mend the lines that begin and end them");
    if (certificates.empty())
        throw error(errc::malformed, std::string(name) + ": holds no certificate; give PEM with BEGIN CERTIFICATE");
    return certificates;
}

std::array<std::uint8_t, 32> sha256(const X509& certificate) {
    std::array<std::uint8_t, 32> digest{};
    unsigned int size = 0;
    if (X509_digest(&certificate, EVP_sha256(), digest.data(), &size) != 1 || size != digest.size())
        throw error(errc::openssl, "SHA-256 of a certificate failed" + drain_errors());
    return digest;
}

std::string hex(std::span<const std::uint8_t> octets) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t octet : octets) {
        text += digits[octet >> 4U];
        text += digits[octet & 15U];
    }
    return text;
}

std::string escape(char octet) {
    constexpr char digits[] = "0123456789ABCDEF";
    const auto value = static_cast<std::uint8_t>(octet);
    return {'\\', digits[value >> 4U], digits[value & 15U]};
}

std::string name_text(const X509_NAME* name) {
    const bio_handle out(BIO_new(BIO_s_mem()));
    if (out == nullptr || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0)
        throw error(errc::openssl, "a name of a certificate cannot be written as text" + drain_errors());
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    std::string escaped;
    for (long i = 0; i < size; ++i) {
        const bool pair =
            text[i] == '\\' && i + 1 < size && std::isxdigit(static_cast<unsigned char>(text[i + 1])) == 0;
        escaped += pair ? escape(text[++i]) : std::string(1, text[i]);
    }
    return escaped;
}

} // namespace reqauth::detail
