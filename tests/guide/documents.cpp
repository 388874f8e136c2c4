// SPDX-License-Identifier: Apache-2.0
// README.md and docs/guide.md at work: their commands make the certificates, their code the handshakes.

#include "catch.hpp"
#include "guide/application.hpp"
#include "support/contexts.hpp"

#include <cstdlib>
#include <filesystem>

// What the documents define.
namespace readme {
void answer_the_flag(SSL_CTX& context);
void serve(SSL& ssl);
void offer_the_flag(SSL_CTX& context);
bool was_asked(const SSL& ssl);
} // namespace readme
namespace guide {
SSL_CTX* new_server_context();
bool answer_the_flag(SSL_CTX& context);
void serve(SSL& ssl);
void log_connection(const SSL& ssl);
void ask_customers(SSL_CTX& context);
bool is_customer(const SSL& ssl);
reqauth::server for_one_name();
void answer_on_both(SSL_CTX& www, SSL_CTX& api);
reqauth::server with_external_psks(reqauth::psk_find_session find);
SSL_CTX* new_client_context();
SSL* new_client_connection(SSL_CTX& context);
void offer_the_flag(SSL_CTX& context);
std::string how_it_went(const SSL& ssl);
void offer_beside_own(SSL_CTX& context);
void offer_with_callback(SSL_CTX& context, int (*choose)(SSL*, void*), void* argument);
reqauth::credential with_passphrase(const std::string& secret);
reqauth::credential from_provider(const std::string& uri);
reqauth::client_policy of_the_older_experiment();
} // namespace guide

namespace {

std::string called; // what the application was called for last
std::string logged;

/// certificates runs step 1 of the guide in a directory of its own, which stays the working directory.
void certificates() {
    static const support::temporary_directory directory;
    static const bool made = [] {
        std::filesystem::current_path(directory.path());
        return std::system("sh -e '" GUIDE_COMMANDS "' >commands.log 2>&1") ==
               0; // NOLINT: nothing of it comes from outside
    }();
    REQUIRE(made);
    called.clear();
    logged.clear();
}

using context = support::owned<SSL_CTX>;
context server() { return context(guide::new_server_context()); }
context client() { return context(guide::new_client_context()); }

support::owned<SSL> accepting(SSL_CTX& with) {
    support::owned<SSL> ssl(SSL_new(&with));
    SSL_set_accept_state(ssl.get());
    return ssl;
}

/// visit is a connection after its handshake, good or bad.
struct visit {
    visit(SSL_CTX& server, SSL_CTX& client)
        : both(accepting(server), support::owned<SSL>(guide::new_client_connection(client))), good(both.shake()) {}
    SSL& server_ssl() { return *both.server.ssl; }
    SSL& client_ssl() { return *both.client.ssl; }
    support::pair both;
    bool good;
};

} // namespace

void serve_agent(SSL&, const std::string& name) { called = "agent " + name; }
void serve_as_before(SSL&) { called = "as before"; }
void log_line(const std::string& text) { logged += text + "\n"; }

TEST_CASE("README / ten lines for a server, ten for a client -> an agent is known, and nobody else is asked",
          "[guide]") {
    certificates();
    const auto serving = server();
    readme::answer_the_flag(*serving);
    const auto visiting = client();
    readme::offer_the_flag(*visiting);
    visit agent(*serving, *visiting);
    REQUIRE(agent.good);
    readme::serve(agent.server_ssl());
    CHECK(called == "agent CN=crawler.example");
    CHECK(readme::was_asked(agent.client_ssl()));

    const auto ordinary = client();
    visit person(*serving, *ordinary);
    REQUIRE(person.good);
    readme::serve(person.server_ssl());
    CHECK(called == "as before");
    CHECK_FALSE(readme::was_asked(person.client_ssl()));
    CHECK(person.both.client.count(support::kind::certificate_request) == 0);
}

TEST_CASE("guide / server / agents and others -> each as it says", "[guide]") {
    certificates();
    const auto serving = server();
    REQUIRE(guide::answer_the_flag(*serving));
    CHECK(logged.empty());
    const auto visiting = client();
    guide::offer_the_flag(*visiting);
    visit agent(*serving, *visiting);
    REQUIRE(agent.good);
    guide::serve(agent.server_ssl());
    CHECK(called == "agent CN=crawler.example DNS:crawler.example");
    guide::log_connection(agent.server_ssl());
    CHECK(logged == "flag accepted\n");
    CHECK(guide::how_it_went(agent.client_ssl()) == "asked because of the flag, sent: flag");

    const auto ordinary = client();
    visit person(*serving, *ordinary);
    guide::serve(person.server_ssl());
    CHECK(called == "as before");
    CHECK(guide::how_it_went(person.client_ssl()) == "not offered");
}

TEST_CASE("guide / server / cannot attach -> says why, and goes on without", "[guide]") {
    certificates();
    const auto serving = server();
    REQUIRE(guide::answer_the_flag(*serving));
    CHECK_FALSE(guide::answer_the_flag(*serving));
    CHECK(logged.find("attached") != std::string::npos);
}

