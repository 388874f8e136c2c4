// SPDX-License-Identifier: Apache-2.0
// What one ClientHello costs a server, with the library and without: scripts/test-cost runs it under callgrind, which
// counts the instructions of each call of `measured`. Each line it prints says which call that was.

#include "support/client_hello.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

#include <openssl/err.h>
#include <openssl/rand.h>

#include <cstdio>
#include <stdexcept>

using namespace support;

/// measured is one connection: it takes in what its client sends, one flight after another.
extern "C" [[gnu::noinline]] void measured(SSL_CTX* context, const std::string* flights, std::size_t count,
                                           std::string* answer);

extern "C" void measured(SSL_CTX* context, const std::string* flights, std::size_t count, std::string* answer) {
    SSL* ssl = SSL_new(context);
    BIO* in = BIO_new(BIO_s_mem());
    BIO* out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_accept_state(ssl);
    for (std::size_t i = 0; i < count; ++i) {
        BIO_write(in, flights[i].data(), static_cast<int>(flights[i].size()));
        ERR_clear_error();
        SSL_do_handshake(ssl);
    }
    char* wrote = nullptr;
    const long size = BIO_get_mem_data(out, &wrote);
    answer->assign(wrote, static_cast<std::size_t>(size));
    SSL_free(ssl);
}

namespace {

enum class ending { complete, fails, retried };

enum class ticket { none, own, foreign };

struct shape {
    const char* name;
    client_hello_shape sizes = {};
    ticket with = ticket::none; ///< as the last identity
};

const shape shapes[] = {
    {.name = "ordinary"},
    {.name = "9000 identities of 1 octet", .sizes = {.identities = 9000}},
    {.name = "4500 identities of 8 octets", .sizes = {.identities = 4500, .identity_size = 8}},
    {.name = "300 identities of 200 octets", .sizes = {.identities = 300, .identity_size = 200}},
    {.name = "2 identities of 32000 octets", .sizes = {.identities = 2, .identity_size = 32000}},
    {.name = "1 identity", .sizes = {.identities = 1, .identity_size = 100}},
    {.name = "16000 unknown extensions", .sizes = {.unknown = 16000}},
    {.name = "8000 unknown extensions, 4500 identities", .sizes = {.identities = 4500, .unknown = 8000}},
    {.name = "padding of 64000 octets", .sizes = {.padding = 64000}},
    {.name = "server name of 255 octets", .sizes = {.server_name = 255}},
    {.name = "server name of 255 octets, 8500 identities", .sizes = {.identities = 8500, .server_name = 255}},
    {.name = "server name of 60000 octets, 100 identities", .sizes = {.identities = 100, .server_name = 60000}},
    {.name = "30000 ALPN names", .sizes = {.alpn = 30000}},
    {.name = "30000 cipher suites", .sizes = {.ciphers = 30000}},
    {.name = "its own ticket", .with = ticket::own},
    {.name = "7000 identities, its own ticket", .sizes = {.identities = 7000}, .with = ticket::own},
    {.name = "a ticket of elsewhere", .with = ticket::foreign},
    {.name = "8500 identities, a ticket of elsewhere", .sizes = {.identities = 8500}, .with = ticket::foreign},
};

enum class flagged { no, yes, all };

std::string ticket_from(SSL_CTX& server, visitor& client) {
    SSL_CTX_set_ciphersuites(client.context.get(), "TLS_AES_128_GCM_SHA256"); // the one that `client_hello` has
    if (!visit(server, *client.context).good) throw std::runtime_error("no handshake");
    const unsigned char* octets = nullptr;
    std::size_t size = 0;
    if (client.shelf.last != nullptr) SSL_SESSION_get0_ticket(client.shelf.last.get(), &octets, &size);
    if (size == 0) throw std::runtime_error("no ticket");
    return {reinterpret_cast<const char*>(octets), size};
}

int find_nothing(SSL*, const unsigned char*, std::size_t, SSL_SESSION** session) {
    *session = nullptr;
    return 1;
}

/// contestant is a server, with a ticket that it would take and one that it would decrypt and not take: from clients that
/// offer the flag, and from others.
struct contestant {
    std::string name;
    owned<SSL_CTX> context;
    std::string tickets[2];
};

void take_tickets(contestant& from) {
    visitor agent(attached_client());
    visitor person(client_context());
    from.tickets[1] = ticket_from(*from.context, agent);
    from.tickets[0] = ticket_from(*from.context, person);
}

contestant with_library(const std::string& name, const reqauth::server_options& options) {
    contestant made{name, attached_server(asking(), options), {}};
    take_tickets(made);
    return made;
}

// Its ticket has a certificate too, since its twin asked for one: OpenSSL needs the more for it.
contestant without_library(bool chained) {
    contestant made{chained ? "OpenSSL, chained" : "OpenSSL", server_context(), {}};
    auto twin = server_context();
    std::string keys(80, '\0');
    if (SSL_CTX_get_tlsext_ticket_keys(made.context.get(), keys.data(), 80) != 1 ||
        SSL_CTX_set_tlsext_ticket_keys(twin.get(), keys.data(), 80) != 1)
        throw std::runtime_error("no ticket keys");
    ask(*twin, SSL_VERIFY_PEER, the_cast().customers_ca);
    visitor customer(client_context());
    present(*customer.context, the_cast().customer);
    made.tickets[1] = ticket_from(*twin, customer);
    visitor person(client_context());
    made.tickets[0] = ticket_from(*twin, person);
    if (chained) SSL_CTX_set_psk_find_session_callback(made.context.get(), find_nothing);
    return made;
}

void measure(const contestant& who, const shape& about, flagged with, ending how) {
    const std::string real = who.tickets[(with != flagged::no) == (about.with == ticket::own) ? 1 : 0];
    const bool is_plain = who.name.starts_with("OpenSSL");
    std::vector<std::string> flights;
    std::string random(SSL3_RANDOM_SIZE, '\0');
    RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), SSL3_RANDOM_SIZE);
    const std::string share = x25519_share();
    client_hello_shape sizes = about.sizes;
    if (with != flagged::no)
        sizes.flags = with == flagged::yes ? flags({80}) : octets({255}) + std::string(255, '\xff');
    if (about.with != ticket::none) sizes.ticket = real;
    sizes.binds_ticket = about.with == ticket::own;
    if (how == ending::fails) flights.push_back(client_hello(sizes, random, std::nullopt));
    if (how == ending::retried) flights.push_back(client_hello(sizes, random, ""));
    if (how != ending::fails) flights.push_back(client_hello(sizes, random, share));
    // Its own ticket is one of elsewhere where its id context is another.
    if (is_plain) {
        const std::string_view id = about.with == ticket::foreign ? "elsewhere" : "application";
        SSL_CTX_set_session_id_context(who.context.get(), reinterpret_cast<const unsigned char*>(id.data()),
                                       static_cast<unsigned int>(id.size()));
    }
    std::string answer;
    measured(who.context.get(), flights.data(), flights.size(), &answer);
    static const char* const flag_names[] = {"no flag", "flag", "2040 flags"};
    static const char* const endings[] = {"", "fails", "retried"};
    std::size_t longest = 0;
    for (const std::string& flight : flights) longest = std::max(longest, flight.size());
    std::printf("%s\t%s\t%s\t%s\t%zu\t%zu\t%d\n", who.name.c_str(), about.name, flag_names[static_cast<int>(with)],
                endings[static_cast<int>(how)], longest, answer.size(),
                !answer.empty() && answer[0] == 21 ? answer.back() : 0);
}

} // namespace

