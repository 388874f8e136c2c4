// SPDX-License-Identifier: Apache-2.0
// A client's sessions: which may serve for which connections, and what becomes of the others.

#include "catch.hpp"
#include "support/clock.hpp"
#include "support/contexts.hpp"
#include "support/halfway.hpp"
#include "support/sessions.hpp"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>

using namespace support;
using reqauth::client;
using reqauth::client_policy;
using reqauth::client_scope;

namespace {

constexpr const char* agent_seen = "flagged CN=crawler.example";

/// crawler is a client, an SSL_CTX to which it is attached, and its last session.
struct crawler {
    explicit crawler(client_policy policy = agent_policy(), const std::function<void(SSL_CTX&)>& set_up = {})
        : itself(std::move(policy)) {
        if (set_up) set_up(*context);
        shelf.serve(*context);
        itself.attach(*context);
    }
    [[nodiscard]] client_scope scope() const { return client::scope(*context); }

    owned<SSL_CTX> context = client_context();
    session_shelf shelf;
    client itself;
};

owned<SSL_SESSION> earn(SSL_CTX& server, crawler& from) {
    const visited first = visit(server, *from.context);
    CAPTURE(first.alert);
    REQUIRE(first.full());
    REQUIRE(from.shelf.last != nullptr);
    return std::move(from.shelf.last);
}

/// presented is what comes of handing a session to OpenSSL itself.
struct presented {
    presented(SSL_CTX& server, SSL_CTX& context, SSL_SESSION& session) : both(server, context) {
        SSL_set_session(both.client.ssl.get(), &session);
        both.client.step();
        sent = both.client.take();
        both.client.give({});
    }
    pair both;
    std::string sent; ///< in the first flight
};

// Octets that do not begin with a handshake record: at most an alert has gone out.
bool has_no_client_hello(std::string_view octets) {
    return octets.empty() || (octets.front() == SSL3_RT_ALERT && octets.size() == SSL3_RT_HEADER_LENGTH + 2);
}

client_policy agent_with(const std::function<void(client_policy&)>& change) {
    client_policy policy = agent_policy();
    change(policy);
    return policy;
}

} // namespace

TEST_CASE("client / its session, here or in an equal client, also from octets -> resumes", "[handshake][cve][RCA-16]") {
    const auto server = attached_server(asking());
    crawler one;
    crawler equal;
    CHECK(one.scope() == equal.scope());
    const auto session = earn(*server, one);
    // As a cache on disk has it.
    unsigned char* octets = nullptr;
    const int size = i2d_SSL_SESSION(session.get(), &octets);
    REQUIRE(size > 0);
    const unsigned char* in = octets;
    const owned<SSL_SESSION> read(d2i_SSL_SESSION(nullptr, &in, size));
    OPENSSL_free(octets);
    for (SSL_CTX* context : {one.context.get(), equal.context.get()}) {
        const owned<SSL_SESSION> copy(SSL_SESSION_dup(read.get()));
        pair both(*server, *context);
        CHECK(client::resume(*both.client.ssl, *copy));
        REQUIRE(both.shake());
        CHECK(seen(both) == agent_seen);
        const auto outcome = reqauth::client_outcome_of(*both.client.ssl);
        CHECK(outcome.resumed);
        CHECK_FALSE(outcome.requested);
        CHECK(outcome.judged == reqauth::client_outcome::verdict::resumed);
        both.close();
        pair again(*server, *context);
        CHECK_FALSE(client::resume(*again.client.ssl, *copy)); // OpenSSL uses a session of TLS 1.3 once
    }
}

