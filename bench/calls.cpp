// SPDX-License-Identifier: Apache-2.0
// What it takes to ask who a connection is, the first time and later.

#include "conversation.hpp"
#include "parties.hpp"
#include "programs.hpp"

namespace bench {
namespace {

void measure(const std::string& label, const std::function<void()>& call) {
    for (const char* when : {"first", "second", "third"}) {
        heap spent;
        counted(spent, call);
        const std::string said = label + " | " + when;
        note(said);
        row(said, {{"allocations", spent.allocations}, {"held", spent.octets}});
    }
}

void ask(const std::string& who, const conversation& both) {
    const SSL& server = *both.server.ssl;
    const SSL& client = *both.client.ssl;
    measure("peer_of | " + who, [&] { static_cast<void>(reqauth::peer_of(server)); });
    measure("server_outcome_of | " + who, [&] { static_cast<void>(reqauth::server_outcome_of(server)); });
    measure("is_of_agent | " + who, [&] { static_cast<void>(reqauth::is_of_agent(server)); });
    measure("client_outcome_of | " + who, [&] { static_cast<void>(reqauth::client_outcome_of(client)); });
}

} // namespace

void calls(const arguments&) {
    const people who("P-256");
    const auto server = flag_server(who);
    support::visitor agent(flag_client(who, offering(who)));
    const auto person = bare_client(who);
    // An earlier connection has fetched what OpenSSL then keeps.
    for (const std::string prefix : {"", "resumed "})
        for (const bool warm : {true, false}) {
            const owned<SSL_SESSION> session = prefix.empty() ? nullptr : std::move(agent.shelf.last);
            conversation both(*server, *agent.context, session.get());
            both.run();
            if (warm) {
                static_cast<void>(reqauth::peer_of(*both.server.ssl));
                static_cast<void>(reqauth::client_outcome_of(*both.client.ssl));
            } else {
                ask(prefix + "agent", both);
            }
            both.close();
        }
    conversation both(*server, *person);
    both.run();
    ask("person", both);
    both.close();
}

} // namespace bench
