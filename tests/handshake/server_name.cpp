// SPDX-License-Identifier: Apache-2.0
// One listener, several SSL_CTXs: the final context's policy and store, or no request of ours (SEC-5).

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <cstring>

using namespace support;

namespace {

reqauth::server_policy asking_for(const identity& ca) {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(trust_in(ca));
    return policy;
}

/// two_hosts is a listener whose first SSL_CTX switches to the second for "b.example".
struct two_hosts {
    enum class switching { by_server_name, in_client_hello };

    explicit two_hosts(switching how = switching::by_server_name) {
        if (how == switching::by_server_name) {
            SSL_CTX_set_tlsext_servername_arg(a.get(), b.get());
            SSL_CTX_set_tlsext_servername_callback(
                a.get(), +[](SSL* ssl, int*, void* other) -> int {
                    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
                    if (name == nullptr || std::strcmp(name, "b.example") != 0) return SSL_TLSEXT_ERR_OK;
                    return SSL_set_SSL_CTX(ssl, static_cast<SSL_CTX*>(other)) != nullptr ? SSL_TLSEXT_ERR_OK
                                                                                         : SSL_TLSEXT_ERR_ALERT_FATAL;
                });
        } else {
            SSL_CTX_set_client_hello_cb(
                a.get(),
                [](SSL* ssl, int*, void* other) -> int {
                    const unsigned char* name = nullptr;
                    std::size_t size = 0;
                    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &name, &size) == 1 && size > 5 &&
                        std::string(reinterpret_cast<const char*>(name) + 5, size - 5) == "b.example" &&
                        SSL_set_SSL_CTX(ssl, static_cast<SSL_CTX*>(other)) == nullptr)
                        return SSL_CLIENT_HELLO_ERROR;
                    return SSL_CLIENT_HELLO_SUCCESS;
                },
                b.get());
        }
    }

    /// visit connects `client` to `name`.
    pair visit(SSL_CTX& client, const char* name) const {
        owned<SSL> to(SSL_new(&client));
        SSL_set_connect_state(to.get());
        SSL_set_tlsext_host_name(to.get(), name);
        owned<SSL> from(SSL_new(a.get()));
        SSL_set_accept_state(from.get());
        return {std::move(from), std::move(to)};
    }

    owned<SSL_CTX> a = server_context();
    owned<SSL_CTX> b = server_context();
};

} // namespace

TEST_CASE("server / switch of SSL_CTX, both attached / flag offered -> the final context's trust and names",
          "[handshake][valgrind][cve][SEC-5]") {
    for (const auto how : {two_hosts::switching::by_server_name, two_hosts::switching::in_client_hello}) {
        CAPTURE(int(how));
        two_hosts hosts(how);
        {
            reqauth::server listener;
            listener.attach(*hosts.a, asking());
            listener.attach(*hosts.b, asking_for(the_cast().customers_ca));
        }
        for (const char* name : {"a.example", "b.example"}) {
            const bool at_a = std::strcmp(name, "a.example") == 0;
            for (const auto* who : {&the_cast().agent, &the_cast().customer}) {
                CAPTURE(name, who == &the_cast().agent);
                const bool own = at_a == (who == &the_cast().agent);
                const auto client = flagged_client(*who);
                pair both = hosts.visit(*client.context, name);
                CHECK(both.shake() == own);
                CHECK(seen(both).starts_with("flagged") == own);
                const auto* request = both.client.first(kind::certificate_request);
                REQUIRE(request != nullptr);
                CHECK(request->find(62) == flags({80}));
                const std::string names = request->find(47).value_or("");
                CHECK((names.find("Agents CA") != std::string::npos) == at_a);
                CHECK((names.find("Customers CA") != std::string::npos) == !at_a);
            }
        }
        const auto plain = client_context();
        pair both = hosts.visit(*plain, "b.example");
        CHECK(both.shake());
        CHECK(both.client.count(kind::certificate_request) == 0);
    }
}

TEST_CASE("server / switch of SSL_CTX, both attached / one of them ignores the flag -> only the final policy counts",
          "[handshake][SEC-5]") {
    for (const bool b_asks : {true, false}) {
        two_hosts hosts;
        reqauth::server listener;
        listener.attach(*hosts.a, b_asks ? reqauth::server_policy{} : demanding());
        listener.attach(*hosts.b, b_asks ? demanding() : reqauth::server_policy{});
        const auto client = attached_client();
        pair both = hosts.visit(*client, "b.example");
        REQUIRE(both.shake());
        CHECK(seen(both) == (b_asks ? "flagged CN=crawler.example" : "ignored"));
        CHECK(both.client.count(kind::certificate_request) == (b_asks ? 1 : 0));
    }
}

TEST_CASE("server / switch of SSL_CTX, both attached / with a retry -> the final context's policy",
          "[handshake][SEC-5][TLS-1]") {
    two_hosts hosts;
    reqauth::server listener;
    listener.attach(*hosts.a, asking_for(the_cast().customers_ca));
    listener.attach(*hosts.b, asking());
    const auto client = attached_client();
    SSL_CTX_set1_groups_list(client.get(), "X25519:P-256");
    SSL_CTX_set1_groups_list(hosts.a.get(), "P-256");
    SSL_CTX_set1_groups_list(hosts.b.get(), "P-256");
    pair both = hosts.visit(*client, "b.example");
    REQUIRE(both.shake());
    CHECK(both.client.count(kind::hello_retry_request) == 1);
    CHECK(seen(both) == "flagged CN=crawler.example");
}