TEST_CASE("curl CVE-2016-5420, -2022-27782, -2026-8932, rustls 2025 / another credential, trust or setting, one cache "
          "-> its session is not presented",
          "[handshake][cve]") {
    struct row {
        std::string what;
        client_policy policy;
        std::function<void(SSL_CTX&)> set_up;
    };
    const auto with = [](const std::function<void(client_policy&)>& change) { return agent_with(change); };
    const identity other_server_ca = issue({.common_name = "Other server CA", .ca = true});
    std::vector<row> rows;
    rows.push_back(
        {"credential", with([](auto& policy) { policy.credential = credential_of(the_cast().other_agent); }), {}});
    rows.push_back({"no credential",
                    with([](auto& policy) {
                        policy.credential.reset();
                        policy.offer = reqauth::offer::always;
                    }),
                    {}});
    rows.push_back({"chain",
                    with([](auto& policy) {
                        X509* chain[] = {the_cast().agents_ca.certificate.get()};
                        policy.credential = credential_of(the_cast().agent, chain);
                    }),
                    {}});
    rows.push_back({"one credential more",
                    with([](auto& policy) { policy.further_credentials = {credential_of(the_cast().other_agent)}; }),
                    {}});
    rows.push_back({"flag", with([](auto& policy) { policy.flag = 81; }), {}});
    rows.push_back({"extension", with([](auto& policy) { policy.extension = 65025; }), {}});
    rows.push_back({"further flags", with([](auto& policy) { policy.further_flags = {9}; }), {}});
    rows.push_back({"label", with([](auto& policy) { policy.label = "tenant"; }), {}});
    rows.push_back({"when_unacknowledged",
                    with([](auto& policy) { policy.when_unacknowledged = reqauth::unacknowledged::empty; }),
                    {}});
    rows.push_back({"when_unsatisfiable",
                    with([](auto& policy) { policy.when_unsatisfiable = reqauth::unsatisfiable::close; }),
                    {}});
    rows.push_back(
        {"own certificate", agent_policy(), [](SSL_CTX& context) { present(context, the_cast().customer); }});
    rows.push_back({"verify mode", agent_policy(),
                    [](SSL_CTX& context) { SSL_CTX_set_verify(&context, SSL_VERIFY_NONE, nullptr); }});
    rows.push_back({"one anchor more", agent_policy(), [&](SSL_CTX& context) {
                        X509_STORE_add_cert(SSL_CTX_get_cert_store(&context), other_server_ca.certificate.get());
                    }});
    rows.push_back({"verify depth", agent_policy(), [](SSL_CTX& context) { SSL_CTX_set_verify_depth(&context, 1); }});
    rows.push_back({"host name check", agent_policy(), [](SSL_CTX& context) {
                        X509_VERIFY_PARAM_add1_host(SSL_CTX_get0_param(&context), "www.server.example", 0);
                    }});
    rows.push_back({"verify flags", agent_policy(), [](SSL_CTX& context) {
                        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(&context), X509_V_FLAG_X509_STRICT);
                    }});
    const auto parameter = [&](const char* what, const std::function<void(X509_VERIFY_PARAM*)>& set) {
        rows.push_back({what, agent_policy(), [set](SSL_CTX& context) { set(SSL_CTX_get0_param(&context)); }});
        rows.push_back({std::string(what) + " of the store", agent_policy(),
                        [set](SSL_CTX& context) { set(X509_STORE_get0_param(SSL_CTX_get_cert_store(&context))); }});
    };
    parameter("time", [](auto* of) { X509_VERIFY_PARAM_set_time(of, std::time(nullptr) - 60); });
    parameter("host flags", [](auto* of) { X509_VERIFY_PARAM_set_hostflags(of, X509_CHECK_FLAG_NO_WILDCARDS); });
    parameter("auth level", [](auto* of) { X509_VERIFY_PARAM_set_auth_level(of, 0); });
    const auto context = [&](const char* what, const std::function<void(SSL_CTX&)>& set) {
        rows.push_back({what, agent_policy(), set});
    };
    context("security level", [](SSL_CTX& of) { SSL_CTX_set_security_level(&of, 0); });
    context("verify callback",
            [](SSL_CTX& of) { SSL_CTX_set_verify(&of, SSL_VERIFY_PEER, [](int ok, X509_STORE_CTX*) { return ok; }); });
    context("client_cert_cb",
            [](SSL_CTX& of) { SSL_CTX_set_client_cert_cb(&of, [](SSL*, X509**, EVP_PKEY**) { return 0; }); });
    rows.push_back({"cert_cb",
                    agent_with([](auto& policy) {
                        policy.chained_certificate_callback = {[](SSL*, void*) { return 1; }, nullptr};
                    }),
                    {}});
#ifndef OPENSSL_NO_CT
    context("certificate transparency", [](SSL_CTX& of) { SSL_CTX_enable_ct(&of, SSL_CT_VALIDATION_PERMISSIVE); });
