// SPDX-License-Identifier: Apache-2.0
// server::counters and client::counters: each handshake once, however it ended.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <functional>
#include <sstream>
#include <stdexcept>

using namespace support;

namespace {

/// words are what is not zero: "handshakes 1, offered 1, invalid 1, error 18 1".
class words {
public:
    void say(std::string_view name, std::uint64_t value) {
        if (value != 0) out_ << (out_.tellp() > 0 ? ", " : "") << name << ' ' << value;
    }
    template <class Enum, class Counters> void each(const Counters& counters) {
        for (std::size_t i = 0; i < counters.size(); ++i) say(to_string(static_cast<Enum>(i)), counters[i]);
    }
    template <class Counters> [[nodiscard]] std::string with_errors(const Counters& counters) {
        for (std::size_t i = 0; i < counters.size(); ++i) say("error " + std::to_string(i), counters[i]);
        return out_.str();
    }

private:
    std::ostringstream out_;
};

std::string words_for(const reqauth::server_counters& all) {
    words made;
    made.say("handshakes", all.handshakes);
    made.say("offered", all.offered);
    made.say("asked", all.asked);
    made.say("acknowledged", all.acknowledged);
    made.say("verified", all.verified);
    made.say("resumed", all.resumed);
    made.say("refused", all.refused);
    made.each<reqauth::reason>(all.reasons);
    return made.with_errors(all.verify_errors);
}

std::string words_for(const reqauth::client_counters& all) {
    words made;
    made.say("handshakes", all.handshakes);
    made.say("offered", all.offered);
    made.say("asked", all.asked);
    made.say("acknowledged", all.acknowledged);
    made.say("presented", all.presented);
    made.say("verified", all.verified);
    made.say("resumed", all.resumed);
    made.say("refused", all.refused);
    made.each<reqauth::withheld>(all.withheld);
    made.each<reqauth::unmet>(all.unmet);
    return made.with_errors(all.verify_errors);
}

/// counted is a server whose handshakes are counted, by itself and in memory of the test's.
struct counted {
    explicit counted(const reqauth::server_policy& policy = asking(), const reqauth::server_options& options = {},
                     owned<SSL_CTX> made = server_context())
        : server(options), context(std::move(made)) {
        where = server.attach(*context, policy);
        reqauth::server::count_into(where, *memory);
    }
    /// words since they were last asked for.
    std::string words() {
        const std::string all = words_for(server.counters());
        CHECK(words_for(reqauth::server::counted_in(*memory)) == all);
        return all;
    }
    std::unique_ptr<reqauth::server_counters> memory = std::make_unique<reqauth::server_counters>();
    reqauth::server server;
    owned<SSL_CTX> context;
    reqauth::attachment where;
};

owned<SSL_CTX> showing(const identity* who) {
    auto policy = agent_policy();
    policy.when_unsatisfiable = reqauth::unsatisfiable::present;
    policy.offer = reqauth::offer::always;
    policy.credential.reset();
    if (who != nullptr) policy.credential = credential_of(*who);
    return attached_client(policy);
}

reqauth::server_policy lax() {
    auto policy = asking();
    policy.when_offered = policy.when_offered.invalid_is_anonymous();
    return policy;
}

owned<SSL_CTX> asking_customers() {
    auto made = server_context();
    ask(*made, SSL_VERIFY_PEER, the_cast().customers_ca);
    return made;
}

/// row is one handshake, and what is counted of it.
struct row {
    const char* name;
    std::function<std::string()> run;
    const char* counters;
};

std::string counters_after(counted& server, SSL_CTX& client, const circumstance& how = {}) {
    visit(*server.context, client, how);
    return server.words();
}

std::string counters_after(counted&& server, SSL_CTX& client, const circumstance& how = {}) {
    return counters_after(server, client, how);
}

std::string with_hellos(const std::vector<line>& hellos) {
    counted server;
    bad_peer client(client_context(), {{in::client_hello, hellos}});
    return counters_after(server, *client.context, {.retry = hellos.size() > 1});
}

const row rows[] = {
    {"a verified agent", [] { return counters_after(counted(), *attached_client()); },
     "handshakes 1, offered 1, asked 1, acknowledged 1, verified 1"},
    {"a verified agent, with a HelloRetryRequest",
     [] { return counters_after(counted(), *attached_client(), {.retry = true}); },
     "handshakes 1, offered 1, asked 1, acknowledged 1, verified 1"},
    {"a person", [] { return counters_after(counted(), *client_context()); }, "handshakes 1, not_offered 1"},
    {"a person, with a HelloRetryRequest", [] { return counters_after(counted(), *client_context(), {.retry = true}); },
     "handshakes 1, not_offered 1"},
    {"a person of TLS 1.2",
     [] {
         const auto person = client_context();
         SSL_CTX_set_max_proto_version(person.get(), TLS1_2_VERSION);
         return counters_after(counted(), *person);
     },
     "handshakes 1, not_offered 1"},
    {"a customer",
     [] {
         const auto customer = client_context();
         present(*customer, the_cast().customer);
         return counters_after(counted(asking(), {}, asking_customers()), *customer);
     },
     "handshakes 1, not_offered 1"},
    {"an agent, by a policy that ignores it",
     [] { return counters_after(counted(reqauth::server_policy()), *attached_client()); },
     "handshakes 1, offered 1, ignored 1"},
    {"an agent, ignored, where customers are asked",
     [] { return counters_after(counted({}, {}, asking_customers()), *attached_client()); },
     "handshakes 1, offered 1, asked 1, ignored 1"},
    {"an agent that the predicate turns down",
     [] {
         reqauth::server_options options;
         options.accept = [](const auto&) { return false; };
         return counters_after(counted(asking(), options), *attached_client());
     },
     "handshakes 1, offered 1, ignored 1"},
    {"an agent over whom the predicate throws",
     [] {
         reqauth::server_options options;
         options.accept = [](const auto&) -> bool { throw std::runtime_error("no"); };
         return counters_after(counted(asking(), options), *attached_client());
     },
     "handshakes 1, offered 1, refused 1, handshake_unfinished 1"},
    {"no certificate", [] { return counters_after(counted(), *showing(nullptr)); },
     "handshakes 1, offered 1, asked 1, acknowledged 1, empty 1"},
    {"no certificate, where one is required", [] { return counters_after(counted(demanding()), *showing(nullptr)); },
     "handshakes 1, offered 1, asked 1, acknowledged 1, refused 1, empty 1"},
    {"a certificate of another CA", [] { return counters_after(counted(), *showing(&the_cast().customer)); },
     "handshakes 1, offered 1, asked 1, acknowledged 1, refused 1, invalid 1, error 20 1"},
    {"a certificate of another CA, which may be anonymous",
     [] { return counters_after(counted(lax()), *showing(&the_cast().customer)); },
     "handshakes 1, offered 1, asked 1, acknowledged 1, invalid 1, error 20 1"},
    {"an agent that does not trust the server",
     [] {
         const auto distrusting = attached_client();
         SSL_CTX_set_cert_store(distrusting.get(), X509_STORE_new());
         return counters_after(counted(), *distrusting);
     },
     "handshakes 1, offered 1, asked 1, acknowledged 1, handshake_unfinished 1"},
    {"a person with nothing in common",
     [] {
         counted server;
         SSL_CTX_set_min_proto_version(server.context.get(), TLS1_3_VERSION);
         const auto person = client_context();
         SSL_CTX_set_max_proto_version(person.get(), TLS1_2_VERSION);
         return counters_after(server, *person);
     },
     "handshakes 1, handshake_unfinished 1"},
    {"an agent with nothing in common",
     [] {
         counted server;
         SSL_CTX_set_ciphersuites(server.context.get(), "TLS_AES_128_GCM_SHA256");
         const auto agent = attached_client();
         SSL_CTX_set_ciphersuites(agent.get(), "TLS_AES_256_GCM_SHA384");
         return counters_after(server, *agent);
     },
     "handshakes 1, handshake_unfinished 1"}, // its extension was not read yet
    {"an agent that goes away in the middle",
     [] {
         counted server;
         const auto agent = attached_client();
         {
             pair both(*server.context, *agent);
             both.client.step();
             both.server.give(both.client.take());
             both.server.step();
             CHECK(server.words().empty());
         }
         return server.words();
     },
     "handshakes 1, offered 1, asked 1, acknowledged 1, handshake_unfinished 1"},
    {"an agent that goes away after a HelloRetryRequest",
     [] {
         counted server;
         const auto agent = attached_client();
         {
             pair both(*server.context, *agent);
             SSL_set1_groups_list(both.client.ssl.get(), "X25519:P-256");
             SSL_set1_groups_list(both.server.ssl.get(), "P-256");
             both.client.step();
             both.server.give(both.client.take());
             both.server.step();
         }
         return server.words();
     },
     "handshakes 1, offered 1, handshake_unfinished 1"},
    {"other flags after a HelloRetryRequest",
     [] {
         return with_hellos({flags({80}), flags({80, 81})});
     },
     "handshakes 1, offered 1, refused 1, handshake_unfinished 1"},
    {"an offer before the HelloRetryRequest alone",
     [] {
         return with_hellos({flags({80}), std::nullopt});
     },
     "handshakes 1, not_offered 1"},
    {"no offer but another flag", [] { return with_hellos({flags({81})}); }, "handshakes 1, not_offered 1"},
    {"an agent, and key updates and a post-handshake request",
     [] {
         counted server(asking(), {}, asking_customers());
         const auto agent = attached_client();
         SSL_CTX_set_post_handshake_auth(agent.get(), 1);
         pair both(*server.context, *agent);
         CHECK(both.shake());
         SSL_key_update(both.client.ssl.get(), SSL_KEY_UPDATE_REQUESTED);
         both.run();
         CHECK(SSL_verify_client_post_handshake(both.server.ssl.get()) == 1);
         SSL_do_handshake(both.server.ssl.get());
         both.run();
         return server.words();
     },
     "handshakes 1, offered 1, asked 1, acknowledged 1, verified 1"},
};

} // namespace

