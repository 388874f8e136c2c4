// SPDX-License-Identifier: Apache-2.0
// A verified agent's sessions resume where nothing that decided has changed, and nowhere else; and not for longer
// than its verification may be relied on.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/clock.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <cstring>

using namespace support;
using namespace std::chrono_literals;

namespace {

constexpr const char* agent_seen = "flagged CN=crawler.example";

/// node is a server as one of a fleet: its SSL_CTX and its listener.
struct node {
    node(fleet& of, tickets how, const reqauth::server_policy& policy = asking(),
         const reqauth::server_options& options = {})
        : listener(options) {
        of.join(*context, how);
        place = listener.attach(*context, policy);
    }
    owned<SSL_CTX> context = server_context();
    reqauth::server listener;
    reqauth::attachment place;
};

visitor agent() { return visitor(attached_client()); }
visitor plain() { return visitor(client_context()); }

/// earn gives a session of a verified agent at `server`.
owned<SSL_SESSION> earn(SSL_CTX& server, visitor& client, const char* name = nullptr,
                        const char* seen_as = agent_seen) {
    const visited first = visit(server, *client.context, {.name = name});
    CAPTURE(first.alert);
    REQUIRE(first.full());
    REQUIRE(first.who == seen_as);
    REQUIRE(client.shelf.last != nullptr);
    REQUIRE(SSL_SESSION_is_resumable(client.shelf.last.get()) == 1);
    return std::move(client.shelf.last);
}

void check_resumed_agent(const visited& again) {
    CHECK(again.good);
    CHECK(again.resumed);
    CHECK_FALSE(again.asked);
    CHECK(again.who == agent_seen);
    CHECK(again.resumed_peer);
    CHECK(again.verify_result == X509_V_ERR_APPLICATION_VERIFICATION);
    CHECK(again.outcome.offered);
    CHECK(again.outcome.accepted);
    CHECK(again.outcome.certificate == reqauth::server_outcome::answer::verified);
}

std::array<std::uint8_t, 32> digest_of(const X509& certificate) {
    std::array<std::uint8_t, 32> digest{};
    X509_digest(&certificate, EVP_sha256(), digest.data(), nullptr);
    return digest;
}

} // namespace

TEST_CASE("server / agent's session / same outcome, host and trust, here or on another node -> a flagged peer, resumed",
          "[handshake][valgrind][TLS-2][RCA-16][SEC-1][SEC-8]") {
    for (const auto how : all_tickets)
        for (const bool require : {false, true})
            for (const bool retry : {false, true}) {
                CAPTURE(int(how), require, retry);
                fleet nodes;
                node one(nodes, how, require ? demanding() : asking());
                auto client = agent();
                const auto session = earn(*one.context, client, "crawl.example");
                const owned<SSL_SESSION> copy(SSL_SESSION_dup(session.get()));
                check_resumed_agent(visit(*one.context, *client.context,
                                          {.name = "crawl.example", .session = session.get(), .retry = retry}));
                // After a restart, or on another node: nothing is shared but keys, cache and configuration.
                const node other(nodes, how, require ? demanding() : asking());
                const visited there = visit(*other.context, *client.context,
                                            {.name = "crawl.example", .session = copy.get(), .retry = retry});
                check_resumed_agent(there);
                CHECK(there.retried == retry);
                CHECK(there.thumbprint == digest_of(*the_cast().agent.certificate));
                CHECK_FALSE(there.early_peer);
            }
}

// A server remembers the last certificate and the last scope that it has digested.
TEST_CASE(
    "server / agents in turn, under names in turn -> each is known as itself, and resumes under its own name alone",
    "[handshake][SEC-1][TLS-2]") {
    const auto server = attached_server(demanding());
    struct coming {
        visitor client;
        const identity& who;
        const char* name;
    };
    reqauth::client_policy others;
    others.credential = credential_of(the_cast().other_agent);
    coming first{agent(), the_cast().agent, "a.example"};
    coming second{visitor(attached_client(others)), the_cast().other_agent, "b.example"};
    const auto come = [&](coming& one, const char* name, SSL_SESSION* session) {
        const visited seen = visit(*server, *one.client.context, {.name = name, .session = session});
        CAPTURE(name, seen.alert);
        CHECK(seen.good);
        CHECK(seen.thumbprint == digest_of(*one.who.certificate));
        return seen.resumed;
    };
    for (int round = 0; round < 2; ++round) {
        std::vector<owned<SSL_SESSION>> sessions;
        for (coming* one : {&first, &second}) {
            CHECK_FALSE(come(*one, one->name, nullptr));
            sessions.push_back(std::move(one->client.shelf.last));
        }
        CHECK(come(first, first.name, sessions[0].get()));
        CHECK(come(second, second.name, sessions[1].get()));
        CHECK_FALSE(come(first, second.name, sessions[0].get()));
        CHECK_FALSE(come(second, first.name, sessions[1].get()));
    }
}

TEST_CASE("client / resumed handshake -> offered, not requested, which is no refusal", "[handshake][RCA-16]") {
    fleet nodes;
    const node host(nodes, tickets::stateless);
    auto client = agent();
    const auto session = earn(*host.context, client);
    const visited again = visit(*host.context, *client.context, {.session = session.get()});
    check_resumed_agent(again);
    CHECK(again.client.offered);
    CHECK_FALSE(again.client.requested);
    CHECK_FALSE(again.client.acknowledged);
    CHECK(again.client.sent == reqauth::client_outcome::answer::none);
}

TEST_CASE("server / agent's session / any server name -> resumes under its own only, whatever the letter case",
          "[handshake][valgrind][cve][TLS-2]") {
    struct row {
        const char* first;
        const char* then;
        bool resumes;
    };
    const row rows[] = {
        {"a.example", "a.example", true},  {"a.example", "A.Example", true}, {"A.EXAMPLE", "a.example", true},
        {"a.example", "b.example", false}, {"a.example", nullptr, false},    {nullptr, "a.example", false},
        {nullptr, nullptr, true},          {"a.example", "a.exampl", false}, {"a.example", "sub.a.example", false}};
    for (const auto how : all_tickets)
        for (const row& each : rows) {
            CAPTURE(int(how), each.first != nullptr ? each.first : "none", each.then != nullptr ? each.then : "none");
            fleet nodes;
            const node host(nodes, how);
            auto client = agent();
            const auto session = earn(*host.context, client, each.first);
            const visited again = visit(*host.context, *client.context, {.name = each.then, .session = session.get()});
            CHECK(again.good);
            CHECK(again.resumed == each.resumes);
            CHECK(again.asked == !each.resumes);
            CHECK(again.who == agent_seen);
            CHECK(again.resumed_peer == each.resumes);
        }
}

