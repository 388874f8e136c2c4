// SPDX-License-Identifier: Apache-2.0
// Flaws that other servers had, each shown twice: in a plain OpenSSL server written the usual way, and absent here.
// Where another file shows the second part at length, the test names it and shows one case.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/clock.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <openssl/pem.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

using namespace support;
using namespace std::chrono_literals;

namespace {

constexpr const char* agent_seen = "flagged CN=crawler.example";
constexpr int required = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;

/// usual is a plain server that requires certificates of `ca`.
owned<SSL_CTX> usual(fleet& nodes, tickets how, const identity& ca) {
    auto context = server_context();
    ask(*context, required, ca);
    nodes.join(*context, how);
    return context;
}

/// holder presents `who` to every request, without the flag.
visitor holder(const identity& who) {
    auto context = client_context();
    present(*context, who);
    return visitor(std::move(context));
}

/// taken_for_verified is what code that knows only OpenSSL checks.
bool taken_for_verified(const visited& found) {
    return found.good && found.has_certificate && found.verify_result == X509_V_OK;
}

/// switch_to makes `from` serve b.example with `to`, as servers do.
void switch_to(SSL_CTX& from, SSL_CTX& to) {
    SSL_CTX_set_tlsext_servername_arg(&from, &to);
    SSL_CTX_set_tlsext_servername_callback(
        &from, +[](SSL* ssl, int*, void* other) -> int {
            const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
            if (name != nullptr && std::strcmp(name, "b.example") == 0)
                SSL_set_SSL_CTX(ssl, static_cast<SSL_CTX*>(other));
            return SSL_TLSEXT_ERR_OK;
        });
}

reqauth::server_policy requiring(const reqauth::trust& agents) {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::require(agents);
    return policy;
}

owned<SSL_SESSION> session_of(visitor& client, const visited& first) {
    REQUIRE(first.full());
    REQUIRE(client.shelf.last != nullptr);
    return std::move(client.shelf.last);
}

/// ours is one SSL_CTX that requires certificates of flagged clients.
struct ours {
    ours(tickets how, const reqauth::trust& agents) {
        nodes.join(*context, how);
        where = listener.attach(*context, requiring(agents));
    }
    void trust(const reqauth::trust& agents) { listener.replace({{where, requiring(agents)}}); }
    fleet nodes;
    owned<SSL_CTX> context = server_context();
    reqauth::server listener;
    reqauth::attachment where;
};

/// ours_resumes is what a session earned under `before` is worth under `after`.
visited ours_after(tickets how, const reqauth::trust& before, const reqauth::trust& after) {
    ours host(how, before);
    auto client = visitor(attached_client());
    const owned<SSL_SESSION> session = session_of(client, visit(*host.context, *client.context));
    const owned<SSL_SESSION> copy(SSL_SESSION_dup(session.get()));
    CHECK(visit(*host.context, *client.context, {.session = copy.get()}).resumed_peer); // it was good
    host.trust(after);
    return visit(*host.context, *client.context, {.session = session.get()});
}

/// usual_after is the same for a plain server whose trust is changed by `change`.
visited usual_after(tickets how, const std::function<void(SSL_CTX&)>& change) {
    fleet nodes;
    const auto host = usual(nodes, how, the_cast().agents_ca);
    auto client = holder(the_cast().agent);
    const owned<SSL_SESSION> session = session_of(client, visit(*host, *client.context));
    change(*host);
    return visit(*host, *client.context, {.session = session.get()});
}

} // namespace

