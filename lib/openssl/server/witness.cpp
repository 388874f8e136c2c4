// SPDX-License-Identifier: Apache-2.0
#include "witness.hpp"

#include "../../decide/mark.hpp"
#include "../base/fence.hpp"
#include "../base/handshake.hpp"
#include "../base/pem.hpp"
#include "../trust/trust_store.hpp"
#include "session.hpp"

#include <reqauth/error.hpp>

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace reqauth::detail {

namespace {

// What OpenSSL found is only believed if it was found under this outcome's store, anchors, time, revocation
// lists and purpose: an application's SSL_CTX_set_cert_verify_callback can change each of them on the way.
bool under_terms_of(X509_STORE_CTX* verification, const SSL* ssl, const trust_store& trust) {
    constexpr unsigned long decisive = X509_V_FLAG_USE_CHECK_TIME | X509_V_FLAG_NO_CHECK_TIME |
                                       X509_V_FLAG_IGNORE_CRITICAL | X509_V_FLAG_ALLOW_PROXY_CERTS |
                                       X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL |
                                       X509_V_FLAG_POLICY_CHECK;
    X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(verification);
    return X509_STORE_CTX_get0_store(verification) == trust.store.get() &&
           (X509_VERIFY_PARAM_get_flags(parameters) & decisive) == trust.flags() &&
           (!trust.time || X509_VERIFY_PARAM_get_time(parameters) == *trust.time) &&
           (!trust.depth || X509_VERIFY_PARAM_get_depth(parameters) == int{*trust.depth}) &&
           X509_VERIFY_PARAM_get_auth_level(parameters) >= SSL_get_security_level(ssl) &&
           X509_STORE_CTX_get_verify(verification) == trust.verify &&
           X509_STORE_CTX_get_verify_cb(verification) == witness;
}

void free_list(STACK_OF(X509) * list) noexcept { sk_X509_free(list); }
void free_crls(STACK_OF(X509_CRL) * lists) noexcept { sk_X509_CRL_pop_free(lists, X509_CRL_free); }

bool pinned(const X509& certificate, const trust_store& trust) {
    spki_pin pin{};
    unsigned int size = 0;
    auto* key = const_cast<X509_PUBKEY*>(X509_get_X509_PUBKEY(&certificate)); // NOLINT: const from OpenSSL 4.0 on
    if (ASN1_item_digest(ASN1_ITEM_rptr(X509_PUBKEY), EVP_sha256(), key, pin.data(), &size) != 1)
        throw error(errc::openssl, "SHA-256 of a key failed");
    return std::ranges::binary_search(trust.pins, pin);
}

// OpenSSL has checked it, unless somebody has told it otherwise on the way.
bool in_force(X509& certificate, const trust_store& trust) {
    const auto begin = seconds_of(X509_get0_notBefore(&certificate));
    const auto end = seconds_of(X509_get0_notAfter(&certificate));
    const std::int64_t at = trust.time.value_or(now());
    return begin && end && *begin <= at && at < *end;
}

int doubt(X509_STORE_CTX* verification, const SSL* ssl, const trust_store& trust) {
    if (!under_terms_of(verification, ssl, trust)) return X509_V_ERR_APPLICATION_VERIFICATION;
    const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(verification);
    const int length = chain != nullptr ? sk_X509_num(chain) : 0;
    if (length == 0 || trust.find(*sk_X509_value(chain, length - 1)) == nullptr) return X509_V_ERR_CERT_UNTRUSTED;
    // An anchor that is the leaf itself stands there in its place.
    if (X509_cmp(sk_X509_value(chain, 0), X509_STORE_CTX_get0_cert(verification)) != 0)
        return X509_V_ERR_APPLICATION_VERIFICATION;
    bool any_pinned = trust.pins.empty();
    for (int place = 0; place < length; ++place) {
        X509* certificate = sk_X509_value(chain, place);
        X509_STORE_CTX_set_error_depth(verification, place);
        if (!in_force(*certificate, trust)) return X509_V_ERR_CERT_HAS_EXPIRED;
        if (X509_check_purpose(certificate, trust.purpose_id(), place == 0 ? 0 : 1) <= 0)
            return X509_V_ERR_INVALID_PURPOSE;
        // The application may have brought CRLs along that OpenSSL took in place of the trust's.
        if (place + 1 < length)
            if (const int found = trust.revocation_error(*certificate, *sk_X509_value(chain, place + 1), place == 0);
                found != X509_V_OK)
                return found;
        any_pinned = any_pinned || pinned(*certificate, trust);
    }
    X509_STORE_CTX_set_error_depth(verification, 0);
    return any_pinned ? X509_V_OK : X509_V_ERR_CERT_REJECTED;
}

// OpenSSL checks every certificate of the chain against the CRLs, and wants one for each. Only the leaf must have one, and
// CAs where the trust says so; never an anchor, which is trusted as long as it is there. It has one error for a CRL that
// is not there and for one that is there and cannot be used: only the first is forgiven.
// What nobody here vouches for is looked up by verification_ended.
bool may_lack_crl(X509_STORE_CTX* verification, const trust_store& trust, bool unvouched) {
    if (X509_STORE_CTX_get_error(verification) != X509_V_ERR_UNABLE_TO_GET_CRL) return false;
    const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(verification);
    const int place = X509_STORE_CTX_get_error_depth(verification);
    const int anchor = sk_X509_num(chain) - 1;
    if (unvouched || (place > 0 && place == anchor)) return true;
    const auto unusable =
        trust.unusable_crl(*sk_X509_value(chain, place), sk_X509_value(chain, std::min(place + 1, anchor)));
    if (unusable) raise(*unusable);
    return place > 0 && !unusable && !trust.crls_for_every_ca;
}

// That no anchor issued it, and nothing else.
bool is_for_want_of_issuer(int error) noexcept {
    switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: return true;
    default: return false;
    }
}

// What is wrong with a leaf for which nobody vouches. One of a CA that has its say here, an anchor or by a CRL, is not such:
// else a revoked certificate would pass where its chain is left out.
//= MTLS-7
int doubt_unvouched(X509_STORE_CTX* verification, const SSL* ssl, const trust_store& trust) {
    X509* leaf = X509_STORE_CTX_get0_cert(verification);
    if (leaf == nullptr || !under_terms_of(verification, ssl, trust)) return X509_V_ERR_APPLICATION_VERIFICATION;
    if (!in_force(*leaf, trust)) return X509_V_ERR_CERT_HAS_EXPIRED;
    if (X509_check_purpose(leaf, trust.purpose_id(), 0) <= 0) return X509_V_ERR_INVALID_PURPOSE;
    const X509_NAME* issuer = X509_get_issuer_name(leaf);
    const certificates_handle anchors(X509_STORE_CTX_get1_certs(verification, issuer));
    const std::unique_ptr<STACK_OF(X509_CRL), freed_by<free_crls>> lists(
        X509_STORE_CTX_get1_crls(verification, issuer));
    return sk_X509_num(anchors.get()) > 0 || sk_X509_CRL_num(lists.get()) > 0 ? X509_V_ERR_CERT_UNTRUSTED : X509_V_OK;
}

/// asked is a connection whose client is being verified under the terms of its outcome.
struct asked {
    SSL* ssl;
    server_record& record;
    const client_auth& auth;
    const trust_store& trust;
    witnessed& seen;
};

std::optional<asked> asked_in(X509_STORE_CTX* verification) noexcept {
    auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
    server_record* record = ssl != nullptr ? server_record::on(ssl) : nullptr;
    if (record == nullptr || record->now.decided_by == nullptr || !record->put_aside.asking()) return std::nullopt;
    const client_auth& auth = record->now.decided_by->policy->when_offered;
    return asked{ssl, *record, auth, *auth.agents()->store(), record->now.facts.witness};
}

// Whether it is a CRL that could not be used, or an anchor: both are the server's, and no other certificate of the agent's
// would help. What an anchor does not allow, or does not end, is the chain's fault.
bool is_servers_fault(const trust_store& trust, const turned_down& refused, int error) {
    if (refused.crl != nullptr || error == X509_V_ERR_UNABLE_TO_GET_CRL) return error != X509_V_ERR_CERT_REVOKED;
    switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG: return false;
    default: return refused.depth > 0 && refused.failed != nullptr && trust.find(*refused.failed) != nullptr;
    }
}