TEST_CASE("server / session crosses between flag and no flag, either way -> full handshake",
          "[handshake][valgrind][cve][TLS-2][SEC-1]") {
    for (const auto how : all_tickets)
        for (const bool require : {false, true})
            for (const bool retry : {false, true}) {
                CAPTURE(int(how), require, retry);
                fleet nodes;
                const node host(nodes, how, require ? demanding() : asking());
                auto with = agent();
                auto without = plain();
                const auto agents = earn(*host.context, with);
                const auto others = earn(*host.context, without, nullptr, "not_offered");
                const visited unflagged =
                    visit(*host.context, *without.context, {.session = agents.get(), .retry = retry});
                CHECK(unflagged.full());
                CHECK(unflagged.who == "not_offered");
                CHECK_FALSE(unflagged.has_certificate);
                const visited flagged = visit(*host.context, *with.context, {.session = others.get(), .retry = retry});
                CHECK(flagged.full());
                CHECK(flagged.asked);
                CHECK(flagged.who == agent_seen);
                CHECK_FALSE(flagged.resumed_peer);
            }
}

TEST_CASE("server / any setting of the server or its policy differs -> no session crosses, either way",
          "[handshake][cve][TLS-2][SEC-5]") {
    using reqauth::client_auth;
    struct row {
        const char* what;
        std::function<void(reqauth::server_policy&, reqauth::server_options&)> change;
    };
    const auto trusting = [](const auto& change) {
        return [change](reqauth::server_policy& policy, reqauth::server_options&) {
            policy.when_offered = client_auth::request(change(agents()));
        };
    };
    const auto& who = the_cast();
    const std::string list = crl(who.agents_ca);
    const std::string later = crl(who.agents_ca, {.revoked = {who.other_agent.certificate.get()}});
    const identity issuing = issue({.common_name = "Issuing CA", .ca = true}, &who.agents_ca);
    const row rows[] = {
        {"predicate", [](auto&, auto& options) { options.accept = [](const auto&) { return false; }; }},
        {"label", [](auto&, auto& options) { options.label = "shop"; }},
        {"max_session_age", [](auto&, auto& options) { options.max_session_age = 3599s; }},
        {"session_id_context", [](auto& policy, auto&) { policy.session_id_context = {1}; }},
        {"require", [](auto& policy, auto&) { policy.when_offered = client_auth::require(agents()); }},
        {"none",
         [](auto& policy, auto&) {
             policy.when_offered = client_auth::none();
             policy.session_id_context = support::own_id_context();
         }},
        {"invalid_is_anonymous",
         [](auto& policy, auto&) { policy.when_offered = client_auth::request(agents()).invalid_is_anonymous(); }},
        {"ca_names", [](auto& policy, auto&) { policy.ca_names = false; }},
        {"beside_required", [](auto& policy, auto&) { policy.beside_required = true; }},
        {"shared_anchors", [](auto& policy, auto&) { policy.shared_anchors = true; }},
        {"verify_result_ok", [](auto& policy, auto&) { policy.verify_result_ok = true; }},
        {"refuse_early_data", [](auto& policy, auto&) { policy.refuse_early_data = true; }},
        {"another anchor",
         [&](auto& policy, auto&) {
             policy.when_offered = client_auth::request(
                 reqauth::trust::from_pem(pem(*who.agents_ca.certificate) + pem(*who.customers_ca.certificate)));
         }},
        {"a CRL", trusting([&](const reqauth::trust& from) { return from.with_crls(list); })},
        {"another CRL", trusting([&](const reqauth::trust& from) { return from.with_crls(later); })},
        {"CRLs for every CA",
         trusting([&](const reqauth::trust& from) { return from.with_crls(list).with_crls_for_every_ca(); })},
        {"a pin", trusting([&](const reqauth::trust& from) { return from.with_pins({pin_of(*who.agents_ca.key)}); })},
        {"another pin", trusting([&](const reqauth::trust& from) { return from.with_pins({pin_of(*who.agent.key)}); })},
        {"depth", trusting([](const reqauth::trust& from) { return from.with_depth(3); })},
        {"another depth", trusting([](const reqauth::trust& from) { return from.with_depth(4); })},
        {"purpose", trusting([](const reqauth::trust& from) { return from.with_purpose(reqauth::purpose::any); })},
        {"time", trusting([](const reqauth::trust& from) { return from.with_time(std::chrono::system_clock::now()); })},
        {"partial chains", trusting([](const reqauth::trust& from) { return from.with_partial_chains(); })},
    };
    for (const auto how : all_tickets)
        ROWS(each.what + (", " + std::to_string(int(how))), rows, const row& each) {
            CAPTURE(int(how), each.what);
            auto policy = asking();
            reqauth::server_options options;
            each.change(policy, options);
            fleet nodes;
            const node one(nodes, how);
            const node same(nodes, how);
            const node changed(nodes, how, policy, options);
            const node changed_too(nodes, how, policy, options);

            const bool ignored = std::string(each.what) == "predicate" || std::string(each.what) == "none";
            const std::string expected = ignored ? "ignored" : agent_seen;
            auto client = agent();
            const auto session = earn(*one.context, client);
            const owned<SSL_SESSION> copy(SSL_SESSION_dup(session.get()));
            const visited across = visit(*changed.context, *client.context, {.session = session.get()});
            CHECK(across.full());
            CHECK(across.who == expected);
            CHECK(across.asked == !ignored);
            CHECK(visit(*same.context, *client.context, {.session = copy.get()}).resumed); // it would have resumed

            client.shelf.last.reset();
            const visited first = visit(*changed.context, *client.context);
            CHECK(first.who == expected);
            if (client.shelf.last == nullptr) {
                CHECK(std::string(each.what) == "predicate"); // id context not told: no tickets where ignored
                continue;
            }
            const owned<SSL_SESSION> back = std::move(client.shelf.last);
            const owned<SSL_SESSION> copy_back(SSL_SESSION_dup(back.get()));
            const visited across_back = visit(*one.context, *client.context, {.session = back.get()});
            CHECK(across_back.full());
            CHECK(across_back.who == agent_seen);
            CHECK(across_back.asked);
            const visited within = visit(*changed_too.context, *client.context, {.session = copy_back.get()});
            CHECK(within.resumed);
            CHECK(within.who == expected);
        }
}

TEST_CASE("server / another flag number or extension type -> no session crosses, either way",
          "[handshake][cve][TLS-2]") {
    for (const auto how : all_tickets)
        for (const bool other_type : {false, true})
            for (const bool back : {false, true}) {
                CAPTURE(int(how), other_type, back);
                reqauth::server_options options;
                if (other_type)
                    options.extension = 65025;
                else
                    options.flag = 81;
                fleet nodes;
                const node one(nodes, how);
                const node changed(nodes, how, asking(), options);
                // Each is understood by both servers.
                auto context = client_context();
                present(*context, the_cast().agent);
                bad_peer both_numbers(std::move(context), {{in::client_hello, {flags({80, 81})}}});
                auto other = client_context();
                present(*other, the_cast().agent);
                bad_peer other_number(std::move(other), {{in::client_hello, {flags({80, 81})}}}, 65025);
                SSL_CTX& at_one = *both_numbers.context;
                SSL_CTX& at_changed = other_type ? *other_number.context : *both_numbers.context;
                SSL_CTX& first = back ? at_changed : at_one;
                session_shelf shelf;
                shelf.serve(first);
                REQUIRE(visit(back ? *changed.context : *one.context, first).who == agent_seen);
                REQUIRE(shelf.last != nullptr);
                const owned<SSL_SESSION> session = std::move(shelf.last);
                const owned<SSL_SESSION> copy(SSL_SESSION_dup(session.get()));
                const visited across = visit(back ? *one.context : *changed.context, back ? at_one : at_changed,
                                             {.session = session.get()});
                CHECK(across.full());
                CHECK(across.who == agent_seen);
                CHECK(across.asked);
                CHECK(visit(back ? *changed.context : *one.context, first, {.session = copy.get()}).resumed);
            }
}

