// SPDX-License-Identifier: Apache-2.0
// Several credentials, and credentials that change while a client connects.

#include "catch.hpp"
#include "support/clock.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <openssl/err.h>
#include <openssl/ui.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

using namespace support;
using answer = reqauth::client_outcome::answer;
using namespace std::chrono_literals;

namespace {

reqauth::client_outcome outcome(const pair& both) { return reqauth::client_outcome_of(*both.client.ssl); }

identity agent_with_key(key_type type, const char* name, const identity& ca = the_cast().agents_ca) {
    auto about = agent_description(name);
    about.key = type;
    return issue(about, &ca);
}

/// files is a credential as it lies on a disk.
struct files {
    files() { write(the_cast().agent, the_cast().agent); }
    void write(const identity& certificate, const identity& key) const {
        directory.write("agent.pem", pem(*certificate.certificate));
        directory.write("agent.key", pem(*key.key));
    }
    [[nodiscard]] reqauth::credential load() const {
        return reqauth::credential::from_files(directory.path() / "agent.pem", directory.path() / "agent.key");
    }
    temporary_directory directory;
};

} // namespace

TEST_CASE("client / several credentials / the request's algorithms and authorities -> the first that fits",
          "[handshake][RCA-5][RCA-12]") {
    const identity rsa = agent_with_key(key_type::rsa, "rsa.example");
    const identity ed25519 = agent_with_key(key_type::ed25519, "ed25519.example");
    const identity of_others = agent_with_key(key_type::p256, "others.example", the_cast().customers_ca);
    reqauth::client_policy policy = agent_policy();
    policy.further_credentials = {credential_of(rsa), credential_of(ed25519), credential_of(of_others)};
    const auto client = attached_client(policy);
    struct row {
        const char* algorithms;
        const identity* ca;
        const char* expected;
    };
    const auto& who = the_cast();
    for (const row& each :
         {row{nullptr, &who.agents_ca, "flagged CN=crawler.example"},
          row{"ECDSA+SHA256", &who.agents_ca, "flagged CN=crawler.example"},
          row{"RSA-PSS+SHA256", &who.agents_ca, "flagged CN=rsa.example"},
          row{"ed25519", &who.agents_ca, "flagged CN=ed25519.example"},
          row{"ed25519:RSA-PSS+SHA256", &who.agents_ca, "flagged CN=rsa.example"},
          row{nullptr, &who.customers_ca, "flagged CN=others.example"}, row{"ed25519", &who.customers_ca, "empty"}}) {
        CAPTURE(each.algorithms != nullptr ? each.algorithms : "all", each.expected);
        reqauth::server_policy asks;
        asks.when_offered = reqauth::client_auth::request(trust_in(*each.ca));
        const auto server = attached_server(asks);
        if (each.algorithms != nullptr) REQUIRE(SSL_CTX_set1_client_sigalgs_list(server.get(), each.algorithms) == 1);
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == each.expected);
        CHECK(outcome(both).sent == (std::string(each.expected) == "empty" ? answer::empty : answer::flag));
    }
}

TEST_CASE("client / unacknowledged request, and the SSL_CTX has the flag's credential of its own -> empty Certificate",
          "[handshake][RCA-3][RCA-12]") {
    auto server = server_context();
    ask(*server, SSL_VERIFY_PEER, the_cast().agents_ca);
    const auto client = attached_client();
    present(*client, the_cast().agent);
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(outcome(both).requested);
    CHECK(outcome(both).sent == answer::empty);
    CHECK(SSL_get0_peer_certificate(both.server.ssl.get()) == nullptr);
}

