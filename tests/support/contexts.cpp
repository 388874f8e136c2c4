// SPDX-License-Identifier: Apache-2.0
#include "support/contexts.hpp"

#include <algorithm>
#include <stdexcept>

namespace support {
namespace {

void must(bool worked, const char* what) {
    if (!worked) throw std::runtime_error(std::string(what) + " failed");
}

constexpr unsigned char id_context[] = "application";

std::string alert_name(int alert) {
    if (alert == SSL_AD_CERTIFICATE_REQUIRED) return "certificate required"; // OpenSSL 3.0 has no name for it
    return alert == endpoint::no_alert ? "none" : SSL_alert_desc_string_long(alert);
}

} // namespace

namespace {

/// Certificates go out as they are, so that tests can look for them in what was sent.
void without_compression([[maybe_unused]] SSL_CTX& context) {
#ifdef SSL_OP_NO_TX_CERTIFICATE_COMPRESSION
    SSL_CTX_set_options(&context, SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION);
#endif
}

} // namespace

owned<SSL_CTX> server_context(const identity& who, const SSL_METHOD* method) {
    owned<SSL_CTX> context(SSL_CTX_new(method));
    must(context != nullptr, "SSL_CTX_new");
    without_compression(*context);
    present(*context, who);
    must(SSL_CTX_set_session_id_context(context.get(), id_context, sizeof id_context - 1) == 1, "id context");
    return context;
}

std::vector<unsigned char> own_id_context() { return {std::begin(id_context), std::end(id_context) - 1}; }

owned<SSL_CTX> client_context(const SSL_METHOD* method) {
    owned<SSL_CTX> context(SSL_CTX_new(method));
    must(context != nullptr, "SSL_CTX_new");
    without_compression(*context);
    must(X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), the_cast().server_ca.certificate.get()) == 1,
         "X509_STORE_add_cert");
    must(X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(context.get()), "server.example", 0) == 1, "set1_host");
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    return context;
}

void present(SSL_CTX& context, const identity& who) {
    must(SSL_CTX_use_certificate(&context, who.certificate.get()) == 1, "SSL_CTX_use_certificate");
    must(SSL_CTX_use_PrivateKey(&context, who.key.get()) == 1, "SSL_CTX_use_PrivateKey");
}

void ask(SSL_CTX& context, int mode, const identity& ca, SSL_verify_cb callback) {
    must(X509_STORE_add_cert(SSL_CTX_get_cert_store(&context), ca.certificate.get()) == 1, "X509_STORE_add_cert");
    must(SSL_CTX_add_client_CA(&context, ca.certificate.get()) == 1, "SSL_CTX_add_client_CA");
    SSL_CTX_set_verify(&context, mode, callback);
}

reqauth::trust trust_in(const identity& ca) { return reqauth::trust::from_pem(pem(*ca.certificate)); }

reqauth::credential credential_of(const identity& who, std::span<X509* const> chain) {
    reqauth::credential_options options;
    options.outside_validity = true; // servers are to judge
    return reqauth::credential::from_objects(*who.certificate, *who.key, chain, options);
}

reqauth::client_policy agent_policy() {
    reqauth::client_policy policy;
    policy.credential = credential_of(the_cast().agent);
    return policy;
}

void attach(SSL_CTX& context, const reqauth::server_policy& policy, const reqauth::server_options& options) {
    reqauth::server(options).attach(context, policy);
}

owned<SSL_CTX> attached_server(const reqauth::server_policy& policy, const reqauth::server_options& options) {
    auto context = server_context();
    attach(*context, policy, options);
    return context;
}

owned<SSL_CTX> attached_client(const reqauth::client_policy& policy) {
    auto context = client_context();
    reqauth::client(policy).attach(*context);
    return context;
}

reqauth::server_policy asking() {
    reqauth::server_policy policy;
    policy.beside_customers = true; // tests tell by peer_of
    policy.when_offered = reqauth::client_auth::request(agents());
    return policy;
}

reqauth::server_policy demanding() {
    reqauth::server_policy policy;
    policy.beside_customers = true;
    policy.when_offered = reqauth::client_auth::require(agents());
    return policy;
}

std::string seen(const SSL& server) {
    const reqauth::peer who = reqauth::peer_of(server);
    if (const auto* agent = std::get_if<reqauth::flagged_peer>(&who)) return "flagged " + agent->subject();
    const auto& other = std::get<reqauth::other_peer>(who);
    std::string text(reqauth::to_string(other.why));
    if (other.verify_error != 0) text += " " + std::to_string(other.verify_error);
    return text;
}

std::string flags(std::initializer_list<unsigned> numbers) {
    const unsigned highest = numbers.size() == 0 ? 0 : std::max(numbers);
    std::string body(2 + highest / 8, '\0');
    body[0] = static_cast<char>(1 + highest / 8);
    for (const unsigned number : numbers)
        body[1 + number / 8] = static_cast<char>(static_cast<unsigned char>(body[1 + number / 8]) | 1U << number % 8);
    return body;
}

std::string sane_conversation() {
    const auto server = attached_server(asking());
    const auto client = attached_client();
    pair both(*server, *client);
    if (!both.shake()) return "failed: " + both.server.failure + both.client.failure;
    return seen(both);
}

std::string alert_to_server(const pair& both) { return alert_name(both.server.alert_received); }
std::string alert_to_client(const pair& both) { return alert_name(both.client.alert_received); }

reqauth::errc failure_of(const std::function<void()>& call, std::string* text) {
    try {
        call();
    } catch (const reqauth::error& e) {
        if (text != nullptr) *text = e.what();
        return e.code();
    }
    throw std::runtime_error("no reqauth::error was thrown");
}

} // namespace support
