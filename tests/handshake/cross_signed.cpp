// SPDX-License-Identifier: Apache-2.0
// CAs that both sides have signed: whose certificates chain to agents' anchors and to customers' (RCA-17).

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

using namespace support;

namespace {

// A CA, with a certificate of its own and one of the same name and key that `other` has signed.
struct cross_signed_ca {
    identity own;
    identity by_other;
    cross_signed_ca(const std::string& name, const identity& other)
        : own(issue({.common_name = name, .ca = true})),
          by_other(issue({.common_name = name, .ca = true}, &other, own.key.get())) {}
};

struct doors {
    identity agents_ca = issue({.common_name = "Agents Root", .ca = true});
    identity customers_ca = issue({.common_name = "Customers Root", .ca = true});
    cross_signed_ca customers_signed{"Customers Partner", agents_ca}; // its own certificate is the customers' anchor
    cross_signed_ca agents_signed{"Agents Partner", customers_ca};    // its own certificate is the agents' anchor
};

const doors& the_doors() {
    static const doors made;
    return made;
}

reqauth::server_policy policy_for(const identity& anchor) {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(trust_in(anchor));
    policy.beside_customers = true;
    return policy;
}

owned<SSL_CTX> server_for(const identity& customers, const reqauth::server_policy& policy, int mode = SSL_VERIFY_PEER) {
    auto context = server_context();
    ask(*context, mode, customers);
    attach(*context, policy);
    return context;
}

owned<SSL_CTX> client_with(const identity& leaf, const identity& intermediate) {
    reqauth::client_policy policy;
    X509* const chain[] = {intermediate.certificate.get()};
    policy.credential = credential_of(leaf, chain);
    return attached_client(policy);
}

std::string came_to(SSL_CTX& server, SSL_CTX& client) {
    pair both(server, client);
    both.shake();
    const auto presented = reqauth::presented_of(*both.server.ssl);
    return seen(both) + (presented ? ", " + presented->because : "") + ", " + alert_to_client(both);
}

constexpr const char* refused =
    "handshake_unfinished, its chain leads to a CA of customers, too, and it could open both doors, bad certificate";

} // namespace

TEST_CASE("server / an agent's certificate that is good as a customer's, too -> refused, unless the policy takes it",
          "[handshake][RCA-17]") {
    const doors& all = the_doors();
    struct {
        const char* name;
        const identity& agents;
        const identity& customers;
        identity leaf;
        const identity& sent;
    } const rows[] = {
        {"the agents' CA has signed the customers'", all.agents_ca, all.customers_signed.own,
         issue(agent_description("crawler.example"), &all.customers_signed.own), all.customers_signed.by_other},
        {"the customers' CA has signed the agents'", all.agents_signed.own, all.customers_ca,
         issue(agent_description("crawler.example"), &all.agents_signed.own), all.agents_signed.by_other},
    };
    for (const auto& each : rows) {
        CAPTURE(each.name);
        const auto client = client_with(each.leaf, each.sent);
        auto policy = policy_for(each.agents);
        for (const int mode : {SSL_VERIFY_PEER, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE})
            CHECK(came_to(*server_for(each.customers, policy, mode), *client) == refused);
        CHECK(came_to(*server_for(each.customers, policy, SSL_VERIFY_NONE), *client) ==
              "flagged CN=crawler.example, none");
        policy.beside_required = true;
        CHECK(came_to(*server_for(each.customers, policy, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT),
                      *client) == refused);
        // What the customers' CA has nothing to do with comes in, and a store of the SSL_CTX's own for verification counts.
        CHECK(came_to(*server_for(the_cast().customers_ca, policy), *client) == "flagged CN=crawler.example, none");
        auto other = server_context();
        ask(*other, SSL_VERIFY_PEER, the_cast().customers_ca);
        owned<X509_STORE> apart(X509_STORE_new());
        REQUIRE(X509_STORE_add_cert(apart.get(), each.customers.certificate.get()) == 1);
        REQUIRE(SSL_CTX_set1_verify_cert_store(other.get(), apart.get()) == 1);
        attach(*other, policy);
        CHECK(came_to(*other, *client) == refused);

        auto lenient = policy;
        lenient.when_offered = lenient.when_offered.invalid_is_anonymous();
        CHECK(came_to(*server_for(each.customers, lenient), *client) ==
              "invalid 28, its chain leads to a CA of customers, too, and it could open both doors, none");
        auto takes = policy;
        takes.cross_signed = true;
        CHECK(came_to(*server_for(each.customers, takes), *client) == "flagged CN=crawler.example, none");
        auto shares = policy;
        shares.shared_anchors = true;
        CHECK(came_to(*server_for(each.customers, shares), *client) == "flagged CN=crawler.example, none");
    }
}

