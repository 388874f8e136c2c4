// SPDX-License-Identifier: Apache-2.0
// What is said of a file that is not what it should be: as a certificate, a key, a CA and a CRL.

#include "catch.hpp"
#include "support/pki.hpp"

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>
#include <reqauth/trust.hpp>

#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include <functional>

using namespace support;
using reqauth::credential;
using reqauth::errc;
using reqauth::trust;

namespace {

const identity& who() { return the_cast().agent; }

template <class Write> std::string written(Write write) {
    const owned<BIO> out(BIO_new(BIO_s_mem()));
    REQUIRE(write(out.get()) == 1);
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(size)};
}

std::string request(bool in_pem) {
    const std::unique_ptr<X509_REQ, decltype(&X509_REQ_free)> made(
        X509_to_X509_REQ(who().certificate.get(), who().key.get(), EVP_sha256()), X509_REQ_free);
    return written(
        [&](BIO* out) { return in_pem ? PEM_write_bio_X509_REQ(out, made.get()) : i2d_X509_REQ_bio(out, made.get()); });
}

std::string pkcs12() {
    const std::unique_ptr<PKCS12, decltype(&PKCS12_free)> made(
        PKCS12_create("x", nullptr, who().key.get(), who().certificate.get(), nullptr, 0, 0, 0, 0, 0), PKCS12_free);
    return written([&](BIO* out) { return i2d_PKCS12_bio(out, made.get()); });
}

std::string crl_in_der() {
    const std::string text = crl(the_cast().agents_ca);
    const owned<BIO> in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    const std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> read(
        PEM_read_bio_X509_CRL(in.get(), nullptr, nullptr, nullptr), X509_CRL_free);
    return written([&](BIO* out) { return i2d_X509_CRL_bio(out, read.get()); });
}

std::string in_utf16(const std::string& text) {
    std::string wide = "\xff\xfe";
    for (const char each : text) wide.append({each, '\0'});
    return wide;
}

std::string block(const std::string& label) {
    return "-----BEGIN " + label + "-----\nAAAA\n-----END " + label + "-----\n";
}

std::string said(const std::function<void()>& load) {
    try {
        load();
    } catch (const reqauth::error& error) {
        const std::string text = error.what();
        CHECK(text.find('\n') == text.npos);
        CHECK_FALSE(error.remedy().empty());
        return text;
    }
    FAIL("nothing was thrown");
    return {};
}

// Two throw-away keys with the passphrase "secret", of `openssl pkcs8 -topk8 -v1 PBE-MD5-DES` and `-v2 des`.
constexpr const char* pbes1_with_des = R"(-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGwMBsGCSqGSIb3DQEFAzAOBAhl8QYVpYu7QgICCAAEgZCK/3TXDgSWQODKg/Dl
0t5FP5iznGWG+3SzmVLAJBRqbU3jQ+Vb3cOZtwVMxb0KRfz/tKoAzbO5dxTEhY1q
gtf0YDdqS4Fummj0IlHZoxEBPnU6eXf0Qw6ZXhLDGHZGxn4z8VhKI5khGZCT6XD9
Spd49jD2q4xtGMH+x1MQx2VC2A3KhFoa1VRp/vsbjzryG9U=
-----END ENCRYPTED PRIVATE KEY-----
)";
constexpr const char* pbes2_with_des = R"(-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHgMEsGCSqGSIb3DQEFDTA+MCkGCSqGSIb3DQEFDDAcBAim5lJNOhTrgQICCAAw
DAYIKoZIhvcNAgkFADARBgUrDgMCBwQIvZBPvZr0+B0EgZCTxhUroeTIFCzYmDHO
fXWktDpI+MeZPeZCD9yyoFNDjsMyWrqu/Up4NslYaVlZMynBz8Z/ZTxBP2L+BwNa
Vemc85ytAZuwLNgv4lmIhQtJtbiH9p3PVfBj+mdrPDGHkMky5HK5XntHKe2Bo6y1
hU/SNf1anlKmO4p7iA8jiYLWz8uw1IHuOHLhw+YlvSjOzkU=
-----END ENCRYPTED PRIVATE KEY-----
)";
constexpr const char* before_pkcs8 = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
                                     "DEK-Info: DES-CBC,0123456789ABCDEF\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";

} // namespace