TEST_CASE("nginx CVE-2025-23419, Apache CVE-2025-23048 / session of one virtual host at another, with another trust",
          "[handshake][valgrind][cve][TLS-2][SEC-5]") {
    for (const auto how : {tickets::stateless, tickets::stateful}) {
        CAPTURE(int(how));
        {
            fleet nodes;
            const auto a = usual(nodes, how, the_cast().agents_ca);
            const auto b = usual(nodes, how, the_cast().customers_ca);
            switch_to(*a, *b);
            auto client = holder(the_cast().agent);
            CHECK_FALSE(visit(*a, *client.context, {.name = "b.example"}).good); // b does not trust it
            const auto session = session_of(client, visit(*a, *client.context, {.name = "a.example"}));
            const visited crossed = visit(*a, *client.context, {.name = "b.example", .session = session.get()});
            CHECK(crossed.resumed);
            CHECK(taken_for_verified(crossed)); // the flaw
        }
        fleet nodes;
        const auto a = server_context();
        const auto b = server_context();
        for (SSL_CTX* each : {a.get(), b.get()}) nodes.join(*each, how);
        switch_to(*a, *b);
        reqauth::server listener;
        listener.attach(*a, requiring(agents()));
        listener.attach(*b, requiring(trust_in(the_cast().customers_ca)));
        const auto client = flagged_client(the_cast().agent);
        session_shelf shelf;
        shelf.serve(*client.context);
        REQUIRE(visit(*a, *client.context, {.name = "a.example"}).who == agent_seen);
        const owned<SSL_SESSION> session = std::move(shelf.last);
        const visited crossed = visit(*a, *client.context, {.name = "b.example", .session = session.get()});
        CHECK_FALSE(crossed.resumed);
        CHECK_FALSE(crossed.good);
        CHECK(crossed.alert == "unknown CA");
    }
}

TEST_CASE("HAProxy 2026, id context scoped too narrowly / other mode, CA or CRL with the same ticket keys",
          "[handshake][cve][TLS-2]") {
    // resumption.cpp: "any setting of the server or its policy differs", one by one.
    for (const auto how : {tickets::stateless, tickets::stateful}) {
        CAPTURE(int(how));
        fleet nodes;
        const auto lax = usual(nodes, how, the_cast().agents_ca);
        const auto strict = usual(nodes, how, the_cast().customers_ca);
        auto client = holder(the_cast().agent);
        const auto session = session_of(client, visit(*lax, *client.context));
        CHECK(taken_for_verified(visit(*strict, *client.context, {.session = session.get()}))); // the flaw

        const auto lax_ours = server_context();
        const auto strict_ours = server_context();
        for (SSL_CTX* each : {lax_ours.get(), strict_ours.get()}) nodes.join(*each, how);
        attach(*lax_ours, asking());
        attach(*strict_ours, requiring(trust_in(the_cast().customers_ca)));
        auto agent = visitor(attached_client());
        const auto of_agent = session_of(agent, visit(*lax_ours, *agent.context));
        const visited crossed = visit(*strict_ours, *agent.context, {.session = of_agent.get()});
        CHECK_FALSE(crossed.resumed);
        CHECK_FALSE(crossed.good);
    }
}

TEST_CASE("HAProxy, one certificate under two SNI filters / two policies of one listener",
          "[handshake][cve][TLS-2][SEC-5]") {
    // The same server certificate and trust; b requires what a only asks for.
    for (const auto how : {tickets::stateless, tickets::stateful}) {
        CAPTURE(int(how));
        {
            fleet nodes;
            const auto a = server_context();
            ask(*a, SSL_VERIFY_PEER, the_cast().agents_ca);
            nodes.join(*a, how);
            const auto b = usual(nodes, how, the_cast().agents_ca);
            SSL_CTX_set_tlsext_servername_arg(a.get(), b.get());
            SSL_CTX_set_tlsext_servername_callback(
                a.get(), +[](SSL* ssl, int*, void* other) -> int {
                    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
                    if (name == nullptr || std::strcmp(name, "b.example") != 0) return SSL_TLSEXT_ERR_OK;
                    SSL_set_SSL_CTX(ssl, static_cast<SSL_CTX*>(other));
                    SSL_set_verify(ssl, required, nullptr); // as nginx and others do: OpenSSL keeps a's
                    return SSL_TLSEXT_ERR_OK;
                });
            visitor nobody(client_context());
            CHECK_FALSE(visit(*a, *nobody.context, {.name = "b.example"}).good);
            const auto session = session_of(nobody, visit(*a, *nobody.context, {.name = "a.example"}));
            const visited crossed = visit(*a, *nobody.context, {.name = "b.example", .session = session.get()});
            CHECK(crossed.good); // the flaw: required, and never shown
            CHECK_FALSE(crossed.has_certificate);
        }
        fleet nodes;
        const auto a = server_context();
        const auto b = server_context();
        for (SSL_CTX* each : {a.get(), b.get()}) nodes.join(*each, how);
        switch_to(*a, *b);
        reqauth::server listener;
        listener.attach(*a, asking());
        listener.attach(*b, demanding());
        auto client = visitor(attached_client());
        const auto session = session_of(client, visit(*a, *client.context, {.name = "a.example"}));
        const visited crossed = visit(*a, *client.context, {.name = "b.example", .session = session.get()});
        CHECK(crossed.full());
        CHECK(crossed.asked);
        reqauth::client_policy nothing;
        nothing.offer = reqauth::offer::always;
        auto nobody = visitor(attached_client(nothing));
        CHECK(visit(*a, *nobody.context, {.name = "a.example"}).who == "empty");
        CHECK(nobody.shelf.last == nullptr); // nothing to cross with
    }
}