#endif
    const identity other_own = issue({.common_name = "rsa.example", .key = key_type::rsa}, &the_cast().customers_ca);
    context("own certificate for another kind of key", [&](SSL_CTX& of) { present(of, other_own); });
    context("own key alone", [&](SSL_CTX& of) { SSL_CTX_use_PrivateKey(&of, other_own.key.get()); });
    context("one more chain certificate", [&](SSL_CTX& of) {
        X509_up_ref(other_server_ca.certificate.get());
        SSL_CTX_add_extra_chain_cert(&of, other_server_ca.certificate.get());
    });
    context("a store for chains", [](SSL_CTX& of) { SSL_CTX_set0_chain_cert_store(&of, X509_STORE_new()); });
    const auto server = attached_server(asking());
    const auto anybody = server_context(); // has a ticket for everybody
    ROWS(each.what, rows, const row& each) {
        CAPTURE(each.what);
        crawler ours;
        crawler others(each.policy, each.set_up);
        CHECK(ours.scope() != others.scope());
        const auto session = earn(*anybody, others);
        // client::resume says so, and a full handshake follows.
        pair asked(*server, *ours.context);
        CHECK_FALSE(client::resume(*asked.client.ssl, *session));
        REQUIRE(asked.shake());
        CHECK(SSL_session_reused(asked.server.ssl.get()) == 0);
        CHECK(seen(asked) == agent_seen);
        // Who does not ask fails before a ClientHello has gone out.
        presented without_asking(*server, *ours.context, *session);
        CHECK(without_asking.both.client.failed);
        CHECK(has_no_client_hello(without_asking.sent));
    }
}

TEST_CASE("client / session without a mark -> left out, and a full handshake", "[handshake][cve]") {
    const auto server = attached_server(asking());
    const auto plain = client_context();
    session_shelf shelf;
    shelf.serve(*plain);
    REQUIRE(visit(*server, *plain).full());
    REQUIRE(shelf.last != nullptr);
    crawler ours;
    pair asked(*server, *ours.context);
    CHECK_FALSE(client::resume(*asked.client.ssl, *shelf.last));
    const visited then = visit(*server, *ours.context, {.session = shelf.last.get(), .as_it_is = true});
    CHECK(then.full());
    CHECK(then.who == agent_seen);
}

TEST_CASE("client / never offers, and a session of one that does -> left out", "[handshake][cve]") {
    const auto server = attached_server(asking());
    crawler ours;
    const auto session = earn(*server, ours);
    crawler silent(agent_with([](auto& policy) { policy.offer = reqauth::offer::never; }));
    const visited then = visit(*server, *silent.context, {.session = session.get(), .as_it_is = true});
    CHECK(then.full());
    CHECK(then.who == "not_offered");
    // Its own go on.
    const auto own = std::move(silent.shelf.last);
    REQUIRE(own != nullptr);
    const visited again = visit(*server, *silent.context, {.session = own.get(), .as_it_is = true});
    CHECK(again.resumed);
    CHECK(again.client.resumed);
}

TEST_CASE("client / server that resumes nothing, TLS 1.2, HelloRetryRequest -> sessions have their mark all the same",
          "[handshake]") {
    const auto server = attached_server(asking());
    const auto elsewhere = attached_server(asking()); // with ticket keys of its own
    crawler ours;
    const auto session = earn(*server, ours);
    const visited refused = visit(*elsewhere, *ours.context, {.session = session.get(), .as_it_is = true});
    REQUIRE(refused.full());
    const auto anew = std::move(ours.shelf.last);
    REQUIRE(anew != nullptr);
    const visited resumed = visit(*elsewhere, *ours.context, {.session = anew.get(), .retry = true, .as_it_is = true});
    CHECK(resumed.resumed);
    CHECK(resumed.retried);
    CHECK(resumed.who == agent_seen);

    SSL_CTX_set_max_proto_version(elsewhere.get(), TLS1_2_VERSION);
    const auto old = earn(*elsewhere, ours);
    CHECK(visit(*elsewhere, *ours.context, {.session = old.get(), .as_it_is = true}).resumed);
}

