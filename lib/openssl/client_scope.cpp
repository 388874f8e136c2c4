// SPDX-License-Identifier: Apache-2.0
#include "client_scope.hpp"

#include "fence.hpp"
#include "hash.hpp"
#include "pem.hpp"

#include <algorithm>

namespace reqauth::detail {

namespace {

// Over the certificates in the SSL's store, in whatever order they came, as they were when it was first asked for:
// a lookup in a directory adds to them with each certificate that it finds, and that is no other trust.
sha256_digest digest_of_trust(SSL* ssl, const attached& there) {
    X509_STORE* store = nullptr;
    SSL_get0_verify_cert_store(ssl, &store);
    if (store == nullptr) store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
    seen_trust& seen = *there.client_trust;
    const std::lock_guard lock(seen.guard);
    if (store != nullptr && seen.store.get() == store) return seen.digest;
    const certificates_handle held(store != nullptr ? X509_STORE_get1_all_certs(store) : sk_X509_new_null());
    if (held == nullptr) throw error(errc::openssl, "the trust store cannot be read" + drain_errors());
    std::vector<sha256_digest> anchors;
    for (int i = 0; i < sk_X509_num(held.get()); ++i) anchors.push_back(sha256(*sk_X509_value(held.get(), i)));
    std::ranges::sort(anchors);
    hash all("libreqauth client trust 1");
    for (const sha256_digest& one : anchors) all.add(one);
    if (store != nullptr) X509_STORE_up_ref(store);
    seen.store.reset(store, X509_STORE_free);
    return seen.digest = all.end();
}

// A server's mark has another tag: a session that was a server's own is no client's.
constexpr std::string_view tag = "reqauthC";

} // namespace

sha256_digest digest_of(const std::vector<credential>& credentials) {
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

sha256_digest digest_of(const SSL& connection, const attached& there) {
    SSL* ssl = const_cast<SSL*>(&connection); // NOLINT: OpenSSL's getters take it so
    X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl);
    hash all("libreqauth client connection 1");
    all.number(static_cast<std::uint64_t>(SSL_get_verify_mode(ssl)));
    all.number(static_cast<std::uint64_t>(X509_VERIFY_PARAM_get_flags(parameters)));
    all.number(static_cast<std::uint64_t>(X509_VERIFY_PARAM_get_depth(parameters)));
    all.number(X509_VERIFY_PARAM_get0_host(parameters, 0) != nullptr);
    all.add(digest_of_trust(ssl, there));
    const X509* own = SSL_get_certificate(ssl);
    all.number(own != nullptr);
    if (own != nullptr) all.add(sha256(*own));
    return all.end();
}

client_scope scope_of(const client_policy& policy, const sha256_digest& credentials, const sha256_digest& connection) {
    hash all("libreqauth client scope 1");
    all.add(policy.label).number(policy.flag).number(policy.extension);
    all.number(static_cast<std::uint64_t>(policy.offer)).number(static_cast<std::uint64_t>(policy.when_unacknowledged));
    all.number(static_cast<std::uint64_t>(policy.when_unsatisfiable));
    policy.further_flags.for_each([&](flag_number flag) { all.number(flag); });
    return all.add(credentials).add(connection).end();
}

void mark_session(SSL_SESSION& session, const client_scope& scope) {
    std::string octets(tag);
    octets.append(reinterpret_cast<const char*>(scope.data()), scope.size());
    if (SSL_SESSION_set1_ticket_appdata(&session, octets.data(), octets.size()) != 1)
        throw error(errc::openssl, "the session cannot be marked");
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