TEST_CASE("HAProxy, ticket renewal / a chain of resumptions past the session's time", "[handshake][cve][TLS-2]") {
    // resumption.cpp: "max_session_age through twenty renewals", every ticket kind and the last second.
    constexpr auto step = 600s;
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const bool plain : {true, false}) {
            CAPTURE(int(how), plain);
            const stopped_clock clock;
            fleet nodes;
            const auto host = plain ? usual(nodes, how, the_cast().agents_ca) : server_context();
            SSL_CTX_set_timeout(host.get(), 3600);
            if (!plain) {
                nodes.join(*host, how);
                attach(*host, demanding());
            }
            auto client = plain ? holder(the_cast().agent) : visitor(attached_client());
            auto session = session_of(client, visit(*host, *client.context));
            int last_resumed = 0;
            for (int i = 1; i <= 20; ++i) {
                clock.set(i * step);
                const visited again = visit(*host, *client.context, {.session = session.get()});
                if (!again.resumed) break;
                last_resumed = i;
                REQUIRE(client.shelf.last != nullptr);
                session = std::move(client.shelf.last);
            }
            CHECK(last_resumed == (plain ? 20 : 5)); // the flaw: for ever
        }
}

TEST_CASE("Go CVE-2025-68121 / client CAs changed, or an intermediate expired, and an old ticket",
          "[handshake][cve][SEC-4][TLS-2]") {
    // reload.cpp: "trust exchanged"; resumption.cpp: "a certificate of the verified chain expires".
    for (const auto how : {tickets::stateless, tickets::stateful}) {
        CAPTURE(int(how));
        CHECK(taken_for_verified(usual_after(how, [](SSL_CTX& host) {
            X509_STORE* changed = X509_STORE_new();
            X509_STORE_add_cert(changed, the_cast().customers_ca.certificate.get());
            SSL_CTX_set_cert_store(&host, changed); // takes it over
        })));                                       // the flaw
        const visited after = ours_after(how, agents(), trust_in(the_cast().customers_ca));
        CHECK_FALSE(after.resumed);
        CHECK_FALSE(after.good);

        for (const bool plain : {true, false}) {
            CAPTURE(plain);
            const stopped_clock clock;
            const identity root = issue({.common_name = "Root", .ca = true});
            const identity middle = issue({.common_name = "Middle", .ca = true, .not_after = 600}, &root);
            const identity leaf = issue(agent_description("crawler.example"), &middle);
            X509* chain[] = {middle.certificate.get()};
            fleet nodes;
            const auto host = plain ? usual(nodes, how, root) : server_context();
            if (!plain) {
                nodes.join(*host, how);
                attach(*host, requiring(trust_in(root)));
            }
            reqauth::client_policy policy;
            policy.credential = credential_of(leaf, chain);
            policy.when_unsatisfiable = reqauth::unsatisfiable::present;
            auto client = plain ? holder(leaf) : visitor(attached_client(policy));
            if (plain) SSL_CTX_add1_chain_cert(client.context.get(), middle.certificate.get());
            const auto session = session_of(client, visit(*host, *client.context));
            clock.set(900s);
            const visited late = visit(*host, *client.context, {.session = session.get()});
            CHECK(late.resumed == plain); // the flaw
            CHECK(late.good == plain);
            if (!plain) CHECK(late.alert == "certificate expired");
        }
    }
}