TEST_CASE("guide / server / customers beside agents -> the usual check knows customers only", "[guide][SEC-8]") {
    certificates();
    const auto serving = server();
    guide::ask_customers(*serving);
    REQUIRE(guide::answer_the_flag(*serving));
    const auto agents = client();
    guide::offer_the_flag(*agents);
    visit agent(*serving, *agents);
    REQUIRE(agent.good);
    CHECK_FALSE(guide::is_customer(agent.server_ssl()));
    guide::serve(agent.server_ssl());
    CHECK(called == "agent CN=crawler.example DNS:crawler.example");

    const auto customers = client();
    REQUIRE(SSL_CTX_use_certificate_chain_file(customers.get(), "customer.pem") == 1);
    REQUIRE(SSL_CTX_use_PrivateKey_file(customers.get(), "customer.key", SSL_FILETYPE_PEM) == 1);
    visit customer(*serving, *customers);
    REQUIRE(customer.good);
    CHECK(guide::is_customer(customer.server_ssl()));
    guide::serve(customer.server_ssl());
    CHECK(called == "as before");
}

TEST_CASE("guide / server / several hosts, a predicate -> only for the name, each by its own policy", "[guide]") {
    certificates();
    const auto www = server();
    const auto api = server();
    guide::answer_on_both(*www, *api);
    const auto agents = client();
    guide::offer_the_flag(*agents);
    for (const auto* serving : {&www, &api}) {
        visit agent(**serving, *agents);
        REQUIRE(agent.good);
        guide::serve(agent.server_ssl());
        CHECK(called.starts_with("agent"));
    }
    reqauth::client_policy policy;
    policy.offer = reqauth::offer::always;
    const auto lost = client();
    reqauth::client(policy).attach(*lost);
    CHECK(visit(*www, *lost).good);
    CHECK_FALSE(visit(*api, *lost).good);

    support::owned<SSL> elsewhere(guide::new_client_connection(*agents));
    REQUIRE(SSL_set_tlsext_host_name(elsewhere.get(), "another.example") == 1);
    support::pair other(accepting(*www), std::move(elsewhere));
    REQUIRE(other.shake());
    guide::serve(*other.server.ssl);
    CHECK(called == "as before");
    CHECK(guide::how_it_went(*other.client.ssl) == "offered, and not asked");
}

TEST_CASE("guide / server / callback handed over -> it is called where a session is offered", "[guide][SEC-6]") {
    certificates();
    static int calls = 0;
    calls = 0;
    const auto serving = server();
    guide::with_external_psks([](SSL*, const unsigned char*, std::size_t, SSL_SESSION** session) {
        ++calls;
        *session = nullptr;
        return 1;
    }).attach(*serving, {.when_offered = reqauth::client_auth::request(reqauth::trust::from_file("agents-ca.pem"))});
    const auto visiting = client();
    visit first(*serving, *visiting);
    REQUIRE(first.good);
    CHECK(calls == 0);
    support::owned<SSL_SESSION> session(SSL_get1_session(&first.client_ssl()));
    first.both.close();
    support::owned<SSL> again(guide::new_client_connection(*visiting));
    REQUIRE(SSL_set_session(again.get(), session.get()) == 1);
    support::pair second(accepting(*serving), std::move(again));
    REQUIRE(second.shake());
    CHECK(calls > 0);
}

TEST_CASE("guide / client / a certificate of its own beside -> each for its request", "[guide][RCA-12]") {
    certificates();
    const auto serving = server();
    guide::ask_customers(*serving);
    const auto visiting = client();
    guide::offer_beside_own(*visiting);
    visit unaware(*serving, *visiting);
    REQUIRE(unaware.good);
    CHECK(guide::is_customer(unaware.server_ssl()));
    CHECK(guide::how_it_went(unaware.client_ssl()) == "asked for another reason, sent: other");

    REQUIRE(guide::answer_the_flag(*serving));
    visit aware(*serving, *visiting);
    REQUIRE(aware.good);
    CHECK(guide::how_it_went(aware.client_ssl()) == "asked because of the flag, sent: flag");
}

TEST_CASE("guide / client / certificate callback handed over -> it runs for each request", "[guide][SEC-6]") {
    certificates();
    const auto serving = server();
    REQUIRE(guide::answer_the_flag(*serving));
    int calls = 0;
    const auto visiting = client();
    guide::offer_with_callback(
        *visiting, [](SSL*, void* count) { return ++*static_cast<int*>(count); }, &calls);
    visit agent(*serving, *visiting);
    REQUIRE(agent.good);
    CHECK(calls == 1);
    guide::serve(agent.server_ssl());
    CHECK(called.starts_with("agent"));
}

TEST_CASE("guide / client / keys with a passphrase, by a URI; the older extension type -> as it says",
          "[guide][RCA-7]") {
    certificates();
    const auto serving = server();
    REQUIRE(guide::answer_the_flag(*serving));
    const std::string uri = "file:" + std::filesystem::absolute("agent.key").string();
    for (const auto& credential : {guide::with_passphrase("secret"), guide::from_provider(uri)}) {
        reqauth::client_policy policy;
        policy.credential = credential;
        const auto visiting = client();
        reqauth::client(policy).attach(*visiting);
        visit agent(*serving, *visiting);
        CHECK(agent.good);
        CHECK(guide::how_it_went(agent.client_ssl()) == "asked because of the flag, sent: flag");
    }
    CHECK(support::failure_of([] { (void)guide::with_passphrase("wrong"); }) == reqauth::errc::passphrase);

    const auto visiting = client();
    reqauth::client(guide::of_the_older_experiment()).attach(*visiting);
    visit agent(*serving, *visiting);
    REQUIRE(agent.good);
    CHECK(agent.both.server.first(support::kind::client_hello)->find(65025).has_value());
    CHECK(guide::how_it_went(agent.client_ssl()) == "offered, and not asked");
}
