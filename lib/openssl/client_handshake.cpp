// SPDX-License-Identifier: Apache-2.0
#include "client_handshake.hpp"

#include "fence.hpp"

namespace reqauth::detail {

namespace {

const client_side* client_of(const SSL* ssl) noexcept {
    const attached* there = attached_to(SSL_get_SSL_CTX(ssl));
    return there != nullptr ? there->client.get() : nullptr;
}

const loaded_credential* credential_of(const client_side& side) noexcept {
    return side.policy.credential ? side.policy.credential->holder().get() : nullptr;
}

// The record of the handshake at hand: a new one wherever the last belongs to an earlier handshake.
connection& record_of(SSL* ssl) {
    connection& kept = connection_for(ssl);
    const hello_random now = client_random_of(ssl);
    if (kept.client.client_random != now) {
        kept.client = {};
        kept.client.client_random = now;
        kept.own.new_handshake(ssl);
    }
    return kept;
}

} // namespace

std::optional<alert> client_received(SSL* ssl, message in, const flag_set& flags) {
    connection& kept = record_of(ssl);
    const client_side* side = client_of(ssl);
    const flag_number ours = side != nullptr ? side->policy.flag : request_client_auth;
    const violation broken = judge({role::client, in, flags, kept.client.proposed, ours});
    if (broken != violation::none) {
        raise(std::string("tls_flags in ") += std::string(name_of(in)) += ": " + std::string(text_of(broken)));
        return SSL_AD_ILLEGAL_PARAMETER;
    }
    //= FLAG-10
    kept.client.server_flags = kept.client.server_flags | flags;
    if (in != message::certificate_request || side == nullptr || !flags.contains(ours)) return std::nullopt;

    kept.client.acknowledged_now = true;
    const loaded_credential* credential = credential_of(*side);
    //= RCA-5
    if (credential != nullptr && side->policy.when_unsatisfiable == unsatisfiable::close &&
        !credential->satisfies(ssl)) {
        kept.client.requested = kept.client.acknowledged = true;
        raise("the CertificateRequest's authorities or algorithms cannot be met, and the policy says to close (RCA-5)");
        return SSL_AD_HANDSHAKE_FAILURE;
    }
    return std::nullopt;
}

std::optional<alert> client_sends(SSL* ssl, message what, flag_set& out) {
    if (what != message::client_hello) return std::nullopt;
    const client_side* side = client_of(ssl);
    if (side == nullptr) return std::nullopt;
    connection& kept = record_of(ssl);
    // Around a HelloRetryRequest the record is the same, and so are the flags.
    //= TLS-1
    //= RCA-1
    //= RCA-6
    //= FLAG-10
    kept.client.proposed = side->proposed;
    kept.client.offered = side->offers;
    out = kept.client.proposed;
    return std::nullopt;
}

int answer_request(SSL* ssl, void*) {
    const client_side* side = client_of(ssl);
    if (side == nullptr) return 1;
    //= SEC-6
    const certificate_callback& chained = side->policy.chained_certificate_callback;
    if (chained.function != nullptr) {
        const int result = chained.function(ssl, chained.argument);
        if (result <= 0) return result;
    }
    if (SSL_is_server(ssl) == 1) return 1;
    return fence(0, [&] {
        connection& kept = record_of(ssl);
        client_exchange& exchange = kept.client;
        // No CertificateRequest with the extension was parsed before this call: it came without the flag.
        exchange.acknowledged = std::exchange(exchange.acknowledged_now, false);
        exchange.requested = exchange.answered = true;
        const loaded_credential* credential = credential_of(*side);
        //= RCA-12
        if (exchange.acknowledged) {
            //= RCA-4
            //= RCA-5
            const bool fits = credential != nullptr &&
                              (side->policy.when_unsatisfiable == unsatisfiable::present || credential->satisfies(ssl));
            kept.own.present(ssl, fits ? credential : nullptr);
            return 1;
        }
        //= RCA-3
        switch (side->policy.when_unacknowledged) {
        case unacknowledged::as_before: kept.own.give_back(ssl); break;
        case unacknowledged::empty: kept.own.present(ssl, nullptr); break;
        case unacknowledged::present: kept.own.present(ssl, credential); break;
        }
        return 1;
    });
}

//= RCA-7
int supply_certificate(SSL* ssl, X509** certificate, EVP_PKEY** key) {
    const connection* kept = connection_of(ssl);
    if (kept != nullptr && kept->own.changed()) return 0;
    const attached* there = attached_to(SSL_get_SSL_CTX(ssl));
    return there != nullptr && there->client_cert_cb != nullptr ? there->client_cert_cb(ssl, certificate, key) : 0;
}

} // namespace reqauth::detail
