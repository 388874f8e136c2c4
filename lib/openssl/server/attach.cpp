// SPDX-License-Identifier: Apache-2.0
#include <reqauth/server.hpp>

#include "../../decide/settings.hpp"
#include "../base/counting.hpp"
#include "../base/quic.hpp"
#include "../extension.hpp"
#include "../trust/trust_store.hpp"
#include "events.hpp"
#include "hello.hpp"
#include "probe.hpp"
#include "session.hpp"
#include "warnings.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <atomic>

namespace reqauth {

using namespace detail;

namespace {

std::atomic<std::uint64_t> numbers = 1; // of SSL_CTXs, whatever server they belong to

// Of an SSL_CTX of QUIC, OpenSSL alone makes SSLs. They have TLS 1.3, and never another SSL_CTX.
void check_suits(SSL_CTX& context, const server_options& options) {
    const quic_role quic = quic_role_of(context);
    if (SSL_CTX_get_ssl_method(&context) == TLS_client_method() || quic == quic_role::client ||
        quic == quic_role::threaded)
        throw error(errc::unsuitable_context,
                    "this SSL_CTX is for clients (TLS_client_method, or that of QUIC), and accepts nobody",
                    "make it with TLS_server_method, or OSSL_QUIC_server_method");
    if (quic == quic_role::server) return;
    const ssl_handle made = probe_of(context);
    SSL* probe = made.get();
    const auto highest = SSL_get_max_proto_version(probe);
    if ((highest != 0 && highest < TLS1_3_VERSION) || (SSL_get_options(probe) & SSL_OP_NO_TLSv1_3) != 0)
        throw error(errc::unsuitable_context, "TLS 1.3, to which the flag belongs, is not allowed here",
                    "allow TLS 1.3", "FLAG-9");
    if (options.certificate_is_chosen_by_callback || SSL_get_min_proto_version(probe) >= TLS1_3_VERSION) return;
    // A psk_find_session callback makes OpenSSL take an SSL_CTX for able to do TLS 1.3 whatever its certificates: one that
    // can only serve TLS 1.2 would then fail clients that it served before.
    //= RCA-15
    if (negotiates_tls13(context)) return;
    throw error(
        errc::unsuitable_context,
        "no certificate with its key is here that can be used in TLS 1.3, and with the flag OpenSSL would negotiate it "
        "even so",
        "load one that can before attach, or say certificate_is_chosen_by_callback if a servername, certificate "
        "or PSK callback does without");
}

std::string listed(const std::vector<extension_type>& types) {
    std::string text;
    for (const extension_type type : types) text += (text.empty() ? "" : ", ") + std::to_string(type);
    return text.empty() ? "none" : text;
}

// `first` are those of the server's first SSL_CTX.
void check_extensions(SSL_CTX& context, const server_options& options,
                      std::optional<std::vector<extension_type>>& first) {
    const bool few = options.assigned_extensions_alone && first;
    auto extensions = extensions_of(context, few ? &*first : nullptr);
    std::erase(extensions, options.extension); // ours: an earlier client may have registered it
    if (first && *first != extensions)
        throw error(errc::unequal_extensions,
                    "the SSL_CTXs of one server need the same custom extensions, since OpenSSL overruns "
                    "memory when it switches between others: this one has " +
                        listed(extensions) + ", the first has " + listed(*first),
                    "register the same on each, before attach");
    first = std::move(extensions);
}

void check_policy(const server_policy& policy) {
    const client_auth& auth = policy.when_offered;
    check_bounds(policy);
    auth.check();
    // certificate_authorities has a length of two octets, and so have all extensions together.
    constexpr std::size_t most = 60000;
    if (policy.ca_names && !auth.takes_unvouched() && auth.agents() && auth.agents()->store()->names_octets > most)
        throw error(errc::names_too_long,
                    "the names of the " + std::to_string(auth.agents()->size()) +
                        " trust anchors do not fit into a CertificateRequest",
                    "turn ca_names off");
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
    check_suits(context, options);
    if (attached_server::on(&context) != nullptr)
        throw error(errc::already_attached, "a server is attached to this SSL_CTX already",
                    "change its policy with replace");

    const std::lock_guard one_at_a_time(side_->changing);
    auto extensions = side_->extensions;
    if (quic_role_of(context) != quic_role::server) check_extensions(context, options, extensions);
    attachment result;
    result.warnings = warnings_of(context, policy);

    const auto place = std::make_shared<attached_server>(&context, side_, numbers++);
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
        const auto place = static_cast<std::size_t>(entry - entries.begin());
        if (named[place])
            throw error(errc::contradiction, "replace: an attachment is named twice", "give each SSL_CTX one policy");
        named[place] = true;
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
