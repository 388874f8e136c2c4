// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/export.hpp>
#include <reqauth/flags.hpp>
#include <reqauth/peer.hpp>
#include <reqauth/trust.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace reqauth {

/// client_auth is what a server does about a client that offered the flag. Asking and naming the
/// trust to verify against are one step: there is no way to ask and verify against nothing.
class REQAUTH_EXPORT client_auth {
public:
    enum class mode { none, request, require };

    /// none: the flag is ignored, and the client is treated as one without it. On the wire nothing
    /// changes, and nothing is acknowledged.
    [[nodiscard]] static client_auth none() { return client_auth({mode::none, {}}); }

    /// request: the server asks for a certificate and acknowledges the flag (RCA-2). A client that
    /// sends an empty Certificate goes on, unauthenticated.
    [[nodiscard]] static client_auth request(trust agents) { return client_auth({mode::request, std::move(agents)}); }

    /// require: as request, but an empty Certificate ends in the alert certificate_required.
    [[nodiscard]] static client_auth require(trust agents) { return client_auth({mode::require, std::move(agents)}); }

    /// invalid_is_anonymous: a chain that does not verify leaves the client unauthenticated in place of
    /// ending the handshake. Default: it ends it, with the alert that OpenSSL gives the verify error.
    /// Danger: a client with a certificate of somebody else's then gets what anybody gets. A bad
    /// CertificateVerify or an unreadable certificate stays fatal. With `require` it is refused at attach.
    [[nodiscard]] client_auth invalid_is_anonymous() const {
        client_auth copy = *this;
        copy.all_.lets_invalid_pass = true;
        return copy;
    }

    /// or_unvouched: a certificate that no anchor's issued leaves the client an unvouched_client in place of ending the
    /// handshake (MTLS-7), if all else holds: it is in force and fit for its purpose, and no anchor and no CRL here has its
    /// issuer's name. The CertificateRequest names no CAs then, whatever ca_names says. Such a client's sessions are not
    /// resumed. With trust::nobody every client is one. Danger: what the certificate says, anybody can have written.
    [[nodiscard]] client_auth or_unvouched() const {
        client_auth copy = *this;
        copy.all_.takes_unvouched = true;
        return copy;
    }

    [[nodiscard]] mode asks() const noexcept { return all_.asks; }
    [[nodiscard]] const std::optional<trust>& agents() const noexcept { return all_.agents; }
    [[nodiscard]] bool lets_invalid_pass() const noexcept { return all_.lets_invalid_pass; }
    [[nodiscard]] bool takes_unvouched() const noexcept { return all_.takes_unvouched; }

    /// check throws error{contradiction} where both `require` and invalid_is_anonymous are said, or trust::nobody without
    /// or_unvouched. So does attach.
    void check() const;

    /// settings are all of the above, as data.
    struct settings {
        mode asks;
        std::optional<trust> agents;
        bool lets_invalid_pass = false;
        bool takes_unvouched = false;
    };
    [[nodiscard]] const settings& all() const noexcept { return all_; }

private:
    explicit client_auth(settings all) : all_(std::move(all)) {}
    settings all_;
};

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(client_auth::mode how) noexcept;

/// server_policy is what one SSL_CTX (one virtual host) does about the flag.
/// Clients without the flag, and those whose flag is ignored, never meet it: they get the client
/// authentication that the SSL_CTX has of its own.
struct server_policy {
    /// What a client that offered the flag is asked for. Default: nothing, the flag is ignored.
    client_auth when_offered = client_auth::none();

    /// Whether the CertificateRequest names the subjects of the anchors, as certificate_authorities.
    /// Default: it does. Clients that hold several certificates choose by it; with very many anchors
    /// it makes a long message.
    bool ca_names = true;

    /// On an SSL_CTX that asks customers for a certificate at all, the flag is ignored, unless this says that the code
    /// there tells agents from customers (SEC-7). It asks where its verify mode, or that of the SSL, is not
    /// SSL_VERIFY_NONE when the server decides. OpenSSL promises such code that a certificate that is there was verified
    /// in the SSL_CTX's own trust, and of an agent's that is not so. Danger: code that goes by the presence of a
    /// certificate, and does not look at SSL_get_verify_result, then takes agents for customers.
    bool beside_customers = false;

    /// On an SSL_CTX that *requires* a certificate of everyone the flag is ignored even so (SEC-7), unless this says
    /// that agents may come in beside. Danger: what trusts the SSL_CTX to have verified a customer then meets clients
    /// for which it did not.
    bool beside_required = false;

    /// Whether a key may be an anchor both here and in the SSL_CTX's own trust (RCA-13). Default: it
    /// may not, and attach refuses it. Danger: one certificate then opens both doors.
    bool shared_anchors = false;

