// SPDX-License-Identifier: Apache-2.0
#include <reqauth/client.hpp>

#include "client_handshake.hpp"
#include "fence.hpp"

namespace reqauth {

using namespace detail;

struct client::state {
    std::shared_ptr<const client_side> side;
};

client::client(client_policy policy) {
    check_numbers(policy.flag, policy.extension);
    if (policy.further_flags.contains(policy.flag))
        throw error(errc::contradiction, "further_flags holds flag " + std::to_string(policy.flag) +
                                             ", request_client_auth itself; whether it is sent is what `offer` says");
    auto side = std::make_shared<client_side>();
    //= RCA-6
    side->offers = policy.offer == offer::always || (policy.offer == offer::when_available && policy.credential);
    side->proposed = policy.further_flags;
    if (side->offers) side->proposed.insert(policy.flag);
    side->policy = std::move(policy);
    state_ = std::make_shared<const state>(state{std::move(side)});
}

void client::attach(SSL_CTX& context) const {
    const client_side& side = *state_->side;
    const ssl_handle probe = probe_of(context);
    const attached* there = attached_to(&context);
    if (there != nullptr && there->client != nullptr)
        throw error(errc::already_attached, "a client is attached to this SSL_CTX already");
    if (side.policy.credential) {
        ERR_clear_error();
        const loaded_credential& one = *side.policy.credential->holder();
        if (SSL_use_cert_and_key(probe.get(), one.certificate.get(), one.key.get(), one.chain.get(), 1) != 1)
            throw error(errc::key_unusable,
                        "this SSL_CTX does not take the credential, as with too short a key for its security level" +
                            drain_errors());
    }
    attached sides;
    sides.client = state_->side;
    sides.client_cert_cb = SSL_CTX_get_client_cert_cb(&context);
    sides.extension = side.policy.extension;
    sides.in_client_hello = !side.proposed.empty();
    attach_to(context, sides);
    SSL_CTX_set_cert_cb(&context, answer_request, nullptr);
    if (sides.client_cert_cb != nullptr) SSL_CTX_set_client_cert_cb(&context, supply_certificate);
}

bool client::offers() const noexcept { return state_->side->offers; }

client::client(const client&) noexcept = default;
client::client(client&&) noexcept = default;
client& client::operator=(const client&) noexcept = default;
client& client::operator=(client&&) noexcept = default;
client::~client() = default;

client_outcome client_outcome_of(const SSL& ssl) noexcept {
    client_outcome outcome;
    const connection* kept = connection_of(&ssl);
    if (kept == nullptr || SSL_is_server(&ssl) == 1 || kept->client.client_random != client_random_of(&ssl))
        return outcome;
    const client_exchange& exchange = kept->client;
    outcome.offered = exchange.offered;
    outcome.requested = exchange.requested;
    outcome.acknowledged = exchange.acknowledged;
    outcome.server_flags = exchange.server_flags;
    if (!exchange.answered) return outcome;
    // What OpenSSL chose to sign with is what it sent; it chooses nothing where nothing fits.
    int signature = NID_undef;
    const bool signed_it = SSL_get_signature_nid(const_cast<SSL*>(&ssl), &signature) == 1; // NOLINT: it only reads
    const attached* there = attached_to(SSL_get_SSL_CTX(&ssl));
    const bool flag = there != nullptr && there->client != nullptr && there->client->policy.credential &&
                      SSL_get_certificate(&ssl) == there->client->policy.credential->holder()->certificate.get();
    using answer = client_outcome::answer;
    outcome.sent = !signed_it ? answer::empty : flag ? answer::flag : answer::other;
    return outcome;
}

std::string_view to_string(client_outcome::answer sent) noexcept {
    switch (sent) {
    case client_outcome::answer::none: return "none";
    case client_outcome::answer::empty: return "empty";
    case client_outcome::answer::flag: return "flag";
    case client_outcome::answer::other: return "other";
    }
    return "";
}

} // namespace reqauth
