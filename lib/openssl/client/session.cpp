// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include "../../decide/settings.hpp"
#include "../base/fence.hpp"
#include "../base/pem.hpp"
#include "certificates.hpp"
#include "proof.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <new>
#include <string>

namespace reqauth::detail {

namespace {

/// store_digest is what a store was when it was first asked for.
struct store_digest {
    sha256_digest octets;
};
using seen = slot<X509_STORE, store_digest>;

struct locked {
    explicit locked(X509_STORE* to_lock) : store(to_lock) { X509_STORE_lock(store); }
    locked(const locked&) = delete;
    locked& operator=(const locked&) = delete;
    ~locked() { X509_STORE_unlock(store); }
    X509_STORE* store;
};

void add_parameters(hash& all, X509_VERIFY_PARAM* parameters);

// Over the certificates in a store, in whatever order they came, and its parameters, as they were when it was first asked
// for: a lookup in a directory adds to them with each certificate that it finds, and that is no other trust. libcurl sets
// flags on its store in the first handshake, too.
sha256_digest digest_of_store(X509_STORE* store) {
    {
        const locked store_locked(store);
        if (const auto* before = seen::of(store)) return before->octets;
    }
    const certificates_handle held(X509_STORE_get1_all_certs(store));
    if (held == nullptr) throw error(errc::openssl, "the trust store cannot be read" + drain_errors());
    std::vector<sha256_digest> anchors;
    for (int i = 0; i < sk_X509_num(held.get()); ++i) anchors.push_back(sha256(*sk_X509_value(held.get(), i)));
    std::ranges::sort(anchors);
    hash all("libreqauth client trust 1");
    for (const sha256_digest& one : anchors) all.add(one);
    add_parameters(all, X509_STORE_get0_param(store));
    auto made = std::make_unique<store_digest>(store_digest{all.end()});
    const locked store_locked(store);
    if (const auto* before = seen::of(store)) return before->octets;
    return seen::keep(store, std::move(made)).octets;
}

void add_parameters(hash& all, X509_VERIFY_PARAM* parameters) {
    const unsigned long flags = X509_VERIFY_PARAM_get_flags(parameters);
    all.number(flags).number(X509_VERIFY_PARAM_get_inh_flags(parameters));
    all.number(static_cast<std::uint64_t>(X509_VERIFY_PARAM_get_depth(parameters)));
    all.number(static_cast<std::uint64_t>(X509_VERIFY_PARAM_get_auth_level(parameters)));
    all.number((flags & X509_V_FLAG_USE_CHECK_TIME) != 0
                   ? static_cast<std::uint64_t>(X509_VERIFY_PARAM_get_time(parameters))
                   : 0);
    all.number(X509_VERIFY_PARAM_get_hostflags(parameters));
    int hosts = 0;
    while (X509_VERIFY_PARAM_get0_host(parameters, hosts) != nullptr) ++hosts;
    all.number(static_cast<std::uint64_t>(hosts));
    for (int i = 0; i < hosts; ++i) all.add(X509_VERIFY_PARAM_get0_host(parameters, i));
    const char* email = X509_VERIFY_PARAM_get0_email(parameters);
    all.add(email != nullptr ? email : "").add(address_in(parameters));
}

void add_chain(hash& all, const STACK_OF(X509) * chain) {
    const int size = chain != nullptr ? sk_X509_num(chain) : -1;
    all.number(static_cast<std::uint64_t>(size));
    for (int i = 0; i < size; ++i) all.add(sha256(*sk_X509_value(chain, i)));
}

// Whatever their order: OpenSSL chooses among them by the server's request.
void add_own_certificates(hash& all, SSL* ssl) {
    std::vector<sha256_digest> each;
    for (const own_certificate& one : certificates_of(ssl)) {
        hash own("libreqauth own certificate 1");
        if (one.certificate != nullptr)
            own.add(sha256(*one.certificate));
        else
            own.add(key_digest(*one.key));
        own.number(one.key != nullptr);
        add_chain(own, one.chain.get());
        each.push_back(own.end());
    }
    std::ranges::sort(each);
    all.number(each.size());
    for (const sha256_digest& one : each) all.add(one);
    // What OpenSSL adds where there is no chain.
    STACK_OF(X509)* extra = nullptr;
    SSL_CTX_get_extra_chain_certs_only(SSL_get_SSL_CTX(ssl), &extra);
    add_chain(all, extra);
    X509_STORE* chains = nullptr;
    SSL_get0_chain_cert_store(ssl, &chains);
    all.number(chains != nullptr);
    if (chains != nullptr) all.add(digest_of_store(chains));
}

#if OPENSSL_VERSION_NUMBER >= 0x30200000L
// Raw public keys in place of certificates (RFC 7250). Where nothing is set there is nothing to see, as before 3.2.
void add_certificate_types(hash& all, const SSL* ssl) {
    const auto add = [&](std::string_view whose, auto get) {
        unsigned char* types = nullptr;
        std::size_t size = 0;
        if (get(ssl, &types, &size) == 1 && types != nullptr)
            all.add(whose).add({reinterpret_cast<const char*>(types), size});
    };
    add("client", SSL_get0_client_cert_type);
    add("server", SSL_get0_server_cert_type);
}
#else
void add_certificate_types(hash&, const SSL*) {}
#endif

// A server's mark has another tag: a session that was a server's own is no client's.
constexpr std::string_view tag = "reqauthC";

} // namespace

static void add_to(hash& all, const flag_set& flags) {
    all.add({reinterpret_cast<const char*>(flags.bits().data()), flags.used_octets()});
}

sha256_digest digest_of_credentials(const std::vector<credential>& credentials) {
    hash all("libreqauth credentials 1");
    all.number(credentials.size());
    for (const credential& one : credentials) {
        const loaded_credential& loaded = *one.holder();
        all.add(loaded.thumbprint)
            .add(loaded.provider)
            .number(static_cast<std::uint64_t>(sk_X509_num(loaded.chain.get())));
        for (int i = 0; i < sk_X509_num(loaded.chain.get()); ++i)
            all.add(sha256(*sk_X509_value(loaded.chain.get(), i)));
    }
    return all.end();
}

sha256_digest digest_of_policy(const client_policy& policy) {
    return hash("libreqauth client policy 1").settings(policy).end();
}

client_scope scope_of(const SSL& connection, const attached_client& there, const sha256_digest& credentials) {
    SSL* ssl = const_cast<SSL*>(&connection); // NOLINT: OpenSSL's getters take it so
    hash all("libreqauth client scope 4");
    all.add(there.of->digest).add(credentials);
    all.number(static_cast<std::uint64_t>(SSL_get_verify_mode(ssl)));
    all.number(SSL_get_verify_callback(ssl) != nullptr).number(SSL_ct_is_enabled(ssl) == 1);
    all.number(static_cast<std::uint64_t>(SSL_get_security_level(ssl)));
    // Suite B, which verification takes from here; setting no flags reads them.
    all.number(static_cast<std::uint64_t>(SSL_set_cert_flags(ssl, 0)));
    add_parameters(all, SSL_get0_param(ssl));
    X509_STORE* store = nullptr;
    SSL_get0_verify_cert_store(ssl, &store);
    if (store == nullptr) store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
    all.number(store != nullptr);
    if (store != nullptr) all.add(digest_of_store(store));
    add_own_certificates(all, ssl);
    all.number(there.client_cert_cb != nullptr);
    all.number(there.of->policy.chained_certificate_callback.function != nullptr);
    add_certificate_types(all, ssl);
    return there.scopes.of(all.octets());
}

void mark_session(SSL_SESSION& session, const client_scope& scope) {
    std::array<std::uint8_t, tag.size() + sizeof scope> octets{};
    std::ranges::copy(scope, std::ranges::copy(tag, octets.begin()).out);
    if (SSL_SESSION_set1_ticket_appdata(&session, octets.data(), octets.size()) != 1)
        throw error(errc::openssl, "the session cannot be marked");
}

void unmark_session(SSL_SESSION& session) { SSL_SESSION_set1_ticket_appdata(&session, nullptr, 0); }

std::string id_of(const SSL_SESSION& session) {
    unsigned int size = 0;
    const unsigned char* octets = SSL_SESSION_get_id(&session, &size);
    return {reinterpret_cast<const char*>(octets), size};
}

std::optional<client_scope> scope_in(const SSL_SESSION& session) noexcept {
    void* data = nullptr;
    std::size_t size = 0;
    auto* from = const_cast<SSL_SESSION*>(&session); // NOLINT: it only reads
    if (SSL_SESSION_get0_ticket_appdata(from, &data, &size) != 1) return std::nullopt;
    const std::string_view octets(static_cast<const char*>(data), size);
    client_scope scope{};
    if (octets.size() != tag.size() + scope.size() || !octets.starts_with(tag)) return std::nullopt;
    std::copy_n(octets.begin() + static_cast<std::ptrdiff_t>(tag.size()), scope.size(),
                reinterpret_cast<char*>(scope.data()));
    return scope;
}

} // namespace reqauth::detail
