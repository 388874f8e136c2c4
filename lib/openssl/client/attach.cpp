// SPDX-License-Identifier: Apache-2.0
#include <reqauth/client.hpp>

#include "../../decide/settings.hpp"
#include "../base/counting.hpp"
#include "../base/fence.hpp"
#include "../base/quic.hpp"
#include "../extension.hpp"
#include "handshake.hpp"
#include "session.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <ctime>
#include <utility>

namespace reqauth {

using namespace detail;

namespace {

std::shared_ptr<const credential_set> set_of(std::vector<credential> all, const client_side& of) {
    auto made = std::make_shared<credential_set>();
    made->of = &of;
    made->digest = digest_of_credentials(all);
    made->all = std::move(all);
    return made;
}

void check_usable(SSL* probe, const credential& one) {
    ERR_clear_error();
    const loaded_credential& loaded = *one.holder();
    if (SSL_use_cert_and_key(probe, loaded.certificate.get(), loaded.key.get(), loaded.chain.get(), 1) != 1)
        throw error(errc::key_unusable,
                    "OpenSSL does not take the credential " + one.subject() +
                        ", as with too short a key for its security level" + drain_errors(),
                    "give another credential, or lower the level");
}

// As check_usable on each SSL_CTX to which the client is attached, whose settings here are those of its attach.
void check_usable_everywhere(client_side& side, const std::vector<credential>& all) {
    static SSL_CTX& plain = *[] { // made once and never freed
        SSL_CTX* made = SSL_CTX_new(TLS_client_method());
        if (made == nullptr) throw error(errc::openssl, "no SSL_CTX can be made" + drain_errors());
        return made;
    }();
    for (const auto& held : side.securities)
        if (const auto allowed = held.lock(); allowed != nullptr) {
            const ssl_handle probe = probe_of(plain);
            SSL_set_security_level(probe.get(), allowed->level);
            SSL_set_security_callback(probe.get(), allowed->callback);
            SSL_set0_security_ex_data(probe.get(), allowed->argument);
            for (const credential& one : all) check_usable(probe.get(), one);
        }
}

// Each once. Under side.changing.
std::shared_ptr<const security> noted(client_side& side, const security& allowed) {
    std::erase_if(side.securities, [](const auto& held) { return held.expired(); });
    for (const auto& held : side.securities)
        if (auto there = held.lock(); there != nullptr && *there == allowed) return there;
    auto made = std::make_shared<const security>(allowed);
    side.securities.push_back(made);
    return made;
}

} // namespace

withheld detail::credential_set::offered(offer when, std::int64_t now) const noexcept {
    if (when == offer::never) return withheld::never;
    if (when == offer::always) return withheld::nothing;
    if (all.empty()) return withheld::no_credential;
    const bool any = std::ranges::any_of(all, [&](const credential& one) { return one.holder()->valid(now); });
    return any ? withheld::nothing : withheld::outside_validity;
}

void detail::client_side::publish(std::shared_ptr<const credential_set> next) {
    constexpr std::size_t remembered = 8;
    std::vector<sha256_digest> former = former_;
    if (current_ != nullptr && current_->digest != next->digest) former.push_back(current_->digest);
    if (former.size() > remembered) former.erase(former.begin());
    std::vector<sha256_digest> keys = keys_;
    for (const credential& one : next->all) keys.push_back(one.holder()->key_digest);
    std::ranges::sort(keys);
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end()); // clang 14 cannot with ranges
    const std::lock_guard lock(guard_);
    current_.swap(next);
    former_.swap(former);
    keys_.swap(keys);
}

bool detail::client_side::had(const sha256_digest& key) const {
    const std::lock_guard lock(guard_);
    return std::ranges::binary_search(keys_, key);
}

void detail::client_side::spend(std::string session) const {
    constexpr std::size_t remembered = 64;
    const std::lock_guard lock(guard_);
    spent_.push_back(std::move(session));
    if (spent_.size() > remembered) spent_.pop_front();
}

bool detail::client_side::is_spent(const std::string& session) const {
    const std::lock_guard lock(guard_);
    return std::ranges::find(spent_, session) != spent_.end();
}

struct client::state {
    std::shared_ptr<client_side> side = std::make_shared<client_side>();
};

client::client(client_policy policy) {
    check_bounds(policy);
    check_extension(policy.extension);
    if (policy.further_flags.contains(policy.flag))
        throw error(errc::contradiction,
                    "further_flags holds flag " + std::to_string(policy.flag) + ", request_client_auth itself",
                    "whether it is sent is what `offer` says");
    std::vector<credential> all = std::move(policy.further_credentials);
    if (policy.credential) all.insert(all.begin(), *std::exchange(policy.credential, std::nullopt));
    policy.further_credentials.clear();
    auto made = std::make_shared<state>();
    made->side->publish(set_of(std::move(all), *made->side));
    made->side->digest = digest_of_policy(policy);
    made->side->policy = std::move(policy);
    state_ = std::move(made);
}

