// SPDX-License-Identifier: Apache-2.0
#include "ending.hpp"

#include "../base/counting.hpp"
#include "../base/fence.hpp"
#include "../base/handshake.hpp"
#include "../base/pem.hpp"
#include "session.hpp"

#include <algorithm>
#include <utility>

namespace reqauth::detail {

namespace {

// A leaf that cannot be digested is none that was witnessed: its digest stays zero.
std::array<std::uint8_t, 32> digest_of(const X509* leaf) noexcept {
    try {
        return leaf != nullptr ? sha256(*leaf) : std::array<std::uint8_t, 32>{};
    } catch (const std::exception&) {
        return {};
    }
}

// A client that was asked may have shown a raw public key (RFC 7250), if the application takes those.
bool has_raw_key(const SSL& ssl) noexcept {
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
    return SSL_get0_peer_rpk(&ssl) != nullptr;
#else
    (void)ssl;
    return false;
#endif
}

/// ended is how a handshake did.
struct ended {
    std::optional<other_peer> other; ///< none: there is a flagged_peer
    bool resumed = false;
    bool refused = false;
};

void count_ended(const SSL* ssl, const pending& about, const ended& how) noexcept {
    const attached_server* there = attached_server::on(ssl);
    if (there == nullptr) return;
    for (server_counters* to : {&there->of->counters, there->counters}) {
        if (to == nullptr) continue;
        count(to->handshakes);
        // A second ClientHello may have been without.
        count(to->offered, about.offered && (!how.other || how.other->why != reason::not_offered));
        count(to->asked, about.asked);
        count(to->acknowledged, about.acknowledged);
        count(to->verified, !how.other);
        count(to->resumed, how.resumed);
        count(to->refused, how.refused);
        if (!how.other) continue;
        count(to->reasons.at(static_cast<std::size_t>(how.other->why)));
        const auto error = std::min(static_cast<std::size_t>(how.other->verify_error), to->verify_errors.size() - 1);
        count(to->verify_errors.at(error), how.other->why == reason::invalid);
    }
}

} // namespace

findings findings_of(const SSL& ssl, const server_record::handshake* now) noexcept {
    const X509* leaf = SSL_get0_peer_certificate(&ssl);
    const bool held = now != nullptr && (now->facts.witness.held || now->facts.witness.unvouched);
    // To digest it again takes longer than all else here.
    const bool known = held && leaf != nullptr && leaf == now->leaf.get();
    return {.server = SSL_is_server(&ssl) == 1,
            .finished = SSL_is_init_finished(&ssl) == 1,
            .resumed = SSL_session_reused(&ssl) == 1,
            .client_random = client_random_of(&ssl),
            .server_random = server_random_of(&ssl),
            .certificate = leaf != nullptr || has_raw_key(ssl),
            .leaf = known ? now->facts.witness.leaf : digest_of(held ? leaf : nullptr)};
}

void count_person(const SSL* ssl, reason why) noexcept { count_ended(ssl, {}, {.other = other_peer{why}}); }

void count_refusal(const SSL* ssl, server_record& record, std::optional<int> alert_sent) noexcept {
    const server_facts& facts = record.now.facts;
    other_peer who{reason::handshake_unfinished};
    if (alert_sent && facts.witness.failed)
        who = {reason::invalid, facts.witness.error};
    else if (alert_sent == SSL_AD_CERTIFICATE_REQUIRED)
        who.why = facts.decided == decision::refuse ? reason::not_vouched : reason::empty;
    count_ended(ssl, std::exchange(record.now.to_count, {}), {.other = who, .refused = alert_sent.has_value()});
}

void broken_off(const SSL* ssl, const server_record::handshake& of) noexcept {
    if (of.to_count.offered) count_ended(ssl, of.to_count, {.other = other_peer{reason::handshake_unfinished}});
}

void server_record::owner_ends(const SSL* ssl) noexcept { broken_off(ssl, now); }

void handshake_done(SSL* ssl, server_record& record) {
    if (record.now.hello == nullptr) return; // it was seen, or nobody offered the flag
    //= RCA-14
    if (record.now.denied) {
        // The alert is still to come. Where there was nothing to send it with, nothing is read or written either.
        if (SSL_is_init_finished(ssl) != 1) return;
        SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    record.put_aside.give_back(ssl);
    server_facts& facts = record.now.facts;
    const long result = SSL_get_verify_result(ssl);
    // Whatever came after the verification, and left another result, says otherwise.
    //= SEC-1
    if (facts.witness.held && !facts.vouched && facts.server_random == server_random_of(ssl) &&
        result != X509_V_ERR_APPLICATION_VERIFICATION) {
        facts.witness.held = false;
        fence(0, [&] {
            disown_session(ssl, record);
            return 1;
        });
    }
    // A check that knows only OpenSSL looks at the result where it knows that there is a certificate.
    const bool looked_at =
        SSL_get0_peer_certificate(ssl) != nullptr || (SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0;
    const bool accepted = facts.decided == decision::accept;
    const bool shown_ok = accepted && facts.witness.held && record.now.decided_by != nullptr &&
                          record.now.decided_by->policy->verify_result_ok;
    //= SEC-8
    if (!(accepted || facts.agents_session) || facts.server_random != server_random_of(ssl)) {
        // Another's result, or an earlier handshake's facts.
    } else if (!shown_ok && result == X509_V_OK && looked_at) {
        SSL_set_verify_result(ssl, X509_V_ERR_APPLICATION_VERIFICATION);
    } else if (shown_ok && result == X509_V_ERR_APPLICATION_VERIFICATION) {
        SSL_set_verify_result(ssl, X509_V_OK);
    }
    findings found = findings_of(*ssl, &record.now);
    found.finished = true; // but for the tickets
    ended how;
    if (const auto against = conclude(&facts, found)) how.other = other_peer{*against, facts.witness.error};
    how.resumed = !how.other && found.resumed;
    count_ended(ssl, std::exchange(record.now.to_count, {}), how);
    record.handshake_over();
}

} // namespace reqauth::detail
