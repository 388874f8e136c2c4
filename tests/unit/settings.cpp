// SPDX-License-Identifier: Apache-2.0
// The table of a server's settings: each row sets its own field, within its bounds, and one wording says what is wrong.

#include "catch.hpp"

#include "settings/counters.hpp"
#include "settings/settings.hpp"
#include "support/pki.hpp"

using namespace reqauth_settings;

namespace {

/// wrong_with gives what() of the error that a call throws, and checks that it is about that row.
template <class Call> std::string wrong_with(std::size_t of, reqauth::errc code, Call&& call) {
    try {
        call();
    } catch (const wrong& failed) {
        CHECK(failed.setting == of);
        CHECK(failed.code() == code);
        return failed.what();
    }
    FAIL("nothing was thrown");
    return {};
}

/// words gives some that a row takes, other than what it has.
std::vector<std::string> words(const setting& of) {
    if (const auto* two = std::get_if<choice>(&of.kind)) return {two->yes, two->no};
    if (std::holds_alternative<use>(of.kind)) return {"client", "server", "any"};
    if (const auto* counted = std::get_if<number>(&of.kind)) return {"0", "7", std::to_string(counted->most)};
    return {"a", "/b c"};
}

} // namespace

TEST_CASE("settings / set / every row -> says what it was set to, and no other row does", "[unit]") {
    for (std::size_t row = 0; row < std::size(table); ++row)
        for (const std::string& word : words(table[row])) {
            CAPTURE(table[row].name, word);
            settings all;
            set(all, row, word);
            CHECK(said(all, row) == word);
            for (std::size_t other = 0; other < std::size(table); ++other)
                if (other != row) CHECK(said(all, other) == said({}, other));
        }
}

TEST_CASE("settings / set / a word or number that is none, or out of its bounds -> what the setting takes", "[unit]") {
    settings all;
    for (const char* bad : {"", "-1", "2040", "80x", " 80", "eighty", "99999999999999999999"}) {
        CAPTURE(bad);
        CHECK(wrong_with(row("flag"), reqauth::errc::out_of_range, [&] { set(all, row("flag"), bad); }) ==
              "takes the flag's number, 0 to 2039, not \"" + std::string(bad) + '"');
    }
    CHECK(wrong_with(row("missing"), reqauth::errc::out_of_range, [&] { set(all, row("missing"), "perhaps"); }) ==
          "takes fail or continue, not \"perhaps\"");
    set(all, row("missing"), "FAIL");
    CHECK(all.missing_fails);
    CHECK(wrong_with(row("purpose"), reqauth::errc::out_of_range, [&] { set(all, row("purpose"), "mail"); }) ==
          "takes client, server or any, not \"mail\"");
    set(all, row("purpose"), "Any");
    CHECK(all.purpose == reqauth::purpose::any);
    CHECK_THROWS(set(all, row("extension"), "65536"));
    CHECK_THROWS(set(all, row("session_age"), "604801"));
    CHECK_THROWS(set(all, row("verify_depth"), "101"));
}

TEST_CASE("settings / policy_of, options_of / as said -> the library's settings, with its defaults", "[unit]") {
    const auto agents = reqauth::trust::from_pem(support::pem(*support::the_cast().agents_ca.certificate));
    const auto plain = policy_of({}, agents);
    CHECK(plain.when_offered.asks() == reqauth::client_auth::mode::request);
    CHECK(plain.when_offered.agents()->digest() == agents.digest());
    CHECK_FALSE(plain.when_offered.lets_invalid_pass());
    CHECK(plain.ca_names);
    CHECK(plain.beside_customers);
    CHECK_FALSE(plain.beside_required);
    CHECK_FALSE(plain.cross_signed);
    const reqauth::server_options defaults;
    CHECK(options_of({}).max_session_age == defaults.max_session_age);
    CHECK(options_of({}).flag == defaults.flag);
    CHECK(options_of({}).extension == defaults.extension);

    settings all;
    for (const auto& [which, word] : {std::pair(row("missing"), "fail"),
                                      {row("ca_names"), "off"},
                                      {row("flag"), "9"},
                                      {row("verify_depth"), "3"},
                                      {row("purpose"), "any"},
                                      {row("beside_required"), "on"},
                                      {row("cross_signed"), "on"},
                                      {row("label"), "x"}})
        set(all, which, word);
    const auto other = policy_of(all, agents);
    CHECK(other.when_offered.asks() == reqauth::client_auth::mode::require);
    CHECK(other.when_offered.agents()->digest() == agents.with_purpose(reqauth::purpose::any).with_depth(3).digest());
    CHECK_FALSE(other.ca_names);
    CHECK(other.beside_required);
    CHECK(other.cross_signed);
    CHECK(options_of(all).flag == 9);
    CHECK(options_of(all).label == "x");
    set(all, row("invalid"), "continue");
    CHECK(wrong_with(row("invalid"), reqauth::errc::contradiction, [&] {
              (void)policy_of(all, agents);
          }).find("take one of the two out") != std::string::npos);
}