    /// Whether an agent's certificate may chain to the SSL_CTX's own trust, too, as one of a CA that both sides have signed
    /// may (RCA-17). Default: where the SSL_CTX asks customers it may not, whether it is good there or not. It is refused with
    /// bad_certificate, and presented_of says why. OpenSSL looks for a second chain then, in the certificates that the client
    /// sent and in those that its first chain has. Where there is one, that is the work of a verification. Nothing is looked
    /// for with shared_anchors, nor in a resumed handshake: replace the policy where the SSL_CTX comes to trust more, and
    /// give listeners with other customers' trust another label. A session from where no customers are asked vouches for
    /// nobody where they are, and the other way round.
    /// Danger: one certificate then opens both doors.
    bool cross_signed = false;

    /// What SSL_get_verify_result says of a flagged peer. Default: X509_V_ERR_APPLICATION_VERIFICATION,
    /// so that code which knows only OpenSSL does not take an agent for a verified customer (SEC-8).
    /// True: X509_V_OK, from the end of the handshake on. Danger: any such check then lets every agent pass.
    /// Sessions keep the former, so that one that is resumed by mistake is nobody's.
    bool verify_result_ok = false;

    /// Refuses early data (0-RTT) of every client that offers the flag, on all SSL_CTXs of the server where
    /// one policy says so, since it is decided before the SSL_CTX is settled. The handshake goes on
    /// without it. Default: the SSL_CTX's own setting stands, and flagged_peer::from_early_data tells.
    bool refuse_early_data = false;

    /// The value that SSL_CTX_set_session_id_context gave this SSL_CTX. OpenSSL has no getter for it, and a ClientHello
    /// with the flag replaces it on its SSL. It is needed if clients whose flag is ignored are to have sessions, or if an
    /// SSL is used for several connections by SSL_clear. Default: clients whose flag is ignored get no tickets, and later
    /// sessions of such an SSL resume only if they are a verified agent's.
    /// Danger: SSL_CTXs that are reached under one server name would share these sessions. Leave it empty unless the name
    /// alone selects the SSL_CTX.
    std::vector<unsigned char> session_id_context = {};
};

/// client_hello is what a predicate sees of a ClientHello. It is a view: valid during the call only.
struct client_hello {
    /// The raw host name of the server_name extension; nothing where there is none.
    std::optional<std::string_view> server_name;
    /// Every flag that the client set, known or not.
    const flag_set& flags;
};

/// psk_find_session is the type of OpenSSL's SSL_psk_find_session_cb_func.
using psk_find_session = int (*)(SSL* ssl, const unsigned char* identity, std::size_t identity_length,
                                 SSL_SESSION** session);

/// longest_session_age is TLS 1.3's own limit.
inline constexpr std::chrono::seconds longest_session_age = std::chrono::hours(7 * 24);

/// server_options is what holds for a whole listener.
struct server_options {
    /// Decides whether this ClientHello's flag is considered at all; false: it is ignored. Runs once
    /// per ClientHello that has the flag, in the thread of the handshake, several at a time. If it
    /// throws, the handshake ends with internal_error (SEC-2). Default: always.
    std::function<bool(const client_hello&)> accept = {};

    /// Called once a handshake, in its thread: with the peer when its handshake has ended well, and peer_of says the same
    /// from then on; or with the refusal when it ends in a fatal alert. For every client of the SSL_CTX, with the flag or
    /// without. A handshake that ends without an alert, as where the connection breaks, is not told of. It must not free
    /// `ssl`, nor read or write through it. What it throws is dropped. An info callback that the application sets later on
    /// the SSL_CTX, or on an SSL, and that does not call the one it found, hides clients without the flag.
    std::function<void(const SSL& ssl, const std::variant<peer, refusal>& what)> observe = {};

    /// How long a verified agent's sessions resume without being verified again: counted from the
    /// verification, however often a ticket is renewed. The certificates' expiry may end it earlier, and so
    /// may a smaller SSL_CTX_set_timeout (OpenSSL's own two hours count as none). The clock is the real one,
    /// whatever trust::with_time says.
    /// Zero: no ticket is issued, and nothing resumes. At most longest_session_age.
    std::chrono::seconds max_session_age = std::chrono::hours(1);

    /// Keeps apart the sessions of servers that share ticket keys or a session cache. Those of servers
    /// with equal labels, policies and options resume on each other: the nodes of a fleet. No secret.
    std::string label = {};

    /// The numbers in use. They must be what the clients use.
    flag_number flag = request_client_auth;
    extension_type extension = tls_flags_extension;

    /// libreqauth takes the slot of SSL_CTX_set_psk_find_session_callback, which has no getter. An
    /// application with such a callback hands it over here; it runs as before (SEC-6).
    psk_find_session chained_psk_find_session = nullptr;

    /// Says that the SSL_CTX has a servername or certificate callback, which chooses the certificate
    /// of each connection. Only needed where attach refuses an SSL_CTX over its certificate
    /// (unsuitable_context): OpenSSL has no getter for those callbacks.
    bool certificate_is_chosen_by_callback = false;