TEST_CASE("server / one SSL_CTX more in the listener -> no session crosses, either way", "[handshake][TLS-2][SEC-5]") {
    for (const auto how : all_tickets)
        for (const bool same_policy : {true, false}) {
            CAPTURE(int(how), same_policy);
            fleet nodes;
            const node one(nodes, how);
            node two(nodes, how);
            const auto further = server_context();
            two.listener.attach(*further, same_policy ? asking() : demanding());
            auto client = agent();
            const auto session = earn(*one.context, client);
            const visited across = visit(*two.context, *client.context, {.session = session.get()});
            CHECK(across.full());
            CHECK(across.who == agent_seen);
            const owned<SSL_SESSION> back = std::move(client.shelf.last);
            CHECK(visit(*one.context, *client.context, {.session = back.get()}).full());
        }
}

TEST_CASE("server / the predicate's answer changes -> no session crosses", "[handshake][cve][TLS-2][SEC-1]") {
    for (const auto how : all_tickets)
        for (const bool told : {false, true}) {
            CAPTURE(int(how), told);
            bool answer = true;
            reqauth::server_options options;
            options.accept = [&answer](const reqauth::client_hello&) { return answer; };
            auto policy = demanding();
            if (told) policy.session_id_context = support::own_id_context();
            fleet nodes;
            const node host(nodes, how, policy, options);
            auto client = agent();
            const auto session = earn(*host.context, client);
            client.shelf.last.reset();
            answer = false;
            const visited ignored = visit(*host.context, *client.context, {.session = session.get()});
            CHECK(ignored.full());
            CHECK(ignored.who == "ignored");
            CHECK_FALSE(ignored.has_certificate);
            CHECK((client.shelf.last != nullptr) == told);
            if (!told) continue;
            const owned<SSL_SESSION> of_ignored = std::move(client.shelf.last);
            answer = true;
            const visited accepted = visit(*host.context, *client.context, {.session = of_ignored.get()});
            CHECK(accepted.full());
            CHECK(accepted.asked);
            CHECK(accepted.who == agent_seen);
        }
}

namespace {

/// two_hosts is a listener that serves b.example with an SSL_CTX and a trust of its own.
struct two_hosts {
    enum class switching { by_server_name, in_client_hello };

    two_hosts(switching by, tickets how, const reqauth::server_policy& at_a, const reqauth::server_policy& at_b) {
        for (SSL_CTX* context : {a.get(), b.get()}) nodes.join(*context, how);
        if (by == switching::by_server_name) {
            SSL_CTX_set_tlsext_servername_arg(a.get(), this);
            SSL_CTX_set_tlsext_servername_callback(
                a.get(), +[](SSL* ssl, int*, void* hosts) -> int {
                    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
                    const auto& self = *static_cast<two_hosts*>(hosts);
                    if (name != nullptr && self.serves_b(name)) SSL_set_SSL_CTX(ssl, self.b.get());
                    return SSL_TLSEXT_ERR_OK;
                });
        } else {
            SSL_CTX_set_client_hello_cb(
                a.get(),
                [](SSL* ssl, int*, void* hosts) -> int {
                    const unsigned char* name = nullptr;
                    std::size_t size = 0;
                    const auto& self = *static_cast<two_hosts*>(hosts);
                    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &name, &size) == 1 && size > 5 &&
                        self.serves_b(std::string(reinterpret_cast<const char*>(name) + 5, size - 5)))
                        SSL_set_SSL_CTX(ssl, self.b.get());
                    return SSL_CLIENT_HELLO_SUCCESS;
                },
                this);
        }
        listener.attach(*a, at_a);
        listener.attach(*b, at_b);
    }
    [[nodiscard]] bool serves_b(const std::string& name) const { return everything_at_b || name == "b.example"; }

    fleet nodes;
    owned<SSL_CTX> a = server_context();
    owned<SSL_CTX> b = server_context();
    reqauth::server listener;
    bool everything_at_b = false;
};

reqauth::server_policy for_customers(bool require = false) {
    reqauth::server_policy policy;
    const auto ca = trust_in(the_cast().customers_ca);
    policy.when_offered = require ? reqauth::client_auth::require(ca) : reqauth::client_auth::request(ca);
    return policy;
}

} // namespace

TEST_CASE(
    "server / two virtual hosts, two trusts / session of one at the other -> full handshake under the other's trust",
    "[handshake][valgrind][cve][TLS-2][SEC-5][RCA-13]") {
    for (const auto by : {two_hosts::switching::by_server_name, two_hosts::switching::in_client_hello})
        for (const auto how : all_tickets)
            for (const bool retry : {false, true}) {
                CAPTURE(int(by), int(how), retry);
                two_hosts hosts(by, how, asking(), for_customers(true));
                // They present their certificates whoever asks.
                const auto crawler = flagged_client(the_cast().agent);
                const auto customer = flagged_client(the_cast().customer);
                session_shelf crawlers;
                session_shelf customers;
                crawlers.serve(*crawler.context);
                customers.serve(*customer.context);
                REQUIRE(visit(*hosts.a, *crawler.context, {.name = "a.example"}).who == agent_seen);
                REQUIRE(visit(*hosts.a, *customer.context, {.name = "b.example"}).who == "flagged CN=customer.example");
                const owned<SSL_SESSION> of_a = std::move(crawlers.last);
                const owned<SSL_SESSION> of_b = std::move(customers.last);
                REQUIRE(of_a != nullptr);
                REQUIRE(of_b != nullptr);
                const owned<SSL_SESSION> copy_of_a(SSL_SESSION_dup(of_a.get()));
                const owned<SSL_SESSION> copy_of_b(SSL_SESSION_dup(of_b.get()));

                const visited a_at_b =
                    visit(*hosts.a, *crawler.context, {.name = "b.example", .session = of_a.get(), .retry = retry});
                CHECK_FALSE(a_at_b.good);
                CHECK_FALSE(a_at_b.resumed);
                CHECK(a_at_b.alert == "unknown CA");
                const visited b_at_a =
                    visit(*hosts.a, *customer.context, {.name = "a.example", .session = of_b.get(), .retry = retry});
                CHECK_FALSE(b_at_a.good);
                CHECK_FALSE(b_at_a.resumed);
                CHECK(b_at_a.alert == "unknown CA");

                const visited a_at_a = visit(*hosts.a, *crawler.context,
                                             {.name = "a.example", .session = copy_of_a.get(), .retry = retry});
                CHECK(a_at_a.resumed);
                CHECK(a_at_a.who == agent_seen);
                const visited b_at_b = visit(*hosts.a, *customer.context,
                                             {.name = "b.example", .session = copy_of_b.get(), .retry = retry});
                CHECK(b_at_b.resumed);
                CHECK(b_at_b.who == "flagged CN=customer.example");
            }
}

