// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include "../base/fence.hpp"
#include "../base/hash.hpp"

#include <reqauth/error.hpp>

#include <openssl/rand.h>

#include <algorithm>
#include <ctime>

namespace reqauth::detail {

sha256_digest digest_of(const server_policy& policy) {
    const client_auth& auth = policy.when_offered;
    hash all("libreqauth policy 1");
    all.number(static_cast<std::uint64_t>(auth.asks())).number(auth.lets_invalid_pass());
    all.number(policy.ca_names).number(policy.beside_customers).number(policy.beside_required).number(policy.shared_anchors);
    all.number(policy.verify_result_ok).number(policy.refuse_early_data);
    all.add({reinterpret_cast<const char*>(policy.session_id_context.data()), policy.session_id_context.size()});
    all.number(auth.agents().has_value());
    if (auth.agents()) all.add(auth.agents()->digest());
    return all.end();
}

sha256_digest digest_of(const server_options& options, const std::vector<policies::entry>& entries) {
    std::vector<sha256_digest> digests;
    for (const policies::entry& entry : entries) digests.push_back(entry.digest);
    std::ranges::sort(digests);
    hash all("libreqauth policies 1");
    all.add(options.label).number(options.flag).number(options.extension);
    all.number(static_cast<std::uint64_t>(options.max_session_age.count()));
    all.number(digests.size());
    for (const sha256_digest& digest : digests) all.add(digest);
    return all.end();
}

//= TLS-2
sha256_digest scope_of(const policies& now, const attached_policy* where, std::optional<std::string_view> server_name,
                       bool wanted) {
    std::string name(server_name.value_or(""));
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    const policies::entry* arrived_at = now.find(where);
    // Only ClientHellos with the flag have a scope: the tag says so.
    return hash("libreqauth scope 1, flag offered")
        .number(server_name.has_value())
        .add(name)
        .number(wanted)
        .add(arrived_at != nullptr ? arrived_at->digest : sha256_digest{})
        .add(now.digest)
        .end();
}

sha256_digest unmatchable() {
    sha256_digest random{};
    if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1)
        throw error(errc::openssl, "no random octets are to be had" + drain_errors());
    return random;
}

void set_scope(SSL* ssl, const sha256_digest& scope) {
    SSL_SESSION* session = SSL_get_session(ssl);
    if (session == nullptr ||
        SSL_SESSION_set1_id_context(session, scope.data(), static_cast<unsigned int>(scope.size())) != 1)
        throw error(errc::openssl, "the session's scope cannot be set");
}

std::int64_t deadline_of(const STACK_OF(X509) * chain, std::int64_t now, std::chrono::seconds most) {
    std::int64_t left = most.count();
    for (int i = 0; i < sk_X509_num(chain); ++i) {
        int days = 0;
        int seconds = 0;
        const ASN1_TIME* end = X509_get0_notAfter(sk_X509_value(chain, i));
        std::time_t base = static_cast<std::time_t>(now);
        const std::unique_ptr<ASN1_TIME, freed_by<ASN1_TIME_free>> from(ASN1_TIME_set(nullptr, base));
        if (from == nullptr || ASN1_TIME_diff(&days, &seconds, from.get(), end) != 1)
            throw error(errc::openssl, "the end of a certificate cannot be read" + drain_errors());
        left = std::min(left, std::int64_t{days} * 86400 + seconds);
    }
    return now + left;
}

bool stateful(const SSL* ssl) noexcept {
    const auto options = SSL_get_options(ssl);
    return (options & SSL_OP_NO_TICKET) != 0 ||
           (SSL_get_max_early_data(ssl) > 0 && (options & SSL_OP_NO_ANTI_REPLAY) == 0);
}

} // namespace reqauth::detail
