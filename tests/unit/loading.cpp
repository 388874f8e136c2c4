// SPDX-License-Identifier: Apache-2.0
// Trust anchors and credentials from real files: all of a file or an error that names it.

#include "catch.hpp"
#include "support/pki.hpp"

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>
#include <reqauth/trust.hpp>

#include <openssl/asn1.h>

#include <ctime>
#include <functional>

using namespace support;
using reqauth::credential;
using reqauth::errc;
using reqauth::trust;

namespace {

// What `load` throws: its code, after checking that the text is one line and names `file`.
errc thrown(const std::string& file, const std::function<void()>& load) {
    try {
        load();
    } catch (const reqauth::error& error) {
        CAPTURE(error.what());
        const std::string text = error.what();
        CHECK(text.find(file) != text.npos);
        CHECK(text.find('\n') == text.npos);
        return error.code();
    }
    FAIL("nothing was thrown");
    return {};
}

const std::string& agents_pem() {
    static const std::string text = pem(*the_cast().agents_ca.certificate);
    return text;
}

std::string damaged(std::string text, std::string_view from, std::string_view to) {
    text.replace(text.find(from), from.size(), to);
    return text;
}

} // namespace

TEST_CASE("trust / from_file / certificates with text between them -> each anchor once", "[unit]") {
    const temporary_directory directory;
    const auto file = directory.write("agents.pem", "Agents of 2026\n" + agents_pem() + "and the customers'\n" +
                                                        pem(*the_cast().customers_ca.certificate) + agents_pem());
    CHECK(trust::from_file(file).size() == 2);
    CHECK(trust::from_pem(agents_pem()).size() == 1);
}

TEST_CASE("trust / from_file / missing, empty or malformed -> an error with the file, never other roots",
          "[unit][SEC-2][cve]") {
    const temporary_directory directory;
    const auto refused = [&](const std::string& name, std::string_view text) {
        const auto file = directory.write(name, text);
        return thrown(name, [&] { (void)trust::from_file(file); });
    };
    CHECK(thrown("missing.pem", [&] { (void)trust::from_file(directory.path() / "missing.pem"); }) == errc::unreadable);
    CHECK(thrown(directory.path().filename(), [&] { (void)trust::from_file(directory.path()); }) == errc::unreadable);
    CHECK(refused("empty.pem", "") == errc::holds_nothing);
    CHECK(refused("text.pem", "no certificate here\n") == errc::holds_nothing);
    CHECK(refused("octets.pem", std::string(5000, '\0')) == errc::holds_nothing);
    CHECK(refused("key.pem", pem(*the_cast().agents_ca.key)) == errc::holds_nothing);
}

TEST_CASE("trust / from_file / one broken certificate among good ones -> an error with its place",
          "[unit][SEC-2][cve]") {
    const temporary_directory directory;
    const std::string customers = pem(*the_cast().customers_ca.certificate);
    const std::string second = agents_pem();
    const auto refused = [&](const std::string& name, const std::string& broken) {
        const auto file = directory.write(name, customers + broken + customers);
        return thrown(name, [&] { (void)trust::from_file(file); });
    };
    CHECK(refused("base64.pem", damaged(second, "\nMII", "\n!!!")) == errc::malformed);
    CHECK(refused("der.pem", damaged(second, "\nMII", "\nAAA")) == errc::malformed);
    CHECK(refused("begin.pem", damaged(second, "-----BEGIN", "----BEGIN")) == errc::malformed);
    CHECK(refused("end.pem", damaged(second, "-----END", "----END")) == errc::malformed);
    CHECK(refused("cut.pem", second.substr(0, second.size() / 2) + "\n") == errc::malformed);
    CHECK(refused("trusted.pem", damaged(damaged(second, "BEGIN CERT", "BEGIN TRUSTED CERT"), "END CERT",
                                         "END TRUSTED CERT")) == errc::malformed);
    const auto last = directory.write("last.pem", customers + second.substr(0, second.size() - 10));
    CHECK(thrown("last.pem", [&] { (void)trust::from_file(last); }) == errc::malformed);
}

TEST_CASE("credential / from_files / a pair that belongs together -> loaded", "[unit][RCA-6]") {
    const temporary_directory directory;
    for (const key_type type : {key_type::p256, key_type::rsa, key_type::ed25519}) {
        const auto who = issue({.common_name = "crawler", .key = type}, &the_cast().agents_ca);
        const auto both = directory.write("both.pem", pem(*who.certificate) + agents_pem() + pem(*who.key));
        CHECK_NOTHROW(credential::from_files(both, both));
        CHECK_NOTHROW(credential::from_uri(both, "file:" + both.string()));
        CHECK_NOTHROW(credential::from_objects(*who.certificate, *who.key));
    }
}