TEST_CASE(
    "server / server name changes between the ClientHellos around a retry -> the session is nobody's at the other host",
    "[handshake][cve][TLS-1][TLS-2][SEC-1][SEC-5]") {
    for (const auto by : {two_hosts::switching::by_server_name, two_hosts::switching::in_client_hello})
        for (const auto how : {tickets::stateless, tickets::stateful})
            for (const bool towards_b : {true, false}) {
                CAPTURE(int(by), int(how), towards_b);
                two_hosts hosts(by, how, asking(), for_customers());
                const auto crawler = flagged_client(the_cast().agent);
                session_shelf shelf;
                shelf.serve(*crawler.context);
                REQUIRE(visit(*hosts.a, *crawler.context, {.name = "a.example"}).who == agent_seen);
                const owned<SSL_SESSION> session = std::move(shelf.last);
                REQUIRE(session != nullptr);
                pair both(*hosts.a, *crawler.context);
                SSL_set1_groups_list(both.client.ssl.get(), "X25519:P-256");
                SSL_set1_groups_list(both.server.ssl.get(), "P-256");
                take_over(*session, *both.client.ssl);
                SSL_set_session(both.client.ssl.get(), session.get());
                const char* first = towards_b ? "a.example" : "b.example";
                const char* second = towards_b ? "b.example" : "a.example";
                SSL_set_tlsext_host_name(both.client.ssl.get(), first);
                both.client.step();
                both.server.give(both.client.take());
                both.server.step();
                SSL_set_tlsext_host_name(both.client.ssl.get(), second);
                both.client.give(both.server.take());
                both.shake();
                REQUIRE(both.client.count(kind::hello_retry_request) == 1);
                const bool at_b = SSL_get_SSL_CTX(both.server.ssl.get()) == hosts.b.get();
                CAPTURE(at_b);
                if (at_b)
                    CHECK_FALSE(seen(both).starts_with("flagged"));
                else
                    CHECK((seen(both) == agent_seen || !both.server.good()));
            }
}

TEST_CASE("server / SSL_CTX chosen by something that the scope does not see / session of the other policy -> "
          "not_vouched, or refused",
          "[handshake][cve][SEC-1][SEC-5][TLS-2]") {
    for (const auto by : {two_hosts::switching::by_server_name, two_hosts::switching::in_client_hello})
        for (const auto how : all_tickets)
            for (const bool require : {false, true}) {
                CAPTURE(int(by), int(how), require);
                two_hosts hosts(by, how, asking(), for_customers(require));
                auto client = agent();
                const auto session = earn(*hosts.a, client, "a.example");
                hosts.everything_at_b = true;
                const visited moved = visit(*hosts.a, *client.context, {.name = "a.example", .session = session.get()});
                CHECK_FALSE(moved.who.starts_with("flagged"));
                CHECK(moved.good == !require);
                if (moved.resumed) CHECK(moved.who == (require ? "handshake_unfinished" : "not_vouched"));
                if (moved.resumed && require) CHECK(moved.alert == "certificate required");
                if (moved.resumed) CHECK(moved.verify_result != X509_V_OK);
                CHECK(moved.outcome.certificate != reqauth::server_outcome::answer::verified);
            }
}

TEST_CASE("server / agent's session at a host that ignores the flag -> nobody, and never past required customers",
          "[handshake][cve][SEC-1][SEC-7][TLS-2]") {
    for (const auto how : all_tickets)
        for (const bool required : {false, true}) {
            CAPTURE(int(how), required);
            two_hosts hosts(two_hosts::switching::by_server_name, how, asking(), {});
            if (required) {
                // Both: OpenSSL keeps A's verify mode over a switch.
                SSL_CTX_set_verify(hosts.b.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
                SSL_CTX_set_tlsext_servername_callback(
                    hosts.a.get(), +[](SSL* ssl, int*, void* self) -> int {
                        if (!static_cast<two_hosts*>(self)->everything_at_b) return SSL_TLSEXT_ERR_OK;
                        SSL_set_SSL_CTX(ssl, static_cast<two_hosts*>(self)->b.get());
                        SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
                        return SSL_TLSEXT_ERR_OK;
                    });
            }
            auto client = agent();
            const auto session = earn(*hosts.a, client, "a.example");
            hosts.everything_at_b = true;
            const visited moved = visit(*hosts.a, *client.context, {.name = "a.example", .session = session.get()});
            CHECK_FALSE(moved.who.starts_with("flagged"));
            if (required) CHECK_FALSE(moved.good);
            const bool taken_for_customer = moved.good && moved.has_certificate && moved.verify_result == X509_V_OK;
            CHECK_FALSE(taken_for_customer);
        }
}

TEST_CASE("server / session of TLS 1.2 with the flag in TLS 1.3, and the other way -> resumes nothing",
          "[handshake][cve][TLS-2][TLS-5]") {
    for (const auto how : {tickets::stateless, tickets::stateful}) {
        CAPTURE(int(how));
        auto context = server_context();
        ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca);
        fleet nodes;
        nodes.join(*context, how);
        attach(*context, asking());
        auto old = plain();
        present(*old.context, the_cast().customer);
        SSL_CTX_set_max_proto_version(old.context.get(), TLS1_2_VERSION);
        auto client = agent();
        const auto of_old = earn(*context, old, nullptr, "not_offered");
        const owned<SSL_SESSION> copy(SSL_SESSION_dup(of_old.get()));
        REQUIRE(SSL_SESSION_get_protocol_version(of_old.get()) == TLS1_2_VERSION);
        const auto of_agent = earn(*context, client);
        const visited newer = visit(*context, *client.context, {.session = of_old.get()});
        CHECK(newer.full());
        CHECK(newer.asked);
        CHECK(newer.who == agent_seen);
        const visited older = visit(*context, *old.context, {.session = of_agent.get()});
        CHECK_FALSE(older.resumed);
        CHECK(older.who == "not_offered");
        CHECK(visit(*context, *old.context, {.session = copy.get()}).resumed);
    }
}

TEST_CASE("server / agent's session and retry, flag in one ClientHello only -> the second decides",
          "[handshake][cve][TLS-1][TLS-2][SEC-1]") {
    for (const auto how : all_tickets)
        for (const bool late : {false, true}) {
            CAPTURE(int(how), late);
            fleet nodes;
            const node host(nodes, how, demanding());
            auto client = agent();
            const auto session = earn(*host.context, client);
            auto context = client_context();
            present(*context, the_cast().agent);
            using lines = std::vector<line>;
            bad_peer peer(std::move(context), {{in::client_hello, late ? lines{std::nullopt, flags({80})}
                                                                       : lines{flags({80}), std::nullopt}}});
            const visited again = visit(*host.context, *peer.context, {.session = session.get(), .retry = true});
            REQUIRE(again.retried);
            CHECK(again.good);
            CHECK(again.who == (late ? agent_seen : "not_offered"));
            if (!late) CHECK_FALSE(again.resumed);
            if (!late) CHECK_FALSE(again.has_certificate);
            if (!late) CHECK(again.verify_result == X509_V_OK); // what the session said that was looked at is nobody's
        }
}

