// SPDX-License-Identifier: Apache-2.0
#include "client_options.hpp"

#include "command_line.hpp"

#include <algorithm>

namespace {

/// is_path says whether `target` can stand in a request line.
bool is_path(const std::string& target) {
    return target.starts_with('/') && std::ranges::all_of(target, [](char each) { return each > ' ' && each < 0x7f; });
}

} // namespace

std::variant<client_options, int> read_client_options(int argc, char** argv) {
    client_options chosen;
    std::string connect;
    CLI::App app(
        "An HTTPS client that offers its certificate by the TLS flag request_client_auth, and presents it\n"
        "where the server asks for it because of that flag. One line says how it went: on standard output, or on\n"
        "standard error where that has a body. Exit status: 0 done; 1 the connection failed; 2 usage, or a file\n"
        "that cannot be used; 3 the server asked for --cert, and was not shown it: the line says why.",
        "reqauth-client");
    app.get_formatter()->column_width(34);

    app.add_option("--connect", connect, "where to")->required()->type_name("HOST:PORT");
    app.add_option("--servername", chosen.server_name, "SNI and the name to verify; default: HOST")->type_name("NAME");
    app.add_option("--ca", chosen.ca, "trust anchors for the server; default: the system's")->type_name("FILE");
    auto* certificate =
        app.add_option("--cert", chosen.certificate, "certificate presented when the flag is acknowledged")
            ->type_name("FILE");
    auto* key =
        app.add_option("--key", chosen.key, "its private key: a file, or a provider's URI (pkcs11:..., handle:...)")
            ->type_name("FILE|URI");
    certificate->needs(key);
    key->needs(certificate);
    app.add_option("--key-provider", chosen.key_providers,
                   "vouch that using the keys of this OpenSSL provider never asks a person; legacy: of an engine; "
                   "repeatable; default and fips need none")
        ->type_name("NAME")
        ->needs(key)
        ->take_all();
    auto* other_certificate = app.add_option("--other-cert", chosen.other_certificate,
                                             "certificate presented to a request without the flag; default: none")
                                  ->type_name("FILE");
    auto* other_key = app.add_option("--other-key", chosen.other_key, "its private key")->type_name("FILE");
    other_certificate->needs(other_key);
    other_key->needs(other_certificate);
    app.add_option("--offer", chosen.offer, "auto offers when a certificate is directly available")
        ->check(CLI::IsMember({"auto", "always", "never"}))
        ->capture_default_str();
    app.add_option("--on-unacknowledged", chosen.on_unacknowledged,
                   "answer to a request without the flag; flag presents --cert even so; default: other if given, "
                   "else empty")
        ->check(CLI::IsMember({"empty", "other", "flag"}));
    app.add_option("--on-unsatisfiable", chosen.on_unsatisfiable,
                   "answer to a request whose authorities or algorithms --cert cannot meet; present: --cert even so")
        ->check(CLI::IsMember({"empty", "close", "present"}))
        ->capture_default_str();
    app.add_option("--flag", chosen.flag, "flag number")->type_name("N")->capture_default_str();
    app.add_option("--extension", chosen.extension, "extension type")->type_name("N")->capture_default_str();
    app.add_option("--flags", chosen.flags, "further flags to propose")
        ->type_name("N,N,...")
        ->delimiter(',')
        ->check(CLI::Range(0, static_cast<int>(reqauth::flag_set::capacity) - 1));
    app.add_option("--session-in", chosen.session_in, "session to resume, PEM")->type_name("FILE");
    app.add_flag("--foreign-session", chosen.foreign_session,
                 "present --session-in whatever client it is of: for tests of servers");
    app.add_option("--session-out", chosen.session_out, "write the last session that the server gives, PEM")
        ->type_name("FILE");
    app.add_option("--early-data", chosen.early_data,
                   "send TEXT as 0-RTT where the session allows, else not at all; where it is an HTTP request, up to "
                   "its empty line, the answer's body goes to standard output")
        ->type_name("TEXT");
    app.add_flag("--post-handshake", chosen.post_handshake, "offer post_handshake_auth");
    app.add_flag("--tls1.2", chosen.tls12, "at most TLS 1.2");
    app.add_option("--get", chosen.get, "request after the handshake, body to standard output; repeatable")
        ->type_name("PATH")
        ->take_all();
    app.add_option("--keylog", chosen.keylog, "append an NSS key log")->type_name("FILE");
    app.add_flag("--json", chosen.json, "one JSON line at the end");
    app.add_flag("--trace", chosen.trace, "each handshake message and its flags on standard error");
    if (const auto status = parse(app, argc, argv)) return *status;

    chosen.connect = read_endpoint("--connect", connect);
    chosen.server_name =
        chosen.server_name.empty() ? chosen.connect.host : ascii_host("--servername", chosen.server_name);
    // DNS knows a name with a dot at its end. TLS has it without (RFC 6066, section 3).
    if (chosen.server_name.ends_with('.')) chosen.server_name.pop_back();
    for (const std::string& path : chosen.get)
        if (!is_path(path)) throw usage_error("--get " + path + " is not a path: it begins with / and has no spaces");
    if (std::ranges::find(chosen.flags, chosen.flag) != chosen.flags.end())
        throw usage_error("--flags has " + std::to_string(chosen.flag) +
                          ", the flag itself (--flag): whether it is sent is what --offer says");
    if (chosen.on_unacknowledged.empty())
        chosen.on_unacknowledged = chosen.other_certificate.empty() ? "empty" : "other";
    if (chosen.on_unacknowledged == "other" && chosen.other_certificate.empty())
        throw usage_error("--on-unacknowledged other needs --other-cert and --other-key");
    if (chosen.on_unacknowledged == "flag" && chosen.certificate.empty())
        throw usage_error("--on-unacknowledged flag needs --cert and --key");
    if (!chosen.early_data.empty() && chosen.session_in.empty())
        throw usage_error("--early-data goes out with a session that is resumed: add --session-in");
    return chosen;
}
