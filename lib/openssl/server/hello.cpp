// SPDX-License-Identifier: Apache-2.0
#include "hello.hpp"

#include "../base/fence.hpp"
#include "../base/handshake.hpp"
#include "../base/hash.hpp"
#include "ending.hpp"
#include "events.hpp"
#include "session.hpp"

#include <reqauth/error.hpp>

#include <string_view>
#include <utility>

namespace reqauth::detail {

namespace {

std::string_view hello_extension(SSL* ssl, unsigned int type) noexcept {
    const unsigned char* body = nullptr;
    std::size_t size = 0;
    if (SSL_client_hello_get0_ext(ssl, type, &body, &size) != 1) return {};
    return {reinterpret_cast<const char*>(body), size};
}

// server_name: a list of one entry, type host_name (RFC 6066, section 3). OpenSSL checks it later, and takes no longer one.
std::optional<std::string> server_name_in(std::string_view body) {
    constexpr std::size_t before_name = 2 + 1 + 2;
    if (body.size() < before_name || body.size() > before_name + TLSEXT_MAXLEN_host_name ||
        body[2] != TLSEXT_NAMETYPE_host_name)
        return std::nullopt;
    return std::string(body.substr(before_name));
}

// Asks the predicate and computes the scope, once per ClientHello: before it is parsed, where it presents
// sessions; else when our extension is parsed.
std::shared_ptr<const considered> consider(SSL* ssl, const attached_server& there,
                                           const server_record::handshake& earlier, const flag_set& flags,
                                           std::optional<std::string> server_name) {
    auto hello = std::make_shared<considered>();
    hello->client_random = client_random_of(ssl);
    hello->server_name = std::move(server_name);
    hello->flags = flags;
    hello->octets = BIO_number_read(SSL_get_rbio(ssl));
    hello->of = there.of;
    hello->in_force = there.of->current();
    // After a HelloRetryRequest the SSL may have moved to another SSL_CTX already.
    const auto& first = earlier.hello;
    const bool retried = earlier.facts.before_retry && first != nullptr && first->client_random == hello->client_random;
    hello->arrived_at = retried ? first->arrived_at : there.number;
    if (there.of->options.accept) hello->wanted = there.of->options.accept({hello->server_name, flags});
    hello->scope = scope_of(*hello, there);
    return hello;
}

// Where the identity behind this one stands: behind its age, and a length.
const unsigned char* behind(const unsigned char* identity, std::size_t length) noexcept {
    return identity + length + 4 + 2;
}

/// met_last is where this thread met an identity of an SSL without a record: a second one gets it a record. No more hangs
/// on it.
thread_local struct {
    const SSL* ssl = nullptr;
    const unsigned char* next = nullptr;
} met_last;

// Looks at a ClientHello, with its first identity. Throws for internal_error.
void prepare(SSL* ssl, const attached_server& there, identity_walk walk) {
    server_record* known = server_record::on(ssl);
    const server_options& options = there.of->options;
    const std::string_view body = hello_extension(ssl, options.extension);
    const decoded hello = decode({reinterpret_cast<const std::uint8_t*>(body.data()), body.size()});
    if (!hello.flags.contains(options.flag)) {
        // An SSL that had a flagged ClientHello, before a HelloRetryRequest or SSL_clear.
        if (known != nullptr)
            known->put_aside.resumption_is_settled(ssl, id_context_of(*there.of->current(), there));
        else if (met_last.ssl == ssl && met_last.next == walk.next)
            known = &server_record::make(ssl);
        walk.unflagged = true;
        if (known != nullptr) known->identities = std::make_unique<identity_walk>(std::move(walk));
        return;
    }
    //= TLS-2
    //= FLAG-11
    server_record& record = server_record::make(ssl);
    walk.hello =
        consider(ssl, there, record.now, hello.flags, server_name_in(hello_extension(ssl, TLSEXT_TYPE_server_name)));
    record.identities = std::make_unique<identity_walk>(std::move(walk));
    const considered& early = *record.identities->hello;
    record.put_aside.watch(ssl, on_server_event);
    // Before the ticket is looked at: whether OpenSSL takes it for stateful depends on it.
    if (early.in_force->refuse_early_data) record.put_aside.refuse_early_data(ssl);
    const sha256_digest scope = options.max_session_age.count() > 0 ? early.scope : unmatchable();
    record.put_aside.resume_within(ssl, std::span(scope).first(scope_octets));
}

// The first identity of a ClientHello.
[[gnu::noinline]] int find_first(SSL* ssl, const unsigned char* identity, std::size_t length, SSL_SESSION** session) {
    const attached_server* there = attached_server::on(ssl);
    if (there == nullptr) return 1;
    const auto chained = there->of->options.chained_psk_find_session;
    const int prepared = fence(0, [&] {
        const bool second = met_last.ssl == ssl && met_last.next == identity;
        met_last = {.ssl = second ? ssl : nullptr, .next = behind(identity, length)};
        prepare(ssl, *there, {.next = behind(identity, length), .context = SSL_get_SSL_CTX(ssl), .chained = chained});
        met_last.ssl = ssl;
        return 1;
    });
    if (prepared != 1) return 0;
    return chained != nullptr ? chained(ssl, identity, length, session) : 1;
}

} // namespace

std::optional<alert> hear(SSL* ssl, const flag_set& flags) {
    server_record& record = server_record::make(ssl);
    heard said{};
    said.client_random = client_random_of(ssl);
    said.flags = flags;
    //= TLS-1
    const server_record::handshake earlier = std::exchange(record.now, {});
    const auto& before = earlier.facts.before_retry;
    const bool same = before && before->client_random == said.client_random;
    const bool retried = before && (same || !before->started_anew);
    const attached_server* there = attached_server::on(ssl);
    if (!retried) broken_off(ssl, earlier);
    record.now.to_count.offered = there != nullptr && flags.contains(there->of->options.flag);
    if (retried && !(same && before->flags == flags)) {
        raise("tls_flags, or the Random, differ between the two ClientHellos around HelloRetryRequest (TLS-1)");
        return SSL_AD_ILLEGAL_PARAMETER;
    }
    const auto identities = std::exchange(record.identities, nullptr);
    const auto early = identities != nullptr ? identities->hello : nullptr;
    std::shared_ptr<const considered> found;
    if (record.now.to_count.offered) {
        // OpenSSL has parsed its own extensions by now.
        const char* text = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        std::optional<std::string> name;
        if (text != nullptr) name = text;
        // An SSL that was cleared may get another ClientHello with the same Random, if the last has failed between
        // its sessions and its extensions. All that the answer rests on is compared, and what has been read since.
        const bool known = early != nullptr && early->of == there->of && early->client_random == said.client_random &&
                           early->octets == BIO_number_read(SSL_get_rbio(ssl)) && early->flags == flags &&
                           early->server_name == name;
        // Laid out so that it was taken for another ClientHello, whose sessions it may not resume.
        //= TLS-2
        if (!known && SSL_session_reused(ssl) == 1 && identities != nullptr && identities->unflagged) {
            raise("a ClientHello with the flag was given a session as if it had none");
            return SSL_AD_ILLEGAL_PARAMETER;
        }
        found = known ? early : consider(ssl, *there, earlier, flags, std::move(name));
        said.offered = true;
        said.at = now();
        said.wanted = found->wanted;
    }
    if (!record.put_aside.give_back(ssl)) throw error(errc::openssl, "the application's settings cannot be put back");
    record.put_aside.watch(ssl, on_server_event); // where the next handshake begins, what is left of this one goes
    record.now.facts.hello = said;
    record.now.hello = std::move(found);
    if (!said.offered) return std::nullopt;
    // Which session is resumed is settled. A new one resumes nothing until somebody vouches for it.
    const policies& in_force = *record.now.hello->in_force;
    record.put_aside.resumption_is_settled(ssl, id_context_of(in_force, *there));
    if (SSL_session_reused(ssl) != 1) session_is_new(ssl);
    if (in_force.refuse_early_data) record.put_aside.refuse_early_data(ssl);
    return std::nullopt;
}

//= SEC-6
int find_session(SSL* ssl, const unsigned char* identity, std::size_t length, SSL_SESSION** session) {
    *session = nullptr;
    //= SEC-10
    server_record* known = server_record::on(ssl);
    if (known != nullptr && known->identities != nullptr && known->identities->next == identity) {
        identity_walk& walk = *known->identities;
        walk.next = behind(identity, length);
        if (walk.chained == nullptr) return 1;
        // Only this SSL_CTX's own callback answers for it.
        if (walk.context == SSL_get_SSL_CTX(ssl)) return walk.chained(ssl, identity, length, session);
    }
    return find_first(ssl, identity, length, session);
}

} // namespace reqauth::detail
