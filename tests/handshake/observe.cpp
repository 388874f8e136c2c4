// SPDX-License-Identifier: Apache-2.0
// server_options::observe: once a handshake, with the peer when it is true or with the refusal.

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <stdexcept>

using namespace support;

namespace {

std::string words_for(const reqauth::peer& who) {
    if (const auto* agent = std::get_if<reqauth::flagged_peer>(&who)) return "flagged " + agent->subject();
    return std::string(to_string(std::get<reqauth::other_peer>(who).why));
}

std::string words_for(const reqauth::refusal& why) {
    return std::string(why.received ? "received " : "sent ") + std::to_string(why.alert) +
           (why.offered ? " offered" : "") + (why.accepted ? " accepted" : "") +
           (why.verify_error != 0 ? " " + std::to_string(why.verify_error) : "");
}

/// observed is a server that is watched, and what it was told.
struct observed {
    explicit observed(const reqauth::server_policy& policy = asking(), owned<SSL_CTX> made = server_context())
        : context(std::move(made)) {
        reqauth::server_options options;
        options.observe = [told = &told](const SSL& ssl, const std::variant<reqauth::peer, reqauth::refusal>& what) {
            told->push_back(std::visit([](const auto& is) { return words_for(is); }, what));
            if (const auto* who = std::get_if<reqauth::peer>(&what))
                CHECK(words_for(reqauth::peer_of(ssl)) == words_for(*who)); // true from then on
        };
        attach(*context, policy, options);
    }
    std::vector<std::string> told;
    owned<SSL_CTX> context;
};

using lines = std::vector<std::string>;

thread_local int events = 0;
void count(const SSL*, int, int) { ++events; }
void count_and_call_the_contexts(const SSL* ssl, int event, int value) {
    ++events;
    SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl))(ssl, event, value);
}

owned<SSL_CTX> with_certificate(const identity& who) {
    auto policy = agent_policy();
    policy.when_unsatisfiable = reqauth::unsatisfiable::present;
    policy.credential = credential_of(who);
    return attached_client(policy);
}

} // namespace

TEST_CASE("server / observe / every client -> told once, with what peer_of says", "[handshake][SEC-1]") {
    observed server;
    const auto agent = attached_client();
    const auto person = client_context();
    auto nobody = agent_policy();
    nobody.credential.reset();
    nobody.offer = reqauth::offer::always;
    const auto empty_handed = attached_client(nobody);
    CHECK(visit(*server.context, *agent).good);
    CHECK(visit(*server.context, *agent, {.retry = true}).good);
    CHECK(visit(*server.context, *person).good);
    CHECK(visit(*server.context, *empty_handed).good);
    CHECK(server.told == lines{"flagged CN=crawler.example", "flagged CN=crawler.example", "not_offered", "empty"});
}

TEST_CASE("server / observe / resumed and early -> told once each", "[handshake][TLS-4]") {
    for (const auto how : all_tickets) {
        CAPTURE(int(how));
        fleet nodes;
        auto context = server_context();
        nodes.join(*context, how);
        observed server(asking(), std::move(context));
        visitor agent(attached_client());
        REQUIRE(visit(*server.context, *agent.context).good);
        REQUIRE(agent.shelf.last != nullptr);
        const auto session = std::move(agent.shelf.last);
        CHECK(visit(*server.context, *agent.context, {.session = session.get(), .early_data = early_data_in(how)})
                  .resumed);
        CHECK(server.told == lines(2, "flagged CN=crawler.example"));
    }
}

TEST_CASE("server / observe / handshakes that fail -> the refusal, once", "[handshake][SEC-2]") {
    SECTION("a certificate that does not verify") {
        observed server;
        const auto stranger = with_certificate(the_cast().customer);
        CHECK_FALSE(visit(*server.context, *stranger).good);
        CHECK(server.told == lines{"sent 48 offered accepted 20"});
    }
    SECTION("none where one is required") {
        observed server(demanding());
        auto nobody = agent_policy();
        nobody.credential.reset();
        nobody.offer = reqauth::offer::always;
        const auto empty_handed = attached_client(nobody);
        CHECK_FALSE(visit(*server.context, *empty_handed).good);
        CHECK(server.told == lines{"sent 116 offered accepted"});
    }
    SECTION("the client does not trust the server") {
        observed server;
        const auto distrusting = attached_client();
        SSL_CTX_set_cert_store(distrusting.get(), X509_STORE_new());
        CHECK_FALSE(visit(*server.context, *distrusting).good);
        CHECK(server.told == lines{"received 48 offered accepted"});
    }
    SECTION("a person with nothing in common") {
        observed server;
        const auto person = client_context();
        SSL_CTX_set_max_proto_version(person.get(), TLS1_2_VERSION);
        SSL_CTX_set_min_proto_version(server.context.get(), TLS1_3_VERSION);
        CHECK_FALSE(visit(*server.context, *person).good);
        CHECK(server.told == lines{"sent 70"});
    }
}

TEST_CASE("server / observe / info callbacks of the application -> each sees every event, as without",
          "[handshake][SEC-6]") {
    const auto agent = attached_client();
    const auto person = client_context();
    const auto events_of = [](SSL_CTX& server, SSL_CTX& client, void (*own)(const SSL*, int, int)) {
        pair both(server, client);
        if (own != nullptr) SSL_set_info_callback(both.server.ssl.get(), own);
        events = 0;
        REQUIRE(both.shake());
        return events;
    };
    const auto plain = attached_server(asking());
    SSL_CTX_set_info_callback(plain.get(), count);
    auto before = server_context();
    SSL_CTX_set_info_callback(before.get(), count);
    observed server(asking(), std::move(before));
    for (SSL_CTX* client : {agent.get(), person.get()}) {
        const int expected = events_of(*plain, *client, nullptr);
        CHECK(expected > 10);
        CHECK(events_of(*server.context, *client, nullptr) == expected);
        CHECK(server.told.size() == 1);
        // The SSL's own hides the SSL_CTX's, in OpenSSL too, unless it calls that.
        CHECK(events_of(*server.context, *client, count) == expected);
        // OpenSSL goes on with the one that was there when its call began. Ours, put there by a ClientHello with the flag,
        // is then called by that, at the end of the call, and tells it once more.
        const int twice = events_of(*server.context, *client, count_and_call_the_contexts);
        CHECK(twice == 2 * expected + (client == agent.get() ? 1 : 0));
        CHECK(server.told.size() == (client == agent.get() ? 3 : 2));
        server.told.clear();
    }
}

TEST_CASE("server / observe / it throws -> the handshake goes on", "[handshake][SEC-3]") {
    reqauth::server_options options;
    options.observe = [](const SSL&, const auto&) { throw std::runtime_error("no"); };
    const auto server = attached_server(asking(), options);
    const auto agent = attached_client();
    CHECK(visit(*server, *agent).who == "flagged CN=crawler.example");
}
