// SPDX-License-Identifier: Apache-2.0
#include <reqauth/http.hpp>

#include "../openssl/base/fence.hpp"
#include "../openssl/base/handle.hpp"

#include <reqauth/error.hpp>

#include <vector>

namespace reqauth {

namespace {

// A byte sequence of RFC 8941, appended. False where the values would get larger than `left` octets.
bool append(std::string& value, X509& certificate, std::size_t& left) {
    const int size = i2d_X509(&certificate, nullptr);
    if (size <= 0) throw error(errc::openssl, "a certificate cannot be written" + detail::drain_errors());
    const std::size_t separator = value.empty() ? 0 : 2;
    const std::size_t encoded = (static_cast<std::size_t>(size) + 2) / 3 * 4;
    const std::size_t octets = separator + 2 + encoded;
    if (octets > left) return false;
    left -= octets;

    std::vector<unsigned char> der(static_cast<std::size_t>(size));
    unsigned char* end = der.data();
    if (i2d_X509(&certificate, &end) != size)
        throw error(errc::openssl, "a certificate cannot be written" + detail::drain_errors());
    std::vector<unsigned char> base64(encoded + 1); // and the NUL of EVP_EncodeBlock
    EVP_EncodeBlock(base64.data(), der.data(), size);
    value.append(separator == 0 ? ":" : ", :").append(base64.begin(), base64.end() - 1).append(":");
    return true;
}

// `chain` is with the leaf, or empty.
client_cert fields_of(authenticated_by by, X509& leaf, const std::vector<X509*>& chain,
                      const client_cert_options& options) {
    client_cert_fields fields{.by = by, .client_cert = {}, .client_cert_chain = {}};
    std::size_t left = options.most;
    if (!append(fields.client_cert, leaf, left)) return no_client_cert::too_large;
    for (std::size_t i = 1; options.chain && i < chain.size(); ++i)
        if (!append(fields.client_cert_chain, *chain[i], left)) return no_client_cert::too_large;
    return fields;
}

} // namespace

client_cert client_cert_of_agent(const flagged_peer& agent, const client_cert_options& options) {
    return fields_of(authenticated_by::flag, agent.certificate(), agent.chain(), options);
}

//= RCA-14
//= SEC-8
client_cert client_cert_of_customer(const SSL& ssl, const client_cert_options& options) {
    if (SSL_is_server(&ssl) != 1) return no_client_cert::no_certificate;
    if (SSL_is_init_finished(&ssl) != 1) return no_client_cert::handshake_unfinished;
    if (is_of_agent(ssl)) return no_client_cert::agent;
    X509* leaf = SSL_get0_peer_certificate(&ssl);
    if (leaf == nullptr) return no_client_cert::no_certificate;
    if (SSL_get_verify_result(&ssl) != X509_V_OK) return no_client_cert::not_verified;
    // What an earlier handshake of the SSL verified is not this one's chain.
    const STACK_OF(X509)* verified = SSL_session_reused(&ssl) == 1 ? nullptr : SSL_get0_verified_chain(&ssl);
    std::vector<X509*> chain;
    for (int i = 0; i < sk_X509_num(verified); ++i) chain.push_back(sk_X509_value(verified, i));
    return fields_of(authenticated_by::application, *leaf, chain, options);
}

} // namespace reqauth