TEST_CASE("server / switch from attached to unattached / flag offered -> no request of ours", "[handshake][SEC-5]") {
    two_hosts hosts;
    attach(*hosts.a, demanding());
    const auto client = flagged_client(the_cast().agent);
    pair both = hosts.visit(*client.context, "b.example");
    REQUIRE(both.shake());
    CHECK(both.client.count(kind::certificate_request) == 0);
    CHECK_FALSE(seen(both).starts_with("flagged"));
    CHECK_FALSE(reqauth::server_outcome_of(*both.server.ssl).accepted);
}

TEST_CASE("server / switch from attached to unattached that asks / flag offered -> its own trust, no acknowledgement",
          "[handshake][SEC-5][RCA-3]") {
    two_hosts hosts;
    ask(*hosts.a, SSL_VERIFY_PEER, the_cast().customers_ca); // OpenSSL keeps A's verify mode
    ask(*hosts.b, SSL_VERIFY_PEER, the_cast().customers_ca);
    attach(*hosts.a, asking());
    for (const auto* who : {&the_cast().agent, &the_cast().customer}) {
        const auto client = flagged_client(*who);
        pair both = hosts.visit(*client.context, "b.example");
        CHECK(both.shake() == (who == &the_cast().customer));
        CHECK_FALSE(seen(both).starts_with("flagged"));
        REQUIRE(both.client.first(kind::certificate_request) != nullptr);
        CHECK_FALSE(both.client.first(kind::certificate_request)->find(62).has_value());
    }
}

TEST_CASE("server / switch from unattached to attached / flag offered -> no request of ours",
          "[handshake][SEC-5][RCA-8]") {
    for (const auto how : {two_hosts::switching::by_server_name}) {
        two_hosts hosts(how);
        attach(*hosts.b, demanding());
        const auto client = flagged_client(the_cast().agent);
        pair both = hosts.visit(*client.context, "b.example");
        REQUIRE(both.shake());
        CHECK(seen(both) == "not_offered");
        for (const auto& message : both.client.messages)
            if (!message.sent) CHECK_FALSE(message.find(62).has_value());
    }
}

TEST_CASE("server / switch from unattached that asks to attached / flag offered -> not acknowledged",
          "[handshake][SEC-5][RCA-8]") {
    two_hosts hosts;
    ask(*hosts.a, SSL_VERIFY_PEER, the_cast().customers_ca);
    ask(*hosts.b, SSL_VERIFY_PEER, the_cast().customers_ca);
    attach(*hosts.b, demanding());
    const auto client = flagged_client(the_cast().customer);
    pair both = hosts.visit(*client.context, "b.example");
    REQUIRE(both.shake());
    CHECK_FALSE(seen(both).starts_with("flagged"));
    REQUIRE(both.client.first(kind::certificate_request) != nullptr);
    CHECK_FALSE(both.client.first(kind::certificate_request)->find(62).has_value());
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);
}

TEST_CASE("server / switch between contexts of two servers / flag offered -> no request of ours",
          "[handshake][SEC-5]") {
    for (const auto how : {two_hosts::switching::by_server_name, two_hosts::switching::in_client_hello}) {
        CAPTURE(int(how));
        two_hosts hosts(how);
        attach(*hosts.a, demanding());
        attach(*hosts.b, asking_for(the_cast().customers_ca));
        for (const auto* who : {&the_cast().agent, &the_cast().customer}) {
            const auto client = flagged_client(*who);
            pair both = hosts.visit(*client.context, "b.example");
            both.shake();
            if (how == two_hosts::switching::by_server_name) {
                CHECK(both.server.good());
                CHECK(both.client.count(kind::certificate_request) == 0);
                CHECK_FALSE(seen(both).starts_with("flagged"));
            } else {
                // Before anything was parsed: B's policy decides alone, whole, or nothing is asked.
                CHECK((!seen(both).starts_with("flagged") || who == &the_cast().customer));
            }
        }
        // Without a switch A's policy stands.
        const auto client = flagged_client(the_cast().agent);
        pair both = hosts.visit(*client.context, "a.example");
        CHECK(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
    }
}

TEST_CASE("server / switch in client_hello_cb with equal lists, retries and clients of every kind -> no bad access",
          "[handshake][valgrind][cve][SEC-3][SEC-5]") {
    // OpenSSL: unequal lists over a switch in client_hello_cb overrun a buffer. Valgrind judges the equal case.
    two_hosts hosts(two_hosts::switching::in_client_hello);
    reqauth::server listener;
    listener.attach(*hosts.a, asking());
    listener.attach(*hosts.b, asking());
    SSL_CTX_set1_groups_list(hosts.b.get(), "P-256");
    for (const bool retry : {false, true})
        for (const bool offers : {false, true}) {
            const auto client = offers ? attached_client() : client_context();
            SSL_CTX_set1_groups_list(client.get(), retry ? "X25519:P-256" : "P-256:X25519");
            pair both = hosts.visit(*client, "b.example");
            REQUIRE(both.shake());
            CHECK(seen(both) == (offers ? "flagged CN=crawler.example" : "not_offered"));
        }
}
