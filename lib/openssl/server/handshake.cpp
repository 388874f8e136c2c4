// SPDX-License-Identifier: Apache-2.0
#include "handshake.hpp"

#include "../base/fence.hpp"
#include "../base/hash.hpp"
#include "../base/pem.hpp"
#include "session.hpp"
#include "witness.hpp"

#include <algorithm>
#include <ctime>
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

// server_name: a list of one entry, type host_name (RFC 6066, section 3). OpenSSL checks it later, and takes no longer one.
std::optional<std::string> server_name_in(std::string_view body) {
    constexpr std::size_t before_name = 2 + 1 + 2;
    if (body.size() < before_name || body.size() > before_name + TLSEXT_MAXLEN_host_name ||
        body[2] != TLSEXT_NAMETYPE_host_name)
        return std::nullopt;
    return std::string(body.substr(before_name));
}

std::span<const unsigned char> id_context_of(const policies& now, const attached& there) noexcept {
    const policies::entry* found = now.find(there.server.get());
    if (found == nullptr) return {};
    return found->policy->session_id_context;
}

// Asks the predicate and computes the scope, once per ClientHello: before it is parsed, where it presents
// sessions; else when our extension is parsed.
considered consider(SSL* ssl, const attached& there, connection& kept, const std::optional<heard>& before_retry,
                    const flag_set& flags, std::optional<std::string> server_name) {
    const server_options& options = there.server->of->options;
    kept.decided_by = nullptr; // in the snapshot that goes
    kept.of = there.server->of;
    kept.snapshot = kept.of->current();
    considered found{.client_random = client_random_of(ssl),
                     .server_name = std::move(server_name),
                     .flags = flags,
                     .wanted = true,
                     .scope = {}};
    if (options.accept) found.wanted = options.accept({found.server_name, flags});
    // After a HelloRetryRequest the SSL may have moved to another SSL_CTX already.
    if (!before_retry || before_retry->client_random != found.client_random) kept.arrived_at = there.server.get();
    found.scope = scope_of(*kept.snapshot, kept.arrived_at, found.server_name, found.wanted);
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
    const bool same = before && before->client_random == hello.client_random;
    if (before && (same ? before->flags != flags : !before->started_anew)) {
        raise("tls_flags, or the Random, differ between the two ClientHellos around HelloRetryRequest (TLS-1)");
        return SSL_AD_ILLEGAL_PARAMETER;
    }
    kept.server = {};
    kept.decided_by = nullptr;
    kept.deadline = 0;
    kept.verified_apart = false;
    kept.chain.reset();
    if (!kept.put_aside.handshake_ended(ssl)) throw error(errc::openssl, "the application's settings cannot be put back");
    const auto early = std::exchange(kept.early, std::nullopt);
    const identity_walk identities = std::exchange(kept.identities, {});
    kept.put_aside.watch(ssl); // where the next handshake begins, what is left of this one goes
    if (const attached* there = server_of(ssl)) {
        const server_options& options = there->server->of->options;
        hello.offered = flags.contains(options.flag);
        if (hello.offered) {
            // OpenSSL has parsed its own extensions by now.
            const char* text = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
            std::optional<std::string> name;
            if (text != nullptr) name = text;
            // An SSL that was cleared may get another ClientHello with the same Random, if the last has failed between
            // its sessions and its extensions. All that the answer rests on is compared.
            const bool known = early && kept.of == there->server->of && early->client_random == hello.client_random &&
                               early->flags == flags && early->server_name == name;
            // Laid out so that it was taken for another ClientHello, whose sessions it may not resume.
            //= TLS-2
            if (!known && SSL_session_reused(ssl) == 1 && identities.unflagged) {
                raise("a ClientHello with the flag was given a session as if it had none");
                return SSL_AD_ILLEGAL_PARAMETER;
            }
            const considered found = known ? *early : consider(ssl, *there, kept, before, flags, std::move(name));
            hello.at = now();
            hello.wanted = found.wanted;
            hello.scope = found.scope;
            // Which session is resumed is settled. A new one resumes nothing until somebody vouches for it.
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
    kept->decided_by = kept->of == there->server->of ? kept->snapshot->find(there->server.get()) : nullptr;
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
        if (!kept->put_aside.handshake_ended(ssl))
            throw error(errc::openssl, "the application's settings cannot be put back");
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
    connection* kept = connection_of(ssl);
    if (kept == nullptr) return;
    if (client_has_finished(ssl)) handshake_done(ssl, *kept);
    if (kept->deadline == 0 || kept->server.server_random != server_random_of(ssl)) return;
    SSL_SESSION_set_timeout(SSL_get_session(ssl), left_until(kept->deadline));
}

} // namespace

// The info callback tells of it, unless the application has put another over ours: then it is seen at the next occasion.
void handshake_done(SSL* ssl, connection& kept) {
    if (kept.of == nullptr) return; // it was seen, or nobody offered the flag
    kept.put_aside.handshake_ended(ssl);
    server_exchange& exchange = kept.server;
    const long result = SSL_get_verify_result(ssl);
    // Whatever came after the verification, and left another result, says otherwise.
    //= SEC-1
    if (exchange.witness.held && !exchange.vouched && exchange.server_random == server_random_of(ssl) &&
        result != X509_V_ERR_APPLICATION_VERIFICATION) {
        exchange.witness.held = false;
        fence(0, [&] {
            disown_session(ssl, kept);
            return 1;
        });
    }
    // A check that knows only OpenSSL looks at the result where it knows that there is a certificate.
    const bool looked_at = SSL_get0_peer_certificate(ssl) != nullptr ||
                           (SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0;
    const bool shown_ok = exchange.decided == verdict::accept && exchange.witness.held &&
                          kept.decided_by != nullptr && kept.decided_by->policy->verify_result_ok;
    const bool agent = exchange.decided == verdict::accept || exchange.agents_session;
    //= SEC-8
    if (!agent || exchange.server_random != server_random_of(ssl)) {
        // Another's result, or an earlier handshake's facts.
    } else if (!shown_ok && result == X509_V_OK && looked_at) {
        SSL_set_verify_result(ssl, X509_V_ERR_APPLICATION_VERIFICATION);
    } else if (shown_ok && result == X509_V_ERR_APPLICATION_VERIFICATION) {
        SSL_set_verify_result(ssl, X509_V_OK);
    }
    kept.handshake_over();
}

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

namespace {

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
void prepare(SSL* ssl, const attached& there, identity_walk walk) {
    connection* known = connection_of(ssl);
    const server_options& options = there.server->of->options;
    const std::string_view body = hello_extension(ssl, there.extension);
    const decoded hello = decode({reinterpret_cast<const std::uint8_t*>(body.data()), body.size()});
    if (!hello.flags.contains(options.flag)) {
        // An SSL that had a flagged ClientHello, before a HelloRetryRequest or SSL_clear.
        if (known != nullptr)
            known->put_aside.resumption_is_settled(ssl, id_context_of(*there.server->of->current(), there));
        else if (met_last.ssl == ssl && met_last.next == walk.next)
            known = &connection_for(ssl);
        walk.unflagged = true;
        if (known != nullptr) known->identities = walk;
        return;
    }
    //= TLS-2
    //= FLAG-11
    connection& kept = connection_for(ssl);
    kept.early = consider(ssl, there, kept, kept.server.before_retry, hello.flags,
                          server_name_in(hello_extension(ssl, TLSEXT_TYPE_server_name)));
    kept.identities = walk;
    kept.put_aside.watch(ssl);
    // Before the ticket is looked at: whether OpenSSL takes it for stateful depends on it.
    if (kept.snapshot->refuse_early_data) kept.put_aside.refuse_early_data(ssl);
    if (options.max_session_age.count() > 0)
        kept.put_aside.resume_within(ssl, kept.early->scope);
    else
        kept.put_aside.resume_within(ssl, unmatchable());
}

// The first identity of a ClientHello.
[[gnu::noinline]] int find_first(SSL* ssl, const unsigned char* identity, std::size_t length, SSL_SESSION** session) {
    const attached* there = server_of(ssl);
    if (there == nullptr) return 1;
    const auto chained = there->server->of->options.chained_psk_find_session;
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

//= SEC-6
int find_session(SSL* ssl, const unsigned char* identity, std::size_t length, SSL_SESSION** session) {
    *session = nullptr;
    //= SEC-10
    if (connection* known = connection_of(ssl); known != nullptr && known->identities.next == identity) {
        identity_walk& walk = known->identities;
        walk.next = behind(identity, length);
        if (walk.chained == nullptr) return 1;
        // Only this SSL_CTX's own callback answers for it.
        if (walk.context == SSL_get_SSL_CTX(ssl)) return walk.chained(ssl, identity, length, session);
    }
    return find_first(ssl, identity, length, session);
}

void on_handshake_event(const SSL* watched, int event, int value) {
    SSL* ssl = const_cast<SSL*>(watched); // NOLINT: OpenSSL hands out its own object
    connection* kept = connection_of(ssl);
    // Without a record this SSL is not ours: some callback calls the one that it found on another.
    if (kept == nullptr) return;
    if (!kept->put_aside.passing_on()) {
        // One that reads early data also gets a second start, in the middle.
        if (event == SSL_CB_HANDSHAKE_START && SSL_in_before(ssl) == 1) {
            kept->early.reset();
            kept->identities = {};
            if (kept->server.before_retry) kept->server.before_retry->started_anew = true;
            const attached* there = server_of(ssl);
            const auto policies = there != nullptr ? there->server->of->current() : nullptr;
            kept->put_aside.handshake_begins(ssl, policies != nullptr ? id_context_of(*policies, *there)
                                                                      : std::span<const unsigned char>());
        } else if (event == SSL_CB_HANDSHAKE_DONE && client_has_finished(ssl)) {
            handshake_done(ssl, *kept);
        } else if (event == SSL_CB_WRITE_ALERT && value >> 8 == SSL3_AL_FATAL) {
            // Our own ends the handshake. A received one need not: OpenSSL passes over a fatal user_canceled.
            kept->put_aside.handshake_ended(ssl);
            kept->handshake_over();
        }
    }
    kept->put_aside.pass_on(ssl, event, value);
}

} // namespace reqauth::detail
