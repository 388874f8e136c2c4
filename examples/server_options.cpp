// SPDX-License-Identifier: Apache-2.0
#include "server_options.hpp"

#include "command_line.hpp"
#include "settings/command_line.hpp"

std::variant<server_options, int> read_server_options(int argc, char** argv) {
    server_options chosen;
    std::string listen = to_string(chosen.listen);
    std::vector<std::string> vhosts;
    CLI::App app(
        "An HTTPS server that asks for a client certificate only where the client offers one,\n"
        "by the TLS flag request_client_auth. GET / shows a visitor how they were seen, GET /debug the same\n"
        "in JSON. SIGHUP reads the agents' trust anchors and CRLs again; SIGTERM stops after open connections.",
        "reqauth-server");
    app.option_defaults()->always_capture_default();
    app.get_formatter()->column_width(34);

    app.add_option("--listen", listen, "address; port 0 picks a free one")->type_name("HOST:PORT");
    app.add_option("--cert", chosen.certificate, "server certificate chain, PEM")
        ->required()
        ->type_name("FILE")
        ->always_capture_default(false);
    app.add_option("--key", chosen.key, "its private key, PEM")->required()->type_name("FILE");
    using reqauth_settings::row;
    const auto option = [&](std::size_t row) { reqauth_settings::option(app, chosen.agents, row); };
    option(row("agents"));
    app.add_option("--customers-ca", chosen.customers_ca, "trust anchors for clients whose flag is absent or ignored")
        ->type_name("FILE");
    app.add_option("--customers-auth", chosen.customers_auth, "whether those clients are asked at all")
        ->check(CLI::IsMember({"none", "request", "require"}));
    for (const std::size_t each :
         {row("missing"), row("invalid"), row("unvouched"), row("beside_required"), row("cross_signed"), row("crl"),
          row("purpose"), row("admitted"), row("ca_names"), row("session_age"), row("label")})
        option(each);
    app.add_option(
           "--vhost", vhosts,
           "a further virtual host, with cert.pem, key.pem and, where present, agents-ca.pem, customers-ca.pem of "
           "DIR; without the latter it asks nobody else; repeatable")
        ->type_name("NAME=DIR")
        ->take_all()
        ->allow_extra_args(false)
        ->default_str("");
    for (const std::size_t each : {row("flag"), row("extension")}) option(each);
    auto* ticket_key =
        app.add_option("--ticket-key", chosen.ticket_key,
                       "ticket keys shared by several servers: 80 octets, made by openssl rand 80; default: random")
            ->type_name("FILE");
    app.add_flag("--no-tickets", chosen.no_tickets, "stateful session cache in place of tickets")->excludes(ticket_key);
    app.add_option("--early-data", chosen.early_data,
                   "accept 0-RTT up to BYTES; sessions are then kept here, and resume on this server alone")
        ->type_name("BYTES")
        ->check(CLI::Range(0, 1024 * 1024));
    app.add_flag("--post-handshake", chosen.post_handshake, "ask for a certificate after the handshake, on GET /pha");
    app.add_flag("--tls1.2", chosen.tls12, "allow TLS 1.2 too");
    app.add_option("--threads", chosen.threads, "worker threads")->type_name("N")->check(CLI::Range(1, 1024));
    app.add_option("--max-connections", chosen.max_connections, "stop after N connections")->type_name("N");
    app.add_option("--keylog", chosen.keylog, "append an NSS key log")->type_name("FILE");
    app.add_flag("--json", chosen.json, "one JSON object a line on standard output");
    app.add_flag("--trace", chosen.trace, "each handshake message and its flags on standard error");
    if (const auto status = parse(app, argc, argv)) return *status;

    chosen.listen = read_endpoint("--listen", listen);
    if (chosen.max_connections == 0) throw usage_error("--max-connections 0 would serve nobody: give 1 or more");
    if (chosen.customers_auth == "none" && !chosen.customers_ca.empty())
        throw usage_error("--customers-ca is for clients that are asked: add --customers-auth request or require");
    for (const std::string& each : vhosts) {
        const auto equals = each.find('=');
        if (equals == 0 || equals == std::string::npos || equals + 1 == each.size())
            throw usage_error("--vhost " + each + " is not NAME=DIR");
        chosen.vhosts.push_back({ascii_host("--vhost", each.substr(0, equals)), each.substr(equals + 1)});
    }
    return chosen;
}
