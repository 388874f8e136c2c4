// SPDX-License-Identifier: Apache-2.0
#include "server_handshake.hpp"

#include "fence.hpp"
#include "witness.hpp"

#include <openssl/rand.h>

#include <array>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace reqauth::detail {

namespace {

const server_side* server_of(const SSL* ssl) noexcept {
    const attached* there = attached_to(SSL_get_SSL_CTX(ssl));
    return there != nullptr ? there->server.get() : nullptr;
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

bool predicate_wants(SSL* ssl, const attached& there, const flag_set& flags) {
    const server_options& options = *there.server->options;
    if (!options.accept) return true;
    const std::string_view extensions = extensions_around(ssl, hello_extension(ssl, there.extension));
    const auto protocols = protocols_in(find_extension(extensions, TLSEXT_TYPE_application_layer_protocol_negotiation));
    return options.accept({server_name_in(find_extension(extensions, TLSEXT_TYPE_server_name)), protocols, flags});
}

// Records what this ClientHello says, and decides nothing yet: the SSL_CTX may still change.
std::optional<alert> hear(SSL* ssl, const flag_set& flags) {
    connection& kept = connection_for(ssl);
    heard hello{.client_random = client_random_of(ssl), .flags = flags, .by = nullptr};
    //= TLS-1
    const auto before = std::exchange(kept.server.before_retry, std::nullopt);
    if (before && before->client_random == hello.client_random && before->flags != flags) {
        raise("tls_flags differ between the two ClientHellos around HelloRetryRequest (TLS-1)");
        return SSL_AD_ILLEGAL_PARAMETER;
    }
    kept.server = {};
    kept.decided_by = nullptr;
    kept.put_aside.handshake_ended(ssl);
    const attached* there = attached_to(SSL_get_SSL_CTX(ssl));
    if (there != nullptr && there->server != nullptr) {
        hello.by = there->server->options;
        hello.offered = flags.contains(there->server->options->flag);
        if (hello.offered) hello.wanted = predicate_wants(ssl, *there, flags);
    }
    kept.server.hello = hello;
    return std::nullopt;
}

// Runs before EncryptedExtensions: server name, SSL_CTX and certificate are settled, and whether to send a
// CertificateRequest is not.
std::optional<alert> decide_now(SSL* ssl) {
    connection* kept = connection_of(ssl);
    if (kept == nullptr || !kept->server.hello || kept->server.hello->client_random != client_random_of(ssl))
        return std::nullopt;
    const attached* there = attached_to(SSL_get_SSL_CTX(ssl));
    if (there == nullptr || there->server == nullptr) return std::nullopt;
    const auto side = there->server;
    const heard& hello = *kept->server.hello;
    const int mode = SSL_get_verify_mode(ssl);
    constexpr int everyone = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    const bool resumed = SSL_session_reused(ssl) == 1;

    server_exchange& exchange = kept->server;
    exchange.server_random = server_random_of(ssl);
    exchange.decided =
        decide({.offered = hello.offered,
                .wanted = hello.wanted,
                .same_server = hello.by == side->options,
                .asks = side->policy.when_offered.asks(),
                .everyone_required = (mode & everyone) == everyone && (mode & SSL_VERIFY_POST_HANDSHAKE) == 0,
                .beside_required = side->policy.beside_required,
                .resumed = resumed});
    if (!hello.offered) return std::nullopt;
    kept->decided_by = side;
    kept->put_aside.watch(ssl);
    kept->put_aside.stop_tickets(ssl);
    if (exchange.decided == verdict::refuse) {
        raise("a session was resumed that nothing vouches for, and the policy requires a certificate (SEC-1)");
        return SSL_AD_CERTIFICATE_REQUIRED;
    }
    if (exchange.decided == verdict::ignore || resumed) return std::nullopt;

    // Whatever the application makes of this session later, no ClientHello can resume it.
    std::array<unsigned char, SSL_MAX_SID_CTX_LENGTH> unmatched{};
    if (RAND_bytes(unmatched.data(), unmatched.size()) != 1 ||
        SSL_SESSION_set1_id_context(SSL_get_session(ssl), unmatched.data(), unmatched.size()) != 1)
        throw error(errc::openssl, "the session cannot be marked");
    //= RCA-2
    //= RCA-13
    //= RCA-14
    kept->put_aside.ask(ssl, {.trust = *side->policy.when_offered.agents()->store(),
                              .required = side->policy.when_offered.asks() == client_auth::mode::require,
                              .ca_names = side->policy.ca_names,
                              .verify = witness});
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
        return;
    }
    if (!kept->put_aside.asking()) return;
    // Settings of a handshake that is over must not decide this one: fail closed.
    if (kept->server.server_random != server_random_of(ssl) || kept->decided_by == nullptr)
        throw error(errc::openssl, "the settings of an earlier flagged handshake are still in force on this SSL");
    //= RCA-2
    //= RCA-8
    out.insert(kept->decided_by->options->flag);
}

} // namespace

