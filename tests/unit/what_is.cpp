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

std::string crl_in_der(const std::string& text) {
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
    const std::string base64 = pem(*who().certificate);
    const row rows[] = {
        {"nothing", "", "empty"},
        {"text", "no certificate here\n", "text without PEM"},
        {"octets", std::string(500, '\0'), "neither PEM nor DER"},
        {"a public key in DER", written([](BIO* out) { return i2d_PUBKEY_bio(out, who().key.get()); }),
         "a public key in DER"},
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
        CHECK(said([&] { (void)agents.with_crls_from_file(certificate); }).find("holds no CRL: it is a certificate") !=
              std::string::npos);
    }
}

TEST_CASE("trust, credential / files as people have them -> what is asked for is taken of them, the rest passed over",
          "[unit][RCA-6][SEC-2]") {
    const temporary_directory directory;
    const std::string mine = pem(*who().certificate);
    const std::string key = pem(*who().key);
    const std::string anchor = pem(*the_cast().agents_ca.certificate);
    const std::string list = crl(the_cast().agents_ca);
    const std::string parameters = block("EC PARAMETERS");
    const std::string trusted = written([](BIO* out) { return PEM_write_bio_X509_AUX(out, who().certificate.get()); });
    const std::string der = written([](BIO* out) { return i2d_X509_bio(out, who().certificate.get()); });
    const std::string key_in_der = written([](BIO* out) { return i2d_PrivateKey_bio(out, who().key.get()); });
    const std::string pkcs8 = written([](BIO* out) { return i2d_PKCS8PrivateKeyInfo_bio(out, who().key.get()); });
    const std::string encrypted = written([](BIO* out) {
        return i2d_PKCS8PrivateKey_bio(out, who().key.get(), EVP_aes_256_cbc(), "secret", 6, nullptr, nullptr);
    });
    REQUIRE(trusted.find("BEGIN TRUSTED CERTIFICATE") != trusted.npos);
    reqauth::credential_options options;
    options.passphrase = [](const std::string&) { return "secret"; };

    struct row {
        const char* name;
        std::string certificate;
        std::string key;
    };
    const row credentials[] = {
        {"key, request, certificate", key + request(true) + mine, key + request(true) + mine},
        {"request, certificate", request(true) + mine, key},
        {"parameters, key, certificate", parameters + key + mine, parameters + key + mine},
        {"certificate before the key", mine + key, mine + key},
        {"a CRL, a public key, something else", list + public_pem(*who().key) + block("SOMETHING ELSE") + mine,
         block("SOMETHING ELSE") + key},
        {"a name that begins as the one that is asked for", block("CERTIFICATE PAIR") + mine, key},
        {"TRUSTED CERTIFICATE", trusted, key},
        {"TRUSTED CERTIFICATE, and its issuer", trusted + anchor, key},
        {"lines as Windows ends them", "Bag Attributes\r\n" + mine, key},
        {"certificate in DER", der, key},
        {"key in DER", mine, key_in_der},
        {"key in DER, PKCS#8", mine, pkcs8},
        {"key in DER, encrypted", mine, encrypted},
        {"both in DER", der, key_in_der},
    };
    for (const row& one : credentials) SECTION(one.name) {
            const auto certificate = directory.write("cert", one.certificate);
            const auto its_key = directory.write("key", one.key);
            const auto loaded = credential::from_files(certificate, its_key, options);
            CHECK(loaded.subject() == "CN=crawler.example");
            CHECK(loaded.thumbprint() == credential::from_objects(*who().certificate, *who().key).thumbprint());
        }
    const std::string anchor_in_der =
        written([](BIO* out) { return i2d_X509_bio(out, the_cast().agents_ca.certificate.get()); });
    const std::pair<const char*, std::string> anchors[] = {
        {"an anchor beside its key", pem(*the_cast().agents_ca.key) + anchor},
        {"an anchor beside a request and parameters", request(true) + parameters + anchor},
        {"an anchor in DER", anchor_in_der}};
    const auto expected = trust::from_pem(anchor);
    for (const auto& [name, octets] : anchors) SECTION(name) {
            CHECK(trust::from_file(directory.write("anchors.pem", octets)).digest() == expected.digest());
        }
    const std::pair<const char*, std::string> lists[] = {{"a CRL beside its CA's certificate", anchor + list},
                                                         {"a CRL in DER", crl_in_der(list)}};
    for (const auto& [name, octets] : lists) SECTION(name) {
            CHECK(expected.with_crls_from_file(directory.write("crl", octets)).digest() ==
                  expected.with_crls(list).digest());
        }
    SECTION("a directory") {
        directory.write("one.der", anchor_in_der);
        directory.write("list.crl", crl_in_der(list));
        CHECK(trust::from_directory(directory.path()).digest() == expected.with_crls(list).digest());
    }
    SECTION("TRUSTED CERTIFICATE among anchors -> an error: it may be rejected for some uses") {
        CHECK(said([&] { (void)trust::from_pem(anchor + trusted); }).find("block 2 is a TRUSTED CERTIFICATE") !=
              std::string::npos);
    }
    SECTION("DER, and more after it -> an error") {
        for (const std::string& octets : {anchor_in_der + anchor_in_der, anchor_in_der + "\n"})
            CHECK(said([&] { (void)trust::from_pem(octets); }).find("octets after its end") != std::string::npos);
    }
    SECTION("two blocks without a line's end between them, or in one line -> an error") {
        const std::string second = pem(*the_cast().customers_ca.certificate);
        std::string one_line = second;
        std::erase(one_line, '\n');
        for (const std::string& text : {anchor.substr(0, anchor.size() - 1) + second, anchor + one_line,
                                        one_line + "\n" + anchor, anchor + one_line + one_line})
            CHECK(said([&] { (void)trust::from_pem(text); }).find("PEM text: ") != std::string::npos);
    }
    SECTION("a damaged line is noticed beside blocks that are passed over") {
        for (const auto* line :
             {"----BEGIN CERTIFICATE-----", "-----begin certificate-----", "-----BEGIN CERTIFICATE-----x"})
            CHECK(said([&] {
                      (void)trust::from_pem(request(true) + anchor + line + anchor.substr(anchor.find('\n')));
                  }).find("but only 1 can be read") != std::string::npos);
    }
}

TEST_CASE("credential / from_files / a key under a cipher that this OpenSSL does not have -> its name, and the cure",
          "[unit][RCA-6][RCA-7]") {
    const temporary_directory directory;
    const auto certificate = directory.write("me.pem", pem(*who().certificate));
    reqauth::credential_options options;
    options.passphrase = [](const std::string&) { return "secret"; };
    const auto in_der = [](const char* text) {
        const owned<BIO> in(BIO_new_mem_buf(text, -1));
        const std::unique_ptr<X509_SIG, decltype(&X509_SIG_free)> read(
            PEM_read_bio_PKCS8(in.get(), nullptr, nullptr, nullptr), X509_SIG_free);
        return written([&](BIO* out) { return i2d_PKCS8_bio(out, read.get()); });
    };
    for (const std::string& text : {std::string(pbes1_with_des), std::string(pbes2_with_des), std::string(before_pkcs8),
                                    in_der(pbes1_with_des), in_der(pbes2_with_des)}) {
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
