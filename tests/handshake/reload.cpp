// SPDX-License-Identifier: Apache-2.0
// server::replace: new policies and trust while connections run (SEC-4).

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <atomic>
#include <cstring>
#include <thread>

using namespace support;
using namespace std::chrono_literals;

namespace {

constexpr const char* agent_seen = "flagged CN=crawler.example";
constexpr const char* customer_seen = "flagged CN=customer.example";

reqauth::server_policy asking_for(const reqauth::trust& agents) {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::require(agents);
    return policy;
}

reqauth::trust of_agents() { return agents(); }
reqauth::trust of_customers() { return trust_in(the_cast().customers_ca); }
reqauth::trust of_both() {
    return reqauth::trust::from_pem(pem(*the_cast().agents_ca.certificate) + pem(*the_cast().customers_ca.certificate));
}

/// host is one listener with one SSL_CTX.
struct host {
    explicit host(tickets how, const reqauth::server_policy& policy) {
        nodes.join(*context, how);
        where = listener.attach(*context, policy);
    }
    void replace(const reqauth::server_policy& policy) { listener.replace({{where, policy}}); }
    fleet nodes;
    owned<SSL_CTX> context = server_context();
    reqauth::server listener;
    reqauth::attachment where;
};

/// flagged presents its certificate whatever the request says.
struct flagged {
    explicit flagged(const identity& who) : peer(flagged_client(who)) { shelf.serve(*peer.context); }
    bad_peer peer;
    session_shelf shelf;
};

owned<SSL_SESSION> earn(SSL_CTX& server, flagged& client, const char* expected) {
    const visited first = visit(server, *client.peer.context);
    REQUIRE(first.full());
    REQUIRE(first.who == expected);
    REQUIRE(client.shelf.last != nullptr);
    return std::move(client.shelf.last);
}

} // namespace

TEST_CASE("server / replace / trust exchanged -> new connections under the new, old sessions verified anew",
          "[handshake][SEC-4][TLS-2]") {
    for (const auto how : all_tickets)
        for (const bool retry : {false, true}) {
            CAPTURE(int(how), retry);
            host one(how, asking_for(of_agents()));
            flagged agent(the_cast().agent);
            flagged customer(the_cast().customer);
            const auto session = earn(*one.context, agent, agent_seen);
            const owned<SSL_SESSION> copy(SSL_SESSION_dup(session.get()));
            CHECK_FALSE(visit(*one.context, *customer.peer.context).good);

            // Wider: nobody fails, and who was verified before is verified again.
            one.replace(asking_for(of_both()));
            const visited again = visit(*one.context, *agent.peer.context, {.session = session.get(), .retry = retry});
            CHECK(again.full());
            CHECK(again.asked);
            CHECK(again.who == agent_seen);
            CHECK(visit(*one.context, *customer.peer.context).who == customer_seen);
            const owned<SSL_SESSION> under_both = std::move(agent.shelf.last);
            const owned<SSL_SESSION> copy_under_both(SSL_SESSION_dup(under_both.get()));
            CHECK(visit(*one.context, *agent.peer.context, {.session = under_both.get(), .retry = retry}).resumed_peer);

            // Without the agents' CA: neither session helps.
            one.replace(asking_for(of_customers()));
            for (SSL_SESSION* old : {copy.get(), copy_under_both.get()}) {
                const owned<SSL_SESSION> offered(SSL_SESSION_dup(old));
                const visited refused =
                    visit(*one.context, *agent.peer.context, {.session = offered.get(), .retry = retry});
                CHECK_FALSE(refused.resumed);
                CHECK_FALSE(refused.good);
                CHECK(refused.asked);
                CHECK(refused.alert == "unknown CA");
            }
            CHECK(visit(*one.context, *customer.peer.context).who == customer_seen);

            // Back again: what was made then was verified under just this.
            one.replace(asking_for(of_agents()));
            const visited back = visit(*one.context, *agent.peer.context, {.session = copy.get(), .retry = retry});
            CHECK(back.good);
            CHECK(back.who == agent_seen);
        }
}