TEST_CASE("server / counters / a handshake of each kind -> counted once, for what it was", "[handshake][SEC-2]") {
    ROWS(one.name, rows, const row& one) CHECK(one.run() == one.counters);
}

TEST_CASE("server / counters / resumed, early and unknown sessions -> counted once each", "[handshake][TLS-4]") {
    for (const auto how : all_tickets) {
        CAPTURE(int(how));
        fleet nodes;
        auto context = server_context();
        nodes.join(*context, how);
        counted server(asking(), {}, std::move(context));
        visitor agent(attached_client());
        visitor person(client_context());
        for (visitor* each : {&agent, &person}) {
            REQUIRE(visit(*server.context, *each->context).good);
            const auto session = std::move(each->shelf.last);
            CHECK(visit(*server.context, *each->context, {.session = session.get(), .early_data = early_data_in(how)})
                      .resumed);
        }
        CHECK(server.words() ==
              "handshakes 4, offered 2, asked 1, acknowledged 1, verified 2, resumed 1, not_offered 2");
        server.server.replace({{server.where, demanding()}});
        REQUIRE(agent.shelf.last != nullptr);
        const auto old = std::move(agent.shelf.last);
        CHECK_FALSE(visit(*server.context, *agent.context, {.session = old.get()}).resumed);
        CHECK(server.words() ==
              "handshakes 5, offered 3, asked 2, acknowledged 2, verified 3, resumed 1, not_offered 2");
    }
}