TEST_CASE("Cloudflare 2022 / revoked certificate, and a ticket from before",
          "[handshake][valgrind][cve][SEC-4][TLS-2]") {
    const auto& who = the_cast();
    const std::string revoking = crl(who.agents_ca, {.revoked = {who.agent.certificate.get()}});
    for (const auto how : {tickets::stateless, tickets::stateful}) {
        CAPTURE(int(how));
        const visited plain = usual_after(how, [&](SSL_CTX& host) {
            const owned<BIO> text(BIO_new_mem_buf(revoking.data(), static_cast<int>(revoking.size())));
            X509_CRL* list = PEM_read_bio_X509_CRL(text.get(), nullptr, nullptr, nullptr);
            X509_STORE_add_crl(SSL_CTX_get_cert_store(&host), list);
            X509_STORE_set_flags(SSL_CTX_get_cert_store(&host), X509_V_FLAG_CRL_CHECK);
            X509_CRL_free(list);
            auto anew = holder(who.agent);
            CHECK_FALSE(visit(host, *anew.context).good); // it is revoked
        });
        CHECK(plain.resumed);
        CHECK(taken_for_verified(plain)); // the flaw
        const visited after = ours_after(how, agents().with_crls(crl(who.agents_ca)), agents().with_crls(revoking));
        CHECK_FALSE(after.resumed);
        CHECK_FALSE(after.good);
        CHECK(after.alert == "certificate revoked");
    }
}

TEST_CASE("Envoy CVE-2022-21654 / validation settings changed, and a ticket from before",
          "[handshake][cve][SEC-4][TLS-2]") {
    // resumption.cpp: "any setting of the server or its policy differs".
    const auto& who = the_cast();
    for (const auto how : {tickets::stateless, tickets::stateful}) {
        CAPTURE(int(how));
        const visited plain = usual_after(how, [&](SSL_CTX& host) {
            X509_VERIFY_PARAM_set_purpose(SSL_CTX_get0_param(&host), X509_PURPOSE_SMIME_SIGN);
            auto anew = holder(who.agent);
            CHECK_FALSE(visit(host, *anew.context).good); // no longer fit
        });
        CHECK(taken_for_verified(plain)); // the flaw
        for (const auto& stricter :
             {agents().with_purpose(reqauth::purpose::server), agents().with_pins({pin_of(*who.server.key)}),
              agents().with_time(std::chrono::system_clock::now() + std::chrono::hours(48))}) {
            const visited after = ours_after(how, agents(), stricter);
            CHECK_FALSE(after.resumed);
            CHECK_FALSE(after.good);
        }
    }
}

TEST_CASE("Bun 2026, Caddy CVE-2026-27586 / a CA file that is missing, and the system's roots",
          "[handshake][cve][SEC-2]") {
    // trust.cpp: "missing, empty, malformed, partly malformed". Here the system's roots know the customers' CA.
    const temporary_directory files;
    const auto roots = files.write("roots.pem", pem(*the_cast().customers_ca.certificate));
    const char* before = std::getenv("SSL_CERT_FILE");
    const std::string kept = before != nullptr ? before : "";
    setenv("SSL_CERT_FILE", roots.c_str(), 1);
    const auto host = server_context();
    const std::string missing = (files.path() / "agents.pem").string();
    if (SSL_CTX_load_verify_locations(host.get(), missing.c_str(), nullptr) != 1)
        SSL_CTX_set_default_verify_paths(host.get());
    SSL_CTX_set_verify(host.get(), required, nullptr);
    auto client = holder(the_cast().customer);
    CHECK(taken_for_verified(visit(*host, *client.context))); // the flaw

    std::string text;
    CHECK(failure_of([&] { (void)reqauth::trust::from_file(missing); }, &text) == reqauth::errc::unreadable);
    CHECK(text.find("agents.pem") != std::string::npos);
    CHECK(failure_of([&] { (void)reqauth::trust::from_file(files.write("empty.pem", "")); }) ==
          reqauth::errc::holds_nothing);
    const auto good_and_bad =
        pem(*the_cast().agents_ca.certificate) + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    CHECK(failure_of([&] { (void)reqauth::trust::from_file(files.write("half.pem", good_and_bad)); }) ==
          reqauth::errc::malformed);
    // With a trust that did load, the system's roots open nothing, whatever the SSL_CTX has loaded.
    const auto attached = server_context();
    SSL_CTX_set_default_verify_paths(attached.get());
    attach(*attached, demanding());
    const auto impostor = flagged_client(the_cast().customer);
    CHECK(visit(*attached, *impostor.context).alert == "unknown CA");
    if (before != nullptr)
        setenv("SSL_CERT_FILE", kept.c_str(), 1);
    else
        unsetenv("SSL_CERT_FILE");
}

