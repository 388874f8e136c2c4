// SPDX-License-Identifier: Apache-2.0
#pragma once

// The table of answers: a pure function of what a token says, what the connection shows, and the policy.

#include <reqauth/oauth.hpp>

#include <array>

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
    static client_certificate some(source from, const thumbprint& leaf, bool early) {
        client_certificate shown;
        shown.leaf_ = leaf;
        shown.source_ = from;
        shown.early_ = early;
        return shown;
    }
    static const std::optional<thumbprint>& leaf(const client_certificate& shown) { return shown.leaf_; }
    static const std::optional<reason>& none_because(const client_certificate& shown) { return shown.none_because_; }
    static source from(const client_certificate& shown) { return shown.source_; }
    static bool early(const client_certificate& shown) { return shown.early_; }
};

/// decide gives the answer. `equal` says that the certificate is there and is the token's.
[[nodiscard]] decision decide(const client_certificate& shown, const token_claims& claims, const policy& how,
                              bool equal);

} // namespace reqauth::oauth::detail
