// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cjose/jwk.h>

#include <memory>
#include <string>

/// refused_token is why a token is none that counts here: one line, in the characters that error_description may have.
struct refused_token {
    std::string why;
};

/// token_issuer verifies the access tokens of one authorization server with cjose: JWTs that are signed with its key and
/// with one algorithm, whatever the token's header says.
class token_issuer {
public:
    /// `key` is the name of a file, a public key as a JWK. Throws usage_error.
    token_issuer(const std::string& key, std::string algorithm, std::string issuer, std::string audience);

    /// verify gives the claims of `token` as it has them: JSON text that the issuer signed for this audience, and that is
    /// valid now. Throws refused_token.
    [[nodiscard]] std::string verify(const std::string& token) const;

private:
    std::shared_ptr<cjose_jwk_t> key_;
    std::string algorithm_, issuer_, audience_;
};
