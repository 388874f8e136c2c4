// SPDX-License-Identifier: Apache-2.0
#include "oauth.hpp"

#include "../openssl/base/fence.hpp"
#include "../openssl/base/pem.hpp"
#include "base64.hpp"

#include <reqauth/error.hpp>

#include <openssl/crypto.h>

#include <algorithm>
#include <limits>

namespace reqauth::oauth {

namespace {

using detail::access;
using reqauth::detail::x509_handle;
using source = client_certificate::source;

/// certificate_in reads one certificate in DER, which fills `der`; null: it is not.
x509_handle certificate_in(std::span<const std::uint8_t> der) {
    if (der.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return nullptr;
    const unsigned char* at = der.data();
    x509_handle read(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
    if (read == nullptr || at != der.data() + der.size()) return nullptr;
    // OpenSSL reads BER too. What it would write is DER, and that is what its digest is over.
    unsigned char* written = nullptr;
    const int size = i2d_X509(read.get(), &written);
    const bool same = size > 0 && std::ranges::equal(std::span(written, static_cast<std::size_t>(size)), der);
    OPENSSL_free(written);
    return same ? std::move(read) : nullptr;
}

std::shared_ptr<const X509> held(X509& certificate) { return reqauth::detail::reference(&certificate); }

struct leaf {
    std::shared_ptr<const X509> certificate;
    thumbprint its;
};

/// own_certificate is the leaf that the application's own client authentication verified on this connection, or on the
/// one that it resumed. Never an agent's, whatever the verify result is.
//= MTLS-2
//= SEC-8
std::optional<leaf> own_certificate(const SSL& ssl) {
    if (SSL_is_server(&ssl) != 1 || SSL_is_init_finished(&ssl) != 1 || is_of_agent(ssl)) return std::nullopt;
    X509* own = SSL_get0_peer_certificate(&ssl);
    if (own == nullptr || SSL_get_verify_result(&ssl) != X509_V_OK) return std::nullopt;
    try {
        return leaf{held(*own), reqauth::detail::sha256(*own)};
    } catch (const error&) {
        return std::nullopt; // what cannot be digested is no certificate of anybody
    }
}

client_certificate found(const SSL& ssl, bool early_counts) {
    const peer who = peer_of(ssl);
    const auto own = std::holds_alternative<other_peer>(who) ? own_certificate(ssl) : std::nullopt;
    if (own)
        return access::some(source::own, own->certificate, own->its,
                            early_counts && SSL_get_early_data_status(&ssl) == SSL_EARLY_DATA_ACCEPTED);
    //= MTLS-7
    if (const auto unvouched = unvouched_of(ssl))
        return access::some(source::unvouched, held(unvouched->certificate()), unvouched->thumbprint(),
                            early_counts && unvouched->from_early_data());
    return early_counts ? client_certificate::of(who) : client_certificate::after_handshake(who);
}

client_certificate found(const peer& who, bool early_counts) {
    const auto* agent = std::get_if<flagged_peer>(&who);
    if (agent == nullptr) return access::none(std::get<other_peer>(who).why);
    return access::some(source::flagged, held(agent->certificate()), agent->thumbprint(),
                        early_counts && agent->from_early_data());
}

} // namespace

//= MTLS-1
std::string x5t_s256(const flagged_peer& agent) { return reqauth::detail::base64url(agent.thumbprint()); }
std::string x5t_s256(const X509& certificate) {
    return reqauth::detail::base64url(reqauth::detail::sha256(certificate));
}
std::string x5t_s256(std::span<const std::uint8_t> der) {
    const x509_handle certificate = certificate_in(der);
    if (certificate == nullptr)
        throw error(errc::malformed, "these octets are not one certificate in DER: of PEM give the X509" +
                                         reqauth::detail::drain_errors());
    return x5t_s256(*certificate);
}

client_certificate client_certificate::of(const SSL& ssl) { return found(ssl, true); }
client_certificate client_certificate::of(const peer& who) { return found(who, true); }
client_certificate client_certificate::after_handshake(const SSL& ssl) { return found(ssl, false); }
client_certificate client_certificate::after_handshake(const peer& who) { return found(who, false); }

std::optional<trusted_hop> trusted_hop::by_certificate(const SSL& connection, std::span<const thumbprint> proxies) {
    const auto own = own_certificate(connection);
    if (!own || std::ranges::find(proxies, own->its) == proxies.end()) return std::nullopt;
    //= TLS-4
    if (SSL_get_early_data_status(&connection) == SSL_EARLY_DATA_ACCEPTED) return std::nullopt;
    return trusted_hop();
}

client_certificate client_certificate::forwarded(const trusted_hop&, std::span<const std::string_view> client_cert) {
    client_certificate none = access::none(std::nullopt);
    if (client_cert.size() != 1) return none;
    std::string_view value = client_cert.front();
    if (value.size() < 2 || !value.starts_with(':') || !value.ends_with(':')) return none;
    value.remove_prefix(1);
    value.remove_suffix(1);
    const auto der = value.empty() ? std::nullopt : reqauth::detail::padded(value);
    if (!der) return none;
    ERR_set_mark();
    x509_handle certificate = certificate_in(*der);
    ERR_pop_to_mark();
    if (certificate == nullptr) return none;
    const thumbprint its = reqauth::detail::sha256(*certificate);
    return access::some(source::forwarded, std::move(certificate), its, false);
}

decision check_binding(const client_certificate& certificate, const token_claims& claims, const policy& how) {
    const auto& shown = access::leaf(certificate);
    const auto& wanted = access::certificate(claims);
    //= MTLS-2
    const bool equal = shown && wanted && CRYPTO_memcmp(shown->data(), wanted->data(), wanted->size()) == 0;
    return detail::decide(certificate, claims, how, equal);
}

} // namespace reqauth::oauth