TEST_CASE("Bun 2026 / SSL_CTX without an id context", "[handshake][cve][TLS-2][SEC-6]") {
    for (const auto how : {tickets::stateless, tickets::stateful})
        for (const bool plain : {true, false}) {
            CAPTURE(int(how), plain);
            owned<SSL_CTX> host(SSL_CTX_new(TLS_server_method()));
            present(*host, the_cast().server);
            fleet nodes;
            nodes.join(*host, how);
            if (plain)
                ask(*host, required, the_cast().agents_ca);
            else
                attach(*host, demanding());
            auto client = plain ? holder(the_cast().agent) : visitor(attached_client());
            const auto session = session_of(client, visit(*host, *client.context));
            const visited again = visit(*host, *client.context, {.session = session.get()});
            // The flaw: whoever comes back with a ticket is turned away. What it would have to keep, OpenSSL does not.
            CHECK(again.good == (!plain || how == tickets::stateful));
            if (!plain) CHECK(again.resumed_peer);
        }
}

TEST_CASE("Envoy CVE-2025-66220 / NUL inside a subjectAltName", "[handshake][cve]") {
    // outcomes.cpp: every other character that could end a list, a header or a line.
    auto about = agent_description("crawler.example");
    about.alt_names = {{GEN_DNS, std::string("crawler.example\0.evil.example", 29)}};
    const identity forged = issue(about, &the_cast().agents_ca);
    const auto* names =
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(forged.certificate.get(), NID_subject_alt_name, nullptr, nullptr));
    REQUIRE(names != nullptr);
    const ASN1_STRING* name =
        static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), nullptr));
    CHECK(std::strcmp(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name)), "crawler.example") == 0); // the flaw
    GENERAL_NAMES_free(const_cast<GENERAL_NAMES*>(names));

    const auto host = attached_server(demanding());
    const auto client = flagged_client(forged);
    pair both(*host, *client.context);
    REQUIRE(both.shake());
    const reqauth::peer who = reqauth::peer_of(*both.server.ssl);
    const auto* agent = std::get_if<reqauth::flagged_peer>(&who);
    REQUIRE(agent != nullptr);
    REQUIRE(agent->alt_names().size() == 1);
    CHECK(agent->alt_names()[0].value == "crawler.example\\00.evil.example");
}

TEST_CASE("wolfSSL CVE-2022-25640, -25638 / empty Certificate, and a CertificateVerify by another key",
          "[handshake][cve][SEC-1]") {
    const auto optional = server_context();
    ask(*optional, SSL_VERIFY_PEER, the_cast().agents_ca);
    const visitor nobody(client_context());
    CHECK(visit(*optional, *nobody.context).verify_result == X509_V_OK); // the flaw: the result alone says verified
    reqauth::client_policy nothing;
    nothing.offer = reqauth::offer::always;
    const visitor empty_handed(attached_client(nothing));
    const auto host = attached_server(asking());
    const visited empty = visit(*host, *empty_handed.context);
    CHECK(empty.who == "empty");
    CHECK(empty.outcome.certificate == reqauth::server_outcome::answer::empty);

    const identity thief = stolen(the_cast().agent);
    for (const auto& policy : {asking(), demanding(), [] {
                                   auto lax = asking();
                                   lax.when_offered = lax.when_offered.invalid_is_anonymous();
                                   return lax;
                               }()}) {
        const auto strict = attached_server(policy);
        const auto client = flagged_client(thief);
        session_shelf shelf;
        shelf.serve(*client.context);
        pair both(*strict, *client.context);
        CHECK_FALSE(both.shake());
        CHECK_FALSE(both.server.good());
        CHECK(seen(both) == "handshake_unfinished");
        CHECK(reqauth::server_outcome_of(*both.server.ssl).certificate != reqauth::server_outcome::answer::verified);
        CHECK(shelf.last == nullptr);
        CHECK((alert_to_client(both) == "decrypt error" || alert_to_client(both) == "illegal parameter"));
    }
}

