// SPDX-License-Identifier: Apache-2.0
#include "witness.hpp"

#include "connection.hpp"
#include "fence.hpp"
#include "pem.hpp"

namespace reqauth::detail {

namespace {

// What OpenSSL found is only believed if it was found under this outcome's store, anchors, time and
// purpose: an application's SSL_CTX_set_cert_verify_callback can change each of them on the way.
int doubt(X509_STORE_CTX* verification, const trust_store& trust) {
    constexpr unsigned long laxer = X509_V_FLAG_USE_CHECK_TIME | X509_V_FLAG_NO_CHECK_TIME |
                                    X509_V_FLAG_IGNORE_CRITICAL | X509_V_FLAG_ALLOW_PROXY_CERTS |
                                    X509_V_FLAG_PARTIAL_CHAIN;
    if (X509_STORE_CTX_get0_store(verification) != trust.store.get() ||
        (X509_VERIFY_PARAM_get_flags(X509_STORE_CTX_get0_param(verification)) & laxer) != 0)
        return X509_V_ERR_APPLICATION_VERIFICATION;
    const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(verification);
    const int length = chain != nullptr ? sk_X509_num(chain) : 0;
    if (length == 0 || !trust.contains(sha256(*sk_X509_value(chain, length - 1)))) return X509_V_ERR_CERT_UNTRUSTED;
    for (int place = 0; place < length; ++place)
        if (X509_check_purpose(sk_X509_value(chain, place), X509_PURPOSE_SSL_CLIENT, place == 0 ? 0 : 1) <= 0)
            return X509_V_ERR_INVALID_PURPOSE;
    return X509_V_OK;
}

} // namespace

int witness(int ok, X509_STORE_CTX* verification) {
    return fence(0, [&] {
        auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
        connection* kept = ssl != nullptr ? connection_of(ssl) : nullptr;
        if (kept == nullptr || kept->decided_by == nullptr || !kept->put_aside.asking()) return 0;
        const server_policy& policy = kept->decided_by->policy;
        const trust_store& trust = *policy.when_offered.agents()->store();
        witnessed& seen = kept->server.witness;

        int found = ok != 0 ? X509_V_OK : X509_STORE_CTX_get_error(verification);
        if (ok == 1 && X509_STORE_CTX_get_error_depth(verification) == 0 && !seen.failed) {
            found = doubt(verification, trust);
            if (found == X509_V_OK) {
                seen.leaf = sha256(*X509_STORE_CTX_get0_cert(verification));
                seen.held = true;
            }
        }
        // An error takes it back, also one that comes after depth 0: name constraints, policies.
        //= SEC-1
        if (ok == 0 || found != X509_V_OK) {
            if (!seen.failed) seen.error = found != X509_V_OK ? found : X509_V_ERR_UNSPECIFIED;
            seen.failed = true;
            seen.held = false;
        }
        //= SEC-8
        if (seen.failed)
            X509_STORE_CTX_set_error(verification, seen.error);
        else if (seen.held && !policy.verify_result_ok)
            X509_STORE_CTX_set_error(verification, X509_V_ERR_APPLICATION_VERIFICATION);
        return !seen.failed || policy.when_offered.lets_invalid_pass() ? 1 : 0;
    });
}

} // namespace reqauth::detail