TEST_CASE("trust, credential / a file of another kind -> an error with the file, what it is, and what to do",
          "[unit][RCA-6][SEC-2]") {
    const temporary_directory directory;
    const auto certificate = directory.write("me.pem", pem(*who().certificate));
    const auto key = directory.write("me.key", pem(*who().key));
    const trust agents = trust::from_pem(pem(*the_cast().agents_ca.certificate));

    struct row {
        std::string name;
        std::string octets;
        std::string is;
        std::string cure = "give PEM with BEGIN";
        int cured = 4; ///< of the four
    };
    const std::string der = written([](BIO* out) { return i2d_X509_bio(out, who().certificate.get()); });
    const std::string base64 = pem(*who().certificate);
    const row rows[] = {
        {"nothing", "", "empty"},
        {"text", "no certificate here\n", "text without PEM"},
        {"octets", std::string(500, '\0'), "neither PEM nor DER"},
        {"a certificate in DER", der, "a certificate in DER", "openssl x509 -inform DER", 2},
        {"a key in DER", written([](BIO* out) { return i2d_PrivateKey_bio(out, who().key.get()); }),
         "a private key in DER", "openssl pkey -inform DER", 1},
        {"a key in DER, PKCS#8", written([](BIO* out) { return i2d_PKCS8PrivateKeyInfo_bio(out, who().key.get()); }),
         "a private key in DER", "openssl pkey -inform DER", 1},
        {"a public key in DER", written([](BIO* out) { return i2d_PUBKEY_bio(out, who().key.get()); }),
         "a public key in DER"},
        {"a CRL in DER", crl_in_der(), "a CRL in DER", "openssl crl -inform DER", 1},
        {"a request in DER", request(false), "a certificate request in DER", "have a CA issue"},
        {"PKCS#12", pkcs12(), "PKCS#12", "openssl pkcs12", 3},
        {"UTF-16", in_utf16(base64), "text in UTF-16", "UTF-8"},
        {"a keystore of Java", "\xfe\xed\xfe\xed...", "a Java keystore", "keytool", 3},
        {"a key of PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519\n", "a private key of PuTTY", "puttygen", 1},
        {"a public key of OpenSSH", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\n", "a public key of OpenSSH",
         "TLS has no use for it"},
        {"a web page", "\n<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n", "a web page", "fetch"},
        {"JSON", "{\"kty\":\"EC\"}", "JSON"},
        {"gzip", "\x1f\x8b\x08", "compressed by gzip", "unpack it"},
        {"without its lines", base64.substr(base64.find('\n') + 1, 300), "base64 without its lines BEGIN and END",
         "put those"},
    };
    for (const row& one : rows) SECTION(one.name) {
            const auto file = directory.write("what", one.octets);
            int count = 0;
            for (const auto& text :
                 {said([&] { (void)credential::from_files(file, key); }),
                  said([&] { (void)credential::from_files(certificate, file); }),
                  said([&] { (void)trust::from_file(file); }), said([&] { (void)agents.with_crls_from_file(file); })}) {
                CAPTURE(text);
                CHECK(text.find(file.string() + ": holds no ") != text.npos);
                CHECK(text.find("it is " + one.is) != text.npos);
                const bool cured = text.find(one.cure) != text.npos;
                CHECK((cured || text.find("give PEM with BEGIN") != text.npos));
                count += cured ? 1 : 0;
            }
            CHECK(count == one.cured);
        }
}