TEST_CASE("OpenSSL 2026 / identity kept after an empty post-handshake authentication",
          "[handshake][cve][TLS-3][SEC-1]") {
    // post_handshake.cpp: "empty Certificate after the handshake".
    const auto again_empty = [](SSL_CTX& host, SSL_CTX& client) {
        SSL_CTX_set_post_handshake_auth(&client, 1);
        auto both = std::make_unique<pair>(host, client);
        REQUIRE(both->shake());
        SSL_certs_clear(both->client.ssl.get());
        SSL_set_verify(both->server.ssl.get(), SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, nullptr);
        REQUIRE(SSL_verify_client_post_handshake(both->server.ssl.get()) == 1);
        REQUIRE(SSL_do_handshake(both->server.ssl.get()) == 1);
        both->run();
        REQUIRE(both->server.good());
        return both;
    };
    const auto verified = [](const pair& both) {
        return SSL_get0_peer_certificate(both.server.ssl.get()) != nullptr &&
               SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK;
    };
    auto host = server_context();
    ask(*host, SSL_VERIFY_PEER, the_cast().customers_ca);
    auto customer = client_context();
    present(*customer, the_cast().customer);
    const auto plain = again_empty(*host, *customer);
    if (verified(*plain))
        SUCCEED("the flaw"); // not in every OpenSSL
    else
        std::cout << "this OpenSSL has not the flaw of a stale post-handshake identity\n";

    auto mine = server_context();
    ask(*mine, SSL_VERIFY_PEER, the_cast().customers_ca);
    attach(*mine, asking());
    const auto agent = attached_client();
    const auto both = again_empty(*mine, *agent);
    CHECK_FALSE(verified(*both));
}

TEST_CASE("OpenSSL verify callbacks / one that admits everything", "[handshake][cve][SEC-1]") {
    // witness.cpp: every kind of callback.
    const auto admit = [](int, X509_STORE_CTX* verification) {
        X509_STORE_CTX_set_error(verification, X509_V_OK);
        return 1;
    };
    for (const bool plain : {true, false}) {
        auto host = server_context();
        ask(*host, required, the_cast().agents_ca, admit);
        auto policy = requiring(agents());
        policy.beside_customers = policy.beside_required = policy.shared_anchors = true;
        if (!plain) attach(*host, policy);
        const auto client = flagged_client(the_cast().customer);
        const visited found = visit(*host, *client.context);
        CHECK(taken_for_verified(found) == plain); // the flaw
        CHECK_FALSE(found.who.starts_with("flagged"));
    }
}

TEST_CASE("OpenSSL SSL_set_SSL_CTX / the connection's verify store is lost over a switch", "[handshake][cve][SEC-5]") {
    // server_name.cpp: both attached, either attached, two servers.
    const auto b = server_context();
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(b.get()), the_cast().customers_ca.certificate.get()) == 1);
    const auto a = usual(*std::make_unique<fleet>(), tickets::stateless, the_cast().agents_ca);
    switch_to(*a, *b);
    owned<X509_STORE> agents_only(X509_STORE_new());
    X509_STORE_add_cert(agents_only.get(), the_cast().agents_ca.certificate.get());
    owned<SSL> from(SSL_new(a.get()));
    SSL_set_accept_state(from.get());
    SSL_set1_verify_cert_store(from.get(), agents_only.get()); // for this connection, the server means
    const auto customer = holder(the_cast().customer);
    owned<SSL> to(SSL_new(customer.context.get()));
    SSL_set_connect_state(to.get());
    SSL_set_tlsext_host_name(to.get(), "b.example");
    pair both(std::move(from), std::move(to));
    CHECK(both.shake()); // the flaw: b's store judged
    CHECK(SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK);

    const auto our_a = server_context();
    const auto our_b = server_context();
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(our_b.get()), the_cast().customers_ca.certificate.get()) == 1);
    switch_to(*our_a, *our_b);
    reqauth::server listener;
    listener.attach(*our_a, demanding());
    listener.attach(*our_b, demanding());
    const auto impostor = flagged_client(the_cast().customer);
    CHECK(visit(*our_a, *impostor.context, {.name = "b.example"}).alert == "unknown CA");
    const visitor agent(attached_client());
    CHECK(visit(*our_a, *agent.context, {.name = "b.example"}).who == agent_seen);
}

