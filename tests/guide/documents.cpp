// SPDX-License-Identifier: Apache-2.0
// README.md and docs/guide.md at work: their commands make the certificates, their code the handshakes.

#include "catch.hpp"
#include "guide/application.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

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
void answer_beside_customers(SSL_CTX& context);
reqauth::server for_one_name();
reqauth::server with_external_psks(reqauth::psk_find_session find);
reqauth::trust load_agents();
reqauth::trust from_a_directory(const std::string& path);
reqauth::trust from_your_store(X509_STORE& store);
reqauth::server_policy this_agent_alone(std::string_view pem);
reqauth::trust narrower(const reqauth::trust& agents, const reqauth::spki_pin& key);
reqauth::trust of_public_cas(const reqauth::trust& agents);
reqauth::trust of_two_operators(const reqauth::trust& agents);
reqauth::trust as_of(const reqauth::trust& agents, std::chrono::system_clock::time_point then);
void answer_on_both(SSL_CTX& www, SSL_CTX& api);
void switch_by_name(SSL_CTX& www, SSL_CTX& api);
reqauth::server for_a_fleet();
void share_tickets(SSL_CTX& context, std::string& keys);
bool load_again(reqauth::server& listener, const reqauth::attachment& www, const reqauth::attachment& api);
bool may_serve(const reqauth::flagged_peer& agent, bool came_early, bool safe_to_repeat);
reqauth::server_policy without_early_data(const reqauth::trust& agents);
SSL_CTX* new_client_context();
SSL* new_client_connection(SSL_CTX& context);
void offer_the_flag(SSL_CTX& context);
std::string how_it_went(const SSL& ssl);
std::string why(const SSL& ssl);
void offer_beside_own(SSL_CTX& context);
void offer_with_callback(SSL_CTX& context, int (*choose)(SSL*, void*), void* argument);
reqauth::credential with_passphrase(const std::string& secret);
reqauth::credential from_provider(const std::string& uri);
std::string what_it_is(const reqauth::credential& who);
void attach_for_the_older_experiment(SSL_CTX& context);
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

constexpr const char* agent_seen = "flagged CN=crawler.example";

/// crawler offers the flag with the guide's agent, and keeps its sessions.
struct crawler : support::visitor {
    crawler() : support::visitor(client()) {
        X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(context.get()), "server.example", 0);
        guide::offer_the_flag(*context);
    }
    support::visited visit(SSL_CTX& at, support::circumstance how = {}) { return support::visit(at, *context, how); }
    support::owned<SSL_SESSION> session() { return std::move(shelf.last); }
};

std::string text_of(const char* file) {
    std::ifstream from(file);
    return {std::istreambuf_iterator<char>(from), {}};
}

/// run runs a command in the directory of the guide's files, as one of its steps.
void run(const std::string& command) {
    REQUIRE(std::system((command + " >>commands.log 2>&1").c_str()) == 0); // NOLINT: nothing of it comes from outside
}

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