TEST_CASE("client / info callbacks of the application, on SSL_CTX or SSL -> are called, and sessions have their mark",
          "[handshake][SEC-6]") {
    static int of_context;
    static int of_ssl;
    of_context = of_ssl = 0;
    const auto server = attached_server(asking());
    crawler ours(agent_policy(), [](SSL_CTX& context) {
        SSL_CTX_set_info_callback(&context, [](const SSL*, int, int) { ++of_context; });
    });
    const auto first = earn(*server, ours);
    CHECK(of_context > 0);
    pair both(*server, *ours.context);
    SSL_set_info_callback(both.client.ssl.get(), [](const SSL*, int, int) { ++of_ssl; });
    REQUIRE(both.shake());
    CHECK(of_ssl > 0);
    CHECK(seen(both) == agent_seen);
    both.close();
    const auto second = std::move(ours.shelf.last);
    for (SSL_SESSION* session : {first.get(), second.get()}) {
        pair again(*server, *ours.context);
        REQUIRE(client::resume(*again.client.ssl, *session));
        REQUIRE(again.shake());
        CHECK(SSL_session_reused(again.client.ssl.get()) == 1);
        again.close();
    }
}

TEST_CASE("client / trust in a directory, to which OpenSSL adds as it goes -> the scope stays", "[handshake]") {
    const temporary_directory directory;
    const X509* ca = the_cast().server_ca.certificate.get();
    char name[32];
    std::snprintf(name, sizeof name, "%08lx.0", X509_subject_name_hash(const_cast<X509*>(ca)));
    directory.write(name, pem(*ca));
    const auto set_up = [&](SSL_CTX& context) {
        SSL_CTX_set_cert_store(&context, X509_STORE_new());
        REQUIRE(SSL_CTX_load_verify_dir(&context, directory.path().c_str()) == 1);
        SSL_CTX_set_verify(&context, SSL_VERIFY_PEER, nullptr);
    };
    crawler ours(agent_policy(), set_up);
    const auto before = ours.scope();
    const auto server = attached_server(asking());
    const auto session = earn(*server, ours);
    CHECK(ours.scope() == before);
    CHECK(visit(*server, *ours.context, {.session = session.get(), .as_it_is = true}).resumed);
    crawler equal(agent_policy(), set_up);
    CHECK(equal.scope() == before);
}

TEST_CASE("client / scope of an SSL_CTX without a client -> contradiction", "[handshake]") {
    const auto context = client_context();
    CHECK(failure_of([&] { (void)client::scope(*context); }) == reqauth::errc::not_attached);
}

TEST_CASE(
    "client / two own certificates, one of them shared by two tenants -> other scopes, and no session of the other",
    "[handshake][attack]") {
    const identity shared = issue({.common_name = "shared.example", .key = key_type::rsa}, &the_cast().customers_ca);
    const auto server = server_context();
    const auto with = [&](const identity& own, bool shared_first, int chain) {
        return [&own, &shared, shared_first, chain](SSL_CTX& context) {
            if (shared_first) present(context, shared);
            present(context, own);
            if (chain > 0) SSL_CTX_add1_chain_cert(&context, the_cast().customers_ca.certificate.get());
            if (!shared_first) present(context, shared);
        };
    };
    for (const bool shared_first : {false, true}) {
        crawler one(agent_policy(), with(the_cast().customer, shared_first, 0));
        crawler other(agent_policy(), with(the_cast().server, shared_first, 0));
        crawler chained(agent_policy(), with(the_cast().customer, shared_first, 1));
        crawler equal(agent_policy(), with(the_cast().customer, !shared_first, 0));
        CHECK(one.scope() != other.scope());
        CHECK(one.scope() != chained.scope());
        CHECK(one.scope() == equal.scope());
        const auto session = earn(*server, one);
        for (crawler* each : {&other, &chained}) {
            pair asked(*server, *each->context);
            CHECK_FALSE(client::resume(*asked.client.ssl, *session));
            presented without_asking(*server, *each->context, *session);
            CHECK(has_no_client_hello(without_asking.sent));
        }
    }
}