TEST_CASE("server / agent's session and retry, flag in the first ClientHello only -> a person's tickets as ever",
          "[handshake][TLS-1][RCA-15]") {
    using lines = std::vector<line>;
    for (const bool refuses : {false, true}) {
        CAPTURE(refuses);
        auto policy = asking();
        policy.refuse_early_data = refuses;
        policy.session_id_context = own_id_context();
        fleet nodes;
        const node host(nodes, tickets::early_data_stateless, policy);
        auto client = agent();
        const auto session = earn(*host.context, client);
        bad_peer peer(client_context(), {{in::client_hello, lines{flags({80}), std::nullopt}}});
        support::session_shelf shelf;
        shelf.serve(*peer.context);
        const visited again = visit(*host.context, *peer.context, {.session = session.get(), .retry = true});
        REQUIRE(again.retried);
        REQUIRE(again.full());
        CHECK(again.who == "not_offered");
        REQUIRE(shelf.last != nullptr);
        CHECK(SSL_SESSION_get_max_early_data(shelf.last.get()) == SSL_CTX_get_max_early_data(host.context.get()));
        auto person = plain();
        CHECK(visit(*host.context, *person.context, {.session = shelf.last.get()}).resumed);
    }
}

namespace {

owned<SSL> fresh(SSL_CTX& client, SSL_SESSION* session) {
    owned<SSL> ssl(SSL_new(&client));
    SSL_set_connect_state(ssl.get());
    if (session != nullptr) take_over(*session, *ssl);
    if (session != nullptr) SSL_set_session(ssl.get(), session);
    return ssl;
}

owned<SSL> cleared(pair& both) {
    both.close();
    REQUIRE(SSL_clear(both.server.ssl.get()) == 1);
    SSL_set_bio(both.server.ssl.get(), nullptr, nullptr);
    return std::move(both.server.ssl);
}

} // namespace

TEST_CASE("server / several id contexts, flag dropped after a retry or ignored -> no customer's session crosses "
          "between SSL_CTXs",
          "[handshake][cve][TLS-1][TLS-2][SEC-5]") {
    // Two SSL_CTXs of one server, as for two ports, that share ticket keys. Each lets in customers of its own, by
    // client authentication of the application's.
    using lines = std::vector<line>;
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const bool dropped : {true, false}) {
            CAPTURE(int(how), dropped);
            fleet nodes;
            reqauth::server listener;
            const auto port = [&](const identity& customers, unsigned char id) {
                auto context = server_context();
                SSL_CTX_set_session_id_context(context.get(), &id, 1);
                ask(*context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, customers);
                SSL_CTX_set1_groups_list(context.get(), "P-256");
                nodes.join(*context, how);
                listener.attach(*context, {.session_id_context = {id}});
                return context;
            };
            const auto a = port(the_cast().customers_ca, 'a');
            const auto b = port(the_cast().agents_ca, 'b');
            const auto come = [&](SSL_CTX& to, SSL_SESSION* session, owned<SSL_SESSION>* kept) {
                auto context = client_context();
                present(*context, the_cast().customer);
                bad_peer peer(std::move(context), {{in::client_hello, dropped ? lines{flags({80}), std::nullopt}
                                                                              : lines{flags({80}), flags({80})}}});
                support::session_shelf shelf;
                shelf.serve(*peer.context);
                const visited seen = visit(to, *peer.context, {.session = session, .retry = true});
                REQUIRE(seen.retried);
                if (kept != nullptr) *kept = std::move(shelf.last);
                return seen;
            };
            owned<SSL_SESSION> first;
            owned<SSL_SESSION> second;
            const visited at_a = come(*a, nullptr, &first);
            REQUIRE(at_a.full());
            CHECK(come(*a, first.get(), &second).good);
            for (SSL_SESSION* session : {first.get(), second.get()}) {
                const visited crossed = come(*b, session, nullptr);
                CHECK_FALSE(crossed.resumed);
                CHECK_FALSE(crossed.good);
                CHECK(crossed.alert == "unknown CA");
            }
        }
}

TEST_CASE("server / SSL_clear between flagged and unflagged clients -> no session crosses, agents' still resume",
          "[handshake][valgrind][cve][TLS-2][SEC-1]") {
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const bool told : {false, true}) {
            CAPTURE(int(how), told);
            auto policy = asking();
            if (told) policy.session_id_context = support::own_id_context();
            fleet nodes;
            const node host(nodes, how, policy);
            auto client = agent();
            auto other = plain();

            pair first(*host.context, *client.context);
            REQUIRE(first.shake());
            REQUIRE(seen(first) == agent_seen);
            pair second(cleared(first), fresh(*other.context, nullptr));
            const owned<SSL_SESSION> agents = std::move(client.shelf.last);
            REQUIRE(agents != nullptr);
            REQUIRE(second.shake());
            REQUIRE(seen(second) == "not_offered");
            pair third(cleared(second), fresh(*client.context, agents.get()));
            const owned<SSL_SESSION> others = std::move(other.shelf.last);
            REQUIRE(third.shake());
            CHECK(SSL_session_reused(third.server.ssl.get()) == 1);
            CHECK(seen(third) == agent_seen);
            const owned<SSL_SESSION> renewed = std::move(client.shelf.last);
            REQUIRE(renewed != nullptr);
            CHECK(SSL_get_verify_result(third.server.ssl.get()) == X509_V_ERR_APPLICATION_VERIFICATION);
            pair fourth(cleared(third), fresh(*other.context, nullptr));
            REQUIRE(fourth.shake());
            CHECK(seen(fourth) == "not_offered");
            CHECK(SSL_get_verify_result(fourth.server.ssl.get()) == X509_V_OK);
            fourth.close();
            REQUIRE(others != nullptr);

            const visited crossed = visit(*host.context, *client.context, {.session = others.get()});
            CHECK(crossed.full());
            CHECK(crossed.asked);
            CHECK(crossed.who == agent_seen);
            const visited unflagged = visit(*host.context, *other.context, {.session = renewed.get()});
            CHECK(unflagged.full());
            CHECK(unflagged.who == "not_offered");
            CHECK_FALSE(unflagged.has_certificate);
        }
}

