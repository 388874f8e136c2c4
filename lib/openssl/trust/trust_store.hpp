// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../../describe.hpp"
#include "../base/handle.hpp"
#include "admitted.hpp"
#include "anchor.hpp"
#include "ca_names.hpp"

#include <reqauth/trust.hpp>

#include <array>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace reqauth::detail {

/// revocation_list is one CRL with SHA-256 over its DER.
struct revocation_list {
    std::array<std::uint8_t, 32> thumbprint;
    std::shared_ptr<X509_CRL> crl;
    std::string from; ///< as an anchor's
};

/// was_signed_by says whether a CRL is one that OpenSSL would use for what `issuer` issued.
[[nodiscard]] bool was_signed_by(X509_CRL& crl, X509& issuer);

/// verification_hooks are who is told how a verification under a trust's store goes. The witness defines them.
struct verification_hooks {
    int (*ended)(X509_STORE_CTX*); ///< nothing is left to check; gives whether the chain is taken
    int (*over)(X509_STORE_CTX*);  ///< its X509_STORE_CTX goes: whoever called for it has had his say
};
extern const verification_hooks witness_hooks;

/// trust_settings are all that decides about a chain.
struct trust_settings {
    std::vector<anchor> anchors;                     ///< sorted by thumbprint, each once
    std::vector<std::shared_ptr<X509>> certificates; ///< theirs, in the same order
    std::vector<revocation_list> crls;               ///< sorted by thumbprint, each once
    std::vector<spki_pin> pins;                      ///< sorted, each once
    std::vector<admission> admitted;                 ///< the same; empty: whoever verifies
    std::optional<std::uint16_t> depth;
    std::optional<std::time_t> time;
    reqauth::purpose purpose = reqauth::purpose::client;
    bool partial_chains = false;
    bool crls_for_every_ca = false;
};

template <> inline constexpr auto description<trust_settings> = described<trust_settings>(
    setting("anchors", &trust_settings::anchors), apart("certificates", &trust_settings::certificates),
    setting("crls", &trust_settings::crls), setting("pins", &trust_settings::pins),
    setting("admitted", &trust_settings::admitted), setting("depth", &trust_settings::depth),
    setting("time", &trust_settings::time), setting("purpose", &trust_settings::purpose),
    setting("partial_chains", &trust_settings::partial_chains),
    setting("crls_for_every_ca", &trust_settings::crls_for_every_ca));

/// trust_store is what stands behind a reqauth::trust, with what follows from its settings. Never changed once made.
struct trust_store : trust_settings {
    std::shared_ptr<X509_STORE> store;                           ///< with all of it but the pins
    std::shared_ptr<ca_names> names;                             ///< the anchors' subjects
    std::size_t names_octets = 0;                                ///< as long as those are on the wire
    std::vector<std::pair<const X509*, std::size_t>> by_address; ///< the anchors, and their places
    std::array<std::uint8_t, 32> digest{};
    X509_STORE_CTX_verify_fn verify = nullptr; ///< how OpenSSL checks signatures and times, by itself

    /// find gives the anchor that `certificate` is; null: it is none. Throws error{openssl}.
    [[nodiscard]] const anchor* find(const X509& certificate) const;

    /// anchor_at gives the certificate of the anchor in that place; null: there is none.
    [[nodiscard]] X509* anchor_at(std::size_t place) const noexcept;

    /// Its verify flags and its purpose, as OpenSSL has them.
    [[nodiscard]] unsigned long flags() const noexcept;
    [[nodiscard]] int purpose_id() const noexcept;

    /// unusable_crl says why a CRL that is here, of the CA that issued `certificate`, is not used for it; nothing: there is
    /// none. `issuer` is that CA's certificate, where there is one at hand.
    [[nodiscard]] std::optional<std::string> unusable_crl(const X509& certificate, X509* issuer) const;

    /// revocation_error is what the CRLs here say of `certificate`, by themselves: X509_V_OK, or a verify error.
    [[nodiscard]] int revocation_error(X509& certificate, X509& issuer, bool is_leaf) const;
};

} // namespace reqauth::detail