TEST_CASE("trust, credential / PEM of another kind -> an error with the file, what it is, and what to do",
          "[unit][RCA-6][SEC-2]") {
    const temporary_directory directory;
    const auto certificate = directory.write("me.pem", pem(*who().certificate));
    const auto key = directory.write("me.key", pem(*who().key));
    struct row {
        std::string text;
        std::string is;
        std::string cure = "give PEM with BEGIN";
        int cured = 3; ///< of the three
    };
    const std::string private_key = pem(*who().key);
    const row rows[] = {
        {request(true), "a certificate request", "have a CA issue"},
        {block("NEW CERTIFICATE REQUEST"), "a certificate request", "have a CA issue"},
        {block("OPENSSH PRIVATE KEY"), "a private key of OpenSSH", "ssh-keygen -p -m PKCS8", 1},
        {block("PGP PRIVATE KEY BLOCK"), "of PGP", "TLS has no use for it"},
        {block("PKCS7"), "PKCS#7", "openssl pkcs7", 2},
        {public_pem(*who().key), "a public key"},
        {block("EC PARAMETERS"), "the parameters of keys"},
        {block("SSL SESSION PARAMETERS"), "a TLS session"},
        {block("SOMETHING ELSE"), "SOMETHING ELSE"},
    };
    for (const row& one : rows) SECTION(one.is + ", " + one.text.substr(11, 10)) {
            const auto file = directory.write("what", one.text);
            int count = 0;
            for (const auto& text : {said([&] { (void)credential::from_files(file, key); }),
                                     said([&] { (void)credential::from_files(certificate, file); }),
                                     said([&] { (void)trust::from_file(file); })}) {
                CAPTURE(text);
                CHECK(text.find(file.string() + ": ") != text.npos);
                CHECK(text.find(" is " + one.is) != text.npos);
                const bool cured = text.find(one.cure) != text.npos;
                CHECK((cured || text.find("give PEM with BEGIN") != text.npos));
                count += cured ? 1 : 0;
            }
            CHECK(count == one.cured);
        }
    SECTION("certificate and key have changed places") {
        const std::string text = said([&] { (void)credential::from_files(key, certificate); });
        CHECK(text.find("me.pem: holds no private key: it is a certificate") != text.npos);
        CHECK(text.find("did two files change places?") != text.npos);
        CHECK(said([&] { (void)credential::from_files(key, key); }).find("it is a private key") != text.npos);
        CHECK(said([&] { (void)trust::from_file(key); }).find("is a private key") != text.npos);
    }
    SECTION("certificates where CRLs belong") {
        const trust agents = trust::from_pem(pem(*the_cast().agents_ca.certificate));
        CHECK(said([&] { (void)agents.with_crls_from_file(certificate); }).find("is a certificate, no CRL") !=
              std::string::npos);
    }
}

TEST_CASE("credential / from_files / a request beside certificate and key -> loaded", "[unit][RCA-6]") {
    const temporary_directory directory;
    const auto all = directory.write("all.pem", pem(*who().key) + request(true) + pem(*who().certificate));
    CHECK(credential::from_files(all, all).subject() == "CN=crawler.example");
}

TEST_CASE("credential / from_files / a key under a cipher that this OpenSSL does not have -> its name, and the cure",
          "[unit][RCA-6][RCA-7]") {
    const temporary_directory directory;
    const auto certificate = directory.write("me.pem", pem(*who().certificate));
    reqauth::credential_options options;
    options.passphrase = [](const std::string&) { return "secret"; };
    for (const auto* text : {pbes1_with_des, pbes2_with_des, before_pkcs8}) {
        const auto key = directory.write("old.key", text);
        for (const auto& how : {reqauth::credential_options{}, options}) {
            const std::string words = said([&] { (void)credential::from_files(certificate, key, how); });
            CAPTURE(words);
            for (const auto* word : {"old.key", "DES-CBC", "-provider legacy", "openssl pkey"})
                CHECK(words.find(word) != words.npos);
        }
    }
}

TEST_CASE("credential / from_files / the leaf is not the first -> it has to be", "[unit][RCA-6]") {
    const temporary_directory directory;
    const auto key = directory.write("me.key", pem(*who().key));
    const auto chain = directory.write("chain.pem", pem(*the_cast().agents_ca.certificate) + pem(*who().certificate));
    const std::string text = said([&] { (void)credential::from_files(chain, key); });
    CAPTURE(text);
    for (const auto* word : {"chain.pem", "CN=Agents CA", "CN=crawler.example", "the leaf has to come first"})
        CHECK(text.find(word) != text.npos);
}

TEST_CASE("credential / from_uri / no provider for the scheme -> the scheme, and where providers are shown", "[unit]") {
    const temporary_directory directory;
    const auto certificate = directory.write("me.pem", pem(*who().certificate));
    const std::string text = said([&] { (void)credential::from_uri(certificate, "nosuchscheme:object=me"); });
    CHECK(text.find("nosuchscheme:") != text.npos);
    CHECK(text.find("openssl list -store-loaders") != text.npos);
    CHECK(text.size() < 250);
}
