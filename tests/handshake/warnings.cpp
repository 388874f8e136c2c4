// SPDX-License-Identifier: Apache-2.0
// What attach and replace warn of: what cannot work, or is likely a mistake. Each line names the file and what to do.

#include "catch.hpp"
#include "support/contexts.hpp"

#include <ctime>

using namespace support;

namespace {

using strings = std::vector<std::string>;

void check_lines(const strings& warnings, const std::vector<strings>& wanted) {
    CAPTURE(warnings);
    REQUIRE(warnings.size() == wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        CHECK(warnings[i].find('\n') == std::string::npos);
        CHECK(warnings[i].find("; ") != std::string::npos); // what to do
        CHECK(warnings[i].find("RCA-") == std::string::npos);
        for (const std::string& words : wanted[i]) {
            CAPTURE(words);
            CHECK(warnings[i].find(words) != std::string::npos);
        }
    }
}

/// warned gives what attach says of a trust, and sees that replace says the same.
strings warned(const reqauth::trust& agents) {
    auto policy = asking();
    policy.when_offered = reqauth::client_auth::request(agents);
    const auto context = server_context();
    reqauth::server server;
    const auto attached = server.attach(*context, policy);
    CHECK(server.replace({{attached, policy}}) == attached.warnings);
    return attached.warnings;
}

std::string time_in(const ASN1_TIME* time) {
    std::tm when{};
    REQUIRE(ASN1_TIME_to_tm(time, &when) == 1);
    char text[64];
    REQUIRE(std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &when) > 0);
    return text;
}

const std::string& agents_pem() {
    static const std::string text = pem(*the_cast().agents_ca.certificate);
    return text;
}

} // namespace

TEST_CASE("server / attach, replace / anchors that let in nobody, or not whom they seem to -> a line with the file",
          "[handshake]") {
    const temporary_directory here;
    const auto root = issue({.common_name = "Root", .ca = true});
    const auto sub = issue({.common_name = "Sub CA", .ca = true}, &root);
    const auto alone = issue(agent_description("alone.example"));
    const auto old = issue({.common_name = "Old CA", .ca = true, .not_before = -7200, .not_after = -3600});
    const auto early = issue({.common_name = "Early CA", .ca = true, .not_before = 3600, .not_after = 7200});
    const auto file = [&](const std::string& name, std::initializer_list<const identity*> anchors) {
        std::string text;
        for (const identity* one : anchors) text += pem(*one->certificate);
        return reqauth::trust::from_file(here.write(name, text));
    };
    struct row {
        const char* name;
        reqauth::trust trust;
        std::vector<strings> wanted;
    };
    const row rows[] = {
        {"a CA", file("a.pem", {&root}), {}},
        {"a leaf",
         file("leaf.pem", {&the_cast().agent}),
         {{"leaf.pem", "CN=crawler.example", "is no CA", "lets nobody in", "give the certificate of", "CN=Agents CA"}}},
        {"a leaf beside its CA",
         file("both.pem", {&the_cast().agent, &the_cast().agents_ca}),
         {{"both.pem", "CN=crawler.example", "is no CA", "take it out"}}},
        {"a leaf that is its own anchor",
         file("alone.pem", {&alone}),
         {{"alone.pem", "is no CA", "whoever has its own key, and nobody else", "give the CA"}}},
        {"a leaf, with partial chains", file("leaf.pem", {&the_cast().agent}).with_partial_chains(), {}},
        {"a CA without its root",
         file("sub.pem", {&sub}),
         {{"sub.pem", "CN=Sub CA", "is no root", "lets nobody in", "CN=Root"}}},
        {"a CA without its root, with partial chains", file("sub.pem", {&sub}).with_partial_chains(), {}},
        {"a CA and its root", file("two.pem", {&sub, &root}), {}},
        {"expired",
         file("old.pem", {&old}),
         {{"old.pem", "CN=Old CA", "expired at " + time_in(X509_get0_notAfter(old.certificate.get())), "give"}}},
        {"not yet valid",
         file("early.pem", {&early}),
         {{"early.pem", "CN=Early CA", "not valid before " + time_in(X509_get0_notBefore(early.certificate.get())),
           "clock"}}},
        {"expired, but not at its trust's time",
         file("old.pem", {&old}).with_time(std::chrono::system_clock::now() - std::chrono::seconds(5400)),
         {}},
        {"from memory", reqauth::trust::from_pem(pem(*old.certificate), "what Vault gave"), {{"what Vault gave"}}},
    };
    for (const row& one : rows) SECTION(one.name) {
            check_lines(warned(one.trust), one.wanted);
        }
}

TEST_CASE("server / attach, replace / CRLs that refuse everybody -> a line with the file", "[handshake]") {
    const temporary_directory here;
    const auto& ca = the_cast().agents_ca;
    const auto sub = issue({.common_name = "Sub CA", .ca = true}, &ca);
    const auto trust = reqauth::trust::from_file(here.write("agents.pem", agents_pem()));
    const auto with = [&](const std::string& text) {
        return trust.with_crls_from_file(here.write("agents.crl", text));
    };
    struct row {
        const char* name;
        reqauth::trust trust;
        std::vector<strings> wanted;
    };
    const std::string good = crl(ca);
    const std::string old = crl(ca, {.this_update = -7200, .next_update = -3600});
    const row rows[] = {
        {"in force", with(good), {}},
        {"run out", with(old), {{"agents.crl", "CN=Agents CA", "ran out at ", "is refused", "newest"}}},
        {"run out, with a newer one", with(old + good), {}},
        {"not in force yet",
         with(crl(ca, {.this_update = 3600, .next_update = 7200})),
         {{"agents.crl", "CN=Agents CA", "not in force before ", "clock"}}},
        {"of another CA",
         with(crl(the_cast().customers_ca)),
         {{"agents.crl", "CN=Customers CA", "is of no CA here", "CN=Agents CA", "agents.pem", "give the CRL of"}}},
        {"of a CA that agents send along, too", with(good + crl(sub)), {}},
        {"in the file of anchors",
         reqauth::trust::from_file(here.write("all.pem", agents_pem() + old)),
         {{"all.pem", "ran out at "}}},
    };
    for (const row& one : rows) SECTION(one.name) {
            check_lines(warned(one.trust), one.wanted);
        }
}