TEST_CASE("client / what is set on the SSL itself: names, addresses, certificates, trust -> scopes of their own",
          "[handshake][attack]") {
    const auto server = server_context();
    const auto set = [](const std::function<void(SSL*, X509_VERIFY_PARAM*)>& change) {
        return [change](SSL* ssl) { change(ssl, SSL_get0_param(ssl)); };
    };
    const std::vector<std::function<void(SSL*)>> changes = {
        [](SSL*) {},
        set([](SSL*, auto* of) { X509_VERIFY_PARAM_set1_host(of, "a.example", 0); }),
        set([](SSL*, auto* of) { X509_VERIFY_PARAM_set1_host(of, "b.example", 0); }),
        set([](SSL*, auto* of) {
            X509_VERIFY_PARAM_set1_host(of, "a.example", 0);
            X509_VERIFY_PARAM_add1_host(of, "b.example", 0);
        }),
        set([](SSL*, auto* of) { X509_VERIFY_PARAM_set1_ip_asc(of, "192.0.2.1"); }),
        set([](SSL*, auto* of) { X509_VERIFY_PARAM_set1_ip_asc(of, "2001:db8::1"); }),
        set([](SSL*, auto* of) { X509_VERIFY_PARAM_set1_email(of, "a@example.com", 0); }),
        set([](SSL* ssl, auto*) { SSL_set_verify(ssl, SSL_VERIFY_NONE, nullptr); }),
        set([](SSL* ssl, auto*) {
            SSL_use_certificate(ssl, the_cast().customer.certificate.get());
            SSL_use_PrivateKey(ssl, the_cast().customer.key.get());
        }),
        set([](SSL* ssl, auto*) { SSL_set0_verify_cert_store(ssl, X509_STORE_new()); }),
    };
    crawler ours;
    std::vector<client_scope> seen_scopes;
    for (const auto& change : changes) {
        for (int i = 0; i < 2; ++i) { // the same twice
            const owned<SSL> ssl(SSL_new(ours.context.get()));
            change(ssl.get());
            const auto scope = client::scope(*ssl);
            CHECK(std::ranges::count(seen_scopes, scope) == i);
            if (i == 0) seen_scopes.push_back(scope);
        }
    }
    CHECK(ours.scope() == seen_scopes.front());
}

TEST_CASE("client / session of a connection to one name, presented on one to another -> no ClientHello goes out",
          "[handshake][attack]") {
    const auto server = server_context();
    crawler ours;
    pair first(*server, *ours.context);
    REQUIRE(SSL_set1_host(first.client.ssl.get(), "server.example") == 1);
    REQUIRE(first.shake());
    first.close();
    for (const bool same : {true, false}) {
        pair second(*server, *ours.context);
        SSL_set1_host(second.client.ssl.get(), same ? "server.example" : "other.example");
        CHECK(client::resume(*second.client.ssl, *ours.shelf.last) == same);
        SSL_set_session(second.client.ssl.get(), ours.shelf.last.get());
        second.client.step();
        CHECK(second.client.failed == !same);
        CHECK(has_no_client_hello(second.client.take()) == !same);
    }
}

TEST_CASE("client / SSL with a store of its own beside a directory to which OpenSSL adds -> the scope stays",
          "[handshake][attack]") {
    const temporary_directory directory;
    const X509* ca = the_cast().server_ca.certificate.get();
    char name[32];
    std::snprintf(name, sizeof name, "%08lx.0", X509_subject_name_hash(const_cast<X509*>(ca)));
    directory.write(name, pem(*ca));
    const auto server = attached_server(asking());
    crawler ours(agent_policy(), [&](SSL_CTX& context) {
        SSL_CTX_set_cert_store(&context, X509_STORE_new());
        REQUIRE(SSL_CTX_load_verify_dir(&context, directory.path().c_str()) == 1);
    });
    const auto before = ours.scope();
    const auto session = earn(*server, ours);
    const owned<SSL> with_another(SSL_new(ours.context.get()));
    X509_STORE* const another = X509_STORE_new();
    X509_STORE_add_cert(another, the_cast().customers_ca.certificate.get());
    SSL_set0_verify_cert_store(with_another.get(), another);
    CHECK(client::scope(*with_another) != before);
    CHECK(ours.scope() == before);
    CHECK(visit(*server, *ours.context, {.session = session.get(), .as_it_is = true}).resumed);
}