// An error takes it back, for good. The first is what is told, unless it alone would have let an unvouched client in.
//= SEC-1
void fail(const asked& by, int error, X509_STORE_CTX* verification) {
    const bool first = !std::exchange(by.seen.failed, true);
    const bool was_unvouched = by.seen.unvouched;
    by.seen.unvouched = by.auth.takes_unvouched() && (first || was_unvouched) && is_for_want_of_issuer(error);
    by.seen.held = false;
    disown_session(by.ssl, by.record);
    if (!first && was_unvouched == by.seen.unvouched) return;
    by.seen.error = error != X509_V_OK ? error : X509_V_ERR_UNSPECIFIED;
    turned_down& refused = by.record.now.refused = {};
    refused.leaf = reference(X509_STORE_CTX_get0_cert(verification));
    refused.depth = X509_STORE_CTX_get_error_depth(verification);
    refused.failed = reference(sk_X509_value(X509_STORE_CTX_get0_chain(verification), refused.depth));
    if (X509_CRL* crl = X509_STORE_CTX_get0_current_crl(verification); crl != nullptr && X509_CRL_up_ref(crl) == 1)
        refused.crl.reset(crl);
    refused.server_at_fault = is_servers_fault(by.trust, refused, error);
}

// It verifies, and may not come. OpenSSL has no verify error with the alert access_denied: so the handshake goes on, to the
// ticket that it then has, and ends there.
//= RCA-14
void deny(const asked& by, X509_STORE_CTX* verification) {
    fail(by, X509_V_ERR_CERT_REJECTED, verification);
    by.record.now.refused.not_admitted = true;
    if (by.auth.lets_invalid_pass()) return;
    by.record.now.denied = true;
    SSL_set_num_tickets(by.ssl, 1);
}

