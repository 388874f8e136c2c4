// SPDX-License-Identifier: Apache-2.0
#include "support/pki.hpp"

#include <openssl/asn1.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace support {
namespace {

void must(bool worked, const char* what) {
    if (worked) return;
    char text[256];
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
    throw std::runtime_error(std::string(what) + ": " + text);
}

template <class T> owned<T> must(T* object, const char* what) {
    must(object != nullptr, what);
    return owned<T>(object);
}

void add_extension(X509& certificate, X509& issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, &issuer, &certificate, nullptr, nullptr, 0);
    const auto extension = must(X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()), "X509V3_EXT_nconf_nid");
    must(X509_add_ext(&certificate, extension.get(), -1) == 1, "X509_add_ext");
}

void add_alt_names(X509& certificate, const std::vector<alt_name>& alt_names) {
    const auto names = must(GENERAL_NAMES_new(), "GENERAL_NAMES_new");
    for (const alt_name& alt : alt_names) {
        ASN1_STRING* text = ASN1_STRING_type_new(alt.type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
        must(ASN1_STRING_set(text, alt.value.data(), static_cast<int>(alt.value.size())) == 1, "ASN1_STRING_set");
        GENERAL_NAME* name = GENERAL_NAME_new();
        GENERAL_NAME_set0_value(name, alt.type, text);
        must(sk_GENERAL_NAME_push(names.get(), name) > 0, "sk_GENERAL_NAME_push");
    }
    must(X509_add1_ext_i2d(&certificate, NID_subject_alt_name, names.get(), 0, 0) == 1, "X509_add1_ext_i2d");
}

std::string text_of(BIO& bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(&bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

} // namespace

owned<EVP_PKEY> make_key(key_type type) {
    switch (type) {
    case key_type::p256: return must(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), "EC key");
    case key_type::rsa: return must(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048}), "RSA key");
    case key_type::ed25519: return must(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), "Ed25519 key");
    case key_type::secp256k1: return must(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "secp256k1"), "EC key");
    }
    throw std::logic_error("no such key type");
}

owned<EVP_PKEY> public_half(const EVP_PKEY& key) {
    const std::string text = public_pem(key);
    const auto bio = must(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), "BIO");
    return must(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr), "PEM_read_bio_PUBKEY");
}

identity stolen(const identity& whose) {
    // OpenSSL compares the public halves.
    const auto own = make_key();
    BIGNUM* secret = nullptr;
    must(EVP_PKEY_get_bn_param(own.get(), OSSL_PKEY_PARAM_PRIV_KEY, &secret) == 1, "private key");
    unsigned char point[133];
    std::size_t size = 0;
    must(EVP_PKEY_get_octet_string_param(whose.key.get(), OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &size) == 1,
         "public key");
    OSSL_PARAM_BLD* build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, size);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, secret);
    OSSL_PARAM* parameters = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX* making = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
    EVP_PKEY* made = nullptr;
    EVP_PKEY_fromdata_init(making);
    EVP_PKEY_fromdata(making, &made, EVP_PKEY_KEYPAIR, parameters);
    EVP_PKEY_CTX_free(making);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(build);
    BN_clear_free(secret);
    return {must(X509_dup(whose.certificate.get()), "X509_dup"), must(made, "a key of two halves")};
}

