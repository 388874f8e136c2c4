// SPDX-License-Identifier: Apache-2.0
#include "pem.hpp"

#include "../../names.hpp"
#include "fence.hpp"
#include "what_is.hpp"

#include <reqauth/error.hpp>

#include <openssl/pem.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>

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
    for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + word.size())) ++count;
    return count;
}

// The lines that begin or end a block, by their letters and digits alone, in capitals: also those in which a blank,
// the dashes or the letters have become others on the way.
std::string letters_of(std::string_view pem) {
    std::string letters;
    for (const char c : pem) {
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')) letters += c;
        if (c >= 'a' && c <= 'z') letters += static_cast<char>(c - 'a' + 'A');
    }
    return letters;
}

// How many lines begin, or end, a block of the kinds that are wanted.
std::size_t marked(std::string_view letters, const std::string& begin_or_end, wanted kinds) {
    std::size_t count = 0;
    if (kinds != wanted::crls)
        count += occurrences(letters, begin_or_end + "CERTIFICATE") +
                 occurrences(letters, begin_or_end + "X509CERTIFICATE") -
                 occurrences(letters, begin_or_end + "CERTIFICATEREQUEST");
    if (kinds != wanted::certificates) count += occurrences(letters, begin_or_end + "X509CRL");
    return count;
}

std::string_view name_of(wanted kinds) { return name_in({"certificate", "CRL", "certificate or CRL"}, kinds); }

std::string_view label_of(wanted kinds) { return kinds == wanted::crls ? PEM_STRING_X509_CRL : PEM_STRING_X509; }

[[noreturn]] void malformed_block(std::string_view name, std::size_t place, const std::string& what) {
    throw error(errc::malformed, std::string(name) + ": block " + std::to_string(place) + " " + what + drain_errors(),
                "replace it, nothing of the file was used");
}

// Reads one block's object into a new one, all of it.
template <class Handle, class FromDer>
Handle object_in(const pem_block& block, Handle object, FromDer from_der, std::string_view name, std::size_t place) {
    if (object == nullptr) throw error(errc::openssl, std::string(name) + ": out of memory" + drain_errors());
    auto* into = object.get();
    const unsigned char* der = block.data;
    if (from_der(&into, &der, block.size) == nullptr) {
        (void)object.release(); // it was freed
        malformed_block(name, place, std::string("is not what its line says, ") + block.name);
    }
    if (der != block.data + block.size) malformed_block(name, place, "has octets after its end");
    return object;
}

} // namespace