TEST_CASE("server / post-handshake authentication with another certificate -> no more tickets, none of its sessions is "
          "the agent's",
          "[handshake][valgrind][cve][TLS-3][TLS-2][SEC-1]") {
    for (const auto how : all_tickets)
        for (const bool require : {false, true})
            for (const bool forced : {false, true}) { // the application calls SSL_new_session_ticket
                CAPTURE(int(how), require, forced);
                auto context = server_context();
                ask(*context, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, the_cast().customers_ca);
                fleet nodes;
                nodes.join(*context, how);
                attach(*context, require ? demanding() : asking());
                auto client = agent();
                present(*client.context, the_cast().customer);
                SSL_CTX_set_post_handshake_auth(client.context.get(), 1);
                owned<SSL_SESSION> before;
                {
                    pair both(*context, *client.context);
                    REQUIRE(both.shake());
                    REQUIRE(seen(both) == agent_seen);
                    before = std::move(client.shelf.last);
                    REQUIRE(before != nullptr);
                    const auto count = both.client.count(kind::new_session_ticket);
                    SSL* server = both.server.ssl.get();
                    REQUIRE(SSL_verify_client_post_handshake(server) == 1);
                    REQUIRE(SSL_do_handshake(server) == 1);
                    both.run();
                    REQUIRE(both.server.good());
                    CHECK_FALSE(seen(both).starts_with("flagged"));
                    CHECK(both.client.count(kind::new_session_ticket) == count);
                    if (forced && SSL_new_session_ticket(server) == 1) {
                        SSL_do_handshake(server);
                        both.run();
                    }
                    both.close();
                }
                if (client.shelf.last != nullptr) {
                    const owned<SSL_SESSION> after = std::move(client.shelf.last);
                    const owned<SSL_SESSION> copy(SSL_SESSION_dup(after.get()));
                    const visited again = visit(*context, *client.context, {.session = after.get()});
                    const bool agents = again.who == agent_seen && again.full(); // verified anew
                    CHECK((agents || !again.who.starts_with("flagged")));
                    auto other = plain();
                    const visited unflagged = visit(*context, *other.context, {.session = copy.get()});
                    CHECK_FALSE(unflagged.who.starts_with("flagged"));
                    CHECK_FALSE(unflagged.has_certificate);
                }
                const visited earlier = visit(*context, *client.context, {.session = before.get()});
                CHECK(earlier.good);
                CHECK(earlier.who == agent_seen);
                CHECK(earlier.thumbprint == digest_of(*the_cast().agent.certificate));
            }
}

TEST_CASE("server / SSL_new_session_ticket after a verified agent -> resumes as the others", "[handshake][TLS-2]") {
    for (const auto how : all_tickets) {
        CAPTURE(int(how));
        fleet nodes;
        const node host(nodes, how);
        auto client = agent();
        {
            pair both(*host.context, *client.context);
            REQUIRE(both.shake());
            const int before = client.shelf.count;
            REQUIRE(SSL_new_session_ticket(both.server.ssl.get()) == 1);
            SSL_do_handshake(both.server.ssl.get());
            both.run();
            CHECK(client.shelf.count == before + 1);
            both.close();
        }
        const owned<SSL_SESSION> asked_for = std::move(client.shelf.last);
        const owned<SSL_SESSION> copy(SSL_SESSION_dup(asked_for.get()));
        check_resumed_agent(visit(*host.context, *client.context, {.session = asked_for.get()}));
        auto other = plain();
        const visited unflagged = visit(*host.context, *other.context, {.session = copy.get()});
        CHECK(unflagged.full());
        CHECK_FALSE(unflagged.has_certificate);
    }
}

TEST_CASE("server / ticket application data overwritten by the application -> not_vouched, or certificate_required",
          "[handshake][SEC-1][SEC-6]") {
    for (const auto how : all_tickets)
        for (const bool require : {false, true}) {
            CAPTURE(int(how), require);
            auto context = server_context();
            fleet nodes;
            nodes.join(*context, how);
            attach(*context, require ? demanding() : asking());
            SSL_CTX_set_session_ticket_cb(
                context.get(),
                [](SSL* ssl, void*) -> int { return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), "own", 3); },
                [](SSL*, SSL_SESSION*, const unsigned char*, std::size_t, SSL_TICKET_STATUS status,
                   void*) -> SSL_TICKET_RETURN {
                    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_IGNORE;
                },
                nullptr);
            auto client = agent();
            const auto session = earn(*context, client);
            const visited again = visit(*context, *client.context, {.session = session.get()});
            if (!again.resumed) { // the best answer
                CHECK(again.who == agent_seen);
                continue;
            }
            CHECK(again.good == !require);
            CHECK(again.who == (require ? "handshake_unfinished" : "not_vouched"));
            if (require) CHECK(again.alert == "certificate required");
            CHECK(again.verify_result != X509_V_OK);
        }
}

TEST_CASE("server / flag ignored / its sessions -> resume only where the id context was told, and is equal",
          "[handshake][TLS-2][SEC-6]") {
    const std::vector<unsigned char> own{'a', 'p', 'p', 'l', 'i', 'c', 'a', 't', 'i', 'o', 'n'};
    for (const auto how : all_tickets)
        for (const bool asks_customers : {false, true}) {
            CAPTURE(int(how), asks_customers);
            const auto host = [&](fleet& of, const std::vector<unsigned char>& told) {
                auto context = server_context();
                if (asks_customers) ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca);
                of.join(*context, how);
                reqauth::server_policy policy;
                policy.session_id_context = told;
                attach(*context, policy);
                return context;
            };
            fleet nodes;
            const auto told = host(nodes, own);
            const auto told_too = host(nodes, own);
            const auto other = host(nodes, {'o', 't', 'h', 'e', 'r'});
            const auto untold = host(nodes, {});
            auto client = agent();
            present(*client.context, the_cast().customer);

            const visited silent = visit(*untold, *client.context);
            CHECK(silent.full());
            CHECK(silent.who == "ignored");
            CHECK(client.shelf.last == nullptr);

            const auto session = earn(*told, client, "a.example", "ignored");
            const owned<SSL_SESSION> copies[] = {owned<SSL_SESSION>(SSL_SESSION_dup(session.get())),
                                                 owned<SSL_SESSION>(SSL_SESSION_dup(session.get())),
                                                 owned<SSL_SESSION>(SSL_SESSION_dup(session.get()))};
            const visited again = visit(*told_too, *client.context, {.name = "a.example", .session = session.get()});
            CHECK(again.good);
            CHECK(again.resumed);
            CHECK(again.who == "ignored");
            CHECK(again.has_certificate == asks_customers);
            if (asks_customers) CHECK(again.verify_result == X509_V_OK); // a customer, as the SSL_CTX says
            CHECK(visit(*told, *client.context, {.name = "b.example", .session = copies[0].get()}).full());
            CHECK(visit(*other, *client.context, {.name = "a.example", .session = copies[1].get()}).full());
            CHECK(visit(*untold, *client.context, {.name = "a.example", .session = copies[2].get()}).full());
        }
}