identity issue(const description& about, const identity* issuer, EVP_PKEY* key) {
    identity made{must(X509_new(), "X509_new"), nullptr};
    X509& certificate = *made.certificate;
    if (key != nullptr) {
        EVP_PKEY_up_ref(key);
        made.key.reset(key);
    } else {
        made.key = make_key(about.key);
    }
    X509& issuing = issuer != nullptr ? *issuer->certificate : certificate;
    EVP_PKEY* signing = issuer != nullptr ? issuer->key.get() : made.key.get();

    must(X509_set_version(&certificate, X509_VERSION_3) == 1, "version");
    unsigned char serial[8];
    must(RAND_bytes(serial, sizeof serial) == 1, "RAND_bytes");
    serial[0] = static_cast<unsigned char>((serial[0] & 0x3f) | 0x40);
    must(ASN1_STRING_set(X509_get_serialNumber(&certificate), serial, sizeof serial) == 1, "serial number");
    must(X509_gmtime_adj(X509_getm_notBefore(&certificate), about.not_before) != nullptr, "notBefore");
    must(X509_gmtime_adj(X509_getm_notAfter(&certificate), about.not_after) != nullptr, "notAfter");

    std::unique_ptr<X509_NAME, decltype(&X509_NAME_free)> subject(X509_NAME_new(), &X509_NAME_free);
    must(X509_NAME_add_entry_by_txt(subject.get(), "CN", about.name_is_no_text ? V_ASN1_BIT_STRING : MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(about.common_name.data()),
                                    static_cast<int>(about.common_name.size()), -1, 0) == 1,
         "subject");
    if (!about.organization.empty())
        must(X509_NAME_add_entry_by_txt(subject.get(), "O", MBSTRING_UTF8,
                                        reinterpret_cast<const unsigned char*>(about.organization.data()), -1, -1,
                                        0) == 1,
             "organization");
    must(X509_set_subject_name(&certificate, subject.get()) == 1, "subject");
    must(X509_set_issuer_name(&certificate, X509_get_subject_name(&issuing)) == 1, "issuer");
    must(X509_set_pubkey(&certificate, made.key.get()) == 1, "public key");

    add_extension(certificate, issuing, NID_basic_constraints, about.ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(certificate, issuing, NID_key_usage, about.ca ? "critical,keyCertSign,cRLSign" : "digitalSignature");
    if (about.key_identifiers) add_extension(certificate, issuing, NID_subject_key_identifier, "hash");
    if (about.key_identifiers && issuer != nullptr)
        add_extension(certificate, issuing, NID_authority_key_identifier, "keyid");
    if (!about.alt_names.empty()) add_alt_names(certificate, about.alt_names);
    if (!about.extended_key_usage.empty())
        add_extension(certificate, issuing, NID_ext_key_usage, about.extended_key_usage);
    if (!about.name_constraints.empty())
        add_extension(certificate, issuing, NID_name_constraints, about.name_constraints);

    char digest[80];
    const bool own_digest = EVP_PKEY_get_default_digest_name(signing, digest, sizeof digest) == 2; // Ed25519, ML-DSA
    must(X509_sign(&certificate, signing, own_digest ? nullptr : EVP_sha256()) > 0, "X509_sign");
    // OpenSSL works out a certificate's extensions when it first needs them. Threads do so in a way that ThreadSanitizer
    // cannot see, since OpenSSL is built without it: now, before there are threads.
    X509_check_purpose(&certificate, -1, 0);
    return made;
}

description agent_description(std::string common_name) {
    description about{.common_name = common_name, .extended_key_usage = "clientAuth"};
    about.alt_names = {{GEN_DNS, std::move(common_name)}};
    return about;
}

std::string crl(const identity& issuer, const crl_description& about) {
    std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list(X509_CRL_new(), &X509_CRL_free);
    must(X509_CRL_set_version(list.get(), X509_CRL_VERSION_2) == 1, "version");
    must(X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(issuer.certificate.get())) == 1, "issuer");
    std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> time(ASN1_TIME_new(), &ASN1_TIME_free);
    must(X509_gmtime_adj(time.get(), about.this_update) != nullptr &&
             X509_CRL_set1_lastUpdate(list.get(), time.get()) == 1,
         "thisUpdate");
    for (const X509* one : about.revoked) {
        X509_REVOKED* entry = X509_REVOKED_new();
        must(X509_REVOKED_set_serialNumber(entry, const_cast<ASN1_INTEGER*>(X509_get0_serialNumber(one))) == 1 &&
                 X509_REVOKED_set_revocationDate(entry, time.get()) == 1 &&
                 X509_CRL_add0_revoked(list.get(), entry) == 1,
             "a revoked certificate");
    }
    must(X509_gmtime_adj(time.get(), about.next_update) != nullptr &&
             X509_CRL_set1_nextUpdate(list.get(), time.get()) == 1,
         "nextUpdate");
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer.certificate.get(), nullptr, nullptr, list.get(), 0);
    const auto key_identifier = must(X509V3_EXT_nconf_nid(nullptr, &context, NID_authority_key_identifier,
                                                          about.by_serial ? "keyid,issuer:always" : "keyid"),
                                     "X509V3_EXT_nconf_nid");
    must(X509_CRL_add_ext(list.get(), key_identifier.get(), -1) == 1, "X509_CRL_add_ext");
    if (about.delta) {
        std::unique_ptr<ASN1_INTEGER, decltype(&ASN1_INTEGER_free)> base(ASN1_INTEGER_new(), &ASN1_INTEGER_free);
        must(X509_CRL_add1_ext_i2d(list.get(), NID_delta_crl, base.get(), 1, 0) == 1, "deltaCRLIndicator");
    }
    if (about.indirect || about.for_leaves) {
        std::unique_ptr<ISSUING_DIST_POINT, decltype(&ISSUING_DIST_POINT_free)> point(ISSUING_DIST_POINT_new(),
                                                                                      &ISSUING_DIST_POINT_free);
        if (about.indirect) point->indirectCRL = 0xff;
        if (about.for_leaves) point->onlyuser = 0xff;
        must(X509_CRL_add1_ext_i2d(list.get(), NID_issuing_distribution_point, point.get(), 1, 0) == 1,
             "issuingDistributionPoint");
    }
    must(X509_CRL_sign(list.get(), issuer.key.get(), EVP_sha256()) > 0, "X509_CRL_sign");
    const auto bio = must(BIO_new(BIO_s_mem()), "BIO");
    must(PEM_write_bio_X509_CRL(bio.get(), list.get()) == 1, "PEM_write_bio_X509_CRL");
    return text_of(*bio);
}

