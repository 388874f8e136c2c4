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

// By the whole name of a block.
bool is_certificate(std::string_view name, wanted kinds) {
    return kinds != wanted::crls && (name == PEM_STRING_X509 || name == PEM_STRING_X509_OLD ||
                                     (name == PEM_STRING_X509_TRUSTED && kinds == wanted::own_certificates));
}
bool is_crl(std::string_view name, wanted kinds) {
    return name == PEM_STRING_X509_CRL && kinds != wanted::own_certificates;
}

// A line by its letters and digits alone, in capitals: also one in which a blank, the dashes or the letters have become
// others on the way.
std::string letters_of(std::string_view line) {
    std::string letters;
    for (const char c : line) {
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')) letters += c;
        if (c >= 'a' && c <= 'z') letters += static_cast<char>(c - 'a' + 'A');
    }
    return letters;
}

std::size_t occurrences(std::string_view text, std::string_view word) {
    std::size_t count = 0;
    for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + word.size())) ++count;
    return count;
}

// How many blocks of the kinds that are wanted a line begins, or ends. One as OpenSSL writes it goes by the whole name, a
// damaged one by what it has of it.
std::size_t marks(std::string_view line, const std::string& begin_or_end, wanted kinds) {
    constexpr std::string_view dashes = "-----";
    while (line.ends_with(' ') || line.ends_with('\t')) line.remove_suffix(1);
    const std::string letters = letters_of(line);
    const bool whole = line.starts_with(dashes) && line.find(dashes, dashes.size()) == line.size() - dashes.size();
    const auto times = [&](const char* name) {
        const std::string word = begin_or_end + name;
        return whole ? std::size_t{letters == word} : occurrences(letters, word);
    };
    std::size_t count = 0;
    if (kinds != wanted::crls)
        count += times("CERTIFICATE") + times("X509CERTIFICATE") - (whole ? 0 : times("CERTIFICATEREQUEST"));
    if (kinds == wanted::own_certificates) count += times("TRUSTEDCERTIFICATE");
    if (kinds != wanted::own_certificates) count += times("X509CRL");
    return count;
}

std::size_t marked(std::string_view pem, const std::string& begin_or_end, wanted kinds) {
    std::size_t count = 0;
    for (std::size_t at = 0, end = 0; at < pem.size(); at = end + 1) {
        end = std::min(pem.find_first_of("\r\n", at), pem.size());
        count += marks(pem.substr(at, end - at), begin_or_end, kinds);
    }
    return count;
}

std::string_view name_of(wanted kinds) { return name_in({"certificate", "CRL", "certificate or CRL"}, kinds); }

std::string_view label_of(wanted kinds) { return kinds == wanted::crls ? PEM_STRING_X509_CRL : PEM_STRING_X509; }

[[noreturn]] void malformed(const std::string& place, const std::string& what) {
    throw error(errc::malformed, place + " " + what + drain_errors(), "replace it, nothing of the file was used");
}

// Reads one object into a new one, all of it; null: the octets are something else. `place` is where they are.
template <class Handle, class FromDer>
Handle object_in(std::string_view octets, Handle object, FromDer from_der, const std::string& place) {
    if (object == nullptr) throw error(errc::openssl, place + ": out of memory" + drain_errors());
    auto* into = object.get();
    const auto* der = reinterpret_cast<const unsigned char*>(octets.data());
    if (from_der(&into, &der, static_cast<long>(octets.size())) == nullptr) {
        (void)object.release(); // it was freed
        return nullptr;
    }
    if (der != reinterpret_cast<const unsigned char*>(octets.data()) + octets.size())
        malformed(place, "has octets after its end");
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

pem_objects objects_in(std::string_view octets, std::string_view name, wanted kinds, const openssl_scope& scope) {
    ERR_clear_error();
    if (octets.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
        throw error(errc::malformed, std::string(name) + ": has 2 GiB or more, which OpenSSL does not read",
                    "give less");
    pem_objects found;
    const auto add_certificate = [&](std::string_view der, const std::string& place, bool with_uses) {
        auto one = object_in(der, x509_handle(X509_new_ex(scope.libctx, scope.properties)),
                             with_uses ? d2i_X509_AUX : d2i_X509, place);
        return one != nullptr && (found.certificates.push_back(std::move(one)), true);
    };
    const auto add_crl = [&](std::string_view der, const std::string& place) {
        auto one = object_in(der, crl_handle(X509_CRL_new_ex(scope.libctx, scope.properties)), d2i_X509_CRL, place);
        return one != nullptr && (found.crls.push_back(std::move(one)), true);
    };
    if (octets.starts_with('\x30') && !is_pem(octets)) {
        const std::string place = std::string(name) + ": the DER";
        const bool taken = (kinds != wanted::crls && add_certificate(octets, place, false)) ||
                           (kinds != wanted::own_certificates && add_crl(octets, place));
        ERR_clear_error();
        if (taken) return found;
    }
    const bio_handle in(BIO_new_mem_buf(octets.data(), static_cast<int>(octets.size())));
    if (in == nullptr) throw error(errc::openssl, std::string(name) + ": out of memory" + drain_errors());
    for (std::size_t number = 1;; ++number) {
        const std::string place = std::string(name) + ": block " + std::to_string(number);
        pem_block block;
        if (PEM_read_bio(in.get(), &block.name, &block.header, &block.data, &block.size) != 1) {
            const unsigned long code = ERR_peek_last_error();
            if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
                malformed(place, "is broken or cut short");
            ERR_clear_error();
            break;
        }
        const std::string_view type = block.name;
        const std::string_view der(reinterpret_cast<const char*>(block.data), static_cast<std::size_t>(block.size));
        const bool taken = is_certificate(type, kinds) ? add_certificate(der, place, type == PEM_STRING_X509_TRUSTED)
                           : is_crl(type, kinds)       ? add_crl(der, place)
                                                       : true;
        if (!taken) malformed(place, std::string("is not what its line says, ") + block.name);
        if (type == PEM_STRING_X509_TRUSTED && kinds == wanted::certificates_and_crls)
            // OpenSSL's tools honour the uses and rejections that it carries.
            throw error(errc::malformed, place + " is a TRUSTED CERTIFICATE, which may be for some uses only",
                        "make a plain one of it: openssl x509 -in FILE -out NEW");
    }
    // A damaged BEGIN or END line turns a block into text: notice it, so that nothing gets lost.
    const std::size_t read = found.certificates.size() + found.crls.size();
    const std::size_t lines = std::max(marked(octets, "BEGIN", kinds), marked(octets, "END", kinds));
    if (read == 0 && (lines == 0 || !what_is(octets).cure.empty()))
        not_there(errc::holds_nothing, octets, name, name_of(kinds), label_of(kinds));
    if (lines != read)
        throw error(errc::malformed,
                    std::string(name) + ": " + std::to_string(lines) +
                        (lines == 1 ? " line begins or ends a " : " lines begin or end a ") +
                        std::string(name_of(kinds)) + ", but only " + std::to_string(read) + " can be read",
                    "mend those lines: nothing stands before or after their five dashes");
    return found;
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
