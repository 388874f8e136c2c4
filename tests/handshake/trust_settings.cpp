// SPDX-License-Identifier: Apache-2.0
// What trust was given besides anchors, in real handshakes: CRLs, pins, depth, purpose, time, partial chains.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <chrono>
#include <vector>

using namespace support;
using namespace std::chrono_literals;
using reqauth::trust;

namespace {

using certificates = std::vector<const identity*>;

reqauth::server_policy policy_of(const trust& agents, bool lax) {
    reqauth::server_policy policy;
    policy.when_offered =
        lax ? reqauth::client_auth::request(agents).invalid_is_anonymous() : reqauth::client_auth::request(agents);
    policy.ca_names = false;
    return policy;
}

/// meeting is a server with that trust, and a client that sends that chain.
struct meeting {
    meeting(const trust& agents, bool lax, const identity& who, const certificates& chain)
        : server(attached_server(policy_of(agents, lax))), client(flagged_client(who)) {
        for (const identity* one : chain)
            REQUIRE(SSL_CTX_add1_chain_cert(client.context.get(), one->certificate.get()) == 1);
    }
    owned<SSL_CTX> server;
    bad_peer client;
};

/// judged is "flagged NAME", or the verify error and the client's alert. With invalid_is_anonymous the same
/// client must come out as the same, or as `invalid` with that error.
std::string judged(const trust& agents, const identity& who, const certificates& chain = {}) {
    std::string verdict;
    {
        const meeting strict(agents, false, who, chain);
        pair both(*strict.server, *strict.client.context);
        const bool ended_well = both.shake();
        const int error = reqauth::server_outcome_of(*both.server.ssl).verify_error;
        verdict = ended_well ? seen(both) : std::to_string(error) + " " + alert_to_client(both);
    }
    const meeting lax(agents, true, who, chain);
    pair both(*lax.server, *lax.client.context);
    CHECK(both.shake());
    CHECK(seen(both) == (verdict.starts_with("flagged") ? verdict : "invalid " + verdict.substr(0, verdict.find(' '))));
    return verdict;
}

/// branch is a CA below the agents' CA, and an agent of it.
struct branch {
    identity ca = issue({.common_name = "Agents CA 2", .ca = true}, &the_cast().agents_ca);
    identity agent = issue(agent_description("deep.example"), &ca);
};

const X509* leaf(const identity& who) { return who.certificate.get(); }

constexpr auto flagged_agent = "flagged CN=crawler.example";
constexpr auto flagged_deep = "flagged CN=deep.example";

} // namespace

TEST_CASE("server / CRL / revoked agent -> certificate_revoked, or invalid; another agent of that CA -> flagged",
          "[handshake][valgrind][cve][SEC-1]") {
    // Cloudflare 2022: a revoked certificate went on being accepted.
    const identity& ca = the_cast().agents_ca;
    const trust revoking = agents().with_crls(crl(ca, {.revoked = {leaf(the_cast().agent)}}));
    CHECK(judged(agents(), the_cast().agent) == flagged_agent);
    CHECK(judged(revoking, the_cast().agent) == "23 certificate revoked");
    CHECK(judged(revoking, the_cast().other_agent) == "flagged CN=other.example");
    CHECK(judged(agents().with_crls(crl(ca)), the_cast().agent) == flagged_agent);
    CHECK(judged(trust::from_pem(pem(*ca.certificate) + crl(ca, {.revoked = {leaf(the_cast().agent)}})),
                 the_cast().agent) == "23 certificate revoked");
}

TEST_CASE("server / CRL / none for the leaf's issuer, expired or not yet in force -> refused", "[handshake][SEC-1]") {
    const identity& ca = the_cast().agents_ca;
    const trust two = trust::from_pem(pem(*ca.certificate) + pem(*the_cast().customers_ca.certificate));
    CHECK(judged(two, the_cast().customer) == "flagged CN=customer.example");
    CHECK(judged(two.with_crls(crl(ca)), the_cast().agent) == flagged_agent);
    CHECK(judged(two.with_crls(crl(ca)), the_cast().customer) == "3 internal error");
    const trust expired = agents().with_crls(crl(ca, {.this_update = -7200, .next_update = -3600}));
    CHECK(judged(expired, the_cast().agent) == "12 internal error");
    CHECK(judged(expired.with_crls(crl(ca)), the_cast().agent) == flagged_agent);
    CHECK(judged(agents().with_crls(crl(ca, {.this_update = 3600})), the_cast().agent) == "11 internal error");
}