TEST_CASE("client / its own certificate changes on the SSL_CTX after attach -> another scope, and no session of before",
          "[handshake][attack-control]") {
    const auto server = server_context();
    crawler ours;
    const auto session = earn(*server, ours);
    const auto before = ours.scope();
    present(*ours.context, the_cast().customer);
    CHECK(ours.scope() != before);
    pair asked(*server, *ours.context);
    CHECK_FALSE(client::resume(*asked.client.ssl, *session));
    presented without_asking(*server, *ours.context, *session);
    CHECK(has_no_client_hello(without_asking.sent));
}

TEST_CASE("client / scope asked of an SSL and its SSL_CTX -> certificates and the current one are as before",
          "[handshake][attack-control][SEC-6]") {
    const identity rsa = issue({.common_name = "rsa.example", .key = key_type::rsa}, &the_cast().customers_ca);
    crawler ours(agent_policy(), [&](SSL_CTX& context) {
        present(context, the_cast().customer);
        present(context, rsa);
    });
    const owned<SSL> ssl(SSL_new(ours.context.get()));
    for (X509* current : {the_cast().customer.certificate.get(), rsa.certificate.get()}) {
        REQUIRE(SSL_select_current_cert(ssl.get(), current) == 1);
        (void)client::scope(*ssl);
        CHECK(SSL_get_certificate(ssl.get()) == current);
    }
    // A certificate that waits for its key.
    const owned<SSL> waiting(SSL_new(ours.context.get()));
    SSL_certs_clear(waiting.get());
    REQUIRE(SSL_use_certificate(waiting.get(), the_cast().customer.certificate.get()) == 1);
    (void)client::scope(*waiting);
    CHECK(SSL_get_certificate(waiting.get()) == the_cast().customer.certificate.get());
    CHECK(SSL_use_PrivateKey(waiting.get(), the_cast().customer.key.get()) == 1);
}

TEST_CASE("client / scopes of one SSL_CTX in many threads at once, the first time -> one",
          "[handshake][threads][attack-control]") {
    crawler ours;
    std::vector<client_scope> found(8);
    std::vector<std::thread> threads;
    for (client_scope& each : found) threads.emplace_back([&] { each = ours.scope(); });
    for (std::thread& each : threads) each.join();
    CHECK(std::ranges::count(found, ours.scope()) == 8);
}

TEST_CASE("client / clock that goes back, and a session -> the same scope; expired credentials count again when valid",
          "[handshake][attack-control][RCA-6]") {
    const auto server = attached_server(asking());
    auto soon = agent_description("soon.example");
    soon.not_before = -60;
    soon.not_after = 3600;
    const identity short_lived = issue(soon, &the_cast().agents_ca);
    client_policy policy;
    policy.credential = reqauth::credential::from_objects(*short_lived.certificate, *short_lived.key);
    crawler ours(policy);
    const stopped_clock clock;
    const auto before = ours.scope();
    clock.set(std::chrono::seconds(7200));
    CHECK_FALSE(ours.itself.offers());
    CHECK(visit(*server, *ours.context).who == "not_offered");
    clock.set(std::chrono::seconds(0));
    CHECK(ours.itself.offers());
    CHECK(ours.scope() == before);
    CHECK(visit(*server, *ours.context).who == "flagged CN=soon.example");
    clock.set(std::chrono::seconds(-1800)); // before it is valid
    CHECK_FALSE(ours.itself.offers());
    CHECK(visit(*server, *ours.context).who == "not_offered");
}

