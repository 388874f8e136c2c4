// SPDX-License-Identifier: Apache-2.0
#include "server_handshake.hpp"

#include "fence.hpp"
#include "hash.hpp"
#include "pem.hpp"
#include "scope.hpp"
#include "witness.hpp"

#include <algorithm>
#include <ctime>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace reqauth::detail {

namespace {

const attached* server_of(const SSL* ssl) noexcept {
    const attached* there = attached_to(SSL_get_SSL_CTX(ssl));
    return there != nullptr && there->server != nullptr ? there : nullptr;
}

std::int64_t now() noexcept { return std::time(nullptr); }

// What is left until `deadline`, as a session's timeout: OpenSSL still resumes in its last second, the mark
// no longer vouches then.
long left_until(std::int64_t deadline) noexcept {
    return static_cast<long>(std::max<std::int64_t>(deadline - now() - 1, 0));
}

std::string_view hello_extension(SSL* ssl, unsigned int type) noexcept {
    const unsigned char* body = nullptr;
    std::size_t size = 0;
    if (SSL_client_hello_get0_ext(ssl, type, &body, &size) != 1) return {};
    return {reinterpret_cast<const char*>(body), size};
}

// Takes a length of `octets` octets and that much text off the front; nothing where it is not there.
std::optional<std::string_view> take(std::string_view& from, std::size_t octets) noexcept {
    std::size_t size = 0;
    if (from.size() < octets) return std::nullopt;
    for (std::size_t i = 0; i < octets; ++i) size = size << 8U | static_cast<unsigned char>(from[i]);
    if (from.size() - octets < size) return std::nullopt;
    const std::string_view taken = from.substr(octets, size);
    from.remove_prefix(octets + size);
    return taken;
}

// When ours is parsed, OpenSSL has parsed its own extensions, and its SSL_client_hello_get0_ext gives what
// their parsers left of them: nothing. They still stand in the ClientHello, after the cipher suites and
// the compression methods, which OpenSSL has checked to be there. `ours` is our own extension's body.
std::string_view extensions_around(SSL* ssl, std::string_view ours) {
    const unsigned char* ciphers = nullptr;
    const std::size_t left = SSL_client_hello_get0_ciphers(ssl, &ciphers);
    if (ciphers == nullptr) throw error(errc::openssl, "the ClientHello cannot be read");
    const unsigned char* methods = ciphers + left;
    // Nothing is read before it is plain that the two stand in one ClientHello.
    constexpr std::ptrdiff_t most = 1 + 255 + 2 + 65535;
    const auto* after = reinterpret_cast<const unsigned char*>(ours.data());
    if (ours.empty() || std::less<>()(after, methods) || after - methods > most)
        throw error(errc::openssl, "the ClientHello is not laid out as it was");
    const unsigned char* size = methods + 1 + methods[0];
    const auto* begin = reinterpret_cast<const char*>(size + 2);
    const std::string_view extensions(begin, static_cast<std::size_t>(size[0]) << 8U | size[1]);
    // It is what we take it for if our own extension stands in it.
    if (std::less<>()(ours.data(), begin) || std::less<>()(begin + extensions.size(), ours.data() + ours.size()))
        throw error(errc::openssl, "the ClientHello is not laid out as it was");
    return extensions;
}

std::string_view find_extension(std::string_view extensions, unsigned int type) noexcept {
    while (extensions.size() >= 4) {
        const auto found = static_cast<unsigned int>(static_cast<unsigned char>(extensions[0]) << 8U |
                                                     static_cast<unsigned char>(extensions[1]));
        extensions.remove_prefix(2);
        const auto body = take(extensions, 2);
        if (!body) break;
        if (found == type) return *body;
    }
    return {};
}

// server_name: a list of one entry, type host_name (RFC 6066, section 3). OpenSSL has checked it.
std::optional<std::string_view> server_name_in(std::string_view body) noexcept {
    auto list = take(body, 2);
    if (!list || list->empty() || list->front() != TLSEXT_NAMETYPE_host_name) return std::nullopt;
    list->remove_prefix(1);
    return take(*list, 2);
}

// application_layer_protocol_negotiation: a list of names (RFC 7301, section 3.1).
std::vector<std::string_view> protocols_in(std::string_view body) {
    std::vector<std::string_view> protocols;
    auto list = take(body, 2);
    while (list && !list->empty()) {
        const auto protocol = take(*list, 1);
        if (!protocol) break;
        protocols.push_back(*protocol);
    }
    return protocols;
}

// pre_shared_key: a list of identities, each with its length first (RFC 8446, section 4.2.11). Compared, never read.
const unsigned char* first_identity(SSL* ssl, std::string_view ours) {
    auto list = find_extension(extensions_around(ssl, ours), TLSEXT_TYPE_psk);
    const auto identities = take(list, 2);
    return identities && identities->size() > 2 ? reinterpret_cast<const unsigned char*>(identities->data()) + 2
                                                : nullptr;
}

std::span<const unsigned char> id_context_of(const policies& now, const attached& there) noexcept {
    const policies::entry* found = now.find(there.server.get());
    if (found == nullptr) return {};
    return found->policy->session_id_context;
}

sha256_digest digest_of_extensions(std::string_view extensions) {
    return hash("libreqauth ClientHello 1").add(extensions).end();
}

// Says whether that was found about the very ClientHello that is being parsed. An SSL that was cleared may get another
// one with the same Random, if the last has failed between its sessions and its extensions.
bool is_of_this_hello(const considered& early, SSL* ssl, const attached& there) {
    return early.client_random == client_random_of(ssl) &&
           early.extensions == digest_of_extensions(extensions_around(ssl, hello_extension(ssl, there.extension)));
}

// Asks the predicate and computes the scope, once per ClientHello: before it is parsed, where it presents
// sessions; else when our extension is parsed.
considered consider(SSL* ssl, const attached& there, connection& kept, const std::optional<heard>& before_retry,
                    const flag_set& flags) {
    const server_options& options = there.server->of->options;
    kept.decided_by = nullptr; // in the snapshot that goes
    kept.of = there.server->of;
    kept.snapshot = kept.of->current();
    const std::string_view extensions = extensions_around(ssl, hello_extension(ssl, there.extension));
    const auto server_name = server_name_in(find_extension(extensions, TLSEXT_TYPE_server_name));
    considered found{.client_random = client_random_of(ssl),
                     .extensions = digest_of_extensions(extensions),
                     .at = now(),
                     .wanted = true,
                     .scope = {}};
    if (options.accept) {
        const auto protocols =
            protocols_in(find_extension(extensions, TLSEXT_TYPE_application_layer_protocol_negotiation));
        found.wanted = options.accept({server_name, protocols, flags});
    }
    // After a HelloRetryRequest the SSL may have moved to another SSL_CTX already.
    if (!before_retry || before_retry->client_random != found.client_random) kept.arrived_at = there.server.get();
    found.scope = scope_of(*kept.snapshot, kept.arrived_at, server_name, found.wanted);
    return found;
}

// Records what this ClientHello says, and decides nothing yet: the SSL_CTX may still change.
std::optional<alert> hear(SSL* ssl, const flag_set& flags) {
    connection& kept = connection_for(ssl);
    heard hello{};
    hello.client_random = client_random_of(ssl);
    hello.flags = flags;
    //= TLS-1
    const auto before = std::exchange(kept.server.before_retry, std::nullopt);
    if (before && before->client_random == hello.client_random && before->flags != flags) {
        raise("tls_flags differ between the two ClientHellos around HelloRetryRequest (TLS-1)");
        return SSL_AD_ILLEGAL_PARAMETER;
    }
    kept.server = {};
    kept.decided_by = nullptr;
    kept.deadline = 0;
    kept.put_aside.handshake_ended(ssl);
    const auto early = std::exchange(kept.early, std::nullopt);
    if (const attached* there = server_of(ssl)) {
        const server_options& options = there->server->of->options;
        hello.by = there->server->of;
        hello.offered = flags.contains(options.flag);
        if (hello.offered) {
            const bool known = early && kept.of == there->server->of && is_of_this_hello(*early, ssl, *there);
            const considered found = known ? *early : consider(ssl, *there, kept, before, flags);
            hello.at = found.at;
            hello.wanted = found.wanted;
            hello.scope = found.scope;
            // Which session is resumed is settled. A new one resumes nothing until somebody vouches for it.
            kept.put_aside.watch(ssl);
            kept.put_aside.resumption_is_settled(ssl, id_context_of(*kept.snapshot, *there));
            if (SSL_session_reused(ssl) != 1) set_scope(ssl, unmatchable());
            if (kept.snapshot->refuse_early_data) kept.put_aside.refuse_early_data(ssl);
        }
    }
    kept.server.hello = hello;
    return std::nullopt;
}

// Looks at the session that OpenSSL has resumed. Whether it is an agent's, and whether its mark is for this.
void examine_session(SSL* ssl, connection& kept) {
    SSL_SESSION* session = SSL_get_session(ssl);
    void* data = nullptr;
    std::size_t size = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) != 1) return;
    const auto found = read_mark({static_cast<const std::uint8_t*>(data), size});
    const X509* leaf = SSL_SESSION_get0_peer(session);
    kept.server.agents_session = found.has_value();
    if (!found || leaf == nullptr || kept.decided_by == nullptr) return;
    const sha256_digest digest = sha256(*leaf);
    // At the time of the ClientHello, since OpenSSL then took the session: the application may suspend in between.
    const heard& hello = *kept.server.hello;
    if (!vouches(found, hello.scope, kept.decided_by->digest, digest, hello.at)) return;
    kept.server.vouched = true;
    kept.server.witness = {.held = true, .failed = false, .error = 0, .leaf = digest};
    kept.deadline = found->deadline;
}

