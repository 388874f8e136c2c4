// SPDX-License-Identifier: Apache-2.0
#include "parties.hpp"

#include <openssl/err.h>

#include <stdexcept>

namespace bench {
namespace {

owned<EVP_PKEY> make_key(const std::string& kind) {
    if (kind == "P-256") return support::make_key(support::key_type::p256);
    if (kind == "RSA-2048") return support::make_key(support::key_type::rsa);
    return owned<EVP_PKEY>(EVP_PKEY_Q_keygen(nullptr, nullptr, kind.c_str()));
}

identity issue(const std::string& kind, const support::description& about, const identity* issuer = nullptr) {
    return support::issue(about, issuer, make_key(kind).get());
}

} // namespace

std::vector<std::string> kinds_of_keys() {
    std::vector<std::string> kinds{"P-256", "RSA-2048", "ED25519"};
    if (make_key("ML-DSA-65") != nullptr) kinds.emplace_back("ML-DSA-65");
    ERR_clear_error();
    return kinds;
}

people::people(const std::string& kind)
    : server_ca(issue(kind, {.common_name = "Server CA", .ca = true})),
      server(issue(kind, {.common_name = "server.example", .alt_names = {{GEN_DNS, "server.example"}}}, &server_ca)),
      agents_ca(issue(kind, {.common_name = "Agents CA", .ca = true})),
      agent(issue(kind, support::agent_description("crawler.example"), &agents_ca)) {}

owned<SSL_CTX> bare_server(const people& who) { return support::server_context(who.server); }

owned<SSL_CTX> mutual_server(const people& who) {
    auto context = bare_server(who);
    support::ask(*context, SSL_VERIFY_PEER, who.agents_ca);
    return context;
}

reqauth::server_policy asking(const people& who) {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(support::trust_in(who.agents_ca));
    policy.session_id_context = support::own_id_context(); // as who resumes without the flag has it
    return policy;
}

owned<SSL_CTX> flag_server(const people& who) {
    auto context = bare_server(who);
    support::attach(*context, asking(who));
    return context;
}

owned<SSL_CTX> bare_client(const people& who) {
    auto context = support::client_context();
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), who.server_ca.certificate.get()) != 1)
        throw std::runtime_error("X509_STORE_add_cert failed");
    return context;
}

owned<SSL_CTX> mutual_client(const people& who) {
    auto context = bare_client(who);
    support::present(*context, who.agent);
    return context;
}

reqauth::client_policy offering(const people& who) {
    reqauth::client_policy policy;
    policy.credential = support::credential_of(who.agent);
    return policy;
}

owned<SSL_CTX> flag_client(const people& who, const reqauth::client_policy& policy) {
    auto context = bare_client(who);
    reqauth::client(policy).attach(*context);
    return context;
}

} // namespace bench