TEST_CASE("server / CRL / two of one CA -> the newer counts, in whatever order", "[handshake][SEC-1]") {
    const identity& ca = the_cast().agents_ca;
    const std::string older = crl(ca, {.this_update = -7200});
    const std::string newer = crl(ca, {.revoked = {leaf(the_cast().agent)}, .this_update = -60});
    CHECK(judged(agents().with_crls(older), the_cast().agent) == flagged_agent);
    CHECK(judged(agents().with_crls(older + newer), the_cast().agent) == "23 certificate revoked");
    CHECK(judged(agents().with_crls(newer).with_crls(older), the_cast().agent) == "23 certificate revoked");
}

TEST_CASE("server / CRL / chain with an intermediate -> each CA with a CRL is checked, and need not have one unless "
          "asked",
          "[handshake][valgrind][SEC-1]") {
    const branch below;
    const certificates sent{&below.ca};
    const identity& root = the_cast().agents_ca;
    const trust leaf_only = agents().with_crls(crl(below.ca));
    CHECK(judged(agents(), below.agent, sent) == flagged_deep);
    CHECK(judged(leaf_only, below.agent, sent) == flagged_deep);
    CHECK(judged(leaf_only.with_crls_for_every_ca(), below.agent, sent) == "3 internal error");
    CHECK(judged(leaf_only.with_crls(crl(root)).with_crls_for_every_ca(), below.agent, sent) == flagged_deep);
    CHECK(judged(agents().with_crls(crl(root)), below.agent, sent) == "3 internal error");
    CHECK(judged(agents().with_crls(crl(below.ca, {.revoked = {leaf(below.agent)}})), below.agent, sent) ==
          "23 certificate revoked");
    CHECK(judged(leaf_only.with_crls(crl(root, {.revoked = {leaf(below.ca)}})), below.agent, sent) ==
          "23 certificate revoked");
    CHECK(judged(leaf_only.with_crls(crl(root, {.this_update = -7200, .next_update = -3600})), below.agent, sent) ==
          "12 internal error");
}

TEST_CASE("server / CRL / tolerated lack of an intermediate's, other faults -> refused all the same",
          "[handshake][SEC-1]") {
    const identity ca =
        issue({.common_name = "Old CA 2", .ca = true, .not_before = -7200, .not_after = -60}, &the_cast().agents_ca);
    const identity agent = issue(agent_description("deep.example"), &ca);
    CHECK(judged(agents().with_crls(crl(ca)), agent, {&ca}) == "10 certificate expired");
    const identity constrained =
        issue({.common_name = "Constrained CA", .ca = true, .name_constraints = "permitted;DNS:good.example"},
              &the_cast().agents_ca);
    const identity evil = issue(agent_description("evil.example"), &constrained);
    CHECK(judged(agents().with_crls(crl(constrained)), evil, {&constrained}).starts_with("47 "));
}

TEST_CASE("server / pins / a key of the verified chain or none -> flagged or refused", "[handshake][valgrind][SEC-1]") {
    const branch below;
    const certificates sent{&below.ca, &the_cast().customers_ca};
    const auto pinned = [&](std::initializer_list<const identity*> who) {
        std::vector<reqauth::spki_pin> pins;
        for (const identity* one : who) pins.push_back(pin_of(*one->key));
        return judged(agents().with_pins(pins), below.agent, sent);
    };
    CHECK(pinned({&below.agent}) == flagged_deep);
    CHECK(pinned({&below.ca}) == flagged_deep);
    CHECK(pinned({&the_cast().agents_ca}) == flagged_deep);
    CHECK(pinned({&the_cast().server, &below.ca}) == flagged_deep);
    CHECK(pinned({&the_cast().agent}) == "28 bad certificate");
    // Sent, but no part of the chain that was verified.
    CHECK(pinned({&the_cast().customers_ca}) == "28 bad certificate");
}