TEST_CASE("server / replace / the same policy and trust, loaded anew -> sessions go on resuming",
          "[handshake][SEC-4]") {
    for (const auto how : all_tickets) {
        CAPTURE(int(how));
        host one(how, asking_for(of_both()));
        flagged agent(the_cast().agent);
        auto session = earn(*one.context, agent, agent_seen);
        one.listener.replace({});
        one.replace(asking_for(reqauth::trust::from_pem(pem(*the_cast().customers_ca.certificate) +
                                                        pem(*the_cast().agents_ca.certificate))));
        const visited again = visit(*one.context, *agent.peer.context, {.session = session.get()});
        CHECK(again.resumed_peer);
        CHECK(again.who == agent_seen);
    }
}

TEST_CASE("server / replace / request, require, none in turn -> the flag does what the policy of the moment says",
          "[handshake][SEC-4]") {
    for (const auto how : all_tickets) {
        CAPTURE(int(how));
        host one(how, asking_for(of_agents()));
        flagged agent(the_cast().agent);
        const auto session = earn(*one.context, agent, agent_seen);
        const owned<SSL_SESSION> copy(SSL_SESSION_dup(session.get()));
        one.replace({});
        const visited ignored = visit(*one.context, *agent.peer.context, {.session = session.get()});
        CHECK(ignored.full());
        CHECK(ignored.who == "ignored");
        CHECK_FALSE(ignored.asked);
        CHECK_FALSE(ignored.has_certificate);
        one.replace(asking());
        const visited asked = visit(*one.context, *agent.peer.context, {.session = copy.get()});
        CHECK(asked.full());
        CHECK(asked.who == agent_seen);
        reqauth::client_policy nothing;
        nothing.offer = reqauth::offer::always;
        const auto empty_handed = attached_client(nothing);
        CHECK(visit(*one.context, *empty_handed).who == "empty");
        one.replace(demanding());
        CHECK(visit(*one.context, *empty_handed).alert == "certificate required");
    }
}

TEST_CASE("server / replace / handshake that has begun, at any step -> ends under the old policy, whole",
          "[handshake][valgrind][SEC-4]") {
    enum class moment { hello_retried, hello_answered };
    for (const auto how : all_tickets)
        for (const auto when : {moment::hello_retried, moment::hello_answered}) {
            CAPTURE(int(how), int(when));
            host one(how, asking_for(of_agents()));
            flagged agent(the_cast().agent);
            {
                pair both(*one.context, *agent.peer.context);
                if (when == moment::hello_retried) {
                    SSL_set1_groups_list(both.client.ssl.get(), "X25519:P-256");
                    SSL_set1_groups_list(both.server.ssl.get(), "P-256");
                }
                both.client.step();
                both.server.give(both.client.take());
                both.server.step();
                one.replace(asking_for(of_customers()));
                CHECK(seen(both) == "handshake_unfinished");
                const bool good = both.shake();
                if (when == moment::hello_answered) {
                    CHECK(good);
                    CHECK(seen(both) == agent_seen);
                    both.close();
                } else {
                    // The second ClientHello is the one that counts: either is one whole policy.
                    CHECK((seen(both) == agent_seen || alert_to_client(both) == "unknown CA"));
                }
            }
            // Its tickets are of the old policy.
            if (agent.shelf.last == nullptr) continue;
            const owned<SSL_SESSION> session = std::move(agent.shelf.last);
            const visited again = visit(*one.context, *agent.peer.context, {.session = session.get()});
            CHECK_FALSE(again.resumed);
            CHECK(again.alert == "unknown CA");
        }
}

TEST_CASE("server / replace / resumption that has begun -> the session was good when the ClientHello came",
          "[handshake][SEC-4]") {
    for (const auto how : all_tickets) {
        CAPTURE(int(how));
        host one(how, asking_for(of_agents()));
        flagged agent(the_cast().agent);
        const auto session = earn(*one.context, agent, agent_seen);
        {
            pair both(*one.context, *agent.peer.context);
            take_over(*session, *both.client.ssl);
            SSL_set_session(both.client.ssl.get(), session.get());
            both.client.step();
            both.server.give(both.client.take());
            both.server.step();
            one.replace(asking_for(of_customers()));
            CHECK(both.shake());
            CHECK(SSL_session_reused(both.server.ssl.get()) == 1);
            CHECK(seen(both) == agent_seen);
            both.close();
        }
        REQUIRE(agent.shelf.last != nullptr);
        const owned<SSL_SESSION> renewed = std::move(agent.shelf.last);
        const visited again = visit(*one.context, *agent.peer.context, {.session = renewed.get()});
        CHECK_FALSE(again.resumed);
        CHECK(again.alert == "unknown CA");
    }
}