// Of the draft's two sets of certificates none may be in both. A CA that both sides have signed makes such.
//= RCA-17
bool opens_customers_door(const asked& by, X509_STORE_CTX* ours) {
    const server_policy& policy = *by.record.now.decided_by->policy;
    if (policy.cross_signed || policy.shared_anchors) return false;
    // One that has signed itself is an anchor or nothing, and would hide one of the same key that another CA has signed.
    const std::unique_ptr<STACK_OF(X509), freed_by<free_list>> known(sk_X509_new_null());
    for (const STACK_OF(X509) * all : {X509_STORE_CTX_get0_chain(ours), X509_STORE_CTX_get0_untrusted(ours)})
        for (int i = 0; i < sk_X509_num(all); ++i)
            if (X509* each = sk_X509_value(all, i); (X509_get_extension_flags(each) & EXFLAG_SS) == 0 &&
                                                    sk_X509_push(known.get(), each) <= 0) // -1 for want of the list
                throw error(errc::openssl, "a chain cannot be kept");
    const auto theirs = by.record.put_aside.customers_verification(by.ssl, X509_STORE_CTX_get0_cert(ours), known.get());
    if (theirs == nullptr) return false;
    ERR_set_mark();
    const unsigned long before = ERR_peek_last_error();
    const int verified = X509_verify_cert(theirs.get());
    const bool without_errors = ERR_peek_last_error() == before;
    ERR_pop_to_mark();
    // What is wrong with a chain to customers' anchors, or the want of memory, may be over when it is presented there.
    return verified != 0 || !without_errors || !is_for_want_of_issuer(X509_STORE_CTX_get_error(theirs.get()));
}

// OpenSSL makes the alert of the error that stays. One that is the server's own ends in internal_error.
int answer(const asked& by, X509_STORE_CTX* verification) {
    if (!by.seen.failed) return 1;
    const bool passes = by.auth.lets_invalid_pass() || by.seen.unvouched || by.record.now.denied;
    const bool is_ours = by.record.now.refused.server_at_fault && !passes;
    X509_STORE_CTX_set_error(verification, is_ours ? X509_V_ERR_UNSPECIFIED : by.seen.error);
    return passes ? 1 : 0;
}

// What the application expects by DANE or as a raw key is for its own clients, and OpenSSL would let it decide: an expired
// certificate would pass, and a good one fail. So this connection's certificate is verified once more, without.
int verify_apart(const asked& by, X509_STORE_CTX* theirs) {
    if (!std::exchange(by.record.now.verified_apart, true)) {
        X509* leaf = X509_STORE_CTX_get0_cert(theirs);
        verification_handle ours(X509_STORE_CTX_new());
        if (leaf == nullptr || ours == nullptr ||
            X509_STORE_CTX_init(ours.get(), by.trust.store.get(), leaf, X509_STORE_CTX_get0_untrusted(theirs)) != 1 ||
            X509_STORE_CTX_set_ex_data(ours.get(), SSL_get_ex_data_X509_STORE_CTX_idx(), by.ssl) != 1) {
            fail(by, leaf == nullptr ? X509_V_ERR_CERT_UNTRUSTED : X509_V_ERR_OUT_OF_MEM, theirs);
            return answer(by, theirs);
        }
        X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(ours.get());
        X509_VERIFY_PARAM_set_auth_level(parameters, SSL_get_security_level(by.ssl));
        X509_STORE_CTX_set_flags(ours.get(), X509_VERIFY_PARAM_get_flags(X509_STORE_CTX_get0_param(theirs)) &
                                                 X509_V_FLAG_SUITEB_128_LOS);
        X509_STORE_CTX_set_verify_cb(ours.get(), witness);
        by.record.apart = ours.get();
        const int verified = X509_verify_cert(ours.get());
        if ((verified != 1 || !by.seen.held) && !by.seen.failed)
            fail(by, X509_STORE_CTX_get_error(ours.get()), ours.get());
        ours.reset();
        by.record.apart = nullptr;
    }
    if (by.seen.held) X509_STORE_CTX_set_error(theirs, X509_V_ERR_APPLICATION_VERIFICATION);
    return answer(by, theirs);
}