TEST_CASE("server / an agent's certificate that customers' parameters would refuse -> refused all the same",
          "[handshake][RCA-17]") {
    const doors& all = the_doors();
    const auto leaf = issue(agent_description("crawler.example"), &all.agents_signed.own);
    const auto client = client_with(leaf, all.agents_signed.by_other);
    auto server = server_context();
    ask(*server, SSL_VERIFY_PEER, all.customers_ca);
    SSL_CTX_set_verify_depth(server.get(), 0);
    attach(*server, policy_for(all.agents_signed.own));
    CHECK(came_to(*server, *client) == refused);
}

TEST_CASE(
    "server / an agent's certificate that is good as a customer's, too / resumed under another policy -> not at all",
    "[handshake][RCA-17][TLS-2]") {
    const doors& all = the_doors();
    visitor client(
        client_with(issue(agent_description("crawler.example"), &all.agents_signed.own), all.agents_signed.by_other));
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, all.customers_ca);
    reqauth::server server;
    auto takes = policy_for(all.agents_signed.own);
    takes.cross_signed = true;
    const auto where = server.attach(*context, takes);
    const auto first = visit(*context, *client.context);
    CHECK(first.good);
    const owned<SSL_SESSION> session(SSL_SESSION_dup(client.shelf.last.get()));
    CHECK(visit(*context, *client.context, {.session = client.shelf.last.get()}).resumed);
    (void)server.replace({{where, policy_for(all.agents_signed.own)}});
    const auto after = visit(*context, *client.context, {.session = session.get()});
    CHECK_FALSE(after.resumed);
    CHECK_FALSE(after.good);
}

TEST_CASE("server / an agent's chain that is too long for customers, and leads to none of their CAs -> comes in",
          "[handshake][RCA-17]") {
    const doors& all = the_doors();
    const auto client =
        client_with(issue(agent_description("crawler.example"), &all.agents_signed.own), all.agents_signed.by_other);
    auto server = server_context();
    ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
    SSL_CTX_set_verify_depth(server.get(), 0);
    attach(*server, policy_for(all.agents_signed.own));
    CHECK(came_to(*server, *client) == "flagged CN=crawler.example, none");
}

TEST_CASE("server / a session from where no customers are asked -> vouches for nobody where they are, and the other "
          "way round",
          "[handshake][RCA-17][SEC-1][attack]") {
    const doors& all = the_doors();
    for (const bool taken : {false, true})
        for (const int made : {SSL_VERIFY_NONE, SSL_VERIFY_PEER})
            for (const int later : {SSL_VERIFY_NONE, SSL_VERIFY_PEER}) {
                CAPTURE(taken, made, later);
                auto policy = policy_for(the_cast().agents_ca);
                policy.cross_signed = taken;
                fleet nodes;
                const auto first = server_for(all.customers_ca, policy, made);
                const auto second = server_for(all.customers_ca, policy, later);
                nodes.join(*first, tickets::stateless);
                nodes.join(*second, tickets::stateless);
                visitor client(attached_client());
                CHECK(visit(*first, *client.context).who == "flagged CN=crawler.example");
                const auto again = visit(*second, *client.context, {.session = client.shelf.last.get()});
                CHECK(again.resumed);
                CHECK(again.who == (taken || made == later ? "flagged CN=crawler.example" : "not_vouched"));
            }
}
