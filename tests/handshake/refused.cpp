// SPDX-License-Identifier: Apache-2.0
// Whom a server refused, what was wrong with the chain, and whose fault that was.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <openssl/x509_vfy.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <optional>
#include <regex>
#include <vector>

using namespace support;
using reqauth::presented_certificate;
using reqauth::trust;

namespace {

using certificates = std::vector<const identity*>;

reqauth::server_policy policy_of(const trust& agents, bool lax) {
    reqauth::server_policy policy;
    const auto auth = reqauth::client_auth::request(agents);
    policy.when_offered = lax ? auth.invalid_is_anonymous() : auth;
    policy.ca_names = false;
    return policy;
}

/// met is what a server told of a client: to its observer, and afterwards.
struct met {
    bool good = false;
    std::string alert;
    std::optional<reqauth::refusal> refusal;
    std::optional<presented_certificate> observed;
    std::optional<presented_certificate> later;
    long result = X509_V_OK;
    int error = 0;
};

met meet(const reqauth::server_policy& policy, const identity& who, const certificates& chain = {}, int level = 1) {
    met found;
    reqauth::server_options options;
    options.observe = [&](const SSL& ssl, const std::variant<reqauth::peer, reqauth::refusal>& what) {
        if (const auto* refused = std::get_if<reqauth::refusal>(&what)) found.refusal = *refused;
        found.observed = reqauth::presented_of(ssl);
    };
    auto context = server_context();
    SSL_CTX_set_security_level(context.get(), level);
    attach(*context, policy, options);
    const bad_peer client = flagged_client(who);
    SSL_CTX_set_security_level(client.context.get(), 0);
    for (const identity* one : chain)
        REQUIRE(SSL_CTX_add1_chain_cert(client.context.get(), one->certificate.get()) == 1);
    pair both(*context, *client.context);
    found.good = both.shake();
    found.alert = alert_to_client(both);
    found.later = reqauth::presented_of(*both.server.ssl);
    found.result = SSL_get_verify_result(both.server.ssl.get());
    found.error = reqauth::server_outcome_of(*both.server.ssl).verify_error;
    return found;
}

std::string time_text(const ASN1_TIME* time) {
    std::tm parts{};
    char text[32];
    REQUIRE(ASN1_TIME_to_tm(time, &parts) == 1);
    return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

void check_certificate(const presented_certificate& what, const identity& who) {
    const X509* certificate = who.certificate.get();
    std::array<std::uint8_t, 32> digest{};
    REQUIRE(X509_digest(certificate, EVP_sha256(), digest.data(), nullptr) == 1);
    CHECK(what.thumbprint == digest);
    CHECK(what.serial.size() == 16);
    CHECK(what.not_before == time_text(X509_get0_notBefore(certificate)));
    CHECK(what.not_after == time_text(X509_get0_notAfter(certificate)));
}

constexpr auto ends = "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ";

/// row is a client that is refused, and what is to be said of it.
struct row {
    const char* what;
    trust agents;
    const identity* who;
    certificates chain;
    int error;
    const char* alert;
    int depth = 0;
    std::string failed = {};  ///< where it is not the certificate itself
    std::string because = {}; ///< a regular expression
};

} // namespace

TEST_CASE("server / presented_of / each way not to verify -> who it was, what was wrong, whose fault",
          "[handshake][SEC-2]") {
    const identity& ca = the_cast().agents_ca;
    const auto agent_of = [](const identity& issuer) { return issue(agent_description("crawler.example"), &issuer); };
    const auto usual = agent_description("crawler.example");
    auto about = usual;
    about.not_before = 3600;
    const identity early = issue(about, &ca);
    about = usual;
    about.not_before = -7200, about.not_after = -3600;
    const identity late = issue(about, &ca);
    about = usual;
    about.extended_key_usage = "serverAuth";
    const identity of_server = issue(about, &ca);
    about = usual;
    about.key = key_type::rsa;
    const identity weak = issue(about, &ca);
    const identity constrained =
        issue({.common_name = "Constrained CA", .ca = true, .name_constraints = "permitted;DNS:good.example"}, &ca);
    const identity outside = agent_of(constrained);
    const identity middle = issue({.common_name = "Middle CA", .ca = true}, &ca);
    const identity below = agent_of(middle);
    const identity old_middle =
        issue({.common_name = "Old CA", .ca = true, .not_before = -7200, .not_after = -60}, &ca);
    const identity below_old = agent_of(old_middle);
    const identity weak_middle = issue({.common_name = "Weak CA", .ca = true, .key = key_type::rsa}, &ca);
    const identity below_weak = agent_of(weak_middle);
    const identity ended_root = issue({.common_name = "Ended CA", .ca = true, .not_before = -7200, .not_after = -60});
    const identity of_ended_root = agent_of(ended_root);
    const identity ended_root_middle = issue({.common_name = "Middle CA", .ca = true}, &ended_root);
    const identity far_below = agent_of(ended_root_middle);
    const identity coming_root = issue({.common_name = "Coming CA", .ca = true, .not_before = 3600});
    const identity of_coming_root = agent_of(coming_root);
    const identity weak_root = issue({.common_name = "Weak root", .ca = true, .key = key_type::rsa});
    const identity of_weak_root = agent_of(weak_root);
    const identity server_root =
        issue({.common_name = "Servers' root", .ca = true, .extended_key_usage = "serverAuth"});
    const identity of_server_root = agent_of(server_root);
    const identity& agent = the_cast().agent;
    const trust two = trust::from_pem(pem(*ca.certificate) + pem(*the_cast().customers_ca.certificate));
    const std::string ended = crl(ca, {.this_update = -7200, .next_update = -3600});
    const trust revoking = agents().with_crls(crl(ca, {.revoked = {agent.certificate.get()}}));
    const trust revokes_middle = agents().with_crls(crl(middle) + crl(ca, {.revoked = {middle.certificate.get()}}));
    const trust by_ended = agents().with_crls(ended);
    const trust by_ended_and_middle = agents().with_crls(ended + crl(middle));
    const trust by_coming = agents().with_crls(crl(ca, {.this_update = 3600}));
    const trust by_every_ca = agents().with_crls(crl(middle)).with_crls_for_every_ca();
    const std::string list = "the CRL of CN=Agents CA ";
    const std::string list_ended = list + "ended " + ends;
    const std::string names_it = list + "of " + ends + " names it";
    const auto of = [](const char* name, const char* what) {
        return std::string("the anchor CN=") + name + what + (std::string_view(what).ends_with(' ') ? ends : "");
    };

    // clang-format off
    const std::vector<row> rows = {
        // The agent's fault.
        {"unknown CA", agents(), &the_cast().customer, {}, 20, "unknown CA"},
        {"expired", agents(), &late, {}, 10, "certificate expired"},
        {"not yet valid", agents(), &early, {}, 9, "bad certificate"},
        {"another purpose", agents(), &of_server, {}, 26, "unsupported certificate"},
        {"revoked", revoking, &agent, {}, 23, "certificate revoked", 0, "", names_it},
        {"outside of a name constraint", agents(), &outside, {&constrained}, 47, "certificate unknown"},
        {"weak key", agents(), &weak, {}, 66, "bad certificate"},
        {"not pinned", agents().with_pins({pin_of(*early.key)}), &below, {&middle}, 28, "bad certificate"},
        // Its CAs'.
        {"no intermediate", agents(), &below, {}, 20, "unknown CA"},
        {"chain too long", agents().with_depth(0), &below, {&middle}, 22, "unknown CA", 1, "CN=Middle CA"},
        {"expired intermediate", agents(), &below_old, {&old_middle}, 10, "certificate expired", 1, "CN=Old CA"},
        {"weak intermediate", agents(), &below_weak, {&weak_middle}, 67, "bad certificate", 1, "CN=Weak CA"},
        {"revoked intermediate", revokes_middle, &below, {&middle}, 23, "certificate revoked", 1, "CN=Middle CA", names_it},
        {"own anchor, expired", trust_in(late).with_partial_chains(), &late, {}, 10, "certificate expired"},
        {"anchor without its root", trust_in(middle), &below, {}, 2, "unknown CA", 1, "CN=Middle CA"},
        // The server's.
        {"expired CRL", by_ended, &agent, {}, 12, "internal error", 0, "", list_ended},
        {"expired CRL and certificate", by_ended, &late, {}, 12, "internal error", 0, "", list_ended},
        {"expired CRL above an intermediate", by_ended_and_middle, &below, {&middle}, 12, "internal error", 1,
         "CN=Middle CA", list_ended},
        {"CRL of tomorrow", by_coming, &agent, {}, 11, "internal error", 0, "", list + "begins " + ends},
        {"no CRL of its CA", two.with_crls(crl(ca)), &the_cast().customer, {}, 3, "internal error", 0, "",
         "no CRL of CN=Customers CA can be used"},
        {"no CRL of its intermediate", agents().with_crls(crl(ca)), &below, {&middle}, 3, "internal error", 0, "",
         "no CRL of CN=Middle CA can be used"},
        {"no CRL for a CA that needs one", by_every_ca, &below, {&middle}, 3, "internal error", 1, "CN=Middle CA",
         "no CRL of CN=Agents CA can be used"},
        {"expired anchor", trust_in(ended_root), &of_ended_root, {}, 10, "internal error", 1, "CN=Ended CA",
         of("Ended CA", " ended ")},
        {"expired anchor above an intermediate", trust_in(ended_root), &far_below, {&ended_root_middle}, 10,
         "internal error", 2, "CN=Ended CA", of("Ended CA", " ended ")},
        {"expired intermediate as anchor", trust_in(old_middle).with_partial_chains(), &below_old, {}, 10,
         "internal error", 1, "CN=Old CA", of("Old CA", " ended ")},
        {"anchor of tomorrow", trust_in(coming_root), &of_coming_root, {}, 9, "internal error", 1, "CN=Coming CA",
         of("Coming CA", " begins ")},
        {"weak anchor", trust_in(weak_root), &of_weak_root, {}, 67, "internal error", 1, "CN=Weak root",
         of("Weak root", " cannot be used")},
        {"anchor for another purpose", trust_in(server_root), &of_server_root, {}, 26, "internal error", 1,
         "CN=Servers' root", of("Servers' root", " cannot be used")},
    };
    // clang-format on
    ROWS(one.what, rows, const row& one) {
        for (const bool lax : {false, true}) {
            CAPTURE(lax);
            const met found =
                meet(policy_of(one.agents, lax), *one.who, one.chain, one.error == 66 || one.error == 67 ? 3 : 1);
            CHECK(found.good == lax);
            CHECK(found.alert == (lax ? "none" : one.alert));
            CHECK(found.refusal.has_value() == !lax);
            if (found.refusal) CHECK(found.refusal->verify_error == one.error);
            CHECK(found.error == one.error);
            // It is never X509_V_OK, and what passes keeps the true error.
            CHECK((lax ? found.result == one.error : found.result != X509_V_OK));
            REQUIRE(found.observed.has_value());
            REQUIRE(found.later.has_value());
            CHECK(to_string(*found.observed) == to_string(*found.later));
            const presented_certificate& what = *found.later;
            check_certificate(what, *one.who);
            const std::string name = one.who == &the_cast().customer ? "CN=customer.example" : "CN=crawler.example";
            CHECK(what.subject == name);
            CHECK(what.key_proven == lax);
            CHECK(what.verify_error == one.error);
            CHECK(what.depth == one.depth);
            CHECK(what.failed == (one.failed.empty() ? name : one.failed));
            CAPTURE(what.because);
            CHECK(std::regex_match(what.because, std::regex(one.because)));
            CHECK(what.server_at_fault == (std::string(one.alert) == "internal error"));
        }
    }
}

TEST_CASE("server / presented_of / a verified agent, a person, no certificate, one that cannot be read -> nothing",
          "[handshake][SEC-1]") {
    const identity& agent = the_cast().agent;
    const met verified = meet(asking(), agent);
    CHECK(verified.good);
    CHECK_FALSE(verified.observed.has_value());
    CHECK_FALSE(verified.later.has_value());

    for (const bool offers : {false, true}) {
        CAPTURE(offers);
        const auto server = attached_server(offers ? demanding() : asking());
        const bad_peer nobody = empty_handed_client();
        const auto person = client_context();
        pair both(*server, offers ? *nobody.context : *person);
        CHECK(both.shake() == !offers);
        CHECK_FALSE(reqauth::presented_of(*both.server.ssl).has_value());
    }

    // Its notAfter is no time.
    const identity broken{owned<X509>(X509_dup(agent.certificate.get())), owned<EVP_PKEY>(make_key())};
    REQUIRE(X509_set_pubkey(broken.certificate.get(), broken.key.get()) == 1);
    const std::unique_ptr<ASN1_STRING, decltype(&ASN1_STRING_free)> no_time(ASN1_STRING_type_new(V_ASN1_OCTET_STRING),
                                                                            &ASN1_STRING_free);
    REQUIRE(ASN1_STRING_set(no_time.get(), "none", 4) == 1);
    REQUIRE(ASN1_STRING_copy(X509_getm_notAfter(broken.certificate.get()), no_time.get()) == 1);
    REQUIRE(i2d_re_X509_tbs(broken.certificate.get(), nullptr) > 0);
    for (const bool lax : {false, true}) {
        const met unreadable = meet(policy_of(agents(), lax), broken);
        CHECK_FALSE(unreadable.good);
        REQUIRE(unreadable.refusal.has_value());
        CHECK(unreadable.refusal->accepted);
        CHECK(unreadable.refusal->verify_error == 0);
        CHECK_FALSE(unreadable.later.has_value());
    }
}

TEST_CASE("server / presented_of / a certificate whose key is not the client's -> presented, and not proven",
          "[handshake][SEC-1]") {
    for (const bool lax : {false, true}) {
        for (const auto* whose : {&the_cast().agent, &the_cast().expired_agent}) {
            CAPTURE(lax);
            const met thief = meet(policy_of(agents(), lax), stolen(*whose));
            CHECK_FALSE(thief.good);
            REQUIRE(thief.observed.has_value());
            REQUIRE(thief.later.has_value());
            check_certificate(*thief.later, *whose);
            CHECK_FALSE(thief.later->key_proven);
            const bool verifies = whose == &the_cast().agent;
            CHECK(thief.later->verify_error == (verifies ? 0 : 10));
            CHECK(to_string(*thief.later)
                      .starts_with(verifies ? "its chain verifies, but its key was not proven; presented, no identity: "
                                              "subject \"CN=crawler.example\""
                                            : "certificate has expired (10) at depth 0; "));
        }
    }
}

TEST_CASE("server / presented_of / the next handshake of the SSL -> nothing is left of the one before",
          "[handshake][SEC-10]") {
    const auto server = attached_server(asking());
    const bad_peer stranger = flagged_client(the_cast().customer);
    const auto person = client_context();
    pair first(*server, *stranger.context);
    REQUIRE_FALSE(first.shake());
    REQUIRE(reqauth::presented_of(*first.server.ssl).has_value());
    REQUIRE(SSL_clear(first.server.ssl.get()) == 1);
    pair second(std::move(first.server.ssl), owned<SSL>(SSL_new(person.get())));
    second.shake();
    CHECK_FALSE(reqauth::presented_of(*second.server.ssl).has_value());
}

TEST_CASE("server / presented_of / whatever stands in the certificate -> one line of printable ASCII, not too long",
          "[handshake][SEC-2]") {
    const auto with = [](const std::string& name) {
        description about = agent_description("crawler.example");
        about.common_name = name;
        return about;
    };
    for (const std::string name :
         {"a\nb\r\x1b[2J", "x\", issuer \"CN=good", "\\\"; presented", "\xc3\xa9\xe2\x80\xae", "\x7f\x01"}) {
        CAPTURE(name);
        const met found = meet(policy_of(agents(), false), issue(with(name)));
        REQUIRE(found.later.has_value());
        const std::string line = to_string(*found.later);
        CHECK(std::ranges::all_of(line, [](char c) { return c >= ' ' && c <= '~'; }));
        // Quotation marks are those around the subject and the issuer.
        CHECK(std::ranges::count(line, '"') == 4);
        CHECK(found.later->subject == found.later->issuer);
    }
    const identity no_text = [&] {
        description about = with("abc");
        about.name_is_no_text = true;
        return issue(about);
    }();
    CHECK(meet(policy_of(agents(), false), no_text).later.has_value());

    // As long as a certificate may be: the reason stands first, and the fingerprint is there.
    identity endless = issue(with(std::string(60, '\n')));
    const std::unique_ptr<X509_NAME, decltype(&X509_NAME_free)> name(
        X509_NAME_dup(X509_get_subject_name(endless.certificate.get())), &X509_NAME_free);
    for (int i = 0; i < 100; ++i)
        REQUIRE(X509_NAME_add_entry_by_txt(name.get(), "OU", MBSTRING_UTF8,
                                           reinterpret_cast<const unsigned char*>("much"), 4, -1, 0) == 1);
    REQUIRE(X509_set_subject_name(endless.certificate.get(), name.get()) == 1);
    REQUIRE(ASN1_STRING_set(X509_get_serialNumber(endless.certificate.get()), std::string(1000, 'A').data(), 1000) ==
            1);
    REQUIRE(X509_sign(endless.certificate.get(), endless.key.get(), EVP_sha256()) > 0);
    const met found = meet(policy_of(agents(), false), endless);
    REQUIRE(found.later.has_value());
    CHECK(found.later->serial.size() == 2000);
    CHECK(found.later->subject.size() > 500);
    const std::string line = to_string(*found.later);
    CHECK(line.size() < 1200);
    CHECK(line.find(", SHA-256 ") != std::string::npos);
}

TEST_CASE("server / presented_of / valid for ever -> the year 9999", "[handshake]") {
    const identity device = issue(agent_description("device"));
    REQUIRE(ASN1_TIME_set_string_X509(X509_getm_notAfter(device.certificate.get()), "99991231235959Z") == 1);
    REQUIRE(X509_sign(device.certificate.get(), device.key.get(), EVP_sha256()) > 0);
    const met found = meet(policy_of(agents(), false), device);
    REQUIRE(found.later.has_value());
    CHECK(found.later->not_after == "9999-12-31T23:59:59Z");
}
