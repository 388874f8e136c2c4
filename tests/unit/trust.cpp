// SPDX-License-Identifier: Apache-2.0
// Trust from files, directories, memory and X509_STOREs, and the digest over all that decides.

#include "catch.hpp"
#include "support/pki.hpp"

#include <reqauth/error.hpp>
#include <reqauth/trust.hpp>

#include <openssl/pem.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <set>

using namespace support;
using namespace std::chrono_literals;
using reqauth::errc;
using reqauth::trust;

namespace {

const identity& agents_ca() { return the_cast().agents_ca; }
const identity& customers_ca() { return the_cast().customers_ca; }
std::string agents_pem() { return pem(*agents_ca().certificate); }
std::string customers_pem() { return pem(*customers_ca().certificate); }

// What `load` throws: its code, after checking that the text is one line and has `word` in it.
errc thrown(const std::string& word, const std::function<void()>& load) {
    try {
        load();
    } catch (const reqauth::error& error) {
        CAPTURE(error.what(), word);
        const std::string text = error.what();
        CHECK(text.find(word) != text.npos);
        CHECK(text.find('\n') == text.npos);
        return error.code();
    }
    FAIL("nothing was thrown: " << word);
    return {};
}

std::string damaged(std::string text, std::string_view from, std::string_view to) {
    text.replace(text.find(from), from.size(), to);
    return text;
}

owned<X509_STORE> store_of(std::initializer_list<const identity*> anchors) {
    owned<X509_STORE> store(X509_STORE_new());
    for (const identity* one : anchors) REQUIRE(X509_STORE_add_cert(store.get(), one->certificate.get()) == 1);
    return store;
}

void add_crl(X509_STORE& store, const std::string& text) {
    const owned<BIO> in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    X509_CRL* list = PEM_read_bio_X509_CRL(in.get(), nullptr, nullptr, nullptr);
    REQUIRE(list != nullptr);
    REQUIRE(X509_STORE_add_crl(&store, list) == 1);
    X509_CRL_free(list);
}

} // namespace

TEST_CASE("trust / from_directory / files by their endings, sorted, without hash links -> each anchor once", "[unit]") {
    const temporary_directory here;
    here.write("a.pem", agents_pem());
    here.write("b.crt", customers_pem());
    here.write("c.cer", agents_pem());
    here.write("d.crl", crl(agents_ca()));
    here.write("README", "not PEM at all");
    here.write("old.pem.bak", "-----BEGIN CERTIFICATE-----\n");
    std::filesystem::create_directory(here.path() / "sub.pem");
    std::filesystem::create_symlink("a.pem", here.path() / "abcd1234.0");
    std::filesystem::create_symlink("nowhere", here.path() / "abcd1234.1");
    const trust loaded = trust::from_directory(here.path());
    CHECK(loaded.size() == 2);
    CHECK(loaded.crl_count() == 1);
    std::filesystem::create_symlink("b.crt", here.path() / "link.pem"); // as Kubernetes mounts files
    CHECK(trust::from_directory(here.path()).size() == 2);
}

TEST_CASE("trust / from_directory / missing, empty, or with a broken file -> an error that names it, never other roots",
          "[unit][cve][SEC-2]") {
    const temporary_directory here;
    const auto load = [&] { (void)trust::from_directory(here.path()); };
    CHECK(thrown("none", [&] { (void)trust::from_directory(here.path() / "none"); }) == errc::unreadable);
    CHECK(thrown(here.path().filename(), load) == errc::holds_nothing);
    here.write("hash.0", agents_pem());
    CHECK(thrown(here.path().filename(), load) == errc::holds_nothing);
    here.write("list.pem", crl(agents_ca()));
    CHECK(thrown("no certificate", load) == errc::holds_nothing);
    const auto file = here.write("good.pem", agents_pem());
    CHECK_NOTHROW(load());
    CHECK(thrown("good.pem", [&] { (void)trust::from_directory(file); }) == errc::unreadable);
    for (const auto& [name, text] :
         std::map<std::string, std::string>{{"empty.pem", ""},
                                            {"text.crt", "no certificate here\n"},
                                            {"cut.cer", customers_pem() + agents_pem().substr(0, 200)},
                                            {"key.pem", pem(*agents_ca().key)},
                                            {"base64.pem", damaged(agents_pem(), "\nMII", "\n!!!")}}) {
        const auto bad = here.write(name, text);
        const bool is_empty = name == "empty.pem" || name == "text.crt" || name == "key.pem";
        CHECK(thrown(name, load) == (is_empty ? errc::holds_nothing : errc::malformed));
        std::filesystem::remove(bad);
    }
    std::filesystem::create_symlink("nowhere", here.path() / "gone.pem");
    CHECK(thrown("gone.pem", load) == errc::unreadable);
}

