// SPDX-License-Identifier: Apache-2.0
// How it grows: with CA names and anchors, SSL_CTXs, revoked certificates, open connections, and replaced policies.

#include "conversation.hpp"
#include "parties.hpp"
#include "programs.hpp"

#include <openssl/pem.h>

#include <ctime>
#include <memory>
#include <optional>
#include <stdexcept>

namespace bench {
namespace {

double per(std::int64_t figure, int count) { return static_cast<double>(figure) / count; }

void must(bool worked, const char* what) {
    if (!worked) throw std::runtime_error(std::string(what) + " failed");
}

/// authorities makes as many self-signed certificates with names of their own. None of them has ever signed anything, and an
/// anchor's own signature is not looked at: so they are copies of one, in which the name is changed.
std::vector<owned<X509>> authorities(int count) {
    const std::string numbered = "Authority 000000";
    const identity first = support::issue({.common_name = numbered, .ca = true});
    unsigned char* made = nullptr;
    const int size = i2d_X509(first.certificate.get(), &made);
    must(size > 0, "i2d_X509");
    std::string der(reinterpret_cast<char*>(made), static_cast<std::size_t>(size));
    OPENSSL_free(made);
    std::vector<owned<X509>> all;
    for (int i = 0; i < count; ++i) {
        std::string digits = std::to_string(1000000 + i).substr(1);
        for (std::size_t at = 0; (at = der.find("Authority ", at)) != std::string::npos; at += numbered.size())
            der.replace(at + 10, digits.size(), digits);
        const auto* in = reinterpret_cast<const unsigned char*>(der.data());
        all.emplace_back(d2i_X509(nullptr, &in, static_cast<long>(der.size())));
        must(all.back() != nullptr, "d2i_X509");
    }
    return all;
}

std::string pem(const std::vector<owned<X509>>& certificates) {
    const owned<BIO> out(BIO_new(BIO_s_mem()));
    for (const auto& each : certificates) must(PEM_write_bio_X509(out.get(), each.get()) == 1, "PEM_write_bio_X509");
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(size)};
}

/// meet counts the server's work in `rounds` handshakes, after two that warm up; resumed ones where `resumes`.
void meet(const std::string& label, SSL_CTX& server, support::visitor& client, int rounds, bool resumes = false) {
    instrumented(true);
    for (int round = -2; round < rounds; ++round) {
        const owned<SSL_SESSION> session = resumes ? std::move(client.shelf.last) : nullptr;
        conversation both(server, *client.context, session.get(),
                          round < 0 ? conversation::count::none : conversation::count::server);
        both.run();
        if (round >= 0 && SSL_session_reused(both.server.ssl.get()) != (resumes ? 1 : 0))
            throw std::runtime_error(label + ": resumed, or not");
        both.close();
        if (round < 0) continue;
        note(label);
        row(label, {{"allocations", both.server.spent.allocations}, {"octets", both.to_client()}});
    }
    instrumented(false);
}

void anchors(const people& who, const arguments& how) {
    const int count = how.number("count");
    const bool named = count <= 1000;
    const std::string label = std::string(named ? "CA names | " : "anchors | ") + how.text("count");
    auto others = authorities(count - 1);
    const std::string text = pem(others) + support::pem(*who.agents_ca.certificate);
    support::visitor client(mutual_client(who));
    support::visitor agent(flag_client(who, offering(who)));
    if (named) { // OpenSSL looks for each among those before it: more take it minutes
        heap spent;
        auto mutual = bare_server(who);
        const double before = cpu_seconds();
        counted(spent, [&] {
            const owned<BIO> in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
            while (const owned<X509> each{PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)}) {
                must(X509_STORE_add_cert(SSL_CTX_get_cert_store(mutual.get()), each.get()) == 1, "X509_STORE_add_cert");
                if (named) must(SSL_CTX_add_client_CA(mutual.get(), each.get()) == 1, "SSL_CTX_add_client_CA");
            }
        });
        SSL_CTX_set_verify(mutual.get(), SSL_VERIFY_PEER, nullptr);
        row(label + " | mutual TLS, loaded", {{"held", per(spent.octets, count)}, {"seconds", cpu_seconds() - before}});
        meet(label + " | mutual TLS", *mutual, client, how.number("rounds"));
    }
    heap spent;
    auto flagged = bare_server(who);
    const double before = cpu_seconds();
    counted(spent, [&] {
        reqauth::server_policy policy;
        policy.when_offered = reqauth::client_auth::request(reqauth::trust::from_pem(text));
        policy.ca_names = named;
        support::attach(*flagged, policy);
    });
    row(label + " | flag, loaded", {{"held", per(spent.octets, count)}, {"seconds", cpu_seconds() - before}});
    meet(label + " | flag", *flagged, agent, how.number("rounds"));
}

