// SPDX-License-Identifier: Apache-2.0
// Several threads on one SSL_CTX.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

using namespace support;

namespace {

reqauth::trust wider() {
    return reqauth::trust::from_pem(pem(*the_cast().agents_ca.certificate) + pem(*the_cast().customers_ca.certificate));
}

reqauth::server_policy asking_for(const reqauth::trust& agents) {
    reqauth::server_policy policy = asking();
    policy.when_offered = reqauth::client_auth::request(agents);
    return policy;
}

/// handed is what one thread is done with, and another reads.
class handed {
public:
    void put(std::unique_ptr<pair> one) {
        const std::lock_guard held(guard_);
        all_.push_back(std::move(one));
    }
    std::vector<std::unique_ptr<pair>> take() {
        const std::lock_guard held(guard_);
        return std::exchange(all_, {});
    }

private:
    std::mutex guard_;
    std::vector<std::unique_ptr<pair>> all_;
};

} // namespace

TEST_CASE("both sides / many threads on one SSL_CTX / clients of every kind -> each judged rightly",
          "[handshake][threads][SEC-3]") {
    auto server = server_context();
    ask(*server, SSL_VERIFY_PEER, the_cast().customers_ca);
    reqauth::server_options options;
    options.accept = [](const reqauth::client_hello& hello) { return hello.server_name != "www.example"; };
    attach(*server, asking(), options);
    const auto agent = attached_client();
    auto customer = client_context();
    present(*customer, the_cast().customer);
    const auto impostor = flagged_client(the_cast().customer);

    std::atomic<int> wrong{0};
    const auto visit = [&](SSL_CTX& client, const char* name, const std::string& expected) {
        pair both(*server, client);
        SSL_set_tlsext_host_name(both.client.ssl.get(), name);
        both.shake();
        if (seen(both) != expected) ++wrong;
    };
    std::vector<std::thread> workers;
    for (int worker = 0; worker < 4; ++worker)
        workers.emplace_back([&] {
            for (int i = 0; i < 15; ++i) {
                visit(*agent, "crawl.example", "flagged CN=crawler.example");
                visit(*customer, "crawl.example", "not_offered");
                visit(*agent, "www.example", "ignored");
            }
        });
    for (auto& each : workers) each.join();
    CHECK(wrong == 0);

    // A scripted peer keeps what it hears, unguarded: one thread.
    visit(*impostor.context, "crawl.example", "handshake_unfinished");
    CHECK(wrong == 0);
}

TEST_CASE("both sides / many threads attach and shake / one server, one client, an SSL_CTX each -> each works",
          "[handshake][threads][SEC-3]") {
    reqauth::server listener;
    const reqauth::client crawler(agent_policy());
    std::atomic<int> good{0};
    std::vector<std::thread> workers;
    for (int worker = 0; worker < 4; ++worker)
        workers.emplace_back([&] {
            for (int i = 0; i < 5; ++i) {
                const auto server = server_context();
                listener.attach(*server, asking());
                const auto client = client_context();
                crawler.attach(*client);
                pair both(*server, *client);
                if (both.shake() && seen(both) == "flagged CN=crawler.example") ++good;
            }
        });
    for (auto& each : workers) each.join();
    CHECK(good == 20);
    CHECK(listener.counters().handshakes == 20);
    CHECK(listener.counters().verified == 20);
    CHECK(crawler.counters().presented == 20);
}

TEST_CASE(
    "both sides / many threads / policies, trust and credentials are replaced, SSL_CTXs come and go -> each judged "
    "rightly, equal policies resume",
    "[handshake][threads][SEC-3][SEC-4]") {
    // One host whose trust changes, one whose trust is loaded anew and stays the same.
    reqauth::server listener;
    reqauth::server steady_listener;
    const auto host = server_context();
    const auto steady_host = server_context();
    const auto at_host = listener.attach(*host, asking());
    const auto at_steady_host = steady_listener.attach(*steady_host, asking());

    // One agent whose credential changes, one that stays.
    std::atomic<int> observed{0};
    auto policy = agent_policy();
    policy.observe = [&](const SSL& ssl, const reqauth::client_outcome& outcome) {
        if (outcome.acknowledged && reqauth::client_outcome_of(ssl).offered) ++observed;
    };
    reqauth::client crawler(policy);
    const reqauth::client steady_crawler(agent_policy());
    const std::string agent = "flagged CN=crawler.example";
    const std::string other_agent = "flagged CN=other.example";

    constexpr int workers = 3;
    constexpr int rounds = 12;
    std::atomic<int> working{workers};
    std::atomic<int> good{0};
    std::atomic<int> read{0};
    std::atomic<int> wrong{0};
    handed ended;
    const auto count = [](std::atomic<int>& where, bool holds) {
        if (holds) ++where;
    };

    std::vector<std::thread> all;
    for (int worker = 0; worker < workers; ++worker)
        all.emplace_back([&] {
            const auto changing = client_context();
            crawler.attach(*changing);
            visitor steady(client_context());
            steady_crawler.attach(*steady.context);
            const auto plain = client_context();
            for (int i = 0; i < rounds; ++i) {
                auto both = std::make_unique<pair>(*host, *changing);
                count(good, both->shake() && (seen(*both) == agent || seen(*both) == other_agent));
                ended.put(std::move(both));
                count(good, visit(*host, *plain).who == "not_offered");
                count(good, visit(*steady_host, *steady.context).who == agent);
                const auto session = std::move(steady.shelf.last);
                const visited again =
                    visit(*steady_host, *steady.context, {.session = session.get(), .as_it_is = true});
                count(good, again.resumed_peer && again.who == agent);
            }
            --working;
        });
    const auto meanwhile = [&](const std::function<void(int)>& work) {
        all.emplace_back([&working, work] {
            for (int i = 0; working > 0; ++i) work(i);
        });
    };
    meanwhile([&](int i) {
        listener.replace({{at_host, asking_for(i % 2 == 0 ? wider() : agents())}});
        steady_listener.replace({{at_steady_host, asking_for(agents())}});
    });
    meanwhile([&](int i) { crawler.replace({credential_of(i % 2 == 0 ? the_cast().other_agent : the_cast().agent)}); });
    meanwhile([&](int) {
        const auto another_host = server_context();
        listener.attach(*another_host, asking());
        const auto another = client_context();
        crawler.attach(*another);
        const std::string who = visit(*another_host, *another).who;
        count(wrong,
              (who != agent && who != other_agent) || reqauth::client::scope(*another) == reqauth::client_scope{});
    });
    const auto read_all = [&] {
        for (const auto& both : ended.take()) {
            const auto who = reqauth::peer_of(*both->server.ssl);
            const auto* flagged = std::get_if<reqauth::flagged_peer>(&who);
            count(read, flagged != nullptr && !flagged->subject().empty() &&
                            reqauth::server_outcome_of(*both->server.ssl).offered &&
                            reqauth::client_outcome_of(*both->client.ssl).acknowledged);
        }
    };
    meanwhile([&](int) { read_all(); });
    for (auto& each : all) each.join();
    read_all();
    CHECK(wrong == 0);
    CHECK(good == workers * rounds * 4);
    CHECK(read == workers * rounds);
    CHECK(observed >= workers * rounds);
}
