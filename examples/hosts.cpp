// SPDX-License-Identifier: Apache-2.0
#include "hosts.hpp"

#include "command_line.hpp"
#include "settings/command_line.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

namespace {

std::string lower_case(std::string_view name) {
    std::string text(name);
    std::ranges::transform(text, text.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return text;
}

std::string contents(const named_file& what) {
    require_readable(what);
    std::ifstream in(what.file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// where_present is `directory`/`name`, or nothing. A link to nowhere is there: reading it is an error.
std::string where_present(const std::string& directory, const std::string& name) {
    const auto file = std::filesystem::path(directory) / name;
    std::error_code unknown;
    return std::filesystem::symlink_status(file, unknown).type() == std::filesystem::file_type::not_found
               ? ""
               : file.string();
}

/// ask_everybody is client authentication as any server has it: on the SSL_CTX, without the library.
void ask_everybody(SSL_CTX& context, const std::string& customers_auth, const std::string& customers_ca) {
    if (customers_auth == "none") return;
    const bool require = customers_auth == "require";
    SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | (require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
    if (customers_ca.empty()) return;
    if (std::filesystem::is_fifo(customers_ca))
        throw usage_error("--customers-ca " + customers_ca +
                          ": is a pipe, and this is read more than once; give a file");
    load_anchors(*SSL_CTX_get_cert_store(&context), {"--customers-ca", customers_ca});
    STACK_OF(X509)* all = X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(&context));
    for (int i = 0; i < sk_X509_num(all); ++i) SSL_CTX_add_client_CA(&context, sk_X509_value(all, i));
    sk_X509_pop_free(all, X509_free);
}

/// server_name_in is the name of a ClientHello that OpenSSL has not looked into yet; empty where there is none, or
/// one that OpenSSL will refuse. RFC 6066, section 3: the list's length, the type host_name, the name's length.
std::string_view server_name_in(SSL* hello) {
    const unsigned char* body = nullptr;
    std::size_t size = 0;
    if (SSL_client_hello_get0_ext(hello, TLSEXT_TYPE_server_name, &body, &size) != 1 || size < 5) return {};
    const auto number = [&](std::size_t at) { return std::size_t{body[at]} << 8U | body[at + 1]; };
    if (number(0) != size - 2 || body[2] != TLSEXT_NAMETYPE_host_name || number(3) != size - 5) return {};
    return {reinterpret_cast<const char*>(body) + 5, size - 5};
}

/// id_context_of tells sessions apart that the SSL_CTX's own authentication let in: by host, and by what it asked
/// and trusted. So one ticket key for several hosts or servers, or for a server before and after a change, lets
/// nobody carry a session from one to another.
std::array<unsigned char, 32> id_context_of(const server_options& options, const std::string& host,
                                            const std::string& customers_auth, const std::string& customers_ca) {
    std::string all;
    for (const std::string& part :
         {std::string("reqauth-server sessions 1"), options.agents.label, host, customers_auth,
          customers_ca.empty() ? std::string() : contents({"--customers-ca", customers_ca})})
        all += std::to_string(part.size()) + ":" + part;
    std::array<unsigned char, 32> id{};
    if (EVP_Digest(all.data(), all.size(), id.data(), nullptr, EVP_sha256(), nullptr) != 1)
        throw std::runtime_error(openssl_error());
    return id;
}

std::vector<unsigned char> read_ticket_keys(const std::string& file) {
    if (file.empty()) return {};
    const std::string keys = contents({"--ticket-key", file});
    if (keys.size() != 80)
        throw usage_error("--ticket-key " + file + " has " + std::to_string(keys.size()) +
                          " octets where 80 are needed: make one with openssl rand -out FILE 80");
    return {keys.begin(), keys.end()};
}

} // namespace

hosts::hosts(const server_options& options)
    : options_(options), ticket_keys_(read_ticket_keys(options.ticket_key)), server_(options_of(options.agents)) {
    all_.push_back({.name = "",
                    .certificate = options.certificate,
                    .key = options.key,
                    .agents_ca = options.agents.agents,
                    .customers_auth = options.customers_auth,
                    .customers_ca = options.customers_ca});
    for (const virtual_host& each : options.vhosts) {
        const std::string name = lower_case(each.name);
        if (std::ranges::find(all_, name, &host::name) != all_.end())
            throw usage_error("--vhost " + each.name + " is given twice");
        const std::string customers_ca = where_present(each.directory, "customers-ca.pem");
        if (!customers_ca.empty() && options.customers_auth == "none")
            throw usage_error(customers_ca + " is for clients that are asked: add --customers-auth request or require");
        all_.push_back({.name = name,
                        .certificate = (std::filesystem::path(each.directory) / "cert.pem").string(),
                        .key = (std::filesystem::path(each.directory) / "key.pem").string(),
                        .agents_ca = where_present(each.directory, "agents-ca.pem"),
                        .customers_auth = customers_ca.empty() ? "none" : options.customers_auth,
                        .customers_ca = customers_ca});
    }
    for (const auto& [option, file] : {std::pair("--crl", options.agents.crl), {"--admitted", options.agents.admitted}})
        if (!file.empty() && std::ranges::all_of(all_, [](const host& each) { return each.agents_ca.empty(); }))
            throw usage_error(std::string(option) + " is about agents, and there is no CA of agents: add --agents-ca");
    for (host& each : all_) configure(each);
}

void hosts::configure(host& each) {
    each.context.reset(SSL_CTX_new(TLS_server_method()));
    if (!each.context) throw std::runtime_error(openssl_error());
    SSL_CTX& context = *each.context;
    SSL_CTX_set_min_proto_version(&context, options_.tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_options(&context, SSL_OP_NO_RENEGOTIATION);
    // Back to the event loop after each record: a client that floods the server holds nobody up.
    SSL_CTX_clear_mode(&context, SSL_MODE_AUTO_RETRY);
    const std::string vhost = "--vhost " + each.name + ":";
    use_certificate(context, {each.name.empty() ? "--cert" : vhost, each.certificate},
                    {each.name.empty() ? "--key" : vhost, each.key});
    ask_everybody(context, each.customers_auth, each.customers_ca);

    each.id_context = id_context_of(options_, each.name, each.customers_auth, each.customers_ca);
    SSL_CTX_set_session_id_context(&context, each.id_context.data(), static_cast<unsigned>(each.id_context.size()));
    SSL_CTX_set_client_hello_cb(&context, keep_sessions_apart, this);
    SSL_CTX_set_tlsext_servername_callback(&context, move_to_host);
    SSL_CTX_set_tlsext_servername_arg(&context, this);
    if (options_.no_tickets) SSL_CTX_set_options(&context, SSL_OP_NO_TICKET);
    // OpenSSL takes the 80 octets as nginx lays them out: a name (16), the key for HMAC-SHA-256 (32), the key for
    // AES-256-CBC (32).
    if (!ticket_keys_.empty() &&
        SSL_CTX_set_tlsext_ticket_keys(&context, ticket_keys_.data(), static_cast<long>(ticket_keys_.size())) != 1)
        throw std::runtime_error("--ticket-key " + options_.ticket_key + " cannot be used: " + openssl_error());
    // OpenSSL then keeps sessions in this process, whatever --ticket-key says, and lets each resume once: early data
    // that is replayed is not taken. In a fleet such a session resumes where it was made; elsewhere a full
    // handshake follows.
    SSL_CTX_set_max_early_data(&context, options_.early_data);
    // Never less than OpenSSL's own: it is also how much is passed over of what is not accepted.
    SSL_CTX_set_recv_max_early_data(&context, std::max(options_.early_data, SSL_CTX_get_recv_max_early_data(&context)));

    // What the library adds: who offers the flag is asked, and judged by --agents-ca.
    each.attached = server_.attach(context, policy_of(each));
    reqauth::server::count_into(each.attached, *each.counted);
}

std::string hosts::metrics() const {
    std::vector<reqauth_settings::one_server> servers;
    for (const host& each : all_) servers.push_back({each.name, reqauth::server::counted_in(*each.counted)});
    return reqauth_settings::metrics(servers);
}

reqauth::server_policy hosts::policy_of(const host& each) const {
    reqauth::server_policy policy;
    if (!each.agents_ca.empty()) {
        auto of_host = options_.agents;
        of_host.agents = each.agents_ca;
        policy = reqauth_settings::policy_of(of_host, load(of_host)); // what is printed and served goes by peer_of
    }
    policy.session_id_context.assign(each.id_context.begin(), each.id_context.end());
    return policy;
}

std::string hosts::of(const host& each, const std::string& warning) {
    return (each.name.empty() ? "" : "--vhost " + each.name + ": ") +
           reqauth_settings::in_words(warning, reqauth_settings::spelled);
}

std::vector<std::string> hosts::warnings() const {
    std::vector<std::string> lines;
    for (const host& each : all_) {
        for (const std::string& line : each.attached.warnings) lines.push_back(of(each, line));
        const X509* own = SSL_CTX_get0_certificate(each.context.get());
        if (const int when = X509_cmp_timeframe(nullptr, X509_get0_notBefore(own), X509_get0_notAfter(own)); when != 0)
            lines.push_back(
                (each.name.empty() ? "--cert" : "--vhost " + each.name) + ": the server's own certificate " +
                (when > 0 ? "has expired: renew it" : "is not valid yet: wait, or look at this machine's clock") +
                "; until then clients that verify it do not connect");
    }
    return lines;
}

void hosts::log_keys(keylog& keys) const {
    for (const host& each : all_) keys.watch(*each.context);
}

std::vector<std::string> hosts::reload() {
    std::vector<reqauth::replacement> all;
    for (const host& each : all_) all.push_back({each.attached, policy_of(each)});
    std::vector<std::string> lines = server_.replace(std::move(all));
    for (std::string& line : lines) line = reqauth_settings::in_words(std::move(line), reqauth_settings::spelled);
    return lines;
}

const hosts::host& hosts::named(std::string_view name) const {
    const auto found = std::ranges::find(all_, lower_case(name), &host::name);
    return found != all_.end() ? *found : all_.front();
}

// OpenSSL looks for the session that a ClientHello presents, or makes a new one, before it calls the servername
// callback: that would always be under the first host's id context (CVE-2025-23419). This callback comes before.
int hosts::keep_sessions_apart(SSL* ssl, int* alert, void* self) {
    const host& wanted = static_cast<const hosts*>(self)->named(server_name_in(ssl));
    if (SSL_set_session_id_context(ssl, wanted.id_context.data(), static_cast<unsigned>(wanted.id_context.size())) == 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}

int hosts::move_to_host(SSL* ssl, int* alert, void* self) {
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX* context = static_cast<const hosts*>(self)->named(name != nullptr ? name : "").context.get();
    if (SSL_get_SSL_CTX(ssl) != context && SSL_set_SSL_CTX(ssl, context) == nullptr) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    // These would stay the first host's: it would ask, or not ask, in the other's place.
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(context), SSL_CTX_get_verify_callback(context));
    SSL_set_verify_depth(ssl, SSL_CTX_get_verify_depth(context));
    return name != nullptr ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}