void contexts(const people& who, const arguments& how) {
    const int count = how.number("count");
    const std::string label = "SSL_CTXs | " + how.text("count") + " | ";
    std::vector<owned<SSL_CTX>> all;
    for (int i = 0; i < count; ++i) all.push_back(bare_server(who));
    reqauth::server_options options;
    options.assigned_extensions_alone = true; // as the module for nginx has it
    reqauth::server server(options);
    std::vector<reqauth::replacement> replacements;
    const auto policy = asking(who);
    const auto timed = [&](const char* what, const std::function<void()>& does) {
        heap spent;
        const bool few = count <= 1000; // of more the seconds are enough
        instrumented(few);
        const double before = cpu_seconds();
        counted(spent, does);
        const double took = cpu_seconds() - before;
        if (few) note(label + what);
        instrumented(false);
        row(label + what,
            {{"held", per(spent.octets, count)}, {"allocations", per(spent.allocations, count)}, {"seconds", took}});
    };
    timed("attach all", [&] {
        for (const auto& each : all) replacements.push_back({server.attach(*each, policy), policy});
    });
    support::visitor agent(flag_client(who, offering(who)));
    support::visitor person(bare_client(who));
    meet(label + "flag", *all.back(), agent, how.number("rounds"));
    meet(label + "flag, resumed", *all.back(), agent, how.number("rounds"), true);
    meet(label + "no flag", *all.back(), person, how.number("rounds"));
    const auto newer = [&] {
        const auto other = asking(who); // trust of its own
        for (auto& each : replacements) each.policy = other;
    };
    newer();
    timed("replace all", [&] { server.replace(replacements); });
}

/// revocations is a CRL of the agents' CA with as many entries, none of them the agent's.
std::string revocations(const people& who, int count) {
    const std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list(X509_CRL_new(), &X509_CRL_free);
    X509_CRL_set_version(list.get(), X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(who.agents_ca.certificate.get()));
    const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> now(ASN1_TIME_set(nullptr, std::time(nullptr) - 60),
                                                                    &ASN1_TIME_free);
    X509_CRL_set1_lastUpdate(list.get(), now.get());
    const std::unique_ptr<ASN1_INTEGER, decltype(&ASN1_INTEGER_free)> serial(ASN1_INTEGER_new(), &ASN1_INTEGER_free);
    for (int i = 1; i <= count; ++i) {
        X509_REVOKED* entry = X509_REVOKED_new();
        ASN1_INTEGER_set(serial.get(), i);
        must(X509_REVOKED_set_serialNumber(entry, serial.get()) == 1 &&
                 X509_REVOKED_set_revocationDate(entry, now.get()) == 1 &&
                 X509_CRL_add0_revoked(list.get(), entry) == 1,
             "a revoked certificate");
    }
    const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> then(ASN1_TIME_set(nullptr, std::time(nullptr) + 86400),
                                                                     &ASN1_TIME_free);
    X509_CRL_set1_nextUpdate(list.get(), then.get());
    must(X509_CRL_sign(list.get(), who.agents_ca.key.get(), EVP_sha256()) > 0, "X509_CRL_sign");
    const owned<BIO> out(BIO_new(BIO_s_mem()));
    must(PEM_write_bio_X509_CRL(out.get(), list.get()) == 1, "PEM_write_bio_X509_CRL");
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(size)};
}