// Runs before EncryptedExtensions: server name, SSL_CTX and certificate are settled, and whether to send a
// CertificateRequest is not.
std::optional<alert> decide_now(SSL* ssl) {
    connection* kept = connection_of(ssl);
    if (kept == nullptr || !kept->server.hello || kept->server.hello->client_random != client_random_of(ssl))
        return std::nullopt;
    const attached* there = server_of(ssl);
    if (there == nullptr) return std::nullopt;
    server_exchange& exchange = kept->server;
    const heard& hello = *exchange.hello;
    exchange.server_random = server_random_of(ssl);
    if (!hello.offered) return std::nullopt;

    // The policy of the final SSL_CTX, as it was when this ClientHello came.
    //= SEC-5
    //= SEC-4
    kept->decided_by = hello.by == there->server->of ? kept->snapshot->find(there->server.get()) : nullptr;
    static const server_policy none;
    const server_policy& policy = kept->decided_by != nullptr ? *kept->decided_by->policy : none;
    const bool resumed = SSL_session_reused(ssl) == 1;
    if (resumed) examine_session(ssl, *kept);

    const int mode = SSL_get_verify_mode(ssl);
    constexpr int everyone = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    exchange.decided =
        decide({.offered = hello.offered,
                .wanted = hello.wanted,
                .same_server = kept->decided_by != nullptr,
                .asks = policy.when_offered.asks(),
                .customers_asked = mode != SSL_VERIFY_NONE,
                .beside_customers = policy.beside_customers,
                .everyone_required = (mode & everyone) == everyone && (mode & SSL_VERIFY_POST_HANDSHAKE) == 0,
                .beside_required = policy.beside_required,
                .resumed = resumed,
                .vouched = exchange.vouched,
                .agents_session = exchange.agents_session});
    switch (exchange.decided) {
    case verdict::refuse:
        raise("a session was resumed that nothing vouches for, where a certificate is required (SEC-1)");
        return SSL_AD_CERTIFICATE_REQUIRED;
    case verdict::ignore:
        // The application's own session: it may be told apart from others' by an id context that we know only if told.
        if (resumed) break;
        if (policy.session_id_context.empty())
            kept->put_aside.stop_tickets(ssl);
        else
            set_scope(ssl, hello.scope);
        break;
    case verdict::accept:
        // No ticket until the witness has seen the certificate, or beyond the time that a resumed session has left.
        if (!exchange.vouched || left_until(kept->deadline) == 0)
            kept->put_aside.stop_tickets(ssl);
        else if (!stateful(ssl))
            SSL_SESSION_set_timeout(SSL_get_session(ssl), left_until(kept->deadline));
        if (resumed) break;
        //= RCA-2
        //= RCA-13
        //= RCA-14
        kept->put_aside.ask(ssl, {.trust = *policy.when_offered.agents()->store(),
                                  .required = policy.when_offered.asks() == client_auth::mode::require,
                                  .ca_names = policy.ca_names,
                                  .verify = witness});
        break;
    }
    return std::nullopt;
}

