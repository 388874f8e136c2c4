// SPDX-License-Identifier: Apache-2.0
// Several threads on one SSL_CTX.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <atomic>
#include <thread>

using namespace support;

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
}