TEST_CASE("server / depth / as many CAs in between as allowed -> flagged, one more -> refused", "[handshake][SEC-1]") {
    const branch below;
    CHECK(judged(agents().with_depth(0), the_cast().agent) == flagged_agent);
    CHECK(judged(agents().with_depth(0), below.agent, {&below.ca}) == "22 unknown CA");
    CHECK(judged(agents().with_depth(1), below.agent, {&below.ca}) == flagged_deep);
}

TEST_CASE("server / partial chains / an intermediate or a leaf as anchor -> flagged by setting only",
          "[handshake][valgrind][SEC-1]") {
    const branch below;
    const trust off = trust_in(below.ca);
    const trust on = off.with_partial_chains();
    CHECK(judged(off, below.agent, {&below.ca}) == "2 unknown CA");
    CHECK(judged(on, below.agent, {&below.ca}) == flagged_deep);
    CHECK(judged(on, below.agent) == flagged_deep);
    CHECK(judged(on, below.agent, {&below.ca, &the_cast().agents_ca}) == flagged_deep);
    CHECK(judged(on, the_cast().agent, {&the_cast().agents_ca}) == "19 unknown CA");
    CHECK(judged(on, the_cast().agent) == "20 unknown CA");
    const trust own = trust_in(the_cast().agent).with_partial_chains();
    CHECK(judged(own, the_cast().agent) == flagged_agent);
    CHECK(judged(own, the_cast().other_agent) == "20 unknown CA");
    // The anchor itself needs no CRL; the leaf's does count.
    for (const bool all : {false, true}) {
        const trust revoking = on.with_crls(crl(below.ca));
        CHECK(judged(all ? revoking.with_crls_for_every_ca() : revoking, below.agent) == flagged_deep);
    }
    CHECK(judged(on.with_crls(crl(below.ca, {.revoked = {leaf(below.agent)}})), below.agent) ==
          "23 certificate revoked");
}

TEST_CASE("server / time / a fixed one -> certificates judged as of then", "[handshake][SEC-1]") {
    const auto now = std::chrono::system_clock::now();
    const identity ca = issue({.common_name = "Long CA", .ca = true, .not_before = -10000});
    auto about = agent_description("old.example");
    about.not_before = -7200;
    about.not_after = -3600;
    const identity old = issue(about, &ca);
    CHECK(judged(trust_in(ca), old) == "10 certificate expired");
    CHECK(judged(trust_in(ca).with_time(now - 5400s), old) == "flagged CN=old.example");
    CHECK(judged(trust_in(ca).with_time(now - 8000s), old) == "9 bad certificate");
    CHECK(judged(agents().with_time(now + 48h), the_cast().agent) == "10 internal error"); // so is the anchor
}

TEST_CASE("server / purpose / certificate for another -> refused, unless the trust is for that or for any",
          "[handshake][SEC-1]") {
    using reqauth::purpose;
    const auto of = [](const char* usage) {
        return issue({.common_name = "usage.example", .extended_key_usage = usage}, &the_cast().agents_ca);
    };
    const identity client = of("clientAuth");
    const identity server = of("serverAuth");
    const identity mail = of("emailProtection");
    const auto judge = [](purpose what, const identity& who) { return judged(agents().with_purpose(what), who); };
    const std::string flagged = "flagged CN=usage.example";
    const std::string refused = "26 unsupported certificate";
    CHECK(judged(agents(), server) == refused);
    CHECK(judge(purpose::client, client) == flagged);
    CHECK(judge(purpose::client, server) == refused);
    CHECK(judge(purpose::server, server) == flagged);
    CHECK(judge(purpose::server, client) == refused);
    CHECK(judge(purpose::server, mail) == refused);
    for (const identity* who : {&client, &server, &mail}) CHECK(judge(purpose::any, *who) == flagged);
}