TEST_CASE("credential / from_files / what is not a usable pair -> an error with the file", "[unit][RCA-6]") {
    const temporary_directory directory;
    const auto& who = the_cast().agent;
    const auto certificate = directory.write("me.pem", pem(*who.certificate));
    const auto key = directory.write("me.key", pem(*who.key));
    const auto refused = [&](const std::string& name, std::string_view text) {
        const auto file = directory.write(name, text);
        return thrown(name, [&] { (void)credential::from_files(certificate, file); });
    };
    CHECK(thrown("gone.key", [&] { (void)credential::from_files(certificate, directory.path() / "gone.key"); }) ==
          errc::unreadable);
    CHECK(thrown("gone.pem", [&] { (void)credential::from_files(directory.path() / "gone.pem", key); }) ==
          errc::unreadable);
    CHECK(refused("empty.key", "") == errc::key_unusable);
    CHECK(refused("public.key", public_pem(*who.key)) == errc::key_unusable);
    CHECK(refused("broken.key", damaged(pem(*who.key), "\nMIG", "\n!!!")) == errc::malformed);
    CHECK(thrown("public.key", [&] {
              (void)credential::from_uri(certificate, "file:" + (directory.path() / "public.key").string());
          }) == errc::key_unusable);
    CHECK(refused("other.key", pem(*the_cast().other_agent.key)) == errc::key_unusable);
    const auto no_certificate = directory.write("none.pem", "nothing\n");
    CHECK(thrown("none.pem", [&] { (void)credential::from_files(no_certificate, key); }) == errc::holds_nothing);
    const auto koblitz = issue({.common_name = "koblitz", .key = key_type::secp256k1}, &the_cast().agents_ca);
    const auto koblitz_pem = directory.write("koblitz.pem", pem(*koblitz.certificate) + pem(*koblitz.key));
    CHECK(thrown("koblitz.pem", [&] { (void)credential::from_files(koblitz_pem, koblitz_pem); }) == errc::key_unusable);
}

TEST_CASE("credential / from_objects / a key without its private half -> an error", "[unit][RCA-6]") {
    for (const key_type type : {key_type::p256, key_type::rsa, key_type::ed25519}) {
        const auto who = issue({.common_name = "crawler", .key = type});
        const auto half = public_half(*who.key);
        CHECK(thrown("handed over", [&] { (void)credential::from_objects(*who.certificate, *half); }) ==
              errc::key_unusable);
    }
}

TEST_CASE("credential / from_files / an encrypted key -> the callback's passphrase, or an error", "[unit][RCA-7]") {
    const temporary_directory directory;
    const auto& who = the_cast().agent;
    const auto certificate = directory.write("me.pem", pem(*who.certificate));
    const auto key = directory.write("locked.key", pem(*who.key, "open sesame"));
    const auto load = [&](std::function<std::optional<std::string>(const std::string&)> passphrase, bool by_uri) {
        reqauth::credential_options options;
        options.passphrase = std::move(passphrase);
        if (by_uri)
            (void)credential::from_uri(certificate, "file:" + key.string(), options);
        else
            (void)credential::from_files(certificate, key, options);
    };
    for (const bool by_uri : {false, true}) {
        std::string asked_for;
        CHECK_NOTHROW(load(
            [&](const std::string& what) {
                asked_for = what;
                return "open sesame";
            },
            by_uri));
        CHECK(asked_for.find("locked.key") != asked_for.npos);
        CHECK(thrown("locked.key", [&] { load(nullptr, by_uri); }) == errc::passphrase);
        CHECK(thrown("locked.key", [&] { load([](const std::string&) { return std::nullopt; }, by_uri); }) ==
              errc::passphrase);
        CHECK(thrown("locked.key", [&] { load([](const std::string&) { return "wrong"; }, by_uri); }) ==
              errc::passphrase);
        CHECK(thrown("locked.key", [&] {
                  load([](const std::string&) { return std::string(100000, 'x'); }, by_uri);
              }) == errc::passphrase);
        CHECK_THROWS_AS(
            load([](const std::string&) -> std::optional<std::string> { throw std::logic_error("mine"); }, by_uri),
            std::logic_error);
    }
}