TEST_CASE("trust / from_file / certificates and CRLs together -> both", "[unit]") {
    const temporary_directory here;
    const trust both = trust::from_file(here.write("both.pem", agents_pem() + crl(agents_ca()) + customers_pem()));
    CHECK(both.size() == 2);
    CHECK(both.crl_count() == 1);
    CHECK(thrown("lists.pem", [&] { (void)trust::from_file(here.write("lists.pem", crl(agents_ca()))); }) ==
          errc::holds_nothing);
}

TEST_CASE("trust / with_crls / the same again -> once, and the trust it came from stays as it was", "[unit]") {
    const temporary_directory here;
    const trust before = trust::from_pem(agents_pem());
    const auto digest = before.digest();
    const std::string list = crl(agents_ca());
    const trust after = before.with_crls_from_file(here.write("list.pem", "the list\n" + list)).with_crls(list);
    CHECK(after.crl_count() == 1);
    CHECK(before.crl_count() == 0);
    CHECK(before.digest() == digest);
    CHECK(before.size() == after.size());
}

TEST_CASE(
    "trust / with_crls / missing, none, broken or cut -> an error with the file and the block, nothing of it used",
    "[unit][SEC-2]") {
    const temporary_directory here;
    const trust agents = trust::from_pem(agents_pem());
    const std::string good = crl(agents_ca());
    const auto refused = [&](const std::string& name, const std::string& text, const std::string& word,
                             errc code = errc::malformed) {
        const auto file = here.write(name, text);
        const auto load = [&] { (void)agents.with_crls_from_file(file); };
        CHECK(thrown(word, load) == code);
        return thrown(name, load) == code;
    };
    CHECK(thrown("missing.crl", [&] { (void)agents.with_crls_from_file(here.path() / "missing.crl"); }) ==
          errc::unreadable);
    CHECK(refused("empty.crl", "", "no CRL", errc::holds_nothing));
    CHECK(refused("text.crl", "no list here\n", "no CRL", errc::holds_nothing));
    CHECK(refused("certificate.crl", agents_pem(), "holds no CRL: it is a certificate", errc::holds_nothing));
    CHECK(refused("base64.crl", good + damaged(good, "\nMI", "\n!!"), "block 2"));
    CHECK(refused("der.crl", good + damaged(good, "\nMI", "\nAA"), "block 2"));
    CHECK(refused("cut.crl", good + good.substr(0, good.size() / 2) + "\n", "block 2"));
    CHECK(refused("begin.crl", good + damaged(good, "-----BEGIN", "----BEGIN"), "1 can be read"));
    CHECK(refused("other.crl", crl(the_cast().server_ca) + crl(issue({.common_name = "Agents CA", .ca = true})),
                  "CRL 2", errc::crl_unusable));
}

TEST_CASE("trust / with_crls / delta or indirect, which OpenSSL passes over -> an error", "[unit][SEC-2]") {
    const trust agents = trust::from_pem(agents_pem());
    CHECK(thrown("delta", [&] { (void)agents.with_crls(crl(agents_ca(), {.delta = true})); }) == errc::crl_unusable);
    CHECK(thrown("indirect", [&] { (void)agents.with_crls(crl(agents_ca(), {.indirect = true})); }) ==
          errc::crl_unusable);
    CHECK(thrown("delta", [&] { (void)trust::from_pem(agents_pem() + crl(agents_ca(), {.delta = true})); }) ==
          errc::crl_unusable);
}

TEST_CASE("trust / with_crls / of a CA that is no anchor, or expired -> loaded: the handshake judges", "[unit]") {
    const trust agents = trust::from_pem(agents_pem());
    CHECK(agents.with_crls(crl(customers_ca())).crl_count() == 1);
    CHECK(agents.with_crls(crl(agents_ca(), {.this_update = -7200, .next_update = -3600})).crl_count() == 1);
}

TEST_CASE("trust / settings / contradictions -> an error", "[unit]") {
    const trust agents = trust::from_pem(agents_pem());
    CHECK(thrown("with_crls", [&] { (void)agents.with_crls_for_every_ca(); }) == errc::contradiction);
    CHECK(thrown("with_pins", [&] { (void)agents.with_pins({}); }) == errc::contradiction);
}