namespace {

/// two_hosts serves b.example with an SSL_CTX of its own, and can be told to do something just before.
struct two_hosts {
    two_hosts() {
        SSL_CTX_set_tlsext_servername_arg(a.get(), this);
        SSL_CTX_set_tlsext_servername_callback(
            a.get(), +[](SSL* ssl, int*, void* hosts) -> int {
                const auto& self = *static_cast<two_hosts*>(hosts);
                if (self.before_switch) self.before_switch();
                const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
                if (name != nullptr && std::strcmp(name, "b.example") == 0) SSL_set_SSL_CTX(ssl, self.b.get());
                return SSL_TLSEXT_ERR_OK;
            });
        at_a = listener.attach(*a, asking_for(of_agents()));
        at_b = listener.attach(*b, asking_for(of_agents()));
    }
    owned<SSL_CTX> a = server_context();
    owned<SSL_CTX> b = server_context();
    reqauth::server listener;
    reqauth::attachment at_a;
    reqauth::attachment at_b;
    std::function<void()> before_switch;
};

} // namespace

TEST_CASE("server / replace / several SSL_CTXs -> all at one moment, also for a handshake between two of them",
          "[handshake][SEC-4][SEC-5]") {
    two_hosts hosts;
    flagged agent(the_cast().agent);
    flagged customer(the_cast().customer);
    const auto new_policies = [&] {
        return std::vector<reqauth::replacement>{{hosts.at_a, asking_for(of_customers())},
                                                 {hosts.at_b, asking_for(of_customers())}};
    };
    // The ClientHello has come when the policies change, and the SSL_CTX has not.
    hosts.before_switch = [&] { hosts.listener.replace(new_policies()); };
    CHECK(visit(*hosts.a, *agent.peer.context, {.name = "b.example"}).who == agent_seen);
    hosts.before_switch = nullptr;
    for (const char* name : {"a.example", "b.example"}) {
        CAPTURE(name);
        CHECK(visit(*hosts.a, *agent.peer.context, {.name = name}).alert == "unknown CA");
        CHECK(visit(*hosts.a, *customer.peer.context, {.name = name}).who == customer_seen);
    }
    // One alone: the other's policy stays, but sessions of both are made under other policies.
    const visited first = visit(*hosts.a, *customer.peer.context, {.name = "a.example"});
    REQUIRE(first.who == customer_seen);
    const owned<SSL_SESSION> session = std::move(customer.shelf.last);
    hosts.listener.replace({{hosts.at_b, asking_for(of_agents())}});
    CHECK(visit(*hosts.a, *agent.peer.context, {.name = "b.example"}).who == agent_seen);
    const visited at_a = visit(*hosts.a, *customer.peer.context, {.name = "a.example", .session = session.get()});
    CHECK(at_a.full());
    CHECK(at_a.who == customer_seen);
}

TEST_CASE("server / replace / anything wrong -> an error, and everything as it was", "[handshake][SEC-4][RCA-13]") {
    const auto check = [](reqauth::errc expected, const std::string& words,
                          const std::function<void(two_hosts&, std::vector<reqauth::replacement>&)>& spoil) {
        CAPTURE(words);
        two_hosts hosts;
        REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(hosts.b.get()), the_cast().customers_ca.certificate.get()) ==
                1);
        flagged agent(the_cast().agent);
        visit(*hosts.a, *agent.peer.context, {.name = "a.example"});
        REQUIRE(agent.shelf.last != nullptr);
        const owned<SSL_SESSION> session = std::move(agent.shelf.last);
        // The first is good.
        std::vector<reqauth::replacement> replacements{{hosts.at_a, reqauth::server_policy{}}};
        spoil(hosts, replacements);
        std::string text;
        CHECK(failure_of([&] { hosts.listener.replace(replacements); }, &text) == expected);
        CHECK(text.find(words) != std::string::npos);
        const visited again = visit(*hosts.a, *agent.peer.context, {.name = "a.example", .session = session.get()});
        CHECK(again.resumed_peer);
        CHECK(again.who == agent_seen);
        CHECK(visit(*hosts.a, *agent.peer.context, {.name = "b.example"}).who == agent_seen);
    };
    reqauth::server other;
    const auto others_context = server_context();
    const auto others = other.attach(*others_context, asking());
    reqauth::server shorter;
    reqauth::attachment gone;
    {
        const auto short_lived = server_context();
        gone = shorter.attach(*short_lived, asking());
    }
    using reqauth::errc;
    check(errc::not_attached, "gone", [&](two_hosts&, auto& list) { list.push_back({gone, asking()}); });
    check(errc::not_attached, "gone", [&](two_hosts&, auto& list) {
        list.push_back({reqauth::attachment{}, asking()});
    });
    check(errc::not_attached, "another server", [&](two_hosts&, auto& list) { list.push_back({others, asking()}); });
    check(errc::contradiction, "twice", [&](two_hosts& hosts, auto& list) { list.push_back({hosts.at_a, asking()}); });
    check(errc::contradiction, "bad certificate", [&](two_hosts& hosts, auto& list) {
        auto policy = demanding();
        policy.when_offered = policy.when_offered.invalid_is_anonymous();
        list.push_back({hosts.at_b, policy});
    });
    check(errc::shared_anchor, "RCA-13", [&](two_hosts& hosts, auto& list) {
        list.push_back({hosts.at_b, asking_for(of_both())});
    });
}