TEST_CASE("client / server that asks for the flag without saying so -> its session is not resumed",
          "[handshake][attack-control]") {
    const auto server = server_context();
    know_the_flag_halfway(*server);
    for (const auto answer :
         {reqauth::unacknowledged::as_before, reqauth::unacknowledged::empty, reqauth::unacknowledged::present}) {
        crawler ours(agent_with([&](auto& policy) { policy.when_unacknowledged = answer; }));
        owned<SSL_SESSION> last;
        for (int visits = 0; visits < 4; ++visits) {
            const visited now = visit(*server, *ours.context, {.session = last.get(), .as_it_is = true});
            CAPTURE(visits, now.alert);
            CHECK(now.full());
            CHECK(now.client.requested);
            CHECK_FALSE(now.client.acknowledged);
            last = std::move(ours.shelf.last);
            REQUIRE(last != nullptr);
            pair asked(*server, *ours.context);
            CHECK_FALSE(client::resume(*asked.client.ssl, *last));
        }
    }
    // Whoever does not offer the flag resumes as ever, and who is asked in TLS 1.2, or after the handshake.
    crawler silent(agent_with([](auto& policy) { policy.offer = reqauth::offer::never; }));
    const auto own = earn(*server, silent);
    CHECK(visit(*server, *silent.context, {.session = own.get(), .as_it_is = true}).resumed);
    const auto old = server_context();
    ask(*old, SSL_VERIFY_PEER, the_cast().customers_ca);
    SSL_CTX_set_max_proto_version(old.get(), TLS1_2_VERSION);
    crawler ours;
    const auto of_old = earn(*old, ours);
    CHECK(visit(*old, *ours.context, {.session = of_old.get(), .as_it_is = true}).resumed);
}

TEST_CASE("client / session whose handshake ended in a fatal alert -> left out from then on, copies too",
          "[handshake][attack-control]") {
    // Two servers with the same ticket keys: one resumes whatever it is, the other knows the flag halfway.
    const auto friendly = server_context();
    const auto halfway = server_context();
    know_the_flag_halfway(*halfway);
    know_the_flag_halfway(*friendly);
    std::array<unsigned char, 80> keys{};
    for (SSL_CTX* each : {friendly.get(), halfway.get()})
        REQUIRE(SSL_CTX_set_tlsext_ticket_keys(each, keys.data(), keys.size()) == 1);
    crawler ours;
    reqauth::client_policy silently = agent_policy();
    bool offers = false;
    silently.offers_to = [&](const SSL&) { return offers; };
    crawler wavering(silently);
    for (const bool copied : {false, true}) {
        CAPTURE(copied);
        offers = false;
        const auto session = earn(*friendly, wavering); // nobody was asked: it has its mark
        const owned<SSL_SESSION> copy(SSL_SESSION_dup(session.get()));
        offers = true;
        const visited refused = visit(*halfway, *wavering.context, {.session = session.get(), .as_it_is = true});
        CHECK((refused.alert == "unexpected_message" || refused.alert == "unexpected message")); // OpenSSL 3.0, 3.5
        CHECK(refused.client.resumed);
        SSL_SESSION& again = copied ? *copy : *session;
        pair asked(*halfway, *wavering.context);
        CHECK_FALSE(client::resume(*asked.client.ssl, again));
        CHECK(visit(*halfway, *wavering.context, {.session = &again, .as_it_is = true}).full());
        // Another client has had no such handshake.
        CHECK(ours.scope() == wavering.scope());
    }
}

TEST_CASE("client / session with which a server goes on talking, and sends an alert later -> is presented again",
          "[handshake]") {
    const auto server = attached_server(asking());
    crawler ours;
    const auto session = earn(*server, ours);
    const owned<SSL_SESSION> copy(SSL_SESSION_dup(session.get()));
    pair both(*server, *ours.context);
    REQUIRE(client::resume(*both.client.ssl, *session));
    REQUIRE(both.shake());
    const std::string page(4096, 'x');
    REQUIRE(SSL_write(both.server.ssl.get(), page.data(), static_cast<int>(page.size())) > 0);
    both.run();
    both.client.give("\x17\x03\x03\x00\x20" + std::string(32, 'x')); // what nobody can have sent: bad_record_mac
    both.client.step();
    CHECK(both.client.failed);
    pair again(*server, *ours.context);
    CHECK(client::resume(*again.client.ssl, *copy));
}