TEST_CASE("server / purpose any / a leaf that signs a leaf -> refused", "[handshake][SEC-1]") {
    const identity agent = issue(agent_description("forged.example"), &the_cast().agent);
    CHECK_FALSE(
        judged(agents().with_purpose(reqauth::purpose::any), agent, {&the_cast().agent}).starts_with("flagged"));
}

TEST_CASE("server / trust from an X509_STORE / revoked, and not -> as from files", "[handshake]") {
    const owned<X509_STORE> store(X509_STORE_new());
    REQUIRE(X509_STORE_add_cert(store.get(), the_cast().agents_ca.certificate.get()) == 1);
    const trust agents = trust::from_store(*store);
    CHECK(judged(agents, the_cast().agent) == flagged_agent);
    CHECK(judged(agents, the_cast().customer) == "20 unknown CA");
}

namespace {

int without_crls(X509_STORE_CTX* chain, void*) {
    X509_VERIFY_PARAM_clear_flags(X509_STORE_CTX_get0_param(chain), X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return X509_verify_cert(chain);
}
int at_any_depth(X509_STORE_CTX* chain, void*) {
    X509_STORE_CTX_set_depth(chain, 100);
    return X509_verify_cert(chain);
}
int long_ago(X509_STORE_CTX* chain, void*) {
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(chain), std::time(nullptr) - 1800);
    return X509_verify_cert(chain);
}
int with_partial_chains(X509_STORE_CTX* chain, void*) {
    X509_STORE_CTX_set_flags(chain, X509_V_FLAG_PARTIAL_CHAIN);
    return X509_verify_cert(chain);
}

} // namespace

TEST_CASE("server / SSL_CTX_set_cert_verify_callback / takes a setting of the trust back -> no flagged_peer",
          "[handshake][cve][SEC-1]") {
    const branch below;
    const trust revoking = agents().with_crls(crl(the_cast().agents_ca, {.revoked = {leaf(the_cast().agent)}}));
    struct row {
        const char* what;
        int (*callback)(X509_STORE_CTX*, void*);
        trust agents;
        const identity* who;
    };
    for (const row& one :
         {row{"CRLs", without_crls, revoking, &the_cast().agent},
          row{"depth", at_any_depth, agents().with_depth(0), &below.agent},
          row{"time", long_ago, agents().with_time(std::chrono::system_clock::now() + 48h), &the_cast().agent},
          row{"partial chains", with_partial_chains, trust_in(below.ca), &below.agent}}) {
        CAPTURE(one.what);
        const meeting both_ends(one.agents, true, *one.who, {&below.ca});
        SSL_CTX_set_cert_verify_callback(both_ends.server.get(), one.callback, nullptr);
        pair both(*both_ends.server, *both_ends.client.context);
        both.shake();
        CHECK(seen(both) == "invalid 50");
    }
}

TEST_CASE("server / verify parameters of the application / depth, time, purpose, CRLs -> the trust's own count",
          "[handshake][SEC-1][SEC-6]") {
    const branch below;
    const meeting ends(agents().with_depth(1).with_crls(crl(below.ca)), false, below.agent, {&below.ca});
    X509_VERIFY_PARAM* parameters = SSL_CTX_get0_param(ends.server.get());
    X509_VERIFY_PARAM_set_depth(parameters, 0);
    X509_VERIFY_PARAM_set_time(parameters, 1);
    X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SMIME_SIGN);
    pair both(*ends.server, *ends.client.context);
    CHECK(both.shake());
    CHECK(seen(both) == flagged_deep);
}

TEST_CASE("server / 10,000 anchors / loaded, changed and used -> flagged", "[handshake]") {
    const auto key = make_key();
    std::string many = pem(*the_cast().agents_ca.certificate);
    for (int i = 0; i < 10000; ++i)
        many += pem(*issue({.common_name = "CA " + std::to_string(i), .ca = true}, nullptr, key.get()).certificate);
    const trust agents = trust::from_pem(many).with_depth(3).with_crls(crl(the_cast().agents_ca));
    CHECK(agents.size() == 10001);
    CHECK(judged(agents, the_cast().agent) == flagged_agent);
    CHECK(judged(agents, the_cast().customer) == "20 unknown CA");
}
