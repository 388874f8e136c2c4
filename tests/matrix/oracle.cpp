// SPDX-License-Identifier: Apache-2.0
#include "oracle.hpp"

namespace oracle {
namespace {

// RFC 8446, section 6; 40 is what TLS 1.2 has in place of certificate_required.
constexpr int handshake_failure = 40, certificate_expired = 45, unknown_ca = 48, certificate_required = 116;

std::size_t index(host where) { return where == host::b ? 1 : 0; }

// TLS-5: under TLS 1.2 the client counts as one without the flag.
bool flagged(const arrival& now) { return now.flag && now.tls13; }

// RCA-2, and SEC-7: where everyone must have a certificate, the flag is ignored, and where customers are asked, unless
// the code there tells agents from them.
bool accepted(const site& at, const arrival& now) {
    const std::size_t i = index(now.where);
    return flagged(now) && at.policy[i] != demand::none &&
           (at.own[i] == demand::none || (at.own[i] == demand::request && at.beside[i]));
}

// RCA-12: the flag's credential for an acknowledged request, the SSL_CTX's own certificate for any other.
ca issuer(const arrival& now, bool acknowledged) {
    if (now.certificate == holds::customers) return ca::customers;
    if (now.certificate == holds::other) return ca::other;
    return now.certificate == holds::agents || acknowledged ? ca::agents : ca::customers;
}

// RCA-13: the policy's trust where the flag is accepted, the SSL_CTX's own everywhere else. SEC-5: the final host's.
bool trusts(const site& at, const arrival& now, bool acknowledged) {
    const ca by = issuer(now, acknowledged);
    if (!acknowledged) return by == ca::customers;
    return at.trusted[index(now.where)].contains(by);
}

outcome refused(outcome so_far, int alert) {
    so_far.good = false;
    so_far.alert = alert;
    so_far.peer = "handshake_unfinished";
    return so_far;
}

std::string subject(const arrival& now) {
    if (now.certificate == holds::customers) return "flagged CN=customer.example";
    return now.certificate == holds::other ? "flagged CN=other.example" : "flagged CN=crawler.example";
}

bool same_trust(const site& before, const site& after) {
    if (before.policy != after.policy) return false; // TLS-2: another mode is another outcome
    // What no policy asks under is nobody's trust. The requirements leave room for a change at one host to spare
    // the other's sessions. They are looked up before the host is settled (SEC-5), so all of a server's policies
    // count as one trust set (TLS-2, SEC-4): too many full handshakes are safe, too few are not.
    for (const std::size_t i : {0U, 1U})
        if (before.policy[i] != demand::none && before.trusted[i] != after.trusted[i]) return false;
    return true;
}

} // namespace

outcome in_full(const site& at, const arrival& now) {
    const std::size_t i = index(now.where);
    outcome out;
    out.acknowledged = accepted(at, now); // RCA-8, RCA-15: nothing else acknowledges
    // RCA-3, RCA-14, RCA-15: who is not accepted meets what the SSL_CTX asks of everyone.
    const demand asks = out.acknowledged ? at.policy[i] : at.own[i];
    out.requested = asks != demand::none;
    out.peer = !flagged(now) ? "not_offered" : out.acknowledged ? "empty" : "ignored";
    if (!out.requested) return out;
    if (now.certificate == holds::none) { // RCA-4: an empty Certificate
        if (asks == demand::request) return out;
        return refused(out, now.tls13 ? certificate_required : handshake_failure);
    }
    if (!trusts(at, now, out.acknowledged)) return refused(out, unknown_ca);
    if (now.certificate == holds::expired) return refused(out, certificate_expired);
    if (out.acknowledged) out.peer = subject(now);
    out.result = out.acknowledged ? "not ok" : "ok"; // SEC-8
    return out;
}

outcome again(const site& before, const arrival& first, const site& after, const arrival& second) {
    outcome then = in_full(before, first);
    const outcome fresh = in_full(after, second);
    if (!then.good || first.tls13 != second.tls13) return fresh;
    // TLS-2: to have offered the flag is part of the outcome, even where it was ignored: who offers it now asks
    // to be judged by the policy, and who does not is not to inherit that.
    if (flagged(first) != flagged(second)) return fresh;
    // RCA-15: as without the library. There OpenSSL resumes between SSL_CTXs of one listener that share id context
    // and ticket keys; the matrix runs the same without the library, which shows that this is so.
    if (flagged(first)) {
        // TLS-2: no other server name (to have named none is another), no other trust. SEC-4.
        if (first.where != second.where || !same_trust(before, after)) return fresh;
        // RCA-16, SEC-1: a session resumes if something vouches for its outcome. Nothing does for a client that
        // was asked and sent nothing. One that was ignored has what the SSL_CTX's own client authentication
        // found: the same outcome, host and trust, so that goes on.
        if (then.acknowledged && then.result == "-") return fresh;
    }
    then.requested = then.acknowledged = false; // TLS-2: no CertificateRequest there
    then.resumed = true;
    return then; // RCA-16: the outcome is the session's
}

} // namespace oracle