TEST_CASE("client / offers_to says no -> no flag, withheld: by_application, and no certificate for a request",
          "[handshake][RCA-3]") {
    const auto server = server_context();
    SSL_CTX_set_verify(server.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
    for (const bool offers : {false, true}) {
        CAPTURE(offers);
        int asked = 0;
        crawler ours(agent_with([&](auto& policy) {
            policy.when_unacknowledged = reqauth::unacknowledged::present;
            policy.offers_to = [&](const SSL&) {
                ++asked;
                return offers;
            };
        }));
        const visited now = visit(*server, *ours.context, {.retry = true});
        CHECK(now.full());
        CHECK(asked == 1); // both ClientHellos are the same
        CHECK(now.client.offered == offers);
        CHECK(now.client.withheld == (offers ? reqauth::withheld::nothing : reqauth::withheld::by_application));
        CHECK(now.has_certificate == offers);
    }
    crawler failing(agent_with(
        [](auto& policy) { policy.offers_to = [](const SSL&) -> bool { throw std::runtime_error("of the test"); }; }));
    CHECK_FALSE(visit(*server, *failing.context).good);
}

TEST_CASE("client / server that ends the connection on the flag -> hello_unanswered, and explain says so",
          "[handshake]") {
    enum class ending { none, closed, alert, name_alert, other_protocol, after_retry, hello_not_made };
    struct row {
        const char* what;
        ending how;
        bool unanswered;
        const char* words;
    };
    const row rows[] = {
        {"it says nothing", ending::none, true, "did not answer the ClientHello, which had the flag"},
        {"it closes", ending::closed, true, "did not answer the ClientHello, which had the flag"},
        {"an alert", ending::alert, true, "with the alert handshake_failure"},
        {"an alert that is about the name", ending::name_alert, false, ""},
        {"another protocol", ending::other_protocol, false, ""},
        {"it asked for another ClientHello", ending::after_retry, false, ""},
        {"the ClientHello was not made", ending::hello_not_made, false, ""},
    };
    const auto server = attached_server(asking());
    ROWS(each.what, rows, const row& each) {
        CAPTURE(each.what);
        int told = 0;
        bool told_so = false;
        crawler ours(agent_with([&](auto& policy) {
            policy.observe = [&](const SSL&, const reqauth::client_outcome& how) {
                ++told;
                told_so = how.hello_unanswered;
            };
        }));
        pair both(*server, *ours.context);
        owned<SSL_SESSION> foreign;
        if (each.how == ending::hello_not_made) {
            crawler others(agent_with([](auto& policy) { policy.label = "other"; }));
            foreign = earn(*server, others);
            SSL_set_session(both.client.ssl.get(), foreign.get());
        }
        if (each.how == ending::after_retry) {
            SSL_set1_groups_list(both.server.ssl.get(), "P-384");
            SSL_set1_groups_list(both.client.ssl.get(), "P-256:P-384");
        }
        both.client.step();
        const std::string hello = both.client.take();
        if (each.how == ending::closed) BIO_set_mem_eof_return(SSL_get_rbio(both.client.ssl.get()), 0);
        if (each.how == ending::alert) both.client.give(octets({21, 3, 3, 0, 2, 2, 40}));
        if (each.how == ending::name_alert) both.client.give(octets({21, 3, 3, 0, 2, 2, 112}));
        if (each.how == ending::other_protocol) both.client.give("HTTP/1.1 400 Bad Request\r\n\r\n");
        if (each.how == ending::after_retry) {
            both.server.give(hello);
            both.server.step();
            both.client.give(both.server.take());
            both.client.step();
            both.client.give(octets({21, 3, 3, 0, 2, 2, 40}));
        }
        both.client.step();
        const auto outcome = reqauth::client_outcome_of(*both.client.ssl);
        CHECK(outcome.offered);
        CHECK(outcome.hello_unanswered == each.unanswered);
        CHECK(reqauth::explain(*both.client.ssl).cause.find(each.words) != std::string::npos);
        CHECK(both.client.failed == (each.how != ending::none));
        CHECK(told == (each.how == ending::none ? 0 : 1));
        if (told == 1) CHECK(told_so == each.unanswered);
    }
    // Without the flag nothing is said of it.
    crawler silent(agent_with([](auto& policy) { policy.offer = reqauth::offer::never; }));
    pair both(*server, *silent.context);
    both.client.step();
    both.client.give(octets({21, 3, 3, 0, 2, 2, 40}));
    both.client.step();
    CHECK_FALSE(reqauth::client_outcome_of(*both.client.ssl).hello_unanswered);
    // Nor where it goes well.
    crawler ours;
    CHECK_FALSE(visit(*server, *ours.context).client.hello_unanswered);
}