TEST_CASE("server / attach, replace / two keys of one name that nothing tells apart -> one line with both files",
          "[handshake]") {
    const temporary_directory here;
    for (const bool identified : {false, true}) {
        CAPTURE(identified);
        const auto old = issue({.common_name = "Rolled CA", .ca = true, .key_identifiers = identified});
        const auto now = issue({.common_name = "Rolled CA", .ca = true});
        here.write("old.pem", pem(*old.certificate));
        here.write("new.pem", pem(*now.certificate));
        std::vector<strings> wanted;
        if (!identified)
            wanted = {{"old.pem", "new.pem", "CN=Rolled CA", "one name and two keys", "subjectKeyIdentifier"}};
        check_lines(warned(reqauth::trust::from_directory(here.path())), wanted);
    }
    const auto one = issue({.common_name = "CA", .ca = true, .key_identifiers = false});
    const auto renewed = issue({.common_name = "CA", .ca = true, .key_identifiers = false}, nullptr, one.key.get());
    check_lines(warned(reqauth::trust::from_pem(pem(*one.certificate) + pem(*renewed.certificate))), {});
}

TEST_CASE("server / attach, replace / anchors of many owners -> one line with their number", "[handshake]") {
    const auto key = make_key();
    const auto bundle = [&](int count, bool of_one) {
        std::string text;
        for (int i = 0; i < count; ++i) {
            const std::string number = std::to_string(i);
            text += pem(*issue({.common_name = "CA " + number, .ca = true, .organization = of_one ? "Example" : number},
                               nullptr, key.get())
                             .certificate);
        }
        return reqauth::trust::from_pem(text, "ca-certificates.crt");
    };
    check_lines(warned(bundle(60, false)),
                {{"60 anchors", "ca-certificates.crt", "60 different owners", "system's CAs"}});
    check_lines(warned(bundle(60, true)), {});
    check_lines(warned(bundle(12, false)), {});
}

TEST_CASE("server / attach / many of one kind -> some lines, and how many more", "[handshake]") {
    std::string text;
    for (int i = 0; i < 8; ++i)
        text +=
            pem(*issue({.common_name = "Old " + std::to_string(i), .ca = true, .not_before = -7200, .not_after = -3600})
                     .certificate);
    const auto warnings = warned(reqauth::trust::from_pem(text));
    REQUIRE(warnings.size() == 5);
    CHECK(warnings.back().find("and 3 more like this") != std::string::npos);
}

TEST_CASE("server / attach / an SSL_CTX that does not go with the policy -> a line that says so",
          "[handshake][SEC-7]") {
    const auto warned_of = [](SSL_CTX& context, const reqauth::server_policy& policy) {
        return reqauth::server().attach(context, policy).warnings;
    };
    auto policy = asking();
    SECTION("everybody is required to have a certificate") {
        const auto context = server_context();
        ask(*context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, the_cast().customers_ca);
        for (const auto& how : {reqauth::client_auth::request(agents()), reqauth::client_auth::require(agents())}) {
            policy.when_offered = how;
            const auto other = server_context();
            ask(*other, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, the_cast().customers_ca);
            check_lines(warned_of(*other, policy),
                        {{"the flag is ignored", "required of everybody", "beside_required"}});
        }
        policy.beside_required = true;
        check_lines(warned_of(*context, policy), {});
    }
    SECTION("customers are asked, and nothing can verify them") {
        for (const auto& what : {policy, reqauth::server_policy()}) {
            const auto context = server_context();
            SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
            check_lines(warned_of(*context, what),
                        {{"customers are asked", "no CA", "is refused", "give the customers' CAs"}});
        }
        // A callback may verify; a list of names stands for CAs that are looked up on demand.
        const auto by_callback = server_context();
        SSL_CTX_set_verify(by_callback.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
        check_lines(warned_of(*by_callback, policy), {});
        const auto looked_up = server_context();
        SSL_CTX_set_verify(looked_up.get(), SSL_VERIFY_PEER, nullptr);
        REQUIRE(SSL_CTX_add_client_CA(looked_up.get(), the_cast().customers_ca.certificate.get()) == 1);
        check_lines(warned_of(*looked_up, policy), {});
    }
}

TEST_CASE("server, client / attach / an SSL_CTX of the other side -> unsuitable_context", "[handshake]") {
    const auto said = [](const auto& attach) {
        try {
            attach();
        } catch (const reqauth::error& error) {
            CHECK(error.code() == reqauth::errc::unsuitable_context);
            return error.cause() + "; " + error.remedy();
        }
        return std::string("nothing was thrown");
    };
    const owned<SSL_CTX> for_clients(SSL_CTX_new(TLS_client_method()));
    const std::string server = said([&] { (void)reqauth::server().attach(*for_clients, asking()); });
    CHECK(server.find("is for clients") != server.npos);
    CHECK(server.find("TLS_server_method") != server.npos);
    const auto for_servers = server_context();
    const std::string client = said([&] { reqauth::client(agent_policy()).attach(*for_servers); });
    CHECK(client.find("is for servers") != client.npos);
    CHECK(client.find("TLS_client_method") != client.npos);
}