TEST_CASE("OpenSSL custom-extension lists / unequal over a switch of SSL_CTX", "[handshake][cve][SEC-5]") {
    // attach.cpp: which lists are told apart; server_name.cpp: equal lists under valgrind. A switch would overrun memory.
    const auto add = [](SSL_CTX& context, unsigned type) {
        return SSL_CTX_add_custom_ext(&context, type, SSL_EXT_CLIENT_HELLO, nullptr, nullptr, nullptr, nullptr,
                                      nullptr);
    };
    const auto a = server_context();
    const auto b = server_context();
    for (const unsigned type : {1000U, 1001U, 1002U}) REQUIRE(add(*b, type) == 1);
    switch_to(*a, *b); // the flaw: OpenSSL has nothing to say
    reqauth::server listener;
    listener.attach(*a, asking());
    CHECK(failure_of([&] { listener.attach(*b, asking()); }) == reqauth::errc::unequal_extensions);
}

TEST_CASE("Keycloak CVE-2023-2422 / identity from a certificate other than the verified leaf",
          "[handshake][cve][SEC-1]") {
    // outcomes.cpp: "chain of [own leaf, somebody else's certificate]", both ways.
    auto client = client_context();
    present(*client, the_cast().agent);
    SSL_CTX_add1_chain_cert(client.get(), the_cast().other_agent.certificate.get());
    auto host = server_context();
    ask(*host, required, the_cast().agents_ca);
    pair plain(*host, *client);
    REQUIRE(plain.shake());
    const auto* chain = SSL_get_peer_cert_chain(plain.server.ssl.get()); // on a server: without the leaf
    REQUIRE(sk_X509_num(chain) == 1);
    CHECK(X509_cmp(sk_X509_value(chain, 0), the_cast().other_agent.certificate.get()) == 0); // the flaw

    bad_peer flagged(std::move(client), {{in::client_hello, {flags({80})}}});
    const auto mine = attached_server(demanding());
    CHECK(visit(*mine, *flagged.context).who == agent_seen);
}

namespace {

std::atomic<long> certificates{0};

/// count_certificates counts the X509 objects of the process from now on.
void count_certificates() {
    static const int index = X509_get_ex_new_index(
        0, nullptr, [](void*, void*, CRYPTO_EX_DATA*, int, long, void*) { ++certificates; }, nullptr,
        [](void*, void*, CRYPTO_EX_DATA*, int, long, void*) { --certificates; });
    REQUIRE(index >= 0);
}

} // namespace

TEST_CASE("HAProxy leak / an X509 for each ignored error", "[handshake][cve]") {
    // outcomes.cpp: "bad chains, many in a row", under valgrind.
    count_certificates();
    static std::vector<owned<X509>> forgotten;
    const auto leaking = [](int, X509_STORE_CTX* verification) {
        X509* shown_later = X509_STORE_CTX_get_current_cert(verification);
        X509_up_ref(shown_later);
        forgotten.emplace_back(shown_later); // no server has such a list
        return 1;
    };
    auto lax = asking();
    lax.when_offered = lax.when_offered.invalid_is_anonymous();
    for (const int how : {0, 1, 2}) {
        CAPTURE(how);
        auto host = server_context();
        if (how == 0)
            ask(*host, SSL_VERIFY_PEER, the_cast().agents_ca, leaking);
        else
            attach(*host, how == 1 ? lax : demanding());
        const auto client = flagged_client(the_cast().customer);
        const auto once = [&] {
            pair both(*host, *client.context);
            both.shake();
        };
        once();
        const long before = certificates;
        const int many = how == 1 ? 10000 : 200;
        for (int i = 0; i < many; ++i) once();
        CHECK(certificates - before == (how == 0 ? many : 0)); // the flaw: one for each
        forgotten.clear();
    }
}
