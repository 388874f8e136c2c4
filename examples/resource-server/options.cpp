// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include "command_line.hpp"
#include "settings/command_line.hpp"
#include "tls.hpp"

#include <openssl/bio.h>
#include <openssl/pem.h>

#include <algorithm>

namespace {

/// thumbprint_of is SHA-256 over the first certificate of a PEM file.
reqauth::oauth::thumbprint thumbprint_of(const std::string& file) {
    require_readable({"--proxy-cert", file});
    const std::unique_ptr<BIO, free_with<BIO_free_all>> in(BIO_new_file(file.c_str(), "r"));
    const std::unique_ptr<X509, free_with<X509_free>> certificate(
        in ? PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr) : nullptr);
    reqauth::oauth::thumbprint digest{};
    if (!certificate || X509_digest(certificate.get(), EVP_sha256(), digest.data(), nullptr) != 1)
        throw usage_error("--proxy-cert " + file + " holds no certificate in PEM: " + openssl_error());
    return digest;
}

} // namespace

std::variant<resource_options, int> read_resource_options(int argc, char** argv) {
    resource_options chosen;
    std::string listen = to_string(chosen.listen), proxy_listen;
    std::vector<std::string> proxies;
    CLI::App app("A resource server for browsers and for clients with certificate-bound tokens, on one name and port.\n"
                 "GET / is a page for everybody. GET /resource wants a token: Authorization: Bearer …, a JWT that is\n"
                 "bound to the client's certificate (RFC 8705). Only clients that offer the TLS flag\n"
                 "request_client_auth are asked for one.",
                 "resource-server");
    app.option_defaults()->always_capture_default();
    app.get_formatter()->column_width(34);
    app.add_option("--listen", listen, "address; port 0 picks a free one")->type_name("HOST:PORT");
    app.add_option("--cert", chosen.certificate, "server certificate chain, PEM")
        ->required()
        ->type_name("FILE")
        ->always_capture_default(false);
    app.add_option("--key", chosen.key, "its private key, PEM")->required()->type_name("FILE");
    option(app, chosen.agents, reqauth_settings::row("agents"))->required();
    app.add_option("--token-key", chosen.token_key, "the authorization server's public key, a JWK")
        ->required()
        ->type_name("FILE");
    app.add_option("--token-alg", chosen.token_algorithm, "the one algorithm that its tokens are signed with")
        ->check(CLI::IsMember({"ES256", "ES384", "ES512", "RS256", "RS384", "RS512"}));
    app.add_option("--issuer", chosen.issuer, "the authorization server: a token's iss")->required()->type_name("URL");
    app.add_option("--audience", chosen.audience, "this server: in a token's aud")->required()->type_name("URL");
    app.add_option("--unbound", chosen.unbound, "tokens that are bound to no certificate")
        ->required()
        ->check(CLI::IsMember({"refuse", "accept"}));
    app.add_option("--on-missing", chosen.on_missing, "the answer to a bound token without a certificate")
        ->check(CLI::IsMember({"invalid_token", "invalid_request"}));
    auto* hop = app.add_option("--proxy-listen", proxy_listen,
                               "another address, for reverse proxies that pass on their clients' certificates in "
                               "Client-Cert (RFC 9440); each has to present a certificate")
                    ->type_name("HOST:PORT");
    auto* ca = app.add_option("--proxies-ca", chosen.proxies_ca, "the proxies' trust anchors")->type_name("FILE");
    auto* pin = app.add_option("--proxy-cert", proxies, "a proxy's own certificate; only such are believed; repeatable")
                    ->type_name("FILE");
    hop->needs(ca)->needs(pin);
    ca->needs(hop);
    pin->needs(hop);
    app.add_flag("--json", chosen.json, "one JSON object a line on standard output");
    if (const auto status = parse(app, argc, argv)) return *status;

    chosen.listen = read_endpoint("--listen", listen);
    if (!proxy_listen.empty()) chosen.proxy_listen = read_endpoint("--proxy-listen", proxy_listen);
    std::ranges::transform(proxies, std::back_inserter(chosen.proxies), thumbprint_of);
    return chosen;
}
