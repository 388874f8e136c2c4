// SPDX-License-Identifier: Apache-2.0
#include "what_is.hpp"

#include "handle.hpp"

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>

#include <algorithm>

namespace reqauth::detail {

namespace {

/// row is one kind, by a sign that is the test's business.
struct row {
    std::string_view sign;
    std::string_view words;
    std::string_view cure = {};
    std::string_view gives = {};
};

constexpr std::string_view other_pem = "none"; ///< of `gives`: what it is good for stands in another file
constexpr std::string_view no_use = "TLS has no use for it: give a certificate and its key";

// By a part of the label.
constexpr row blocks[] = {
    {"CERTIFICATE REQUEST", "a certificate request", "have a CA issue the certificate that it asks for, and give that"},
    {"OPENSSH PRIVATE KEY", "a private key of OpenSSH", "make PEM of a copy: ssh-keygen -p -m PKCS8 -f COPY",
     "PRIVATE KEY"},
    {"SSH2", "a key of SSH", no_use},
    {"PGP", "of PGP", no_use},
    {"PKCS7", "PKCS#7", "take the certificates out: openssl pkcs7 -print_certs -in FILE -out NEW", "CERTIFICATE"},
    {"CMS", "CMS", "take the certificates out: openssl pkcs7 -print_certs -in FILE -out NEW", "CERTIFICATE"},
    {"PRIVATE KEY", "a private key", {}, other_pem},
    {"PUBLIC KEY", "a public key", {}, other_pem},
    {"X509 CRL", "a CRL", {}, other_pem},
    {"CERTIFICATE", "a certificate", {}, other_pem},
    {"SSL SESSION", "a TLS session", {}, other_pem},
    {"PARAMETERS", "the parameters of keys"},
};

// By how a file begins.
constexpr row beginnings[] = {
    {"\xff\xfe", "text in UTF-16", "save it as UTF-8 or ASCII"},
    {"\xfe\xff", "text in UTF-16", "save it as UTF-8 or ASCII"},
    {"\xfe\xed\xfe\xed", "a Java keystore (JKS)",
     "make PKCS#12 of it: keytool -importkeystore -deststoretype PKCS12, and PEM of that: openssl pkcs12 -nodes",
     "CERTIFICATE, PRIVATE KEY"},
    {"\xce\xce\xce\xce", "a Java keystore (JCEKS)",
     "make PKCS#12 of it: keytool -importkeystore -deststoretype PKCS12, and PEM of that: openssl pkcs12 -nodes",
     "CERTIFICATE, PRIVATE KEY"},
    {"PuTTY-User-Key-File", "a private key of PuTTY", "make PEM of it: puttygen FILE -O private-openssh -o NEW",
     "PRIVATE KEY"},
    {"ssh-", "a public key of OpenSSH", no_use},
    {"ecdsa-sha2-", "a public key of OpenSSH", no_use},
    {"\x1f\x8b", "compressed by gzip", "unpack it"},
    {"PK\x03\x04", "a zip archive", "unpack it"},
    {"MII", "base64 without its lines BEGIN and END", "put those around it, as -----BEGIN CERTIFICATE-----"},
    {"{", "JSON"},
};

template <class Object, Object* (*FromDer)(Object**, const unsigned char**, long), void (*Free)(Object*)>
bool is_der(std::string_view octets) {
    const auto* at = reinterpret_cast<const unsigned char*>(octets.data());
    const std::unique_ptr<Object, freed_by<Free>> read(FromDer(nullptr, &at, static_cast<long>(octets.size())));
    return read != nullptr;
}

struct der_row {
    bool (*is)(std::string_view);
    std::string_view words;
    std::string_view cure;
    std::string_view gives;
};

constexpr der_row ders[] = {
    {is_der<X509, d2i_X509, X509_free>, "a certificate in DER",
     "make PEM of it: openssl x509 -inform DER -in FILE -out NEW", "CERTIFICATE"},
    {is_der<X509_CRL, d2i_X509_CRL, X509_CRL_free>, "a CRL in DER",
     "make PEM of it: openssl crl -inform DER -in FILE -out NEW", "X509 CRL"},
    {is_der<X509_REQ, d2i_X509_REQ, X509_REQ_free>, "a certificate request in DER", blocks[0].cure, {}},
    {is_der<PKCS12, d2i_PKCS12, PKCS12_free>, "PKCS#12",
     "make PEM of it: openssl pkcs12 -in FILE -nodes -out NEW, which has certificate and key",
     "CERTIFICATE, PRIVATE KEY"},
    {is_der<PKCS7, d2i_PKCS7, PKCS7_free>, "PKCS#7 in DER",
     "take the certificates out: openssl pkcs7 -inform DER -print_certs -in FILE -out NEW", "CERTIFICATE"},
    {is_der<X509_SIG, d2i_X509_SIG, X509_SIG_free>, "an encrypted private key in DER",
     "make PEM of it: openssl pkey -inform DER -in FILE -out NEW", "PRIVATE KEY"},
    {[](std::string_view octets) {
         const auto* at = reinterpret_cast<const unsigned char*>(octets.data());
         return pkey_handle(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(octets.size()))) != nullptr;
     },
     "a private key in DER", "make PEM of it: openssl pkey -inform DER -in FILE -out NEW", "PRIVATE KEY"},
    {is_der<EVP_PKEY, d2i_PUBKEY, EVP_PKEY_free>, "a public key in DER", {}, {}},
};

bool is_text(char octet) {
    const auto value = static_cast<unsigned char>(octet);
    return value >= ' ' || (value >= '\t' && value <= '\r');
}

bool is_web_page(std::string_view octets) {
    std::string start(octets.substr(0, 512));
    std::ranges::transform(start, start.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
    return start.find("<html") != std::string::npos || start.find("<!doctype") != std::string::npos;
}

// "a private key" for EC PRIVATE KEY.
nature block_in_words(std::string_view label) {
    for (const row& one : blocks)
        if (label.find(one.sign) != std::string_view::npos) return {std::string(one.words), one.cure, one.gives};
    return {std::string(label), {}};
}

} // namespace

std::string nature::cure_for(std::string_view label) const {
    const bool helps = !cure.empty() && (gives.empty() || gives.find(label) != std::string_view::npos);
    if (helps) return std::string(cure);
    return "give PEM with BEGIN " + std::string(label) +
           (cure.empty() && gives == other_pem ? ": did two files change places?" : "");
}

nature what_is(std::string_view octets) {
    if (octets.empty()) return {"empty", {}};
    constexpr std::string_view begin = "-----BEGIN ";
    if (const auto at = octets.find(begin); at != std::string_view::npos) {
        const auto label = octets.substr(at + begin.size());
        return block_in_words(label.substr(0, std::min(label.find("-----"), label.find('\n'))));
    }
    ERR_set_mark();
    const auto* const der = std::ranges::find_if(ders, [&](const der_row& one) { return one.is(octets); });
    ERR_pop_to_mark();
    if (der != std::end(ders)) return {std::string(der->words), der->cure, der->gives};
    for (const row& one : beginnings)
        if (octets.starts_with(one.sign)) return {std::string(one.words), one.cure, one.gives};
    if (is_web_page(octets)) return {"a web page", "fetch the file again, and look at what comes"};
    return {std::ranges::all_of(octets, is_text) ? "text without PEM" : "neither PEM nor DER", {}};
}

} // namespace reqauth::detail