TEST_CASE("client / credential expires while it runs -> the flag is offered no more, and the reason is there",
          "[handshake][RCA-6]") {
    const stopped_clock clock;
    const auto server = attached_server(asking());
    auto soon = agent_description("soon.example");
    soon.not_after = 3600;
    const identity short_lived = issue(soon, &the_cast().agents_ca);
    const reqauth::credential loaded = reqauth::credential::from_objects(*short_lived.certificate, *short_lived.key);
    reqauth::client_policy policy;
    policy.credential = loaded;
    reqauth::client crawler(policy);
    const auto context = client_context();
    crawler.attach(*context);
    {
        pair both(*server, *context);
        REQUIRE(both.shake());
        CHECK(seen(both) == "flagged CN=soon.example");
        CHECK(crawler.offers());
    }
    clock.set(3601s);
    {
        pair both(*server, *context);
        REQUIRE(both.shake());
        CHECK(seen(both) == "not_offered");
        CHECK_FALSE(both.client.first(kind::client_hello)->find(62).has_value());
        CHECK(outcome(both).withheld == reqauth::withheld::outside_validity);
        CHECK_FALSE(crawler.offers());
    }
    // With another that is good still, it goes on.
    crawler.replace({loaded, credential_of(the_cast().agent)});
    pair both(*server, *context);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("client / replace / while threads connect -> each handshake with one credential or the other, none fails",
          "[handshake][threads]") {
    const auto server = attached_server(demanding());
    reqauth::client crawler(agent_policy());
    const auto context = client_context();
    crawler.attach(*context);
    const std::vector<reqauth::credential> one = {credential_of(the_cast().agent)};
    const std::vector<reqauth::credential> other = {credential_of(the_cast().other_agent)};
    std::atomic<bool> done = false;
    std::atomic<int> wrong = 0;
    std::vector<std::thread> workers;
    for (int worker = 0; worker < 2; ++worker)
        workers.emplace_back([&] {
            for (int i = 0; i < 60; ++i) {
                pair both(*server, *context);
                both.shake();
                const std::string who = seen(both);
                if (who != "flagged CN=crawler.example" && who != "flagged CN=other.example") ++wrong;
            }
        });
    std::thread rotation([&] {
        for (int i = 0; !done; ++i) crawler.replace(i % 2 == 0 ? other : one);
    });
    for (std::thread& each : workers) each.join();
    done = true;
    rotation.join();
    CHECK(wrong == 0);
    crawler.replace({});
    pair both(*server, *context);
    REQUIRE(both.shake());
    CHECK(seen(both) == "not_offered");
    CHECK(outcome(both).withheld == reqauth::withheld::no_credential);
}

TEST_CASE("client / replace / handshake that has begun -> ends with the credential with which it began",
          "[handshake]") {
    const auto server = attached_server(demanding());
    reqauth::client crawler(agent_policy());
    const auto context = client_context();
    crawler.attach(*context);
    pair both(*server, *context);
    both.client.step();
    crawler.replace({credential_of(the_cast().other_agent)});
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
    CHECK(outcome(both).sent == answer::flag);
    pair then(*server, *context);
    REQUIRE(then.shake());
    CHECK(seen(then) == "flagged CN=other.example");
}

TEST_CASE("client / replace / session of the earlier credential -> left out, and the new one is shown",
          "[handshake][cve]") {
    const auto server = attached_server(demanding());
    reqauth::client crawler(agent_policy());
    const auto context = client_context();
    session_shelf shelf;
    shelf.serve(*context);
    crawler.attach(*context);
    REQUIRE(visit(*server, *context).full());
    const auto session = std::move(shelf.last);
    const auto scope = crawler.scope(*context);
    crawler.replace({credential_of(the_cast().other_agent)});
    CHECK(crawler.scope(*context) != scope);
    const visited then = visit(*server, *context, {.session = session.get(), .as_it_is = true});
    CHECK(then.full());
    CHECK(then.who == "flagged CN=other.example");
}

TEST_CASE("client / reload / files the same, new, half written, cut short -> nothing, the new, an error and the old",
          "[handshake]") {
    const files disk;
    reqauth::client_policy policy;
    policy.credential = disk.load();
    reqauth::client crawler(policy);
    const auto context = client_context();
    crawler.attach(*context);
    const auto server = attached_server(demanding());
    const auto shown = [&] {
        pair both(*server, *context);
        both.shake();
        return seen(both);
    };
    CHECK_FALSE(crawler.reload());
    disk.write(the_cast().other_agent, the_cast().agent); // the key is still to come
    CHECK(failure_of([&] { crawler.reload(); }) == reqauth::errc::key_unusable);
    CHECK(shown() == "flagged CN=crawler.example");
    disk.write(the_cast().other_agent, the_cast().other_agent);
    CHECK(crawler.reload());
    CHECK(shown() == "flagged CN=other.example");
    CHECK_FALSE(crawler.reload());
    disk.directory.write("agent.pem", pem(*the_cast().agent.certificate).substr(0, 200));
    std::string text;
    CHECK(failure_of([&] { crawler.reload(); }, &text) == reqauth::errc::malformed);
    CHECK(text.find("agent.pem") != std::string::npos);
    std::filesystem::remove(disk.directory.path() / "agent.key");
    disk.directory.write("agent.pem", pem(*the_cast().agent.certificate));
    CHECK(failure_of([&] { crawler.reload(); }, &text) == reqauth::errc::unreadable);
    CHECK(shown() == "flagged CN=other.example");
}

TEST_CASE("client / reload, and the passphrase callback calls replace -> what it set stays", "[handshake][attack]") {
    const temporary_directory directory;
    const auto certificate = directory.write("agent.pem", pem(*the_cast().agent.certificate));
    const auto key = directory.write("agent.key", pem(*the_cast().agent.key, "secret"));
    reqauth::client* crawler = nullptr;
    reqauth::credential_options options;
    options.passphrase = [&crawler](const std::string&) {
        if (crawler != nullptr) crawler->replace({credential_of(the_cast().other_agent)});
        return "secret";
    };
    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(certificate, key, options);
    reqauth::client itself(policy);
    crawler = &itself;
    const auto context = client_context();
    itself.attach(*context);
    CHECK(itself.reload());
    const auto server = attached_server(asking());
    pair both(*server, *context);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=other.example");
}

TEST_CASE("client / replace, scope and attach called in its callbacks -> as anywhere else",
          "[handshake][attack-control]") {
    static reqauth::client* crawler;
    static SSL_CTX* another;
    static std::vector<reqauth::client_scope> scopes;
    scopes.clear();
    auto policy = agent_policy();
    policy.chained_certificate_callback = {[](SSL* ssl, void*) {
                                               scopes.push_back(reqauth::client::scope(*ssl));
                                               crawler->replace({credential_of(the_cast().other_agent)});
                                               return 1;
                                           },
                                           nullptr};
    policy.observe = [](const SSL&, const reqauth::client_outcome& went) {
        if (went.sent != answer::flag || another == nullptr) return;
        crawler->attach(*std::exchange(another, nullptr));
        crawler->replace({});
        throw std::runtime_error("is dropped");
    };
    reqauth::client itself(policy);
    crawler = &itself;
    const auto context = client_context();
    const auto other_context = client_context();
    another = other_context.get();
    itself.attach(*context);
    const auto before = itself.scope(*context);
    const auto server = attached_server(asking());
    pair both(*server, *context);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example"); // with which it began
    CHECK(scopes == std::vector{before});
    CHECK(another == nullptr);
    CHECK_FALSE(itself.offers());
    CHECK(itself.scope(*other_context) == itself.scope(*context));
}

namespace {

int prompts = 0;

/// wants_to_ask is a provider that asks by OpenSSL's default method; it says whether it could.
bool wants_to_ask() {
    const std::unique_ptr<UI, decltype(&UI_free)> ui(UI_new(), UI_free);
    char answer[8] = {};
    UI_add_input_string(ui.get(), "PIN", 0, answer, 0, 7);
    ERR_set_mark();
    const bool could = UI_process(ui.get()) == 0;
    ERR_pop_to_mark();
    return could;
}

int asked_while_signing = -1;

} // namespace

TEST_CASE("client / a provider wants to ask while the flag's credential signs -> it cannot; before and after it can",
          "[handshake][RCA-7]") {
    // It stays for the rest of the process: libreqauth passes prompts on to it.
    static UI_METHOD* const applications = UI_create_method("application");
    UI_method_set_opener(applications, [](UI*) {
        ++prompts;
        return 1;
    });
    UI_method_set_reader(applications,
                         [](UI* ui, UI_STRING* text) { return UI_set_result(ui, text, "1") == 0 ? 1 : 0; });
    UI_set_default_method(applications);
    const auto server = attached_server(demanding());
    const auto client = attached_client(); // loads its credential, and so is told that nobody may be asked
    prompts = 0;
    CHECK(wants_to_ask());
    CHECK(prompts == 1);
    asked_while_signing = -1;
    pair both(*server, *client);
    SSL_set_msg_callback(
        both.client.ssl.get(), [](int write, int, int type, const void* message, std::size_t size, SSL*, void*) {
            const auto* octets = static_cast<const unsigned char*>(message);
            if (write == 1 && type == SSL3_RT_HANDSHAKE && size > 0 && octets[0] == SSL3_MT_CERTIFICATE_VERIFY)
                asked_while_signing = wants_to_ask() ? 1 : 0;
        });
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
    CHECK(asked_while_signing == 0);
    CHECK(prompts == 1);
    CHECK(wants_to_ask());
    CHECK(prompts == 2);
    UI_set_default_method(UI_OpenSSL());
}