void crls(const people& who, const arguments& how) {
    const int count = how.number("count");
    const std::string label = "CRL entries | " + how.text("count");
    const std::string text = revocations(who, count);
    support::visitor client(mutual_client(who));
    support::visitor agent(flag_client(who, offering(who)));
    {
        heap spent;
        auto mutual = mutual_server(who);
        counted(spent, [&] {
            X509_STORE* store = SSL_CTX_get_cert_store(mutual.get());
            const owned<BIO> in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
            const std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list(
                PEM_read_bio_X509_CRL(in.get(), nullptr, nullptr, nullptr), &X509_CRL_free);
            must(X509_STORE_add_crl(store, list.get()) == 1, "X509_STORE_add_crl");
            X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL); // as the library has it
        });
        row(label + " | mutual TLS, loaded", {{"held", per(spent.octets, count)}});
        meet(label + " | mutual TLS", *mutual, client, how.number("rounds"));
    }
    heap spent;
    auto flagged = bare_server(who);
    counted(spent, [&] {
        reqauth::server_policy policy;
        policy.when_offered = reqauth::client_auth::request(support::trust_in(who.agents_ca).with_crls(text));
        support::attach(*flagged, policy);
    });
    row(label + " | flag, loaded", {{"held", per(spent.octets, count)}});
    meet(label + " | flag", *flagged, agent, how.number("rounds"));
}

void connections(const people& who, const arguments& how) {
    const int count = how.number("count");
    const auto hold = [&](const char* name, SSL_CTX& server, support::visitor& client) {
        const std::string label = "open connections | " + how.text("count") + " | " + name;
        std::vector<std::unique_ptr<conversation>> open;
        heap spent;
        for (int i = 0; i < count; ++i) {
            open.push_back(std::make_unique<conversation>(server, *client.context));
            open.back()->run();
            spent += open.back()->server.spent;
        }
        row(label + ", each", {{"held", per(spent.octets, count)}});
        meet(label, server, client, how.number("rounds"));
        for (const auto& each : open) each->close();
    };
    support::visitor client(mutual_client(who));
    support::visitor agent(flag_client(who, offering(who)));
    hold("mutual TLS", *mutual_server(who), client);
    hold("flag", *flag_server(who), agent);
}

/// generations replaces the policy again and again, while an agent of each stays connected.
void generations(const people& who, const arguments& how) {
    const std::string text = pem(authorities(how.number("count") - 1)) + support::pem(*who.agents_ca.certificate);
    auto context = bare_server(who);
    support::visitor agent(flag_client(who, offering(who)));
    reqauth::server server;
    const auto policy = [&] {
        reqauth::server_policy made;
        made.when_offered = reqauth::client_auth::request(reqauth::trust::from_pem(text));
        made.ca_names = false;
        return made;
    };
    const auto where = server.attach(*context, policy());
    std::vector<std::unique_ptr<conversation>> open;
    double connected = 0;
    heap before;
    for (int i = -2; i < how.number("rounds"); ++i) {
        if (i == 0) before = heap_now();
        const heap idle = heap_now();
        open.push_back(std::make_unique<conversation>(*context, *agent.context));
        open.back()->run();
        if (i >= 0) connected += static_cast<double>((heap_now() - idle).octets);
        server.replace({{where, policy()}});
    }
    const double grown = static_cast<double>((heap_now() - before).octets);
    const double rounds = how.number("rounds");
    row("generations | " + how.text("count"),
        {{"connection", connected / rounds}, {"kept", (grown - connected) / rounds}});
}

} // namespace

void scale(const arguments& how) {
    instrumented(false);
    const people who("P-256");
    const std::map<std::string, void (*)(const people&, const arguments&)> all{{"anchors", anchors},
                                                                               {"contexts", contexts},
                                                                               {"crls", crls},
                                                                               {"connections", connections},
                                                                               {"generations", generations}};
    all.at(how.text("of"))(who, how);
}

} // namespace bench