    /// On SSL_CTXs after the first, attach looks for custom extensions with the types that the first has, and those below
    /// 256, alone. Default: for all 65,536, which takes a millisecond or two each: OpenSSL has no getter. Danger: where one
    /// has more of them than another, OpenSSL overruns memory when it switches between the two (unequal_extensions).
    bool assigned_extensions_alone = false;
};

namespace detail {
struct attached_server;
struct server_side;
}

/// attachment is what attach gives: what it found worth saying, and a name for this SSL_CTX's policy, to
/// replace it by. Does not keep the SSL_CTX alive.
struct attachment {
    /// One line each, with the file and what to do: what was loaded and cannot work, or is likely a mistake.
    /// docs/reference.md lists them.
    std::vector<std::string> warnings;

    /// handle is the library's own view of it.
    std::weak_ptr<detail::attached_server> handle;
};

/// replacement is a new policy for an SSL_CTX that was attached.
struct replacement {
    attachment where;
    server_policy policy;
};

/// server_counters is what became of handshakes. Each is counted once, when it has ended: well, in a fatal alert, or, where
/// the client had offered the flag, with its SSL. `verified` and all of `reasons` make `handshakes`.
struct server_counters {
    std::uint64_t handshakes = 0; ///< of all clients: those without the flag too, unless their info callback is hidden
    std::uint64_t offered = 0;    ///< whose client offered the flag; it may have been ignored
    std::uint64_t asked = 0;      ///< of these, with a CertificateRequest
    std::uint64_t acknowledged = 0; ///< that said that it came because of the flag
    std::uint64_t verified = 0;     ///< by which a flagged_peer came in
    std::uint64_t resumed = 0;      ///< and resumed an earlier one's session
    std::uint64_t refused = 0;      ///< of `offered`, those that the server ended with a fatal alert
    /// Why there was no flagged_peer, by `reason`. Of a handshake that ended badly: `invalid`, `empty` or `not_vouched`
    /// where the server refused it for that, else `handshake_unfinished`.
    std::array<std::uint64_t, static_cast<std::size_t>(reason::handshake_unfinished) + 1> reasons{};
    /// Of `invalid`, by X509_V_ERR_ value. The last is for all that are larger.
    std::array<std::uint64_t, 128> verify_errors{};
};

/// server answers the flag on the SSL_CTXs of one listener: all those between which it can switch,
/// by server name or otherwise, belong to one server (SEC-5).
///
/// Any thread may attach; the handshakes of an SSL_CTX begin after its attach. What was attached
/// goes on when the server object is gone: the state belongs to the SSL_CTX.
class REQAUTH_EXPORT server {
public:
    /// Throws error: out_of_range; extension_taken, where OpenSSL handles that type.
    explicit server(server_options options = {});

    /// attach makes `context` answer the flag as `policy` says. It registers the extension, and type 18 where no
    /// serverinfo has it, takes the psk_find_session slot, and wraps the info callback; everything else of `context` stays
    /// as it is. It reads the SSL_CTX's certificate, extensions and trust, so it comes after those are there.
    ///
    /// Throws error and leaves `context` unchanged: unsuitable_context (no TLS 1.3, DTLS, a client's
    /// method, or no certificate with its key that TLS 1.3 can use), already_attached, extension_taken, unequal_extensions,
    /// shared_anchor (RCA-13: anchors that a lookup finds on demand, as in a hashed directory, cannot
    /// be enumerated and are not seen), contradiction, out_of_range, names_too_long, openssl.
    attachment attach(SSL_CTX& context, server_policy policy);

    /// replace gives SSL_CTXs of this server new policies, all of them at one moment, while they serve.
    /// A handshake under way keeps the policies that were in force when its last ClientHello came. None fails because of
    /// replace. Sessions made under other policies or trust stop resuming: those clients are verified anew (SEC-4). So
    /// are those of the server's other SSL_CTXs, since sessions are looked up before the SSL_CTX is settled.
    /// Any thread may call it at any time. The SSL_CTXs must still exist.
    ///
    /// Gives warnings as attach does. Throws error as attach does for a policy; not_attached where an SSL_CTX is gone or
    /// is not of this server, contradiction where it is named twice. Then everything stays as it was.
    std::vector<std::string> replace(std::vector<replacement> replacements);

    /// counters gives what became of the handshakes on all SSL_CTXs of this server, those that are gone too. Any thread.
    [[nodiscard]] server_counters counters() const noexcept;

    /// count_into has the handshakes of an SSL_CTX counted in `memory`, too, as in one that several processes share. To be
    /// called before its first handshake. `memory` must outlive the SSL_CTX and its SSLs; counted_in reads it meanwhile.
    /// Throws error{not_attached} where the SSL_CTX is gone.
    static void count_into(const attachment& where, server_counters& memory);
    [[nodiscard]] static server_counters counted_in(server_counters& memory) noexcept;

    server(server&&) noexcept;
    server& operator=(server&&) noexcept;
    ~server();

private:
    std::shared_ptr<detail::server_side> side_;
};

} // namespace reqauth
