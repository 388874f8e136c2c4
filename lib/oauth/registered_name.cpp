// SPDX-License-Identifier: Apache-2.0
#include "registered_name.hpp"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <optional>

namespace reqauth::detail {

namespace {

using object_handle = std::unique_ptr<ASN1_OBJECT, freed_by<ASN1_OBJECT_free>>;
using value_handle = std::unique_ptr<ASN1_TYPE, freed_by<ASN1_TYPE_free>>;
using octets_handle = std::unique_ptr<ASN1_OCTET_STRING, freed_by<ASN1_OCTET_STRING_free>>;
using alt_names_handle = std::unique_ptr<GENERAL_NAMES, freed_by<GENERAL_NAMES_free>>;

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
std::string lowered(std::string_view text) {
    std::string all(text);
    std::ranges::transform(all, all.begin(), lower);
    return all;
}

std::optional<unsigned char> octet_at(std::string_view text, std::size_t at) noexcept {
    const auto digit = [](char c) {
        return c >= '0' && c <= '9' ? c - '0' : lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
    };
    if (text.size() < at + 2 || digit(text[at]) < 0 || digit(text[at + 1]) < 0) return std::nullopt;
    return static_cast<unsigned char>(digit(text[at]) * 16 + digit(text[at + 1]));
}

/// type_in reads an attribute's type: a name of RFC 4514's table in any case, another of OpenSSL's, or digits and dots.
object_handle type_in(std::string_view text) {
    struct spelling {
        std::string_view name;
        int nid;
    };
    constexpr std::array<spelling, 12> known{{{"cn", NID_commonName},
                                              {"l", NID_localityName},
                                              {"st", NID_stateOrProvinceName},
                                              {"o", NID_organizationName},
                                              {"ou", NID_organizationalUnitName},
                                              {"c", NID_countryName},
                                              {"street", NID_streetAddress},
                                              {"dc", NID_domainComponent},
                                              {"uid", NID_userId},
                                              {"e", NID_pkcs9_emailAddress},
                                              {"emailaddress", NID_pkcs9_emailAddress},
                                              {"serialnumber", NID_serialNumber}}};
    const std::string name = lowered(text);
    for (const spelling& one : known)
        if (one.name == name) return object_handle(OBJ_nid2obj(one.nid));
    return object_handle(OBJ_txt2obj(std::string(text).c_str(), 0));
}

/// part is what stands before the next of `ends` that is not escaped; `text` goes on with that one.
std::string_view part(std::string_view& text, std::string_view ends) noexcept {
    std::size_t at = 0;
    while (at < text.size() && ends.find(text[at]) == std::string_view::npos) at += text[at] == '\\' ? 2 : 1;
    const std::string_view found = text.substr(0, at);
    text.remove_prefix(found.size());
    return found;
}

/// plain takes the escapes out of a value; nothing where it has a character that has to be escaped.
std::optional<std::string> plain(std::string_view text) {
    std::string value;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (std::string_view("\";<>").find(text[at]) != std::string_view::npos || text[at] == '\0') return std::nullopt;
        if (text[at] != '\\') {
            value += text[at];
        } else if (const auto octet = octet_at(text, at + 1)) {
            value += static_cast<char>(*octet);
            at += 2;
        } else if (at + 1 < text.size() &&
                   std::string_view(" \"#+,;<=>\\").find(text[at + 1]) != std::string_view::npos) {
            value += text[++at];
        } else {
            return std::nullopt;
        }
    }
    return value;
}

std::string_view without_spaces(std::string_view text) noexcept {
    while (text.starts_with(' ')) text.remove_prefix(1);
    while (text.ends_with(' ') && !text.ends_with("\\ ")) text.remove_suffix(1);
    return text;
}

/// add puts one attribute at the front of the name, or into its first relative name.
bool add(X509_NAME& name, std::string_view type, std::string_view text, bool into_first) {
    const object_handle object = type_in(without_spaces(type));
    text = without_spaces(text);
    int kind = V_ASN1_UTF8STRING;
    std::string value;
    if (text.starts_with('#')) { // the value's own octets
        std::string der;
        for (std::size_t at = 1; at < text.size(); at += 2) {
            const auto octet = octet_at(text, at);
            if (!octet) return false;
            der += static_cast<char>(*octet);
        }
        const auto* begin = reinterpret_cast<const unsigned char*>(der.data());
        const unsigned char* end = begin;
        const value_handle read(d2i_ASN1_TYPE(nullptr, &end, static_cast<long>(der.size())));
        if (read == nullptr || end != begin + der.size() || ASN1_TYPE_get(read.get()) == V_ASN1_BOOLEAN ||
            ASN1_TYPE_get(read.get()) == V_ASN1_NULL || ASN1_TYPE_get(read.get()) == V_ASN1_OBJECT)
            return false;
        kind = ASN1_TYPE_get(read.get());
        const ASN1_STRING* string = read->value.asn1_string;
        value.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                     static_cast<std::size_t>(ASN1_STRING_length(string)));
    } else if (const auto octets = plain(text)) {
        value = *octets;
    } else {
        return false;
    }
    return object != nullptr && !value.empty() &&
           X509_NAME_add_entry_by_OBJ(&name, object.get(), kind, reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), 0, into_first ? 1 : 0) == 1;
}

