// SPDX-License-Identifier: Apache-2.0
#include "identity.hpp"

#include "../../names.hpp"
#include "../base/fence.hpp"
#include "../base/pem.hpp"

#include <reqauth/error.hpp>

#include <arpa/inet.h>

#include <algorithm>

namespace reqauth {

namespace detail {

/// identity is what a flagged_peer shows.
struct identity {
    x509_handle leaf;
    x509_handle anchor;
    certificates_handle chain;
    std::vector<X509*> chain_view;
    std::string subject;
    std::string issuer;
    std::string serial;
    std::chrono::system_clock::time_point not_after;
    std::vector<subject_alt_name> alt_names;
    std::array<std::uint8_t, 32> thumbprint{};
    bool resumed = false;
    bool from_early_data = false;
};

namespace {

void free_text(char* text) noexcept { OPENSSL_free(text); }

std::string escaped(std::string_view raw) {
    std::string text;
    for (const char c : raw) {
        const auto octet = static_cast<std::uint8_t>(c);
        if (octet < 0x20 || octet > 0x7e || c == '\\' || c == '"' || c == ',')
            text += escape(c);
        else
            text += c;
    }
    return text;
}

std::string_view octets_of(const ASN1_STRING* string) {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
            static_cast<std::size_t>(ASN1_STRING_length(string))};
}

std::string address_text(std::string_view octets) {
    char text[INET6_ADDRSTRLEN] = {};
    const int family = octets.size() == 4 ? AF_INET : AF_INET6;
    if ((octets.size() != 4 && octets.size() != 16) || inet_ntop(family, octets.data(), text, sizeof text) == nullptr)
        return hex({reinterpret_cast<const std::uint8_t*>(octets.data()), octets.size()});
    return text;
}

std::string object_text(const ASN1_OBJECT* object) {
    const int size = OBJ_obj2txt(nullptr, 0, object, 1);
    std::string text(static_cast<std::size_t>(std::max(size, 0)) + 1, '\0'); // and its NUL
    if (size <= 0 || OBJ_obj2txt(text.data(), size + 1, object, 1) != size)
        throw error(errc::openssl, "an object identifier cannot be written as text" + drain_errors());
    text.pop_back();
    return text;
}

subject_alt_name alt_name_of(const GENERAL_NAME* name) {
    using kind = subject_alt_name::kind;
    int type = 0;
    const void* value = GENERAL_NAME_get0_value(name, &type);
    switch (type) {
    case GEN_DNS: return {kind::dns, escaped(octets_of(static_cast<const ASN1_STRING*>(value)))};
    case GEN_URI: return {kind::uri, escaped(octets_of(static_cast<const ASN1_STRING*>(value)))};
    case GEN_EMAIL: return {kind::email, escaped(octets_of(static_cast<const ASN1_STRING*>(value)))};
    case GEN_IPADD: return {kind::ip, address_text(octets_of(static_cast<const ASN1_STRING*>(value)))};
    case GEN_DIRNAME: return {kind::other, "dirname=" + escaped(name_text(static_cast<const X509_NAME*>(value)))};
    case GEN_RID: return {kind::other, "registered id=" + object_text(static_cast<const ASN1_OBJECT*>(value))};
    case GEN_OTHERNAME: return {kind::other, "othername=" + object_text(static_cast<const OTHERNAME*>(value)->type_id)};
    default: return {kind::other, "type " + std::to_string(type)};
    }
}

} // namespace

std::string serial_of(const X509& certificate) {
    const std::unique_ptr<BIGNUM, freed_by<BN_free>> number(
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(&certificate), nullptr));
    const std::unique_ptr<char, freed_by<free_text>> text(number != nullptr ? BN_bn2hex(number.get()) : nullptr);
    if (text == nullptr) throw error(errc::openssl, "a certificate's serial number cannot be written" + drain_errors());
    return BN_is_zero(number.get()) == 1 ? "00" : text.get();
}

std::shared_ptr<const identity> identity_of(const SSL& ssl, const server_record::handshake& now) {
    X509& leaf = *SSL_get0_peer_certificate(&ssl);
    auto who = std::make_shared<identity>();
    who->thumbprint = now.facts.witness.leaf;
    who->subject = name_text(X509_get_subject_name(&leaf));
    who->issuer = name_text(X509_get_issuer_name(&leaf));
    who->serial = serial_of(leaf);
    const auto end = seconds_of(X509_get0_notAfter(&leaf));
    if (!end) throw error(errc::openssl, "a certificate's notAfter cannot be read" + drain_errors());
    who->not_after = time_point(*end);
    int found = 0;
    const std::unique_ptr<GENERAL_NAMES, freed_by<GENERAL_NAMES_free>> names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&leaf, NID_subject_alt_name, &found, nullptr)));
    constexpr int none = -1;
    if (names == nullptr && found != none)
        throw error(errc::openssl, "a certificate's subjectAltName cannot be read" + drain_errors());
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i)
        who->alt_names.push_back(alt_name_of(sk_GENERAL_NAME_value(names.get(), i)));
    who->leaf = reference(&leaf);
    who->anchor = reference(now.anchor.get());
    who->resumed = SSL_session_reused(&ssl) == 1;
    //= TLS-4
    who->from_early_data = SSL_get_early_data_status(&ssl) == SSL_EARLY_DATA_ACCEPTED;
    // What an earlier handshake of the SSL verified is not this one's chain.
    if (!who->resumed) {
        if (sk_X509_num(now.chain.get()) <= 0) throw error(errc::openssl, "the verified chain is not there");
        who->chain.reset(X509_chain_up_ref(now.chain.get()));
        if (who->chain == nullptr) throw error(errc::openssl, "a chain cannot be kept" + drain_errors());
        for (int i = 0; i < sk_X509_num(who->chain.get()); ++i)
            who->chain_view.push_back(sk_X509_value(who->chain.get(), i));
    }
    if (who->chain_view.empty()) who->chain_view.push_back(who->leaf.get());
    return who;
}

} // namespace detail

const std::string& flagged_peer::subject() const noexcept { return who_->subject; }
const std::string& flagged_peer::issuer() const noexcept { return who_->issuer; }
const std::string& flagged_peer::serial() const noexcept { return who_->serial; }
std::chrono::system_clock::time_point flagged_peer::not_after() const noexcept { return who_->not_after; }
const std::vector<subject_alt_name>& flagged_peer::alt_names() const noexcept { return who_->alt_names; }
const std::array<std::uint8_t, 32>& flagged_peer::thumbprint() const noexcept { return who_->thumbprint; }
X509& flagged_peer::certificate() const noexcept { return *who_->leaf; }
const std::vector<X509*>& flagged_peer::chain() const noexcept { return who_->chain_view; }
X509& flagged_peer::anchor() const noexcept { return *who_->anchor; }
bool flagged_peer::has_name(subject_alt_name::kind type, std::string_view name) const noexcept {
    const auto same = [&](char a, char b) {
        const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
        return type == subject_alt_name::kind::dns ? small(a) == small(b) : a == b;
    };
    return std::ranges::any_of(who_->alt_names, [&](const subject_alt_name& each) {
        return each.type == type && std::ranges::equal(each.value, name, same);
    });
}
bool flagged_peer::resumed() const noexcept { return who_->resumed; }
bool flagged_peer::from_early_data() const noexcept { return who_->from_early_data; }

std::string to_string(const subject_alt_name& name) {
    return std::string(detail::name_in({"DNS:", "URI:", "email:", "IP:", "other:"}, name.type)) + name.value;
}

} // namespace reqauth