TEST_CASE("settings / load / none, missing -> an error about that setting, with the file", "[unit]") {
    settings all;
    (void)wrong_with(row("agents"), reqauth::errc::holds_nothing, [&] { (void)load(all); });
    all.agents = "/nowhere/ca.pem";
    CHECK(wrong_with(row("agents"), reqauth::errc::unreadable, [&] { (void)load(all); }).find("/nowhere/ca.pem") == 0);
    all.admitted = "/nowhere/rules";
    const auto agents = reqauth::trust::from_pem(support::pem(*support::the_cast().agents_ca.certificate));
    CHECK(wrong_with(row("admitted"), reqauth::errc::unreadable, [&] {
              (void)load(all, agents);
          }).find("/nowhere/rules") == 0);
    const support::temporary_directory directory;
    all.admitted = directory.write("rules", "allow dns crawler.example\n").string();
    CHECK(load(all, agents).digest() == agents.with_admitted("allow dns crawler.example").digest());
    settings without;
    without.unvouched = true;
    without.admitted = all.admitted;
    CHECK(load(without).digest() == reqauth::trust::nobody().with_admitted("allow dns crawler.example").digest());
    all.crl = "/nowhere/crl.pem";
    CHECK(wrong_with(row("crl"), reqauth::errc::unreadable, [&] {
              (void)load(all, agents);
          }).find("/nowhere/crl.pem") == 0);
}

TEST_CASE("settings / metrics / each counter -> its line for each server, with what a label cannot hold escaped",
          "[unit]") {
    reqauth::server_counters first;
    std::uint64_t next = 1;
    for (const counter& each : counters)
        std::visit(
            [&](auto field) {
                if constexpr (requires { (first.*field).size(); })
                    (first.*field).back() = next++;
                else
                    first.*field = next++;
            },
            each.field);
    const std::string alone = metrics({{"", first}});
    for (const char* line : {"# HELP reqauth_handshakes_total TLS handshakes that have ended, well or badly\n"
                             "# TYPE reqauth_handshakes_total counter\nreqauth_handshakes_total 1\n",
                             "\nreqauth_handshakes_offered_total 2\n", "\nreqauth_handshakes_asked_total 3\n",
                             "\nreqauth_handshakes_acknowledged_total 4\n", "\nreqauth_handshakes_verified_total 5\n",
                             "\nreqauth_handshakes_resumed_total 6\n", "\nreqauth_handshakes_refused_total 7\n",
                             "\nreqauth_handshakes_unverified_total{reason=\"not_offered\"} 0\n",
                             "\nreqauth_handshakes_unverified_total{reason=\"handshake_unfinished\"} 8\n",
                             "\nreqauth_verify_errors_total{code=\"127\",error="}) {
        CAPTURE(line);
        CHECK(("\n" + alone).find(line) != std::string::npos);
    }
    CHECK(alone.find("code=\"0\"") == std::string::npos);
    const std::string both = metrics({{"a.example", first}, {"~^\"(.+)\\.b\n", {}}});
    CHECK(both.find("\nreqauth_handshakes_offered_total{server=\"a.example\"} 2\n"
                    "reqauth_handshakes_offered_total{server=\"~^\\\"(.+)\\\\.b\\n\"} 0\n") != std::string::npos);
    CHECK(both.find("{server=\"a.example\",reason=\"ignored\"} 0\n") != std::string::npos);
}
