// SPDX-License-Identifier: Apache-2.0
#pragma once

// The table of answers: a pure function of what a token says, what the connection shows, and the policy.

#include <reqauth/oauth.hpp>

#include <array>
#include <utility>

namespace reqauth::oauth::detail {

/// access reaches into the public types for the library's own files.
struct access {
    static std::optional<cause>& fault(token_claims& claims) { return claims.fault_; }
    static std::optional<thumbprint>& certificate(token_claims& claims) { return claims.certificate_; }
    static std::string& jkt(token_claims& claims) { return claims.jkt_; }
    static const std::optional<cause>& fault(const token_claims& claims) { return claims.fault_; }
    static const std::optional<thumbprint>& certificate(const token_claims& claims) { return claims.certificate_; }
    static const std::string& jkt(const token_claims& claims) { return claims.jkt_; }

    using source = client_certificate::source;
    static client_certificate none(std::optional<reason> because) {
        client_certificate shown;
        shown.none_because_ = because;
        return shown;
    }
    static client_certificate some(source from, std::shared_ptr<const X509> leaf, const thumbprint& its, bool early) {
        client_certificate shown;
        shown.leaf_ = its;
        shown.certificate_ = std::move(leaf);
        shown.source_ = from;
        shown.early_ = early;
        return shown;
    }
    static const std::optional<thumbprint>& leaf(const client_certificate& shown) { return shown.leaf_; }
    static const std::optional<reason>& none_because(const client_certificate& shown) { return shown.none_because_; }
    static const X509* certificate(const client_certificate& shown) { return shown.certificate_.get(); }
    static const auto& known(const registered_client& client) { return *client.known_; }
    static source from(const client_certificate& shown) { return shown.source_; }
    static bool early(const client_certificate& shown) { return shown.early_; }
};

/// serves says whether a certificate of that source counts.
[[nodiscard]] bool serves(client_certificate::source from, const served& how) noexcept;

/// why_none says what the client's developer should know of a certificate that is not there, for a token or a client.
[[nodiscard]] std::string_view why_none(const std::optional<reason>& because, const served& how) noexcept;

/// decide gives the answer. `equal` says that the certificate is there and is the token's.
[[nodiscard]] decision decide(const client_certificate& shown, const token_claims& claims, const policy& how,
                              bool equal);

} // namespace reqauth::oauth::detail