bool is_apart(const asked& by, const X509_STORE_CTX* verification) noexcept {
    return by.record.put_aside.has_dane() && verification != by.record.apart;
}

// All that OpenSSL checks has been checked: nothing that it may still find can be missed, and nothing was evidence before.
int verification_ended(X509_STORE_CTX* verification) {
    return fence(0, [&] {
        const auto by = asked_in(verification);
        if (!by) return 1; // somebody else's, with our store
        if (is_apart(*by, verification)) return verify_apart(*by, verification);
        if (by->seen.unvouched) {
            if (const int found = doubt_unvouched(verification, by->ssl, by->trust); found != X509_V_OK) {
                fail(*by, found, verification);
            } else if (!admits(by->trust.admitted, *X509_STORE_CTX_get0_cert(verification), nullptr)) {
                deny(*by, verification);
            } else {
                by->record.now.leaf = reference(X509_STORE_CTX_get0_cert(verification));
                by->seen.leaf = digest_of(*by->record.now.leaf, *by->record.now.hello);
            }
        } else if (!by->seen.failed) {
            const int found = doubt(verification, by->ssl, by->trust);
            const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(verification);
            X509* last = sk_X509_value(chain, sk_X509_num(chain) - 1);
            const anchor* const under = found == X509_V_OK ? by->trust.find(*last) : nullptr;
            if (under == nullptr) {
                fail(*by, found, verification);
            } else if (!admits(by->trust.admitted, *X509_STORE_CTX_get0_cert(verification), &under->thumbprint)) {
                deny(*by, verification);
            } else if (opens_customers_door(*by, verification)) {
                fail(*by, X509_V_ERR_CERT_REJECTED, verification);
                by->record.now.refused.cross_signed = true;
            } else {
                by->record.now.leaf = reference(X509_STORE_CTX_get0_cert(verification));
                by->record.now.anchor = reference(last);
                by->seen.leaf = digest_of(*by->record.now.leaf, *by->record.now.hello);
                const auto place = static_cast<std::size_t>(under - by->trust.anchors.data());
                if (place < anchors_marked)
                    vouch_for_session(by->ssl, by->record, chain, static_cast<std::uint32_t>(place));
                by->record.now.chain.reset(X509_STORE_CTX_get1_chain(verification));
                by->seen.held = by->record.now.chain != nullptr;
                // The session keeps it, whatever the policy shows when the handshake ends.
                //= SEC-8
                X509_STORE_CTX_set_error(verification, X509_V_ERR_APPLICATION_VERIFICATION);
            }
        }
        return answer(*by, verification);
    });
}

// The application's cert_verify_callback has returned, if there is one. Whatever it left as the result in place of what
// the witness had left says otherwise. Nothing here can fail the handshake.
//= SEC-1
int verification_over(X509_STORE_CTX* verification) {
    return fence(0, [&] {
        const auto by = asked_in(verification);
        if (!by || verification == by->record.apart) return 1;
        const int result = X509_STORE_CTX_get_error(verification);
        if (by->seen.held && result != X509_V_ERR_APPLICATION_VERIFICATION) fail(*by, result, verification);
        //= SEC-8
        if (result == X509_V_OK) SSL_set_verify_result(by->ssl, X509_V_ERR_APPLICATION_VERIFICATION);
        return 1;
    });
}

} // namespace

const verification_hooks witness_hooks{verification_ended, verification_over};

int witness(int ok, X509_STORE_CTX* verification) {
    return fence(0, [&] {
        const auto by = asked_in(verification);
        if (!by) return 0;
        if (is_apart(*by, verification)) return verify_apart(*by, verification);
        if (ok == 0 && may_lack_crl(verification, by->trust, by->seen.unvouched)) {
            X509_STORE_CTX_set_error(verification, by->seen.failed ? by->seen.error : X509_V_OK);
            return 1;
        }
        if (ok == 0) fail(*by, X509_STORE_CTX_get_error(verification), verification);
        // A raw public key is nobody's certificate.
        else if (X509_STORE_CTX_get0_cert(verification) == nullptr)
            fail(*by, X509_V_ERR_CERT_UNTRUSTED, verification);
        return answer(*by, verification);
    });
}

} // namespace reqauth::detail