std::string read_file(const std::filesystem::path& file) {
    struct closed {
        void operator()(std::FILE* open) const noexcept { std::fclose(open); }
    };
    const auto fail = [&](int why) {
        throw error(errc::unreadable, file.string() + ": cannot be read: " + std::strerror(why),
                    why == EISDIR   ? "name a file in it"
                    : why == EACCES ? "let this user read it, and enter its directory"
                                    : "look at its name");
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

void not_there(errc code, std::string_view octets, std::string_view name, std::string_view wanted,
               std::string_view label) {
    const nature what = what_is(octets);
    throw error(code, std::string(name) + ": holds no " + std::string(wanted) + ": it is " + what.words,
                what.cure_for(label));
}

pem_objects objects_in(std::string_view pem, std::string_view name, wanted kinds, other_blocks others,
                       const openssl_scope& scope) {
    ERR_clear_error();
    if (pem.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
        throw error(errc::malformed, std::string(name) + ": has 2 GiB or more, which OpenSSL does not read",
                    "give less");
    const bio_handle in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    if (in == nullptr) throw error(errc::openssl, std::string(name) + ": out of memory" + drain_errors());

    pem_objects found;
    for (std::size_t place = 1;; ++place) {
        pem_block block;
        if (PEM_read_bio(in.get(), &block.name, &block.header, &block.data, &block.size) != 1) {
            const unsigned long code = ERR_peek_last_error();
            if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
                malformed_block(name, place, "is broken or cut short");
            ERR_clear_error();
            break;
        }
        const std::string_view type = block.name;
        if (is_certificate(type) && kinds != wanted::crls) {
            x509_handle made(X509_new_ex(scope.libctx, scope.properties));
            found.certificates.push_back(object_in(block, std::move(made), d2i_X509, name, place));
        } else if (type == PEM_STRING_X509_CRL && kinds != wanted::certificates) {
            crl_handle made(X509_CRL_new_ex(scope.libctx, scope.properties));
            found.crls.push_back(object_in(block, std::move(made), d2i_X509_CRL, name, place));
        } else if (others == other_blocks::refuse) {
            const nature what = block_in_words(type);
            throw error(errc::malformed,
                        std::string(name) + ": block " + std::to_string(place) + " is " + what.words + ", no " +
                            std::string(name_of(kinds)),
                        place == 1 ? what.cure_for(label_of(kinds)) : "take it out of the file");
        }
    }
    // A damaged BEGIN or END line turns a block into text: notice it, so that nothing gets lost.
    const std::size_t read = found.certificates.size() + found.crls.size();
    const std::string letters = letters_of(pem);
    const std::size_t lines = std::max(marked(letters, "BEGIN", kinds), marked(letters, "END", kinds));
    if (read == 0 && (lines == 0 || !what_is(pem).cure.empty()))
        not_there(errc::holds_nothing, pem, name, name_of(kinds), label_of(kinds));
    if (lines != read)
        throw error(errc::malformed,
                    std::string(name) + ": " + std::to_string(lines) +
                        (lines == 1 ? " line begins or ends a " : " lines begin or end a ") +
                        std::string(name_of(kinds)) + ", but only " + std::to_string(read) + " can be read",
                    "mend those lines: nothing stands before or after their five dashes");
    return found;
}

std::vector<x509_handle> certificates_in(std::string_view pem, std::string_view name, other_blocks others,
                                         const openssl_scope& scope) {
    return objects_in(pem, name, wanted::certificates, others, scope).certificates;
}

std::array<std::uint8_t, 32> sha256(const X509& certificate) {
    std::array<std::uint8_t, 32> digest{};
    unsigned int size = 0;
    if (X509_digest(&certificate, EVP_sha256(), digest.data(), &size) != 1 || size != digest.size())
        throw error(errc::openssl, "SHA-256 of a certificate failed" + drain_errors());
    return digest;
}

std::array<std::uint8_t, 32> sha256(const X509_CRL& crl) {
    std::array<std::uint8_t, 32> digest{};
    unsigned int size = 0;
    if (X509_CRL_digest(&crl, EVP_sha256(), digest.data(), &size) != 1 || size != digest.size())
        throw error(errc::openssl, "SHA-256 of a CRL failed" + drain_errors());
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

std::optional<std::int64_t> seconds_of(const ASN1_TIME* time) noexcept {
    using namespace std::chrono;
    std::tm parts{};
    if (ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
    const sys_days day = year(parts.tm_year + 1900) / (parts.tm_mon + 1) / parts.tm_mday;
    return (day + hours(parts.tm_hour) + minutes(parts.tm_min) + seconds(parts.tm_sec)).time_since_epoch().count();
}

std::string time_text(const ASN1_TIME* time) {
    const bio_handle out(BIO_new(BIO_s_mem()));
    char* text = nullptr;
    if (out == nullptr || ASN1_TIME_print_ex(out.get(), time, ASN1_DTFLGS_ISO8601) != 1) return "a time";
    const long size = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(size)};
}

std::chrono::system_clock::time_point time_point(std::int64_t seconds) noexcept {
    using clock = std::chrono::system_clock;
    const std::chrono::seconds time(seconds);
    if (time >= std::chrono::floor<std::chrono::seconds>(clock::time_point::max()).time_since_epoch())
        return clock::time_point::max();
    return clock::time_point(time);
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
