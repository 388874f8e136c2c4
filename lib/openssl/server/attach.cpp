// SPDX-License-Identifier: Apache-2.0
#include <reqauth/server.hpp>

#include "../../decide/settings.hpp"
#include "../base/counting.hpp"
#include "../base/fence.hpp"
#include "../extension.hpp"
#include "../trust/trust_store.hpp"
#include "events.hpp"
#include "hello.hpp"
#include "probe.hpp"
#include "session.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <atomic>

namespace reqauth {

using namespace detail;

namespace {

std::atomic<std::uint64_t> numbers = 1; // of SSL_CTXs, whatever server they belong to

void check_versions(SSL_CTX& context, SSL* probe, const server_options& options) {
    const auto highest = SSL_get_max_proto_version(probe);
    if ((highest != 0 && highest < TLS1_3_VERSION) || (SSL_get_options(probe) & SSL_OP_NO_TLSv1_3) != 0)
        throw error(errc::unsuitable_context, "this SSL_CTX does not speak TLS 1.3, to which the flag belongs",
                    "allow TLS 1.3", "FLAG-9");
    if (options.certificate_is_chosen_by_callback || SSL_get_min_proto_version(probe) >= TLS1_3_VERSION) return;
    // A psk_find_session callback makes OpenSSL take an SSL_CTX for able to do TLS 1.3 whatever its certificates: one that
    // can only serve TLS 1.2 would then fail clients that it served before.
    //= RCA-15
    if (negotiates_tls13(context)) return;
    throw error(
        errc::unsuitable_context,
        "this SSL_CTX has no certificate with its key that can be used in TLS 1.3, and attaching would make OpenSSL "
        "negotiate it even so",
        "load one that can before attach, or say certificate_is_chosen_by_callback if a servername, certificate "
        "or PSK callback does without");
}

std::string listed(const std::vector<extension_type>& types) {
    std::string text;
    for (const extension_type type : types) text += (text.empty() ? "" : ", ") + std::to_string(type);
    return text.empty() ? "none" : text;
}

std::vector<anchor> own_anchors(SSL_CTX& context) {
    std::vector<anchor> anchors;
    std::vector<X509_STORE*> stores{SSL_CTX_get_cert_store(&context)};
    X509_STORE* verify_store = nullptr;
    SSL_CTX_get0_verify_cert_store(&context, &verify_store);
    if (verify_store != nullptr && verify_store != stores.front()) stores.push_back(verify_store);
    for (X509_STORE* store : stores) {
        const certificates_handle held(X509_STORE_get1_all_certs(store));
        if (held == nullptr) throw error(errc::openssl, "the SSL_CTX's trust store cannot be read" + drain_errors());
        for (int i = 0; i < sk_X509_num(held.get()); ++i)
            anchors.push_back(describe_anchor(*sk_X509_value(held.get(), i)));
    }
    return anchors;
}

//= RCA-13
std::vector<std::string> compare_trust(SSL_CTX& context, const server_policy& policy) {
    std::vector<std::string> warnings;
    if (!policy.when_offered.agents()) return warnings;
    const std::vector<anchor> own = own_anchors(context);
    for (const anchor& agent : policy.when_offered.agents()->store()->anchors) {
        const auto same_key = std::ranges::find(own, agent.key, &anchor::key);
        if (same_key != own.end()) {
            if (!policy.shared_anchors)
                throw error(errc::shared_anchor,
                            "the key of " + agent.text + " is a trust anchor for agents and for customers, as " +
                                same_key->text,
                            "take it out of one of the two, or set shared_anchors", "RCA-13");
            continue;
        }
        const auto same_subject = std::ranges::find(own, agent.subject, &anchor::subject);
        if (same_subject != own.end())
            warnings.push_back("the CA " + agent.text + " of agents has the name of " + same_subject->text +
                               " of customers, with another key: fine in a rollover, a mistake otherwise (RCA-13)");
    }
    return warnings;
}

// Where the flag would be ignored without a word. The verify mode of an SSL may still be another.
//= SEC-7
std::optional<std::string> ignored_here(const SSL_CTX& context, const server_policy& policy) {
    const int mode = SSL_CTX_get_verify_mode(&context);
    if (policy.when_offered.asks() == client_auth::mode::none || mode == SSL_VERIFY_NONE) return std::nullopt;
    if (!policy.beside_customers)
        return "the flag is ignored on this SSL_CTX, since it asks customers for a certificate (its verify mode); set "
               "beside_customers if the code there tells agents from customers, by peer_of or SSL_get_verify_result";
    if ((mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0 && !policy.beside_required)
        return "the flag is ignored on this SSL_CTX, since it requires a certificate of everyone; set beside_required "
               "if "
               "agents may come in there";
    return std::nullopt;
}

std::vector<std::string> warnings_of(SSL_CTX& context, const server_policy& policy) {
    std::vector<std::string> warnings = compare_trust(context, policy);
    if (policy.when_offered.agents())
        for (std::string& line : policy.when_offered.agents()->store()->doubts()) warnings.push_back(std::move(line));
    if (auto why = ignored_here(context, policy)) warnings.push_back(std::move(*why));
    return warnings;
}

void check_policy(const server_policy& policy) {
    const client_auth& auth = policy.when_offered;
    check_bounds(policy);
    auth.check();
    // certificate_authorities has a length of two octets, and so have all extensions together.
    constexpr std::size_t most = 60000;
    if (policy.ca_names && auth.agents() && auth.agents()->store()->names_octets > most)
        throw error(errc::names_too_long,
                    "the names of the " + std::to_string(auth.agents()->size()) +
                        " trust anchors do not fit into a CertificateRequest",
                    "set ca_names to false");
}

} // namespace

server::server(server_options options) : side_(std::make_shared<server_side>()) {
    check_bounds(options);
    check_extension(options.extension);
    side_->options = std::move(options);
}

attachment server::attach(SSL_CTX& context, server_policy policy) {
    const server_options& options = side_->options;
    check_policy(policy);
    const ssl_handle probe = probe_of(context);
    check_versions(context, probe.get(), options);
    if (attached_server::on(&context) != nullptr)
        throw error(errc::already_attached, "a server is attached to this SSL_CTX already",
                    "change its policy with replace");

    const std::lock_guard one_at_a_time(side_->changing);
    const bool few = options.assigned_extensions_alone && side_->extensions;
    auto extensions = extensions_of(context, few ? &*side_->extensions : nullptr);
    std::erase(extensions, options.extension); // ours: an earlier client may have registered it
    if (side_->extensions && *side_->extensions != extensions)
        throw error(errc::unequal_extensions,
                    "the SSL_CTXs of one server need the same custom extensions, since OpenSSL overruns "
                    "memory when it switches between others: this one has " +
                        listed(extensions) + ", the first has " + listed(*side_->extensions),
                    "register the same on each, before attach");
    attachment result;
    result.warnings = warnings_of(context, policy);

    const auto place = std::make_shared<attached_server>(attached_server{&context, side_, numbers++});
    policies::entry entry(place, std::move(policy));
    side_->make_room();
    using places = slot<SSL_CTX, std::shared_ptr<attached_server>>;
    places::keep(&context, std::make_unique<std::shared_ptr<attached_server>>(place));
    try {
        register_extension(context, options.extension, true);
    } catch (...) {
        places::drop(&context);
        throw;
    }
    place->info = SSL_CTX_get_info_callback(&context);
    SSL_CTX_set_info_callback(&context, on_server_event);
    SSL_CTX_set_psk_find_session_callback(&context, find_session);
    // The one type that OpenSSL also knows itself, so that nothing tells whether the server has it, as serverinfo with SCTs
    // does. So each has it: it never is on the wire, and nothing is registered twice.
    SSL_CTX_add_custom_ext(&context, TLSEXT_TYPE_signed_certificate_timestamp,
                           SSL_EXT_TLS_ONLY | SSL_EXT_TLS1_2_SERVER_HELLO, nullptr, nullptr, nullptr, nullptr, nullptr);
    side_->add(std::move(entry));
    side_->extensions = std::move(extensions);
    result.handle = place;
    return result;
}

//= SEC-4
std::vector<std::string> server::replace(std::vector<replacement> replacements) {
    const std::lock_guard one_at_a_time(side_->changing);
    std::vector<std::string> warnings;
    std::vector<policies::entry> entries = side_->all();
    std::vector<bool> named(entries.size());
    for (replacement& one : replacements) {
        const auto where = one.where.handle.lock();
        if (where == nullptr)
            throw error(errc::not_attached, "replace: the SSL_CTX of an attachment is gone", "leave it out");
        if (where->of != side_)
            throw error(errc::not_attached, "replace: an attachment is another server's",
                        "each server replaces its own");
        const auto entry = std::ranges::lower_bound(entries, where->number, {}, &policies::entry::number);
        if (named[entry - entries.begin()])
            throw error(errc::contradiction, "replace: an attachment is named twice", "give each SSL_CTX one policy");
        named[entry - entries.begin()] = true;
        check_policy(one.policy);
        for (std::string& warning : warnings_of(*where->context, one.policy)) warnings.push_back(std::move(warning));
        *entry = policies::entry(where, std::move(one.policy));
    }
    side_->set(std::move(entries));
    return warnings;
}

server_counters server::counters() const noexcept { return now_in(side_->counters); }
server_counters server::counted_in(server_counters& memory) noexcept { return now_in(memory); }

void server::count_into(const attachment& where, server_counters& memory) {
    const auto there = where.handle.lock();
    if (there == nullptr)
        throw error(errc::not_attached, "count_into: the SSL_CTX of an attachment is gone", "leave it out");
    there->counters = &memory;
}

server::server(server&&) noexcept = default;
server& server::operator=(server&&) noexcept = default;
server::~server() = default;

} // namespace reqauth
