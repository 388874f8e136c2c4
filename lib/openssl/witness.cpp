// SPDX-License-Identifier: Apache-2.0
#include "witness.hpp"

#include "connection.hpp"
#include "fence.hpp"
#include "pem.hpp"
#include "server_handshake.hpp"

#include <reqauth/error.hpp>

#include <openssl/asn1t.h>

#include <algorithm>

namespace reqauth::detail {

namespace {

// What OpenSSL found is only believed if it was found under this outcome's store, anchors, time, revocation
// lists and purpose: an application's SSL_CTX_set_cert_verify_callback can change each of them on the way.
bool under_terms_of(X509_STORE_CTX* verification, const trust_store& trust) {
    constexpr unsigned long decisive = X509_V_FLAG_USE_CHECK_TIME | X509_V_FLAG_NO_CHECK_TIME |
                                       X509_V_FLAG_IGNORE_CRITICAL | X509_V_FLAG_ALLOW_PROXY_CERTS |
                                       X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(verification);
    return X509_STORE_CTX_get0_store(verification) == trust.store.get() &&
           (X509_VERIFY_PARAM_get_flags(parameters) & decisive) == trust.flags() &&
           (!trust.time || X509_VERIFY_PARAM_get_time(parameters) == *trust.time) &&
           (!trust.depth || X509_VERIFY_PARAM_get_depth(parameters) == int{*trust.depth});
}

bool pinned(const X509& certificate, const trust_store& trust) {
    spki_pin pin{};
    unsigned int size = 0;
    auto* key = const_cast<X509_PUBKEY*>(X509_get_X509_PUBKEY(&certificate)); // NOLINT: const from OpenSSL 4.0 on
    if (ASN1_item_digest(ASN1_ITEM_rptr(X509_PUBKEY), EVP_sha256(), key, pin.data(), &size) != 1)
        throw error(errc::openssl, "SHA-256 of a key failed");
    return std::ranges::binary_search(trust.pins, pin);
}

int doubt(X509_STORE_CTX* verification, const trust_store& trust) {
    if (!under_terms_of(verification, trust)) return X509_V_ERR_APPLICATION_VERIFICATION;
    const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(verification);
    const int length = chain != nullptr ? sk_X509_num(chain) : 0;
    if (length == 0 || !trust.contains(sha256(*sk_X509_value(chain, length - 1)))) return X509_V_ERR_CERT_UNTRUSTED;
    bool any_pinned = trust.pins.empty();
    for (int place = 0; place < length; ++place) {
        X509* certificate = sk_X509_value(chain, place);
        if (X509_check_purpose(certificate, trust.purpose_id(), place == 0 ? 0 : 1) <= 0)
            return X509_V_ERR_INVALID_PURPOSE;
        any_pinned = any_pinned || pinned(*certificate, trust);
    }
    return any_pinned ? X509_V_OK : X509_V_ERR_CERT_REJECTED;
}

// OpenSSL checks every certificate of the chain against the CRLs, and wants one for each. Only the leaf must
// have one, and CAs where the trust says so; never an anchor, which is trusted as long as it is there.
bool may_lack_crl(X509_STORE_CTX* verification, const trust_store& trust) {
    if (X509_STORE_CTX_get_error(verification) != X509_V_ERR_UNABLE_TO_GET_CRL) return false;
    const int place = X509_STORE_CTX_get_error_depth(verification);
    const int anchor = sk_X509_num(X509_STORE_CTX_get0_chain(verification)) - 1;
    return place > 0 && (place == anchor || !trust.crls_for_every_ca);
}

} // namespace

int witness(int ok, X509_STORE_CTX* verification) {
    return fence(0, [&] {
        auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
        connection* kept = ssl != nullptr ? connection_of(ssl) : nullptr;
        if (kept == nullptr || kept->decided_by == nullptr || !kept->put_aside.asking()) return 0;
        const server_policy& policy = *kept->decided_by->policy;
        const trust_store& trust = *policy.when_offered.agents()->store();
        witnessed& seen = kept->server.witness;

        if (ok == 0 && may_lack_crl(verification, trust)) {
            X509_STORE_CTX_set_error(verification, seen.failed ? seen.error : X509_V_OK);
            return 1;
        }
        int found = ok != 0 ? X509_V_OK : X509_STORE_CTX_get_error(verification);
        if (ok == 1 && X509_STORE_CTX_get_error_depth(verification) == 0 && !seen.failed) {
            found = doubt(verification, trust);
            if (found == X509_V_OK) {
                seen.leaf = sha256(*X509_STORE_CTX_get0_cert(verification));
                vouch_for_session(ssl, *kept, X509_STORE_CTX_get0_chain(verification));
                seen.held = true;
            }
        }
        // An error takes it back, also one that comes after depth 0: name constraints, policies.
        //= SEC-1
        if (ok == 0 || found != X509_V_OK) {
            if (!seen.failed) seen.error = found != X509_V_OK ? found : X509_V_ERR_UNSPECIFIED;
            seen.failed = true;
            seen.held = false;
            disown_session(ssl, *kept);
        }
        //= SEC-8
        if (seen.failed)
            X509_STORE_CTX_set_error(verification, seen.error);
        else if (seen.held) // the session keeps it, whatever the policy shows when the handshake ends
            X509_STORE_CTX_set_error(verification, X509_V_ERR_APPLICATION_VERIFICATION);
        return !seen.failed || policy.when_offered.lets_invalid_pass() ? 1 : 0;
    });
}

} // namespace reqauth::detail
