// SPDX-License-Identifier: Apache-2.0
// What a handshake takes, on each side, and what an open connection holds after it.

#include "conversation.hpp"
#include "parties.hpp"
#include "programs.hpp"

#include <memory>
#include <stdexcept>

namespace bench {
namespace {

/// circle is a server and a client that meet again and again.
struct circle {
    std::string name;
    owned<SSL_CTX> server;
    support::visitor client;
    const char* expected;                 ///< of the server: peer_of in words
    owned<SSL_SESSION> session = nullptr; ///< which the next meeting resumes

    circle(std::string called, owned<SSL_CTX> serves, owned<SSL_CTX> visits, const char* expects)
        : name(std::move(called)), server(std::move(serves)), client(std::move(visits)), expected(expects) {}

    /// resuming meets once, and from then on resumes.
    circle& resuming() {
        meet("", conversation::count::none);
        session = std::move(client.shelf.last);
        return *this;
    }

    void meet(const std::string& label, conversation::count counted) {
        conversation both(*server, *client.context, session.get(), counted);
        both.run();
        if (support::seen(*both.server.ssl) != expected ||
            (SSL_session_reused(both.server.ssl.get()) == 1) != (session != nullptr))
            throw std::runtime_error(name + ": " + support::seen(*both.server.ssl));
        const heap held[] = {both.server.spent, both.client.spent};
        both.close();
        if (session != nullptr) session = std::move(client.shelf.last); // the next ticket
        if (label.empty()) return;
        note(label + (counted == conversation::count::client ? "client" : "server"));
        row(label + "server",
            {{"allocations", both.server.spent.allocations}, {"held", held[0].octets}, {"octets", both.to_server()}});
        row(label + "client",
            {{"allocations", both.client.spent.allocations}, {"held", held[1].octets}, {"octets", both.to_client()}});
    }
};

using circles = std::vector<std::unique_ptr<circle>>;

circles circles_of(const people& who) {
    circles all;
    const auto add = [&](const char* name, owned<SSL_CTX> server, owned<SSL_CTX> client,
                         const char* expected) -> circle& {
        return *all.emplace_back(std::make_unique<circle>(name, std::move(server), std::move(client), expected));
    };
    const auto policy = [&](auto change) {
        reqauth::client_policy made = offering(who);
        change(made);
        return flag_client(who, made);
    };
    const auto ignoring = [&] {
        auto context = bare_server(who);
        reqauth::server_policy ignores;
        ignores.session_id_context = support::own_id_context(); // else there are no tickets
        support::attach(*context, ignores);
        return context;
    };
    constexpr const char* agent = "flagged CN=crawler.example";
    constexpr const char* person = "not_offered";
    // Twice, so that the one says what the other's figures are worth.
    for (const char* again : {"", ", again"}) {
        const std::string name = again;
        add(("bare" + name).c_str(), bare_server(who), bare_client(who), person);
        add(("mutual TLS" + name).c_str(), mutual_server(who), mutual_client(who), person);
    }
    add("mutual TLS, no certificate", mutual_server(who), bare_client(who), person);
    add("no flag", flag_server(who), bare_client(who), person);
    add("never offers", bare_server(who), policy([](auto& made) { made.offer = reqauth::offer::never; }), person);
    add("flag, certificate", flag_server(who), flag_client(who, offering(who)), agent);
    add("flag, no certificate", flag_server(who), policy([](auto& made) {
            made.credential.reset();
            made.offer = reqauth::offer::always;
        }),
        "empty");
    add("flag ignored", ignoring(), flag_client(who, offering(who)), "ignored");
    add("other flags", flag_server(who), policy([](auto& made) {
            made.offer = reqauth::offer::never;
            made.further_flags.insert(3);
        }),
        person);
    add("bare, resumed", bare_server(who), bare_client(who), person).resuming();
    add("bare, resumed, again", bare_server(who), bare_client(who), person).resuming();
    add("mutual TLS, resumed", mutual_server(who), mutual_client(who), person).resuming();
    add("mutual TLS, resumed, again", mutual_server(who), mutual_client(who), person).resuming();
    add("no flag, resumed", flag_server(who), bare_client(who), person).resuming();
    add("flag, resumed", flag_server(who), flag_client(who, offering(who)), agent).resuming();
    return all;
}

} // namespace

void handshakes(const arguments& how) {
    const auto counted = how.text("side") == "client" ? conversation::count::client : conversation::count::server;
    for (const std::string& kind : kinds_of_keys()) {
        if (!how.text("keys").empty() && how.text("keys") != kind) continue;
        const people who(kind);
        const circles all = circles_of(who);
        for (int round = -2; round < how.number("rounds"); ++round)
            for (const auto& each : all)
                each->meet(round < 0 ? "" : kind + " | " + each->name + " | ",
                           round < 0 ? conversation::count::none : counted);
    }
}

} // namespace bench
