// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../base/handle.hpp"
#include "../base/hash.hpp"

#include <reqauth/client.hpp>

#include <array>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

namespace reqauth::detail {

/// credential_files is where a credential came from, to read it again.
struct credential_files {
    std::filesystem::path certificate;
    std::string key;     ///< a file's path, or a URI
    bool by_uri = false; ///< which of the two
    credential_options options;
};

/// key_digest is over a public key by its value: all encodings of one key have the same. Throws error{openssl}.
[[nodiscard]] sha256_digest key_digest(const EVP_PKEY& key);

/// loaded_credential is what stands behind a reqauth::credential. Never changed once made.
struct loaded_credential {
    x509_handle certificate;
    certificates_handle chain; ///< without the leaf
    pkey_handle key;
    std::vector<std::uint16_t> schemes; ///< TLS 1.3's signature schemes for the key; empty: not known
    sha256_digest thumbprint{};
    sha256_digest key_digest{};
    std::string provider;
    std::int64_t not_before = 0; ///< seconds since 1970
    std::int64_t not_after = 0;
    bool outside_validity = false; ///< is offered all the same
    std::optional<credential_files> from;

    /// valid says whether it may be offered at a time.
    [[nodiscard]] bool valid(std::int64_t now) const noexcept {
        return outside_validity || (not_before <= now && now < not_after);
    }

    /// named_by says whether the CertificateRequest that `ssl` has received has a certificate_authorities that
    /// allows it, or none (RCA-5).
    [[nodiscard]] bool named_by(SSL* ssl) const noexcept;
    /// signs_for says the same of its signature_algorithms.
    [[nodiscard]] bool signs_for(SSL* ssl) const noexcept;
};

} // namespace reqauth::detail
