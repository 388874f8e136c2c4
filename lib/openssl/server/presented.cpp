// SPDX-License-Identifier: Apache-2.0
#include <reqauth/peer.hpp>

#include "../base/handshake.hpp"
#include "../base/pem.hpp"
#include "identity.hpp"
#include "record.hpp"

#include <reqauth/error.hpp>

#include <openssl/x509.h>

#include <ctime>

namespace reqauth {

using namespace detail;

namespace {

// What OpenSSL cannot write is nothing, so that the rest is told.
template <class Write> std::string written(Write&& write) {
    try {
        return write();
    } catch (const error&) {
        return {};
    }
}

std::string name_of(const X509_NAME* name) {
    return written([&] { return name_text(name); });
}

std::string utc(const ASN1_TIME* time) {
    std::tm parts{};
    std::array<char, 32> text{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return {};
    return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::string when(const std::string& what, int error, const ASN1_TIME* begin, const ASN1_TIME* end) {
    if (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CRL_HAS_EXPIRED) return what + " ended " + utc(end);
    if (error == X509_V_ERR_CERT_NOT_YET_VALID || error == X509_V_ERR_CRL_NOT_YET_VALID)
        return what + " begins " + utc(begin);
    return what + " cannot be used";
}

std::string because_of(const turned_down& refused, int error) {
    if (refused.crl != nullptr) {
        const std::string what = "the CRL of " + name_of(X509_CRL_get_issuer(refused.crl.get()));
        const ASN1_TIME* begin = X509_CRL_get0_lastUpdate(refused.crl.get());
        if (error == X509_V_ERR_CERT_REVOKED) return what + " of " + utc(begin) + " names it";
        return when(what, error, begin, X509_CRL_get0_nextUpdate(refused.crl.get()));
    }
    if (refused.cross_signed) return "its chain leads to a CA of customers, too, and it could open both doors";
    if (refused.not_admitted) return "it verifies, and is not admitted here";
    if (!refused.server_at_fault || refused.failed == nullptr) return {};
    const X509& failed = *refused.failed;
    if (error == X509_V_ERR_UNABLE_TO_GET_CRL)
        return "no CRL of " + name_of(X509_get_issuer_name(&failed)) + " can be used";
    return when("the anchor " + name_of(X509_get_subject_name(&failed)), error, X509_get0_notBefore(&failed),
                X509_get0_notAfter(&failed));
}

// Whoever made the certificate decides how long its names are, and a log's line ends somewhere.
std::string shortened(const std::string& text) {
    constexpr std::size_t most = 160;
    return text.size() <= most ? text : text.substr(0, most) + "...";
}

} // namespace

std::optional<presented_certificate> presented_of(const SSL& ssl) {
    const server_outcome outcome = server_outcome_of(ssl);
    const server_record* record = server_record::on(&ssl);
    if (record == nullptr || !outcome.accepted) return std::nullopt;
    const witnessed& witness = record->now.facts.witness;
    const turned_down& refused = record->now.refused;
    const bool finished = client_has_finished(&ssl);
    // Where the chain verified, and the handshake failed after it, the key was not proven, or is said not to be.
    X509* leaf = witness.failed ? refused.leaf.get() : finished ? nullptr : sk_X509_value(record->now.chain.get(), 0);
    if (leaf == nullptr) return std::nullopt;
    presented_certificate what;
    what.subject = name_of(X509_get_subject_name(leaf));
    what.issuer = name_of(X509_get_issuer_name(leaf));
    what.serial = written([&] { return serial_of(*leaf); });
    what.not_before = utc(X509_get0_notBefore(leaf));
    what.not_after = utc(X509_get0_notAfter(leaf));
    unsigned int size = 0;
    X509_digest(leaf, EVP_sha256(), what.thumbprint.data(), &size);
    what.key_proven = finished;
    if (!witness.failed) return what;
    what.verify_error = witness.error;
    what.depth = refused.depth;
    what.failed = refused.failed != nullptr ? name_of(X509_get_subject_name(refused.failed.get())) : what.subject;
    what.because = because_of(refused, witness.error);
    what.server_at_fault = refused.server_at_fault;
    return what;
}

std::string to_string(const presented_certificate& what) {
    std::string text = what.verify_error != X509_V_OK
                           ? std::string(X509_verify_cert_error_string(what.verify_error)) + " (" +
                                 std::to_string(what.verify_error) + ") at depth " + std::to_string(what.depth)
                           : "its chain verifies, but its key was not proven";
    if (what.depth > 0) text += ", \"" + shortened(what.failed) + '"';
    if (!what.because.empty()) text += ": " + shortened(what.because);
    if (what.server_at_fault) text += ", which is this server's to mend";
    return text + "; presented, no identity: subject \"" + shortened(what.subject) + "\", issuer \"" +
           shortened(what.issuer) + "\", serial " + shortened(what.serial) + ", SHA-256 " + hex(what.thumbprint) +
           ", valid from " + what.not_before + " to " + what.not_after;
}

} // namespace reqauth