TEST_CASE("guide / certificates / a verifier that is strict, as Python is from 3.13 on -> good", "[guide]") {
    certificates();
    for (const std::string who : {"-CAfile server-ca.pem server.pem", "-CAfile agents-ca.pem agent.pem",
                                  "-CAfile customers-ca.pem customer.pem"})
        run("openssl verify -x509_strict " + who);
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
    CHECK(guide::why(agent.client_ssl()) == "nothing to explain");
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
    guide::answer_beside_customers(*serving);
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

TEST_CASE("guide / server / trust from each source, with each setting -> agents as it says", "[guide]") {
    certificates();
    const auto met_by = [](const reqauth::server_policy& policy) {
        const auto serving = server();
        reqauth::server().attach(*serving, policy);
        const auto seen = crawler().visit(*serving);
        return seen.good ? seen.who : seen.alert;
    };
    const auto judged = [&](const reqauth::trust& agents) {
        return met_by({.when_offered = reqauth::client_auth::require(agents)});
    };
    const auto agents = reqauth::trust::from_file("agents-ca.pem");
    CHECK(judged(guide::load_agents()) == agent_seen);

    const support::temporary_directory there;
    there.write("agents.crt", text_of("agents-ca.pem"));
    there.write("agents.crl", text_of("agents-crl.pem"));
    CHECK(judged(guide::from_a_directory(there.path())) == agent_seen);
    CHECK(guide::from_a_directory(there.path()).digest() == guide::load_agents().digest());

    const support::owned<X509_STORE> store(X509_STORE_new());
    REQUIRE(X509_STORE_load_file(store.get(), "agents-ca.pem") == 1);
    CHECK(judged(guide::from_your_store(*store)) == agent_seen);

    CHECK(met_by(guide::this_agent_alone(text_of("agent.pem"))) == agent_seen);
    CHECK(met_by(guide::this_agent_alone(text_of("customer.pem"))) == "unknown CA");

    const auto& cast = support::the_cast();
    CHECK(judged(guide::narrower(agents, support::pin_of(*cast.agent.key))) == "bad certificate");
    CHECK(judged(guide::of_public_cas(agents)) == "unsupported certificate");
    const reqauth::named_text operators[] = {{"acme.pem", support::pem(*cast.customers_ca.certificate)},
                                             {"example.pem", text_of("agents-ca.pem")}};
    CHECK(judged(guide::of_two_operators(reqauth::trust::from_texts(operators))) == agent_seen);
    CHECK(judged(guide::as_of(agents, std::chrono::system_clock::now())) == agent_seen);
    CHECK(judged(guide::as_of(agents, std::chrono::system_clock::now() + std::chrono::hours(24 * 60))) ==
          "internal error"); // so is the CA then
}

TEST_CASE("guide / server / hosts by name, customers at one of them -> each asks as its own SSL_CTX says",
          "[guide][SEC-5]") {
    certificates();
    const auto www = server();
    const auto api = server();
    guide::ask_customers(*api);
    SSL_CTX_set_verify(api.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    // What the first has must not judge the second's customers.
    SSL_CTX_set_verify(www.get(), SSL_VERIFY_NONE, [](int, X509_STORE_CTX*) { return 1; });
    guide::answer_on_both(*www, *api);
    guide::switch_by_name(*www, *api);

    const auto person = client();
    CHECK(support::visit(*www, *person, {.name = "www.example"}).good);
    CHECK(support::visit(*www, *person, {.name = "api.example"}).alert == "certificate required");
    const auto customer = client();
    REQUIRE(SSL_CTX_use_certificate_chain_file(customer.get(), "customer.pem") == 1);
    REQUIRE(SSL_CTX_use_PrivateKey_file(customer.get(), "customer.key", SSL_FILETYPE_PEM) == 1);
    CHECK(support::visit(*www, *customer, {.name = "api.example"}).verify_result == X509_V_OK);
    CHECK_FALSE(support::visit(*www, *customer, {.name = "www.example"}).asked);
    const auto impostor = client();
    support::present(*impostor, support::the_cast().customer);
    CHECK(support::visit(*www, *impostor, {.name = "api.example"}).alert == "unknown CA");
}

TEST_CASE("guide / server / a fleet -> an agent's session resumes on each node, for as long as it says",
          "[guide][TLS-2]") {
    certificates();
    std::string keys(80, 'k');
    const auto node = [&] {
        auto made = server();
        guide::share_tickets(*made, keys);
        guide::for_a_fleet().attach(*made, {.when_offered = reqauth::client_auth::require(guide::load_agents())});
        return made;
    };
    const auto one = node();
    const auto other = node();
    crawler agent;
    const auto first = agent.visit(*one);
    CHECK(first.who == agent_seen);
    CHECK(first.tickets == 2);
    const auto session = agent.session();
    REQUIRE(session != nullptr);
    CHECK(SSL_SESSION_get_ticket_lifetime_hint(session.get()) <= 600);
    const auto again = agent.visit(*other, {.session = session.get()});
    CHECK(again.resumed_peer);
    CHECK_FALSE(again.asked);
    CHECK(again.who == agent_seen);
    const auto renewed = agent.session();
    CHECK(agent.visit(*other, {.name = "another.example", .session = renewed.get()}).full());
}

TEST_CASE(
    "guide / server / new trust while it serves -> a revoked agent is out, its session too; a bad file changes nothing",
    "[guide][SEC-4]") {
    certificates();
    const auto www = server();
    const auto api = server();
    reqauth::server listener;
    const auto at_www = listener.attach(*www, {.when_offered = reqauth::client_auth::request(guide::load_agents())});
    const auto at_api = listener.attach(*api, {.when_offered = reqauth::client_auth::require(guide::load_agents())});
    crawler agent;
    CHECK(agent.visit(*www).who == agent_seen);
    const auto unrevoked = agent.session();
    const support::owned<SSL_SESSION> copy(SSL_SESSION_dup(unrevoked.get()));
    REQUIRE(guide::load_again(listener, at_www, at_api));
    CHECK(agent.visit(*www, {.session = unrevoked.get()}).resumed_peer);

    const std::string list = text_of("agents-crl.pem");
    const std::string ca = "openssl ca -config agents-ca.conf -name agents -keyfile agents-ca.key -cert agents-ca.pem ";
    run(ca + "-revoke agent.pem");
    run(ca + "-gencrl -crldays 7 -out agents-crl.pem");
    REQUIRE(guide::load_again(listener, at_www, at_api));
    CHECK(logged.empty());
    CHECK(agent.visit(*www, {.session = copy.get()}).alert == "certificate revoked");
    CHECK(agent.visit(*api).alert == "certificate revoked");

    std::ofstream("agents-crl.pem") << list.substr(0, list.size() / 2);
    CHECK_FALSE(guide::load_again(listener, at_www, at_api));
    CHECK(logged.find("agents-crl.pem") != std::string::npos);
    CHECK(agent.visit(*api).alert == "certificate revoked");
    std::ofstream("agents-crl.pem") << list;
}

TEST_CASE("guide / server / early data -> what is safe to repeat, or none", "[guide][TLS-4]") {
    certificates();
    const auto agents = reqauth::trust::from_file("agents-ca.pem");
    const auto serving = server();
    SSL_CTX_set_max_early_data(serving.get(), 1024);
    reqauth::server().attach(*serving, {.when_offered = reqauth::client_auth::request(agents)});
    crawler agent;
    CHECK(agent.visit(*serving).who == agent_seen);
    const auto session = agent.session();
    REQUIRE(session != nullptr);
    support::pair both(*serving, *agent.context);
    const auto early = support::shake_early(both, *session);
    CHECK(early.read == "GET /");
    CHECK(early.during == "handshake_unfinished");
    const auto who = reqauth::peer_of(*both.server.ssl);
    const auto* known = std::get_if<reqauth::flagged_peer>(&who);
    REQUIRE(known != nullptr);
    CHECK(guide::may_serve(*known, true, true));
    CHECK_FALSE(guide::may_serve(*known, true, false));
    CHECK(guide::may_serve(*known, false, false));

    const auto refusing = server();
    SSL_CTX_set_max_early_data(refusing.get(), 1024);
    reqauth::server().attach(*refusing, guide::without_early_data(agents));
    CHECK(agent.visit(*refusing).who == agent_seen);
    const auto without = agent.session();
    REQUIRE(without != nullptr);
    CHECK(SSL_SESSION_get_max_early_data(without.get()) == 0);
    const auto resumed = agent.visit(*refusing, {.session = without.get()});
    CHECK(resumed.resumed_peer);
    CHECK_FALSE(resumed.early_peer);
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

    guide::answer_beside_customers(*serving);
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
        CHECK(guide::what_it_is(credential).starts_with("CN=crawler.example, key in default, until "));
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
    guide::attach_for_the_older_experiment(*visiting);
    visit agent(*serving, *visiting);
    REQUIRE(agent.good);
    CHECK(agent.both.server.first(support::kind::client_hello)->find(65025).has_value());
    CHECK(guide::how_it_went(agent.client_ssl()) == "offered, and not asked");
    const auto older = server(); // asks, and does not say why
    SSL_CTX_set_verify(older.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
    visit shown(*older, *visiting);
    REQUIRE(shown.good);
    CHECK(SSL_get0_peer_certificate(shown.both.server.ssl.get()) != nullptr);
}