TEST_CASE("server / counters / one SSL for several clients, by SSL_clear -> each counted once", "[handshake]") {
    counted server;
    const auto agent = attached_client();
    const auto person = client_context();
    owned<SSL> again(SSL_new(server.context.get()));
    const auto serve = [&](SSL_CTX& client, bool whole = true) {
        SSL_set_accept_state(again.get());
        owned<SSL> other(SSL_new(&client));
        SSL_set_connect_state(other.get());
        pair both(std::move(again), std::move(other));
        if (whole) {
            CHECK(both.shake());
            both.close();
        } else {
            both.client.step();
            both.server.give(both.client.take());
            both.server.step();
        }
        CHECK(SSL_clear(both.server.ssl.get()) == 1);
        SSL_set_bio(both.server.ssl.get(), nullptr, nullptr);
        again = std::move(both.server.ssl);
    };
    serve(*agent);
    serve(*person);
    serve(*agent);
    CHECK(server.words() == "handshakes 3, offered 2, asked 2, acknowledged 2, verified 2, not_offered 1");
    serve(*agent, false); // breaks off: seen where the next one offers, or with the SSL
    serve(*agent, false);
    CHECK(server.words() ==
          "handshakes 4, offered 3, asked 3, acknowledged 3, verified 2, not_offered 1, handshake_unfinished 1");
    again.reset();
    CHECK(server.words() ==
          "handshakes 5, offered 4, asked 4, acknowledged 4, verified 2, not_offered 1, handshake_unfinished 2");
}

TEST_CASE("server / counters / info callbacks of the application -> agents counted whatever it does, persons unless "
          "it hides them",
          "[handshake][SEC-6]") {
    const auto agent = attached_client();
    const auto person = client_context();
    using info_callback = void (*)(const SSL*, int, int);
    const info_callback hides = [](const SSL*, int, int) {};
    const info_callback chains = [](const SSL* ssl, int event, int value) {
        SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl))(ssl, event, value);
    };
    for (const auto& [own, persons] : {std::pair(hides, 0), std::pair(chains, 1)}) {
        CAPTURE(persons);
        counted server;
        for (SSL_CTX* client : {agent.get(), person.get()}) {
            pair both(*server.context, *client);
            SSL_set_info_callback(both.server.ssl.get(), own);
            CHECK(both.shake());
        }
        const auto now = server.server.counters();
        CHECK(now.verified == 1);
        CHECK(now.offered == 1);
        CHECK(now.reasons[0] == static_cast<std::uint64_t>(persons));
    }
    counted server;
    SSL_CTX_set_info_callback(server.context.get(), hides);
    visit(*server.context, *agent);
    visit(*server.context, *person);
    CHECK(server.words() == "handshakes 1, offered 1, asked 1, acknowledged 1, verified 1");
}