// OpenSSL reports an end of the handshake to a server that reads early data before the client's
// Certificate has come, too.
bool client_has_finished(const SSL* ssl) noexcept { return SSL_get_peer_finished(ssl, nullptr, 0) > 0; }

// Runs before every CertificateRequest, also without an offer and after the handshake.
void acknowledge(SSL* ssl, flag_set& out) {
    // A client without the extension has no record, and gets nothing of ours.
    //= RCA-15
    connection* kept = connection_of(ssl);
    if (kept == nullptr) return;
    //= TLS-3
    if (after_handshake(ssl)) {
        kept->put_aside.handshake_ended(ssl);
        // Another certificate may come, and must not get into tickets of this session.
        kept->put_aside.stop_tickets(ssl);
        return;
    }
    if (!kept->put_aside.asking()) return;
    // Settings of a handshake that is over must not decide this one: fail closed.
    if (kept->server.server_random != server_random_of(ssl) || kept->decided_by == nullptr)
        throw error(errc::openssl, "the settings of an earlier flagged handshake are still in force on this SSL");
    //= RCA-2
    //= RCA-8
    out.insert(kept->of->options.flag);
}

// Runs for every ticket, on a session that is this connection's alone. Each renewed ticket begins its time
// anew: what is left of the time since the verification is its timeout.
void limit_ticket(SSL* ssl) {
    const connection* kept = connection_of(ssl);
    if (kept == nullptr || kept->deadline == 0 || kept->server.server_random != server_random_of(ssl)) return;
    SSL_SESSION_set_timeout(SSL_get_session(ssl), left_until(kept->deadline));
}

} // namespace