/// normal is a URI or an e-mail address with that part in small letters whose case does not count (RFC 5280, section 7).
std::string normal(int type, std::string text) {
    if (type == GEN_DNS) return lowered(text);
    std::size_t begin = text.rfind('@') + 1; // no @: the whole text
    std::size_t end = text.size();
    if (type == GEN_URI) {
        const std::size_t scheme = text.find(':');
        if (scheme == std::string::npos) return text;
        std::transform(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(scheme), text.begin(), lower);
        if (text.compare(scheme, 3, "://") != 0) return text;
        end = std::min(text.find_first_of("/?#", scheme + 3), text.size());
        const std::size_t user = text.rfind('@', end);
        begin = user != std::string::npos && user > scheme ? user + 1 : scheme + 3;
    }
    std::transform(text.begin() + static_cast<std::ptrdiff_t>(begin), text.begin() + static_cast<std::ptrdiff_t>(end),
                   text.begin() + static_cast<std::ptrdiff_t>(begin), lower);
    return text;
}

std::string_view octets_of(const ASN1_STRING& string) noexcept {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(&string)),
            static_cast<std::size_t>(ASN1_STRING_length(&string))};
}

} // namespace

name_handle subject_in(std::string_view text) {
    constexpr std::size_t most = 4096;
    ERR_set_mark();
    name_handle name(X509_NAME_new());
    bool sound = name != nullptr && !text.empty() && text.size() <= most;
    for (bool into_first = false; sound;) {
        const std::string_view type = part(text, "=");
        sound = !text.empty();
        if (!sound) break;
        text.remove_prefix(1);
        const std::string_view value = part(text, ",+");
        sound = add(*name, type, value, into_first);
        if (text.empty()) break;
        into_first = text.front() == '+';
        text.remove_prefix(1);
    }
    ERR_pop_to_mark();
    return sound ? std::move(name) : nullptr;
}

alt_name alt_name_in(int type, std::string_view text) {
    alt_name name{type, {}};
    const bool printable = std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
    if (!printable) return name;
    if (type != GEN_IPADD) {
        name.octets = normal(type, std::string(text));
        return name;
    }
    ERR_set_mark();
    const octets_handle address(a2i_IPADDRESS(std::string(text).c_str()));
    ERR_pop_to_mark();
    if (address != nullptr) name.octets = octets_of(*address);
    return name;
}

bool has(const X509& certificate, const alt_name& name) {
    int critical = 0;
    ERR_set_mark();
    const alt_names_handle all(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, &critical, nullptr)));
    ERR_pop_to_mark();
    for (int i = 0; i < sk_GENERAL_NAME_num(all.get()); ++i) {
        int type = 0;
        const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all.get(), i), &type);
        if (type != name.type || name.octets.empty()) continue;
        const std::string_view octets = octets_of(*static_cast<const ASN1_STRING*>(value));
        if ((type == GEN_IPADD ? std::string(octets) : normal(type, std::string(octets))) == name.octets) return true;
    }
    return false;
}

bool has(const X509& certificate, const X509_NAME& subject) {
    return X509_NAME_cmp(X509_get_subject_name(&certificate), &subject) == 0;
}

} // namespace reqauth::detail
