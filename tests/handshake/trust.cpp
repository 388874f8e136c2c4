// SPDX-License-Identifier: Apache-2.0
// Two trust sets side by side: RCA-13, RCA-14, SEC-8; and trust that does not load (SEC-2).

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <tuple>

using namespace support;

namespace {

reqauth::server_policy asking_for(const identity& ca) {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(trust_in(ca));
    policy.beside_customers = true;
    return policy;
}

} // namespace

TEST_CASE("server / attach / a key is an anchor in both trust sets -> shared_anchor, certificate named",
          "[handshake][RCA-13]") {
    const auto& customers = the_cast().customers_ca;
    const auto renewed = issue({.common_name = "Customers CA, renewed", .ca = true}, nullptr, customers.key.get());
    for (const identity* agents_anchor : {&customers, &renewed}) {
        auto context = server_context();
        ask(*context, SSL_VERIFY_PEER, customers);
        std::string text;
        CHECK(failure_of([&] { attach(*context, asking_for(*agents_anchor)); }, &text) == reqauth::errc::shared_anchor);
        CHECK(text.find("Customers CA") != std::string::npos);
        CHECK(text.find('\n') == std::string::npos);
        // Nothing has changed: a good attach works.
        attach(*context, asking());
        const auto client = attached_client();
        pair both(*context, *client);
        CHECK(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
    }
}

TEST_CASE("server / attach / shared anchors where the context asks nobody -> refused all the same",
          "[handshake][RCA-13]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_NONE, the_cast().agents_ca);
    CHECK(failure_of([&] { attach(*context, asking()); }) == reqauth::errc::shared_anchor);
}

TEST_CASE("server / attach / anchors of a verify store of its own -> shared_anchor", "[handshake][RCA-13]") {
    auto context = server_context();
    owned<X509_STORE> store(X509_STORE_new());
    REQUIRE(X509_STORE_add_cert(store.get(), the_cast().agents_ca.certificate.get()) == 1);
    REQUIRE(SSL_CTX_set1_verify_cert_store(context.get(), store.get()) == 1);
    CHECK(failure_of([&] { attach(*context, asking()); }) == reqauth::errc::shared_anchor);
}

TEST_CASE("server / attach / shared_anchors allowed -> both doors open, each by its own type",
          "[handshake][RCA-13][RCA-14]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().agents_ca);
    auto policy = asking();
    policy.shared_anchors = true;
    attach(*context, policy);
    const auto agent = attached_client();
    pair flagged_pair(*context, *agent);
    CHECK(flagged_pair.shake());
    CHECK(seen(flagged_pair) == "flagged CN=crawler.example");
    auto plain = client_context();
    present(*plain, the_cast().agent);
    pair unflagged(*context, *plain);
    CHECK(unflagged.shake());
    CHECK(seen(unflagged) == "not_offered");
    CHECK(SSL_get_verify_result(unflagged.server.ssl.get()) == X509_V_OK);
}

TEST_CASE("server / attach / a subject in both trust sets, another key -> one warning, in one line",
          "[handshake][RCA-13]") {
    const auto namesake = issue({.common_name = "Customers CA", .ca = true});
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca);
    reqauth::server listener;
    const auto attachment = listener.attach(*context, asking_for(namesake));
    REQUIRE(attachment.warnings.size() == 1);
    CHECK(attachment.warnings[0].find("Customers CA") != std::string::npos);
    CHECK(attachment.warnings[0].find('\n') == std::string::npos);

    // And the two stay apart.
    const auto agent = issue(agent_description("namesake.example"), &namesake);
    const auto flagged_agent = flagged_client(agent);
    pair both(*context, *flagged_agent.context);
    CHECK(both.shake());
    CHECK(seen(both) == "flagged CN=namesake.example");
    auto plain = client_context();
    present(*plain, agent);
    pair unflagged(*context, *plain);
    CHECK_FALSE(unflagged.shake());
    const auto customer = flagged_client(the_cast().customer);
    pair refused(*context, *customer.context);
    CHECK_FALSE(refused.shake());
}

TEST_CASE("server / attach / disjoint trust sets -> no warning", "[handshake][RCA-13]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca);
    reqauth::server listener;
    CHECK(listener.attach(*context, asking()).warnings.empty());
}