int main() {
    const contestant plain[] = {without_library(false), without_library(true)};
    reqauth::server_options none;
    none.max_session_age = std::chrono::seconds(0);
    reqauth::server_options chained;
    chained.chained_psk_find_session = find_nothing;
    std::vector<contestant> library;
    library.push_back(with_library("library", {}));
    library.push_back(with_library("library, chained", chained));
    library.push_back({"library, max_session_age 0", attached_server(asking(), none), {}});
    for (int warm = 0; warm < 2; ++warm)
        for (const shape& about : shapes)
            for (const flagged with : {flagged::no, flagged::yes, flagged::all})
                for (const ending how : {ending::complete, ending::fails, ending::retried}) {
                    const bool small = about.sizes.identities + about.sizes.unknown + about.sizes.padding < 2;
                    if (warm == 0 && &about != &shapes[0]) continue;
                    if (how == ending::complete && !small && about.with == ticket::none) continue;
                    if (how != ending::complete && about.with == ticket::own) continue; // its binder does not fit
                    if (how == ending::retried && about.sizes.identities < 8000) continue;
                    if (with == flagged::all && !small) continue;
                    for (const contestant& one : plain) measure(one, about, with, how);
                    for (const contestant& one : library)
                        if (about.with == ticket::none || !one.tickets[0].empty()) measure(one, about, with, how);
                }
}
