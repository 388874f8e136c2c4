// SPDX-License-Identifier: Apache-2.0
#include "visit.hpp"

#include "printable.hpp"
#include "tls.hpp"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace {

using x509_ptr = std::unique_ptr<X509, free_with<X509_free>>;
using bio_ptr = std::unique_ptr<BIO, free_with<BIO_free_all>>;
using general_names_ptr = std::unique_ptr<GENERAL_NAMES, free_with<GENERAL_NAMES_free>>;

std::string text_of(BIO& memory) {
    char* start = nullptr;
    const long size = BIO_get_mem_data(&memory, &start);
    return printable({start, static_cast<std::size_t>(std::max(size, 0L))});
}

std::string base64url(std::span<const std::uint8_t, 32> hash) {
    std::array<unsigned char, 45> out{}; // 44 characters and a NUL
    EVP_EncodeBlock(out.data(), hash.data(), static_cast<int>(hash.size()));
    std::string text(out.begin(), out.end() - 2); // without the padding, one "="
    std::ranges::replace(text, '+', '-');
    std::ranges::replace(text, '/', '_');
    return text;
}

/// describe_peer takes the names from the library's flagged_peer.
void describe_peer(const reqauth::flagged_peer& agent, visit& seen) {
    seen.subject = agent.subject();
    for (const reqauth::subject_alt_name& name : agent.alt_names()) seen.alt_names.push_back(to_string(name));
    seen.thumbprint = base64url(agent.thumbprint());
}

/// describe_certificate takes them from a certificate that the SSL_CTX's own authentication verified.
void describe_certificate(X509& certificate, visit& seen) {
    const bio_ptr subject(BIO_new(BIO_s_mem()));
    X509_NAME_print_ex(subject.get(), X509_get_subject_name(&certificate), 0, XN_FLAG_RFC2253);
    seen.subject = text_of(*subject);

    const general_names_ptr names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const bio_ptr name(BIO_new(BIO_s_mem()));
        GENERAL_NAME_print(name.get(), sk_GENERAL_NAME_value(names.get(), i));
        std::string text = text_of(*name);
        static constexpr std::string_view address = "IP Address:";
        if (text.starts_with(address)) text.replace(0, address.size(), "IP:");
        seen.alt_names.push_back(text);
    }

    std::array<std::uint8_t, 32> hash{};
    if (X509_digest(&certificate, EVP_sha256(), hash.data(), nullptr) == 1) seen.thumbprint = base64url(hash);
}

/// read_flagged is a connection whose flag was accepted: the library knows.
void read_flagged(const reqauth::peer& peer, const reqauth::server_outcome& outcome, bool none_came, visit& seen) {
    using answer = reqauth::server_outcome::answer;
    if (const auto* agent = std::get_if<reqauth::flagged_peer>(&peer)) {
        seen.certificate = "verified";
        seen.trust = "agents";
        describe_peer(*agent, seen);
        return;
    }
    switch (outcome.certificate) {
    case answer::not_asked: seen.certificate = "not_requested"; break;
    case answer::awaited: seen.certificate = none_came ? "empty" : "awaited"; break;
    case answer::empty: seen.certificate = "empty"; break;
    case answer::verified: // the chain, but the handshake failed after it
    case answer::invalid: seen.certificate = "invalid"; break;
    }
}

/// read_own is any other connection: the SSL_CTX's own client authentication, as OpenSSL tells it.
void read_own(const SSL& ssl, bool none_came, bool requested, visit& seen) {
    const x509_ptr certificate(SSL_get1_peer_certificate(&ssl));
    if (certificate && seen.ok && SSL_get_verify_result(&ssl) == X509_V_OK) {
        seen.certificate = "verified";
        seen.trust = "customers";
        describe_certificate(*certificate, seen);
    } else if (certificate || SSL_get_verify_result(&ssl) != X509_V_OK) {
        seen.certificate = "invalid";
    } else if (!requested) {
        seen.certificate = "not_requested";
    } else {
        seen.certificate = seen.ok || none_came ? "empty" : "awaited";
    }
}

} // namespace