std::array<std::uint8_t, 32> pin_of(const EVP_PKEY& key) {
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(&key, &der);
    must(size > 0, "i2d_PUBKEY");
    std::array<std::uint8_t, 32> pin{};
    const bool hashed =
        EVP_Digest(der, static_cast<std::size_t>(size), pin.data(), nullptr, EVP_sha256(), nullptr) == 1;
    OPENSSL_free(der);
    must(hashed, "EVP_Digest");
    return pin;
}

std::string pem(const X509& certificate) {
    const auto bio = must(BIO_new(BIO_s_mem()), "BIO");
    must(PEM_write_bio_X509(bio.get(), const_cast<X509*>(&certificate)) == 1, "PEM_write_bio_X509");
    return text_of(*bio);
}

std::string pem(const EVP_PKEY& key, const std::string& passphrase) {
    const auto bio = must(BIO_new(BIO_s_mem()), "BIO");
    const EVP_CIPHER* cipher = passphrase.empty() ? nullptr : EVP_aes_256_cbc();
    must(PEM_write_bio_PKCS8PrivateKey(bio.get(), const_cast<EVP_PKEY*>(&key), cipher, passphrase.data(),
                                       static_cast<int>(passphrase.size()), nullptr, nullptr) == 1,
         "PEM_write_bio_PKCS8PrivateKey");
    return text_of(*bio);
}

std::string public_pem(const EVP_PKEY& key) {
    const auto bio = must(BIO_new(BIO_s_mem()), "BIO");
    must(PEM_write_bio_PUBKEY(bio.get(), const_cast<EVP_PKEY*>(&key)) == 1, "PEM_write_bio_PUBKEY");
    return text_of(*bio);
}

const cast& the_cast() {
    static const cast people;
    return people;
}

temporary_directory::temporary_directory() {
    std::string name = (std::filesystem::temp_directory_path() / ("reqauth-test-" + std::string(6, 'X'))).string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
}

temporary_directory::~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path temporary_directory::write(const std::string& name, std::string_view text) const {
    const auto file = path_ / name;
    std::ofstream out(file, std::ios::binary);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    if (!out.flush()) throw std::runtime_error("cannot write " + file.string());
    return file;
}

} // namespace support