TEST_CASE("server / unflagged sessions -> resume exactly as without the library", "[handshake][RCA-15][SEC-6]") {
    const auto story = [](tickets how, bool attached, bool asks_customers) {
        std::vector<std::string> told;
        fleet nodes;
        const auto host = [&] {
            auto context = server_context();
            if (asks_customers) ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca);
            nodes.join(*context, how);
            if (attached) attach(*context, demanding());
            return context;
        };
        const auto one = host();
        const auto two = host();
        auto client = plain();
        present(*client.context, the_cast().customer);
        const auto say = [&](SSL_CTX& server, const circumstance& in) {
            client.shelf.count = 0;
            const visited found = visit(server, *client.context, in);
            told.push_back(std::to_string(found.good) + std::to_string(found.resumed) + std::to_string(found.asked) +
                           std::to_string(found.retried) + std::to_string(found.has_certificate) + " " +
                           std::to_string(found.verify_result) + " " + std::to_string(client.shelf.count) + " " +
                           (client.shelf.last
                                ? std::to_string(SSL_SESSION_get_ticket_lifetime_hint(client.shelf.last.get()))
                                : "") +
                           found.early_data.read);
        };
        for (const char* name : {"a.example", "b.example"})
            for (const bool retry : {false, true})
                for (const bool early_data : {false, true})
                    for (SSL_CTX* then : {one.get(), two.get()}) {
                        client.shelf.last.reset();
                        say(*one, {.name = "a.example"});
                        if (client.shelf.last == nullptr) continue;
                        const owned<SSL_SESSION> session = std::move(client.shelf.last);
                        say(*then, {.name = name,
                                    .session = session.get(),
                                    .retry = retry,
                                    .early_data = early_data && early_data_in(how)});
                    }
        return told;
    };
    for (const auto how : all_tickets)
        for (const bool asks_customers : {false, true}) {
            CAPTURE(int(how), asks_customers);
            const auto without = story(how, false, asks_customers);
            CHECK(std::any_of(without.begin(), without.end(),
                              [](const std::string& one) { return one.starts_with("11"); }));
            CHECK(story(how, true, asks_customers) == without);
        }
}

TEST_CASE("support / stopped_clock -> libssl, libcrypto and C++ see it", "[handshake]") {
    const stopped_clock clock;
    const std::time_t start = std::time(nullptr);
    const auto chrono_start = std::chrono::system_clock::now();
    const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> soon(ASN1_TIME_set(nullptr, start + 100),
                                                                     &ASN1_TIME_free);
    CHECK(X509_cmp_current_time(soon.get()) > 0);
    clock.set(1000s);
    CHECK(std::time(nullptr) == start + 1000);
    CHECK(std::chrono::system_clock::now() - chrono_start == 1000s);
    CHECK(X509_cmp_current_time(soon.get()) < 0);
    const owned<SSL_SESSION> session(SSL_SESSION_new());
#if OPENSSL_VERSION_NUMBER < 0x30300000L
    CHECK(SSL_SESSION_get_time(session.get()) == start + 1000);
#else
    CHECK(SSL_SESSION_get_time_ex(session.get()) == start + 1000);
#endif
}

TEST_CASE("server / max_session_age through twenty renewals -> resumes to its last second, then a full handshake",
          "[handshake][cve][TLS-2][SEC-1]") {
    for (const auto how : all_tickets)
        for (const bool early_data : {false, true})
            for (const bool require : {false, true}) {
                if (early_data && !early_data_in(how)) continue;
                CAPTURE(int(how), early_data, require);
                const stopped_clock clock;
                fleet nodes;
                const node host(nodes, how, require ? demanding() : asking());
                auto client = agent();
                auto session = earn(*host.context, client);
                CHECK(SSL_SESSION_get_ticket_lifetime_hint(session.get()) <= 3600);
                owned<SSL_SESSION> last_second;
                owned<SSL_SESSION> at_the_end;
                for (int renewal = 1; renewal <= 20; ++renewal) {
                    CAPTURE(renewal);
                    clock.set(renewal * 170s);
                    const visited again =
                        visit(*host.context, *client.context, {.session = session.get(), .early_data = early_data});
                    check_resumed_agent(again);
                    CHECK(again.early_peer == early_data);
                    if (early_data) CHECK(again.early_data.during == "handshake_unfinished");
                    REQUIRE(client.shelf.last != nullptr);
                    // OpenSSL writes a stateful ticket's hint before it lets us shorten the session.
                    if (how == tickets::stateless || how == tickets::early_data_stateless)
                        CHECK(SSL_SESSION_get_ticket_lifetime_hint(client.shelf.last.get()) <=
                              static_cast<unsigned long>(3600 - renewal * 170));
                    session = std::move(client.shelf.last);
                }
                last_second.reset(SSL_SESSION_dup(session.get()));
                at_the_end.reset(SSL_SESSION_dup(session.get()));
                clock.set(3599s);
                const visited before = visit(*host.context, *client.context, {.session = last_second.get()});
                check_resumed_agent(before);
                const owned<SSL_SESSION> renewed_then = std::move(client.shelf.last);
                for (const auto after : {3600s, 3601s, 7200s}) {
                    CAPTURE(after.count());
                    clock.set(after);
                    for (SSL_SESSION* each : {session.get(), at_the_end.get(), renewed_then.get()}) {
                        if (each == nullptr) continue;
                        const owned<SSL_SESSION> copy(SSL_SESSION_dup(each));
                        const visited late = visit(*host.context, *client.context, {.session = copy.get()});
                        CHECK(late.full());
                        CHECK(late.asked);
                        CHECK(late.who == agent_seen);
                    }
                }
            }
}

TEST_CASE("server / SSL_CTX with another session timeout -> the shorter of it and max_session_age counts",
          "[handshake][TLS-2]") {
    for (const auto how : all_tickets)
        for (const long own : {60L, 100000L}) {
            CAPTURE(int(how), own);
            const stopped_clock clock;
            fleet nodes;
            node host(nodes, how);
            SSL_CTX_set_timeout(host.context.get(), own);
            auto client = agent();
            auto session = earn(*host.context, client);
            const owned<SSL_SESSION> late(SSL_SESSION_dup(session.get()));
            clock.set(50s);
            check_resumed_agent(visit(*host.context, *client.context, {.session = session.get()}));
            session = std::move(client.shelf.last);
            REQUIRE(session != nullptr);
            clock.set(std::chrono::seconds(std::min(own, 3600L)));
            CHECK(visit(*host.context, *client.context, {.session = session.get()}).full());
            CHECK(visit(*host.context, *client.context, {.session = late.get()}).full());
        }
}

TEST_CASE("server / max_session_age ends between ClientHello and decision -> what the ClientHello resumed goes on, "
          "without ticket",
          "[handshake][TLS-2][SEC-1]") {
    for (const auto how : all_tickets) {
        CAPTURE(int(how));
        const stopped_clock clock;
        fleet nodes;
        const node host(nodes, how, demanding());
        auto client = agent();
        const auto session = earn(*host.context, client);
        SSL_CTX_set_tlsext_servername_arg(host.context.get(), const_cast<stopped_clock*>(&clock));
        SSL_CTX_set_tlsext_servername_callback(
            host.context.get(), +[](SSL*, int*, void* moved) -> int {
                static_cast<stopped_clock*>(moved)->set(3600s);
                return SSL_TLSEXT_ERR_OK;
            });
        clock.set(3599s);
        check_resumed_agent(visit(*host.context, *client.context, {.session = session.get()}));
        CHECK(client.shelf.last == nullptr);
    }
}