void client::attach(SSL_CTX& context) const {
    const client_policy& policy = state_->side->policy;
    if (SSL_CTX_get_ssl_method(&context) == TLS_server_method() || quic_role_of(context) == quic_role::server)
        throw error(errc::unsuitable_context,
                    "this SSL_CTX is for servers (TLS_server_method, or that of QUIC), and connects to nobody",
                    "make it with TLS_client_method, or OSSL_QUIC_client_method");
    const ssl_handle probe = probe_of(context);
    if (attached_client::on(&context) != nullptr)
        throw error(errc::already_attached, "a client is attached to this SSL_CTX already",
                    "change its credentials with replace");
    const std::lock_guard one_at_a_time(state_->side->changing);
    const auto credentials = state_->side->current(); // held meanwhile: the application's callbacks may replace them
    for (const credential& one : credentials->all) check_usable(probe.get(), one);
    auto attached = std::make_unique<attached_client>();
    attached->of = state_->side;
    attached->allows =
        noted(*state_->side, {SSL_CTX_get_security_level(&context), SSL_CTX_get_security_callback(&context),
                              SSL_CTX_get0_security_ex_data(&context)});
    attached->client_cert_cb = SSL_CTX_get_client_cert_cb(&context);
    attached->info = SSL_CTX_get_info_callback(&context);
    // Credentials may come later, by replace.
    const bool sends = policy.offer != offer::never || !policy.further_flags.empty();
    attached_client& kept = slot<SSL_CTX, attached_client>::keep(&context, std::move(attached));
    try {
        kept.sends_extension = register_extension(context, policy.extension, sends);
    } catch (...) {
        slot<SSL_CTX, attached_client>::drop(&context);
        throw;
    }
    SSL_CTX_set_cert_cb(&context, answer_request, nullptr);
    SSL_CTX_set_info_callback(&context, on_client_event);
    if (kept.client_cert_cb != nullptr) SSL_CTX_set_client_cert_cb(&context, supply_certificate);
}

bool client::offers() const noexcept {
    return state_->side->current()->offered(state_->side->policy.offer, std::time(nullptr)) == withheld::nothing;
}

client_scope client::scope(SSL_CTX& context) {
    const ssl_handle probe = probe_of(context);
    // SSL_new does not say where it could not copy a name or an address.
    if (SSL_set1_param(probe.get(), SSL_CTX_get0_param(&context)) != 1)
        throw error(errc::openssl, "the verify parameters cannot be read" + drain_errors());
    return scope(*probe);
}

client_scope client::scope(SSL& ssl) {
    const attached_client* there = attached_client::on(&ssl);
    if (there == nullptr)
        throw error(errc::not_attached, "scope: no client is attached to this SSL_CTX", "attach one first");
    return scope_of(ssl, *there, there->of->current()->digest);
}

bool client::resume(SSL& ssl, SSL_SESSION& session) {
    const attached_client* there = attached_client::on(&ssl);
    if (there == nullptr) return false;
    if (scope_in(session) != scope(ssl) || there->of->is_spent(id_of(session))) return false;
    return SSL_SESSION_is_resumable(&session) == 1 && SSL_set_session(&ssl, &session) == 1;
}

void client::replace(std::vector<credential> credentials) {
    const std::lock_guard one_at_a_time(state_->side->changing);
    check_usable_everywhere(*state_->side, credentials);
    state_->side->publish(set_of(std::move(credentials), *state_->side));
}

bool client::reload() {
    const std::lock_guard one_at_a_time(state_->side->changing);
    const auto before = state_->side->current();
    std::vector<credential> all;
    for (const credential& one : before->all) {
        const auto& from = one.holder()->from;
        if (!from)
            all.push_back(one);
        else if (from->by_uri)
            all.push_back(credential::from_uri(from->certificate, from->key, from->options));
        else
            all.push_back(credential::from_files(from->certificate, from->key, from->options));
    }
    if (state_->side->current() != before) return true; // by a passphrase callback
    auto after = set_of(std::move(all), *state_->side);
    if (after->digest == before->digest) return false;
    check_usable_everywhere(*state_->side, after->all);
    state_->side->publish(std::move(after));
    return true;
}

client_counters client::counters() const noexcept { return now_in(state_->side->counters); }

client::client(const client&) noexcept = default;
client::client(client&&) noexcept = default;
client& client::operator=(const client&) noexcept = default;
client& client::operator=(client&&) noexcept = default;
client::~client() = default;

} // namespace reqauth
