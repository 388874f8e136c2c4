// SPDX-License-Identifier: Apache-2.0
// Trust anchors and credentials from real files: all of a file or an error that names it.

#include "catch.hpp"
#include "support/pki.hpp"

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>
#include <reqauth/trust.hpp>

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
    CHECK(refused("empty.pem", "") == errc::malformed);
    CHECK(refused("text.pem", "no certificate here\n") == errc::malformed);
    CHECK(refused("octets.pem", std::string(5000, '\0')) == errc::malformed);
    CHECK(refused("key.pem", pem(*the_cast().agents_ca.key)) == errc::malformed);
    CHECK(refused("cert_and_key.pem", agents_pem() + pem(*the_cast().agents_ca.key)) == errc::malformed);
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
    CHECK(thrown("none.pem", [&] { (void)credential::from_files(no_certificate, key); }) == errc::malformed);
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

TEST_CASE("credential / from_uri / a URI that no provider knows -> an error with the URI", "[unit]") {
    const temporary_directory directory;
    const auto certificate = directory.write("me.pem", pem(*the_cast().agent.certificate));
    CHECK(thrown("nosuchscheme:key", [&] { (void)credential::from_uri(certificate, "nosuchscheme:key"); }) ==
          errc::unreadable);
}