visit read_visit(const SSL& ssl, const handshake_events& events, std::optional<std::string> error) {
    const reqauth::server_outcome outcome = reqauth::server_outcome_of(ssl);
    const reqauth::peer peer = reqauth::peer_of(ssl);

    visit seen;
    seen.ok = !error;
    seen.version = negotiated_version(ssl);
    if (const char* name = SSL_get_servername(&ssl, TLSEXT_NAMETYPE_host_name)) seen.server_name = printable(name);
    seen.offered = outcome.offered;
    seen.outcome = outcome.accepted ? "accepted" : outcome.offered ? "ignored" : "not_offered";
    if (const auto* other = std::get_if<reqauth::other_peer>(&peer)) seen.reason = to_string(other->why);
    seen.resumed = SSL_session_reused(&ssl) == 1;
    seen.early_data = SSL_get_early_data_status(&ssl) == SSL_EARLY_DATA_ACCEPTED;
    outcome.flags.for_each([&](reqauth::flag_number flag) { seen.flags.push_back(flag); });
    // Of an agent the result is never X509_V_OK (SEC-8): a certificate with it came after the handshake, for
    // the SSL_CTX's own authentication.
    const bool own = SSL_get0_peer_certificate(&ssl) != nullptr && SSL_get_verify_result(&ssl) == X509_V_OK;
    if (outcome.accepted && !own)
        read_flagged(peer, outcome, events.no_certificate_came, seen);
    else
        read_own(ssl, events.no_certificate_came, events.certificate_requested, seen);
    seen.presented = reqauth::presented_of(ssl);
    seen.alert_sent = events.alert_sent;
    seen.alert_received = events.alert_received;
    seen.error = std::move(error);
    return seen;
}

static json to_json(const reqauth::presented_certificate& what) {
    const auto or_nothing = [](const std::string& text) { return text.empty() ? json() : json(text); };
    return {{"subject", what.subject},
            {"issuer", what.issuer},
            {"serial", what.serial},
            {"not_before", what.not_before},
            {"not_after", what.not_after},
            {"x5t#S256", base64url(what.thumbprint)},
            {"key_proven", what.key_proven},
            {"verify_error", what.verify_error},
            {"error", what.verify_error != 0 ? json(X509_verify_cert_error_string(what.verify_error)) : json()},
            {"depth", what.depth},
            {"failed", or_nothing(what.failed)},
            {"because", or_nothing(what.because)},
            {"server_at_fault", what.server_at_fault}};
}

json to_json(const visit& seen) {
    return {{"event", "connection"},
            {"ok", seen.ok},
            {"version", or_null(seen.version)},
            {"server_name", or_null(seen.server_name)},
            {"offered", seen.offered},
            {"outcome", seen.outcome},
            {"reason", or_null(seen.reason)},
            {"certificate", seen.certificate},
            {"trust", or_null(seen.trust)},
            {"resumed", seen.resumed},
            {"early_data", seen.early_data},
            {"flags", seen.flags},
            {"subject", or_null(seen.subject)},
            {"san", seen.alt_names},
            {"x5t#S256", or_null(seen.thumbprint)},
            {"presented", seen.presented ? to_json(*seen.presented) : json()},
            {"alert_sent", or_null(seen.alert_sent)},
            {"alert_received", or_null(seen.alert_received)},
            {"error", or_null(seen.error)}};
}

std::string to_text(const visit& seen) {
    std::string text = seen.ok ? "ok" : "failed";
    if (seen.version) text += ", " + *seen.version;
    if (seen.resumed) text += ", resumed";
    if (seen.early_data) text += ", with early data";
    text += ", flag " + seen.outcome + ", certificate " + seen.certificate;
    if (seen.trust) text += " by " + *seen.trust;
    if (seen.subject) text += ", " + *seen.subject;
    if (seen.error) text += ": " + *seen.error;
    if (seen.presented) text += "; " + to_string(*seen.presented);
    if (seen.alert_sent) text += "; sent the alert " + *seen.alert_sent;
    if (seen.alert_received) text += "; received the alert " + *seen.alert_received;
    return text;
}