TEST_CASE("credential / from_objects / a provider that nobody vouched for -> an error; named -> loaded",
          "[unit][RCA-7]") {
    const auto& who = the_cast().agent;
    reqauth::credential_options options;
    options.providers = {"fips"};
    CHECK(thrown("\"default\"", [&] { (void)credential::from_objects(*who.certificate, *who.key, {}, options); }) ==
          errc::provider);
    options.providers.push_back("default");
    CHECK_NOTHROW(credential::from_objects(*who.certificate, *who.key, {}, options));
}

TEST_CASE("credential / from_uri / a URI that no provider knows -> an error with the URI, but for its PIN", "[unit]") {
    const temporary_directory directory;
    const auto certificate = directory.write("me.pem", pem(*the_cast().agent.certificate));
    CHECK(thrown("nosuchscheme:key", [&] { (void)credential::from_uri(certificate, "nosuchscheme:key"); }) ==
          errc::unreadable);
    for (const auto* uri : {"pkcs11:object=me;pin-value=1234", "pkcs11:object=me?pin-value=1234&x=y",
                            "pkcs11:pin-value=1234;pin-value=1234;x"})
        try {
            (void)credential::from_uri(certificate, uri);
            FAIL("no provider has this key");
        } catch (const reqauth::error& error) {
            CHECK(std::string_view(error.what()).find("pin-value=...") != std::string_view::npos);
            CHECK(std::string_view(error.what()).find("1234") == std::string_view::npos);
        }
}

TEST_CASE("credential / a certificate that has expired, or is not valid yet -> an error with the file and the time",
          "[unit][RCA-6][RCA-7]") {
    const temporary_directory directory;
    const auto late = issue({.common_name = "late", .not_before = -7200, .not_after = -3600}, &the_cast().agents_ca);
    const auto early = issue({.common_name = "early", .not_before = 3600, .not_after = 7200}, &the_cast().agents_ca);
    for (const auto* who : {&late, &early}) {
        const bool expired = who == &late;
        const auto both = directory.write("me.pem", pem(*who->certificate) + pem(*who->key));
        const ASN1_TIME* limit =
            expired ? X509_get0_notAfter(who->certificate.get()) : X509_get0_notBefore(who->certificate.get());
        std::tm when{};
        REQUIRE(ASN1_TIME_to_tm(limit, &when) == 1);
        char text[64];
        REQUIRE(std::strftime(text, sizeof text,
                              expired ? "expired at %Y-%m-%d %H:%M:%S" : "not valid before %Y-%m-%d %H:%M:%S",
                              &when) > 0);
        for (const auto& named : {std::string("me.pem"), std::string(text)}) {
            CHECK(thrown(named, [&] { (void)credential::from_files(both, both); }) == errc::outside_validity);
            CHECK(thrown(named, [&] { (void)credential::from_uri(both, "file:" + both.string()); }) ==
                  errc::outside_validity);
        }
        CHECK(thrown(text, [&] { (void)credential::from_objects(*who->certificate, *who->key); }) ==
              errc::outside_validity);

        reqauth::credential_options options;
        options.outside_validity = true;
        CHECK(credential::from_files(both, both, options).subject() == (expired ? "CN=late" : "CN=early"));
        CHECK_NOTHROW(credential::from_objects(*who->certificate, *who->key, {}, options));
        // It allows nothing else.
        CHECK(thrown("handed over", [&] {
                  (void)credential::from_objects(*who->certificate, *public_half(*who->key), {}, options);
              }) == errc::key_unusable);
    }
}

TEST_CASE("credential / an issuer in the chain that has expired -> loaded: the server judges the chain",
          "[unit][RCA-6]") {
    const auto old_issuer =
        issue({.common_name = "old", .ca = true, .not_before = -7200, .not_after = -3600}, &the_cast().agents_ca);
    const auto who = issue({.common_name = "crawler"}, &old_issuer);
    X509* const chain[] = {old_issuer.certificate.get()};
    CHECK_NOTHROW(credential::from_objects(*who.certificate, *who.key, chain));
}