TEST_CASE("server / replace / a CA of the same name with another key on the SSL_CTX -> a warning",
          "[handshake][SEC-4][RCA-13]") {
    const identity namesake = issue({.common_name = "Agents CA", .ca = true});
    auto context = server_context();
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), namesake.certificate.get()) == 1);
    reqauth::server listener;
    const auto where = listener.attach(*context, asking_for(of_customers()));
    CHECK(where.warnings.empty());
    const auto warnings = listener.replace({{where, asking_for(of_both())}});
    REQUIRE(warnings.size() == 1);
    CHECK(warnings[0].find("Agents CA") != std::string::npos);
    auto shared = asking_for(trust_in(namesake));
    shared.shared_anchors = true;
    CHECK(listener.replace({{where, shared}}).empty());
}

TEST_CASE("server / replace / an SSL_CTX of the server is gone -> the others are replaced",
          "[handshake][valgrind][SEC-4]") {
    reqauth::server listener;
    const auto context = server_context();
    const auto where = listener.attach(*context, asking_for(of_agents()));
    {
        const auto short_lived = server_context();
        listener.attach(*short_lived, asking_for(of_agents()));
    }
    listener.replace({{where, asking_for(of_customers())}});
    flagged customer(the_cast().customer);
    CHECK(visit(*context, *customer.peer.context).who == customer_seen);
}

TEST_CASE("server / replace while threads shake hands and resume -> none fails, none is misjudged",
          "[handshake][threads][SEC-4][SEC-3]") {
    for (const auto how : {tickets::stateless, tickets::stateful}) {
        CAPTURE(int(how));
        auto context = server_context();
        if (how == tickets::stateful) SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
        reqauth::server listener;
        const auto where = listener.attach(*context, asking_for(of_agents()));
        const std::vector<reqauth::server_policy> policies{asking_for(of_agents()), asking_for(of_both()),
                                                           asking_for(of_agents().with_depth(5))};
        std::atomic<int> wrong{0};
        std::atomic<bool> stop{false};
        std::vector<std::thread> workers;
        for (int worker = 0; worker < 3; ++worker)
            workers.emplace_back([&] {
                visitor agent(attached_client());
                const visitor other(client_context());
                for (int i = 0; i < 60; ++i) {
                    const owned<SSL_SESSION> session = std::move(agent.shelf.last);
                    const visited found = visit(*context, *agent.context, {.session = session.get()});
                    if (!found.good || found.who != agent_seen || found.resumed != found.resumed_peer) ++wrong;
                    if (i % 5 != 0) continue;
                    if (visit(*context, *other.context).who != "not_offered") ++wrong;
                }
            });
        std::thread reloading([&] {
            for (std::size_t i = 0; !stop; ++i) {
                listener.replace({{where, policies[i % policies.size()]}});
                std::this_thread::sleep_for(1ms);
            }
        });
        std::thread reloading_too([&] {
            while (!stop) {
                listener.replace({{where, policies[0]}});
                std::this_thread::sleep_for(2ms);
            }
        });
        for (auto& each : workers) each.join();
        stop = true;
        reloading.join();
        reloading_too.join();
        CHECK(wrong == 0);
        visitor agent(attached_client());
        REQUIRE(visit(*context, *agent.context).who == agent_seen);
        const owned<SSL_SESSION> session = std::move(agent.shelf.last);
        CHECK(visit(*context, *agent.context, {.session = session.get()}).resumed_peer);
    }
}