//= SEC-1
void vouch_for_session(SSL* ssl, connection& kept, const STACK_OF(X509) * chain) {
    SSL_SESSION* session = SSL_get_session(ssl);
    std::chrono::seconds most = kept.of->options.max_session_age;
    // What OpenSSL gives every session says nothing; another timeout is the application's, and may be the shorter.
    const std::chrono::seconds of_context(SSL_SESSION_get_timeout(session));
    if (of_context.count() != SSL_get_default_timeout(ssl)) most = std::min(most, of_context);
    const std::int64_t deadline = deadline_of(chain, now(), most);
    if (most.count() == 0 || left_until(deadline) == 0) return;
    const auto octets = write({.scope = kept.server.hello->scope,
                               .policy = kept.decided_by->digest,
                               .leaf = kept.server.witness.leaf,
                               .deadline = deadline});
    if (SSL_SESSION_set1_ticket_appdata(session, octets.data(), octets.size()) != 1)
        throw error(errc::openssl, "the session cannot be marked");
    set_scope(ssl, kept.server.hello->scope);
    SSL_SESSION_set_timeout(session, left_until(deadline));
    kept.deadline = deadline;
    kept.put_aside.allow_tickets(ssl);
}

void disown_session(SSL* ssl, connection& kept) {
    if (kept.deadline == 0) return;
    kept.deadline = 0;
    kept.put_aside.stop_tickets(ssl);
    SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), nullptr, 0);
    set_scope(ssl, unmatchable());
}

std::optional<alert> server_received(SSL* ssl, message in, const flag_set& flags) {
    if (in == message::client_hello) return hear(ssl, flags);
    const attached* there = server_of(ssl);
    // We propose no flag in CertificateRequest that is answered in Certificate.
    const violation broken =
        judge({role::server, in, flags, {}, there != nullptr ? there->server->of->options.flag : request_client_auth});
    if (broken == violation::none) return std::nullopt;
    raise(std::string("tls_flags in ") += std::string(name_of(in)) += ": " + std::string(text_of(broken)));
    return SSL_AD_ILLEGAL_PARAMETER;
}

std::optional<alert> server_sends(SSL* ssl, message what, flag_set& out) {
    switch (what) {
    case message::hello_retry_request:
        // The second ClientHello decides; the first is kept for one comparison only.
        //= TLS-1
        if (connection* kept = connection_of(ssl))
            kept->server = {.hello = std::nullopt,
                            .before_retry = kept->server.hello,
                            .server_random = {},
                            .decided = {},
                            .witness = {}};
        return std::nullopt;
    case message::encrypted_extensions: return decide_now(ssl);
    case message::certificate_request: acknowledge(ssl, out); return std::nullopt;
    case message::new_session_ticket: limit_ticket(ssl); return std::nullopt;
    //= FLAG-8
    //= FLAG-10
    case message::client_hello:
    case message::server_hello:
    case message::certificate: break;
    }
    return std::nullopt;
}