TEST_CASE("server / counters / several SSL_CTXs, also one that is gone -> all of the server's, and each its own",
          "[handshake]") {
    counted first;
    const auto agent = attached_client();
    auto second = server_context();
    reqauth::server_counters of_second;
    const auto where = first.server.attach(*second, {});
    reqauth::server::count_into(where, of_second);
    visit(*second, *agent);
    visit(*second, *agent);
    visit(*first.context, *agent);
    second.reset();
    CHECK(words_for(of_second) == "handshakes 2, offered 2, ignored 2");
    CHECK(words_for(*first.memory) == "handshakes 1, offered 1, asked 1, acknowledged 1, verified 1");
    CHECK(words_for(first.server.counters()) ==
          "handshakes 3, offered 3, asked 1, acknowledged 1, verified 1, ignored 2");
    CHECK(failure_of([&] { reqauth::server::count_into(where, of_second); }) == reqauth::errc::not_attached);
}

namespace {

struct client_row {
    const char* name;
    std::function<void(reqauth::client_policy& policy, SSL_CTX& client, SSL_CTX& server)> prepare;
    reqauth::server_policy policy;
    const char* counters;
};

const client_row client_rows[] = {
    {"acknowledged", {}, asking(), "handshakes 1, offered 1, asked 1, acknowledged 1, presented 1, verified 1"},
    {"ignored", {}, {}, "handshakes 1, offered 1, verified 1"},
    {"refused",
     [](auto& policy, auto&, auto&) {
         policy.credential = credential_of(the_cast().customer);
         policy.when_unsatisfiable = reqauth::unsatisfiable::present;
     },
     asking(), "handshakes 1, offered 1, asked 1, acknowledged 1, presented 1, verified 1, refused 1"},
    {"without a credential", [](auto& policy, auto&, auto&) { policy.credential.reset(); }, asking(),
     "handshakes 1, verified 1, no_credential 1"},
    {"never", [](auto& policy, auto&, auto&) { policy.offer = reqauth::offer::never; }, asking(),
     "handshakes 1, verified 1, never 1"},
    {"a server that is not known, unverified",
     [](auto&, SSL_CTX& client, auto&) {
         SSL_CTX_set_cert_store(&client, X509_STORE_new());
         SSL_CTX_set_verify(&client, SSL_VERIFY_NONE, nullptr);
     },
     asking(), "handshakes 1, offered 1, asked 1, acknowledged 1, untrusted 1, error 20 1"},
    {"a server that is not known",
     [](auto&, SSL_CTX& client, auto&) { SSL_CTX_set_cert_store(&client, X509_STORE_new()); }, asking(),
     "handshakes 1, offered 1, error 20 1"},
    {"a request of another kind",
     [](auto&, auto&, SSL_CTX& server) { ask(server, SSL_VERIFY_PEER, the_cast().customers_ca); },
     {},
     "handshakes 1, offered 1, asked 1, verified 1"},
};

} // namespace

TEST_CASE("client / counters / a handshake of each kind -> counted once, for what it was", "[handshake]") {
    ROWS(one.name, client_rows, const client_row& one) {
        for (const bool retry : {false, true}) {
            const auto client = client_context();
            const auto server = server_context();
            auto policy = agent_policy();
            if (one.prepare) one.prepare(policy, *client, *server);
            attach(*server, one.policy);
            const reqauth::client agent(policy);
            agent.attach(*client);
            visit(*server, *client, {.retry = retry});
            CHECK(words_for(agent.counters()) == one.counters);
        }
    }
}

TEST_CASE("client / counters / resumed -> counted as such", "[handshake]") {
    const auto server = attached_server(asking());
    visitor agent(client_context());
    const reqauth::client crawler(agent_policy());
    crawler.attach(*agent.context);
    visit(*server, *agent.context);
    const auto session = std::move(agent.shelf.last);
    CHECK(visit(*server, *agent.context, {.session = session.get(), .as_it_is = true}).resumed);
    CHECK(words_for(reqauth::client(crawler).counters()) ==
          "handshakes 2, offered 2, asked 1, acknowledged 1, presented 1, verified 2, resumed 1");
}