TEST_CASE("server / a certificate of the verified chain expires -> nothing resumes beyond it",
          "[handshake][cve][TLS-2][SEC-1]") {
    enum class expires { leaf, intermediate, anchor };
    for (const auto how : all_tickets)
        for (const auto what : {expires::leaf, expires::intermediate, expires::anchor}) {
            CAPTURE(int(how), int(what));
            const stopped_clock clock;
            const auto until = [&](expires which) { return which == what ? 600L : 24L * 3600; };
            const identity root = issue({.common_name = "Root", .ca = true, .not_after = until(expires::anchor)});
            const identity middle =
                issue({.common_name = "Middle", .ca = true, .not_after = until(expires::intermediate)}, &root);
            auto about = agent_description("crawler.example");
            about.not_after = until(expires::leaf);
            const identity leaf = issue(about, &middle);
            reqauth::server_policy server;
            server.when_offered = reqauth::client_auth::require(trust_in(root));
            reqauth::client_policy policy;
            X509* chain[] = {middle.certificate.get()};
            policy.credential = credential_of(leaf, chain);
            policy.when_unsatisfiable = reqauth::unsatisfiable::present;
            fleet nodes;
            const node host(nodes, how, server);
            visitor client(attached_client(policy));
            auto session = earn(*host.context, client);
            clock.set(300s);
            check_resumed_agent(visit(*host.context, *client.context, {.session = session.get()}));
            session = std::move(client.shelf.last);
            REQUIRE(session != nullptr);
            clock.set(599s);
            const owned<SSL_SESSION> copy(SSL_SESSION_dup(session.get()));
            check_resumed_agent(visit(*host.context, *client.context, {.session = copy.get()}));
            for (const auto after : {600s, 601s}) {
                clock.set(after);
                const owned<SSL_SESSION> late(SSL_SESSION_dup(session.get()));
                const visited again = visit(*host.context, *client.context, {.session = late.get()});
                // From OpenSSL 4.0 on a certificate is good to the end of its last second.
                const bool expired = after > 600s || OPENSSL_VERSION_NUMBER < 0x40000000L;
                CHECK_FALSE(again.resumed);
                CHECK(again.good != expired);
                CHECK(again.asked);
                const char* const alert = what == expires::anchor ? "internal error" : "certificate expired";
                CHECK(again.alert == (expired ? alert : "none"));
            }
        }
}

TEST_CASE("server / max_session_age of zero -> no ticket, and no session resumes", "[handshake][TLS-2]") {
    for (const auto how : all_tickets) {
        CAPTURE(int(how));
        fleet nodes;
        reqauth::server_options options;
        options.max_session_age = 0s;
        const node host(nodes, how, asking(), options);
        const node usual(nodes, how);
        auto client = agent();
        const visited first = visit(*host.context, *client.context);
        CHECK(first.who == agent_seen);
        CHECK(first.tickets == 0);
        CHECK(client.shelf.last == nullptr);
        const auto session = earn(*usual.context, client);
        CHECK(visit(*host.context, *client.context, {.session = session.get()}).full());
    }
}

TEST_CASE("server / agents that are not verified -> no ticket", "[handshake][TLS-2][SEC-1]") {
    for (const auto how : all_tickets) {
        CAPTURE(int(how));
        auto policy = asking();
        policy.when_offered = policy.when_offered.invalid_is_anonymous();
        fleet nodes;
        const node host(nodes, how, policy);
        const auto impostor = flagged_client(the_cast().customer);
        session_shelf shelf;
        shelf.serve(*impostor.context);
        const visited first = visit(*host.context, *impostor.context);
        CHECK(first.good);
        CHECK(first.who.starts_with("invalid"));
        CHECK(first.tickets == 0);
        CHECK(shelf.last == nullptr);
    }
}

TEST_CASE("server / a session callback gives agents' sessions the application's id context / they resume without the "
          "flag -> nobody's, whatever verify_result_ok says",
          "[handshake][SEC-1][SEC-8]") {
    for (const bool verify_result_ok : {false, true})
        for (const bool stateful : {false, true}) {
            CAPTURE(verify_result_ok, stateful);
            auto policy = asking();
            policy.verify_result_ok = verify_result_ok;
            const auto server = attached_server(policy);
            if (stateful) SSL_CTX_set_options(server.get(), SSL_OP_NO_TICKET);
            SSL_CTX_sess_set_new_cb(server.get(), [](SSL*, SSL_SESSION* made) {
                const auto own = own_id_context();
                SSL_SESSION_set1_id_context(made, own.data(), static_cast<unsigned>(own.size()));
                return 0;
            });
            const auto agent = attached_client();
            session_shelf shelf;
            shelf.serve(*agent);
            {
                pair first(*server, *agent);
                REQUIRE(first.shake());
                REQUIRE(seen(first) == "flagged CN=crawler.example");
                CHECK((SSL_get_verify_result(first.server.ssl.get()) == X509_V_OK) == verify_result_ok);
                first.close();
            }
            const auto plain = client_context();
            pair second(*server, *plain);
            REQUIRE(SSL_set_session(second.client.ssl.get(), shelf.last.get()) == 1);
            REQUIRE(second.shake());
            REQUIRE(SSL_session_reused(second.server.ssl.get()) == 1); // OpenSSL was told to
            REQUIRE(SSL_get0_peer_certificate(second.server.ssl.get()) != nullptr);
            CHECK(seen(second) == "not_offered");
            CHECK(SSL_get_verify_result(second.server.ssl.get()) == X509_V_ERR_APPLICATION_VERIFICATION);
        }
}

TEST_CASE("server / verify_result_ok / an agent that resumes -> X509_V_OK, and not of what comes after the handshake",
          "[handshake][SEC-8]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, the_cast().customers_ca);
    SSL_CTX_set_verify(
        context.get(), SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, [](int, X509_STORE_CTX* verification) {
            X509_STORE_CTX_set_error(verification, X509_V_ERR_APPLICATION_VERIFICATION); // the application's own no
            return 1;
        });
    auto policy = asking();
    policy.verify_result_ok = true;
    attach(*context, policy);
    auto ours = agent_policy();
    const auto agent = attached_client(ours);
    present(*agent, the_cast().customer);
    SSL_CTX_set_post_handshake_auth(agent.get(), 1);
    session_shelf shelf;
    shelf.serve(*agent);
    {
        pair first(*context, *agent);
        REQUIRE(first.shake());
        first.close();
    }
    pair both(*context, *agent);
    REQUIRE(SSL_set_session(both.client.ssl.get(), shelf.last.get()) == 1);
    REQUIRE(both.shake());
    REQUIRE(SSL_session_reused(both.server.ssl.get()) == 1);
    REQUIRE(seen(both) == "flagged CN=crawler.example");
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
    REQUIRE(SSL_verify_client_post_handshake(both.server.ssl.get()) == 1);
    REQUIRE(SSL_do_handshake(both.server.ssl.get()) == 1);
    both.run();
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_ERR_APPLICATION_VERIFICATION);
}