//= SEC-6
int find_session(SSL* ssl, const unsigned char* identity, std::size_t length, SSL_SESSION** session) {
    const attached* there = server_of(ssl);
    const int prepared = fence(0, [&] {
        if (there == nullptr) return 1;
        const server_options& options = there->server->of->options;
        const std::string_view body = hello_extension(ssl, there->extension);
        const decoded hello = decode({reinterpret_cast<const std::uint8_t*>(body.data()), body.size()});
        if (!hello.flags.contains(options.flag)) {
            // An SSL that had a flagged ClientHello, before a HelloRetryRequest or SSL_clear.
            if (connection* kept = connection_of(ssl))
                kept->put_aside.resumption_is_settled(ssl, id_context_of(*there->server->of->current(), *there));
            return 1;
        }
        //= TLS-2
        //= FLAG-11
        connection& kept = connection_for(ssl);
        // Once per ClientHello: what an earlier one with the same Random had found is not this one's.
        if (!kept.early || kept.early->client_random != client_random_of(ssl) || identity == first_identity(ssl, body))
            kept.early = consider(ssl, *there, kept, kept.server.before_retry, hello.flags);
        kept.put_aside.watch(ssl);
        // Before the ticket is looked at: whether OpenSSL takes it for stateful depends on it.
        if (kept.snapshot->refuse_early_data) kept.put_aside.refuse_early_data(ssl);
        if (options.max_session_age.count() > 0)
            kept.put_aside.resume_within(ssl, kept.early->scope);
        else
            kept.put_aside.resume_within(ssl, unmatchable());
        return 1;
    });
    *session = nullptr;
    if (prepared != 1) return 0;
    if (there == nullptr || there->server->of->options.chained_psk_find_session == nullptr) return 1;
    return there->server->of->options.chained_psk_find_session(ssl, identity, length, session);
}

void on_handshake_event(const SSL* watched, int event, int value) {
    SSL* ssl = const_cast<SSL*>(watched); // NOLINT: OpenSSL hands out its own object
    connection* kept = connection_of(ssl);
    overrides::info_callback passed_on = SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl));
    if (kept != nullptr) {
        passed_on = kept->put_aside.info_of_application(ssl);
        // One that reads early data also gets a second start, in the middle.
        if (event == SSL_CB_HANDSHAKE_START && SSL_in_before(ssl) == 1) {
            kept->early.reset();
            const attached* there = server_of(ssl);
            const auto policies = there != nullptr ? there->server->of->current() : nullptr;
            kept->put_aside.handshake_begins(ssl, policies != nullptr ? id_context_of(*policies, *there)
                                                                      : std::span<const unsigned char>());
        } else if (event == SSL_CB_HANDSHAKE_DONE && client_has_finished(ssl)) {
            kept->put_aside.handshake_ended(ssl);
            const server_exchange& exchange = kept->server;
            // A check that knows only OpenSSL looks at the result where it knows that there is a certificate.
            const bool looked_at = SSL_get0_peer_certificate(ssl) != nullptr ||
                                   (SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0;
            const bool shown_ok = exchange.decided == verdict::accept && exchange.witness.held &&
                                  kept->decided_by->policy->verify_result_ok;
            const long result = SSL_get_verify_result(ssl);
            const bool agent = exchange.decided == verdict::accept || exchange.agents_session;
            //= SEC-8
            if (!agent || exchange.server_random != server_random_of(ssl)) {
                // Another's result, or an earlier handshake's facts.
            } else if (!shown_ok && result == X509_V_OK && looked_at) {
                SSL_set_verify_result(ssl, X509_V_ERR_APPLICATION_VERIFICATION);
            } else if (shown_ok && result == X509_V_ERR_APPLICATION_VERIFICATION) {
                SSL_set_verify_result(ssl, X509_V_OK);
            }
        } else if (event == SSL_CB_WRITE_ALERT && value >> 8 == SSL3_AL_FATAL) {
            // Our own ends the handshake. A received one need not: OpenSSL passes over a fatal user_canceled.
            kept->put_aside.handshake_ended(ssl);
        }
    }
    if (passed_on != nullptr && passed_on != on_handshake_event) passed_on(ssl, event, value);
}

} // namespace reqauth::detail