TEST_CASE("trust / from_store / certificates, CRLs, depth, time, flags -> taken over, and later changes are not",
          "[unit]") {
    const auto store = store_of({&agents_ca(), &customers_ca()});
    const trust plain = trust::from_pem(agents_pem() + customers_pem());
    const trust taken = trust::from_store(*store);
    CHECK(taken.digest() == plain.digest());
    const std::string list = crl(agents_ca());
    add_crl(*store, list);
    CHECK(taken.crl_count() == 0);
    CHECK(trust::from_store(*store).digest() == plain.with_crls(list).digest());
    X509_VERIFY_PARAM* parameters = X509_STORE_get0_param(store.get());
    X509_VERIFY_PARAM_set_depth(parameters, 3);
    X509_VERIFY_PARAM_set_time(parameters, 1700000000);
    X509_VERIFY_PARAM_set_flags(parameters,
                                X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    const auto then = std::chrono::system_clock::from_time_t(1700000000);
    CHECK(trust::from_store(*store).digest() ==
          plain.with_crls(list).with_crls_for_every_ca().with_depth(3).with_time(then).with_partial_chains().digest());
}

TEST_CASE("trust / from_store / nothing to enumerate, or what trust cannot say -> an error", "[unit][SEC-2]") {
    const auto refused = [](X509_STORE& store) {
        return thrown("X509_STORE", [&] { (void)trust::from_store(store); });
    };
    const auto empty = store_of({});
    CHECK(refused(*empty) == errc::holds_nothing);
    const temporary_directory here;
    REQUIRE(X509_STORE_load_path(empty.get(), here.path().c_str()) == 1);
    CHECK(refused(*empty) == errc::holds_nothing);
    for (const int flag : {X509_V_FLAG_IGNORE_CRITICAL, X509_V_FLAG_NO_CHECK_TIME, X509_V_FLAG_CRL_CHECK}) {
        const auto store = store_of({&agents_ca()});
        X509_STORE_set_flags(store.get(), static_cast<unsigned long>(flag));
        CHECK(refused(*store) == errc::contradiction);
    }
    const auto named = store_of({&agents_ca()});
    X509_VERIFY_PARAM_set1_host(X509_STORE_get0_param(named.get()), "a.example", 0);
    CHECK(refused(*named) == errc::contradiction);
    const auto addressed = store_of({&agents_ca()});
    X509_VERIFY_PARAM_set1_ip_asc(X509_STORE_get0_param(addressed.get()), "192.0.2.1");
    CHECK(refused(*addressed) == errc::contradiction);
    // A rejection of OpenSSL's own, which a plain copy would lose.
    const auto rejected = issue({.common_name = "Rejected CA", .ca = true});
    X509_add1_reject_object(rejected.certificate.get(), OBJ_nid2obj(NID_client_auth));
    CHECK(refused(*store_of({&rejected})) == errc::malformed);
}

TEST_CASE("trust / digest / the same from any source and in any order -> equal", "[unit]") {
    const temporary_directory here;
    const std::string one = crl(agents_ca());
    const std::string two = crl(customers_ca());
    const auto pin_one = pin_of(*agents_ca().key);
    const auto pin_two = pin_of(*customers_ca().key);
    const trust first = trust::from_pem(agents_pem() + customers_pem() + agents_pem())
                            .with_crls(one)
                            .with_crls(two)
                            .with_pins({pin_one, pin_two})
                            .with_depth(2)
                            .with_partial_chains();
    here.write("a.pem", customers_pem() + two);
    here.write("b.pem", "text\n" + agents_pem() + one);
    const trust second = trust::from_directory(here.path())
                             .with_partial_chains()
                             .with_depth(2)
                             .with_pins({pin_two})
                             .with_pins({pin_one});
    CHECK(first.digest() == second.digest());
    CHECK(trust(first).digest() == first.digest());
}

TEST_CASE("trust / digest / each thing that decides -> another digest", "[unit][SEC-4]") {
    const std::string list = crl(agents_ca());
    const trust base = trust::from_pem(agents_pem());
    const auto then = std::chrono::system_clock::from_time_t(1700000000);
    const auto pin = pin_of(*agents_ca().key);
    const std::vector<std::pair<const char*, trust>> all = {
        {"one anchor", base},
        {"another anchor", trust::from_pem(customers_pem())},
        {"two anchors", trust::from_pem(agents_pem() + customers_pem())},
        {"the same CA issued anew",
         trust::from_pem(
             pem(*issue({.common_name = "Agents CA", .ca = true}, nullptr, agents_ca().key.get()).certificate))},
        {"a CRL", base.with_crls(list)},
        {"another CRL", base.with_crls(crl(agents_ca(), {.revoked = {the_cast().agent.certificate.get()}}))},
        {"a CRL beside it", base.with_crls(list).with_crls(crl(customers_ca()))},
        {"a CRL for every CA", base.with_crls(list).with_crls_for_every_ca()},
        {"a pin", base.with_pins({pin})},
        {"another pin", base.with_pins({pin_of(*customers_ca().key)})},
        {"two pins", base.with_pins({pin, pin_of(*customers_ca().key)})},
        {"a depth", base.with_depth(0)},
        {"another depth", base.with_depth(1)},
        {"a time", base.with_time(then)},
        {"another time", base.with_time(then + 1s)},
        {"purpose server", base.with_purpose(reqauth::purpose::server)},
        {"purpose any", base.with_purpose(reqauth::purpose::any)},
        {"partial chains", base.with_partial_chains()},
    };
    std::map<std::array<std::uint8_t, 32>, const char*> seen;
    for (const auto& [what, one] : all) {
        const auto [at, is_new] = seen.emplace(one.digest(), what);
        CAPTURE(what, at->second);
        CHECK(is_new);
    }
    CHECK(base.with_purpose(reqauth::purpose::client).digest() == base.digest());
}