TEST_CASE("credential / from_files / a pair of which one half is new -> key_unusable, with both files",
          "[unit][RCA-6]") {
    const temporary_directory directory;
    for (const key_type type : {key_type::p256, key_type::rsa, key_type::ed25519}) {
        const auto before = issue({.common_name = "crawler", .key = key_type::p256}, &the_cast().agents_ca);
        const auto after = issue({.common_name = "crawler", .key = type}, &the_cast().agents_ca);
        const auto certificate = directory.write("me.pem", pem(*before.certificate));
        const auto key = directory.write("me.key", pem(*before.key));
        CHECK_NOTHROW(credential::from_files(certificate, key));
        const auto mixed = [&] {
            for (const auto* file : {"me.pem", "me.key"}) {
                CHECK(thrown(file, [&] { (void)credential::from_files(certificate, key); }) == errc::key_unusable);
                CHECK(thrown(file, [&] { (void)credential::from_uri(certificate, "file:" + key.string()); }) ==
                      errc::key_unusable);
            }
        };
        directory.write("me.pem", pem(*after.certificate)); // the certificate came first
        mixed();
        directory.write("me.key", pem(*after.key));
        CHECK_NOTHROW(credential::from_files(certificate, key));
        directory.write("me.pem", pem(*before.certificate)); // the key did
        mixed();
    }
    // A new certificate for the same key is a pair.
    const auto& who = the_cast().agent;
    const auto renewed = issue({.common_name = "renewed"}, &the_cast().agents_ca, who.key.get());
    CHECK(credential::from_files(directory.write("me.pem", pem(*renewed.certificate)),
                                 directory.write("me.key", pem(*who.key)))
              .subject() == "CN=renewed");
}

TEST_CASE("credential / from_files / a file cut short anywhere -> an error with the file", "[unit][RCA-6]") {
    const temporary_directory directory;
    const auto& who = the_cast().agent;
    const std::string certificates = pem(*who.certificate) + agents_pem();
    const std::string key = pem(*who.key);
    const auto certificate_file = directory.write("me.pem", certificates);
    const auto key_file = directory.write("me.key", key);
    const auto is_one_of = [](errc code) {
        return code == errc::malformed || code == errc::holds_nothing || code == errc::key_unusable;
    };
    // Without its last newline a file is whole. Where a certificate ends nothing says that a chain was longer.
    const std::size_t leaf = pem(*who.certificate).size();
    for (std::size_t size = 0; size + 1 < certificates.size(); ++size) {
        if (size + 1 >= leaf && size <= leaf + std::string_view("-----BEGIN CERTIFICAT").size()) continue;
        directory.write("me.pem", certificates.substr(0, size));
        CAPTURE(size);
        CHECK(is_one_of(thrown("me.pem", [&] { (void)credential::from_files(certificate_file, key_file); })));
    }
    directory.write("me.pem", certificates);
    for (std::size_t size = 0; size + 1 < key.size(); ++size) {
        directory.write("me.key", key.substr(0, size));
        CAPTURE(size);
        CHECK(is_one_of(thrown("me.key", [&] { (void)credential::from_files(certificate_file, key_file); })));
        CHECK(is_one_of(
            thrown("me.key", [&] { (void)credential::from_uri(certificate_file, "file:" + key_file.string()); })));
    }
    directory.write("me.key", key);
    CHECK_NOTHROW(credential::from_files(certificate_file, key_file));
}

TEST_CASE("credential / subject, thumbprint, not_after, provider -> the leaf's, and where its key is",
          "[unit][RCA-6]") {
    const auto& who = the_cast().agent;
    X509* const chain[] = {the_cast().agents_ca.certificate.get()};
    const auto made = credential::from_objects(*who.certificate, *who.key, chain);
    CHECK(made.subject() == "CN=crawler.example");
    CHECK(made.provider() == "default");
    std::array<std::uint8_t, 32> digest{};
    REQUIRE(X509_digest(who.certificate.get(), EVP_sha256(), digest.data(), nullptr) == 1);
    CHECK(made.thumbprint() == digest);
    std::tm end{};
    REQUIRE(ASN1_TIME_to_tm(X509_get0_notAfter(who.certificate.get()), &end) == 1);
    CHECK(std::chrono::system_clock::to_time_t(made.not_after()) == timegm(&end));

    const auto strange = issue({.common_name = "a\n\"b\xc3\xa9"}, &the_cast().agents_ca);
    for (const char each : credential::from_objects(*strange.certificate, *strange.key).subject())
        CHECK((each >= ' ' && each < 0x7f));
}

TEST_CASE("credential / not_after / a certificate for ever, as devices have it -> the last time there is",
          "[unit][RCA-6]") {
    const auto device = issue({.common_name = "device"}, &the_cast().agents_ca);
    // RFC 5280, section 4.1.2.5: no well-defined end. It is past what the clock's nanoseconds can say.
    REQUIRE(ASN1_TIME_set_string_X509(X509_getm_notAfter(device.certificate.get()), "99991231235959Z") == 1);
    CHECK(credential::from_objects(*device.certificate, *device.key).not_after() ==
          std::chrono::system_clock::time_point::max());
}