TEST_CASE("server / trust sets / each certificate at each door -> opens its own and no other",
          "[handshake][RCA-13][RCA-14][SEC-8]") {
    auto context = server_context();
    ask(*context, SSL_VERIFY_PEER, the_cast().customers_ca);
    attach(*context, asking());
    for (const bool offers : {true, false})
        for (const auto* who : {&the_cast().agent, &the_cast().customer}) {
            CAPTURE(offers, who == &the_cast().agent);
            const bool own_door = offers == (who == &the_cast().agent);
            const auto flagged_context = flagged_client(*who);
            auto plain = client_context();
            present(*plain, *who);
            pair both(*context, offers ? *flagged_context.context : *plain);
            CHECK(both.shake() == own_door);
            CHECK(seen(both).starts_with("flagged") == (offers && own_door));
            // What code sees that knows only OpenSSL: customers, and nobody else.
            CHECK((SSL_get_verify_result(both.server.ssl.get()) == X509_V_OK) == (!offers && own_door));
        }
}

TEST_CASE("server / SSL_get_verify_result / flagged peer -> X509_V_ERR_APPLICATION_VERIFICATION, by setting X509_V_OK",
          "[handshake][valgrind][RCA-14][SEC-8]") {
    const auto client = attached_client();
    for (const bool ok : {false, true}) {
        auto policy = asking();
        policy.verify_result_ok = ok;
        const auto server = attached_server(policy);
        pair both(*server, *client);
        REQUIRE(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
        CHECK(SSL_get_verify_result(both.server.ssl.get()) == (ok ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION));
    }
}

TEST_CASE("server / SSL_get_verify_result / verify_result_ok and a bad certificate let pass -> not X509_V_OK",
          "[handshake][SEC-8]") {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(agents()).invalid_is_anonymous();
    policy.verify_result_ok = true;
    const auto server = attached_server(policy);
    const auto client = flagged_client(the_cast().customer);
    pair both(*server, *client.context);
    REQUIRE(both.shake());
    CHECK(seen(both) == "invalid 20");
    CHECK(SSL_get_verify_result(both.server.ssl.get()) != X509_V_OK);
}

TEST_CASE("trust / from_file / missing, empty, malformed, partly malformed -> an error that names the file",
          "[handshake][cve][SEC-2]") {
    // Bun 2026, Caddy CVE-2026-27586: a missing CA file fell back to the system's roots.
    const temporary_directory here;
    const std::string good = pem(*the_cast().agents_ca.certificate);
    std::string broken = good;
    broken[broken.size() / 2] = '*';
    std::string unended = good.substr(0, good.find("-----END"));
    for (const auto& [name, text, expected] : std::vector<std::tuple<const char*, std::string, reqauth::errc>>{
             {"empty.pem", "", reqauth::errc::holds_nothing},
             {"prose.pem", "no certificate here\n", reqauth::errc::holds_nothing},
             {"key.pem", pem(*the_cast().agent.key), reqauth::errc::holds_nothing},
             {"broken.pem", broken, reqauth::errc::malformed},
             {"second-broken.pem", good + broken, reqauth::errc::malformed},
             {"unended.pem", good + unended, reqauth::errc::malformed}}) {
        CAPTURE(name);
        const auto file = here.write(name, text);
        std::string what;
        CHECK(failure_of([&, &f = file] { (void)reqauth::trust::from_file(f); }, &what) == expected);
        CHECK(what.find(name) != std::string::npos);
        CHECK(what.find('\n') == std::string::npos);
    }
    CHECK(failure_of([&] { (void)reqauth::trust::from_file(here.path() / "missing.pem"); }) ==
          reqauth::errc::unreadable);
    CHECK(failure_of([&] { (void)reqauth::trust::from_file(here.path()); }) == reqauth::errc::unreadable);

    const auto two =
        here.write("two.pem", "Text before\n" + good + "between\n" + pem(*the_cast().customers_ca.certificate));
    CHECK(reqauth::trust::from_file(two).size() == 2);
    CHECK(reqauth::trust::from_file(here.write("twice.pem", good + good)).size() == 1);
}