std::optional<alert> server_received(SSL* ssl, message in, const flag_set& flags) {
    if (in == message::client_hello) return hear(ssl, flags);
    const server_side* side = server_of(ssl);
    // We propose no flag in CertificateRequest that is answered in Certificate.
    const violation broken =
        judge({role::server, in, flags, {}, side != nullptr ? side->options->flag : request_client_auth});
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
    //= FLAG-8
    //= FLAG-10
    case message::client_hello:
    case message::server_hello:
    case message::certificate:
    case message::new_session_ticket: break;
    }
    return std::nullopt;
}

//= SEC-6
int find_session(SSL* ssl, const unsigned char* identity, std::size_t length, SSL_SESSION** session) {
    const server_side* side = server_of(ssl);
    const int prepared = fence(0, [&] {
        if (side == nullptr) return 1;
        const attached* there = attached_to(SSL_get_SSL_CTX(ssl));
        const std::string_view body = hello_extension(ssl, there->extension);
        const decoded hello = decode({reinterpret_cast<const std::uint8_t*>(body.data()), body.size()});
        // So its early data, if it sent any, is rejected too: the flag asks for a full handshake.
        //= FLAG-11
        if (hello.flags.contains(side->options->flag)) {
            overrides& put_aside = connection_for(ssl).put_aside;
            put_aside.watch(ssl);
            put_aside.resume_nothing(ssl);
        }
        return 1;
    });
    *session = nullptr;
    if (prepared != 1) return 0;
    if (side == nullptr || side->options->chained_psk_find_session == nullptr) return 1;
    return side->options->chained_psk_find_session(ssl, identity, length, session);
}

void on_handshake_event(const SSL* watched, int event, int value) {
    SSL* ssl = const_cast<SSL*>(watched); // NOLINT: OpenSSL hands out its own object
    connection* kept = connection_of(ssl);
    overrides::info_callback passed_on = SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl));
    if (kept != nullptr) {
        passed_on = kept->put_aside.info_of_application(ssl);
        // One that reads early data also gets a second start, in the middle.
        if (event == SSL_CB_HANDSHAKE_START && SSL_in_before(ssl) == 1) {
            const server_side* side = server_of(ssl);
            kept->put_aside.handshake_begins(ssl, side != nullptr ? std::span(side->options->session_id_context)
                                                                  : std::span<const unsigned char>());
        } else if (event == SSL_CB_HANDSHAKE_DONE && client_has_finished(ssl)) {
            kept->put_aside.handshake_ended(ssl);
            const server_exchange& exchange = kept->server;
            // A check that knows only OpenSSL looks at the result where it knows that there is a certificate.
            const bool looked_at = SSL_get0_peer_certificate(ssl) != nullptr ||
                                   (SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0;
            const bool shown_ok =
                exchange.witness.held && kept->decided_by != nullptr && kept->decided_by->policy.verify_result_ok;
            //= SEC-8
            if (exchange.decided == verdict::accept && exchange.server_random == server_random_of(ssl) && !shown_ok &&
                SSL_get_verify_result(ssl) == X509_V_OK && looked_at)
                SSL_set_verify_result(ssl, X509_V_ERR_APPLICATION_VERIFICATION);
        } else if (event == SSL_CB_WRITE_ALERT && value >> 8 == SSL3_AL_FATAL) {
            // Our own ends the handshake. A received one need not: OpenSSL passes over a fatal user_canceled.
            kept->put_aside.handshake_ended(ssl);
        }
    }
    if (passed_on != nullptr && passed_on != on_handshake_event) passed_on(ssl, event, value);
}

} // namespace reqauth::detail
