// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/error.hpp>
#include <reqauth/export.hpp>
#include <reqauth/flags.hpp>
#include <reqauth/trust.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace reqauth {

namespace detail {
struct loaded_credential;
}

/// credential_options is how a credential is loaded. No setting lets a person be asked (RCA-7).
struct credential_options {
    /// Gives the passphrase of an encrypted key or the PIN of a token; `what` is the file or URI.
    /// No function, or no value: such a key is an error. The terminal is never opened.
    std::function<std::optional<std::string>(const std::string& what)> passphrase = {};

    /// The OpenSSL providers whose keys count as directly available (RCA-6). A key of any other
    /// provider is an error: it may sit on a card or behind a dialog. Naming one here vouches that
    /// using its keys never asks a person. The name is the one in OpenSSL's configuration; "legacy" is
    /// for keys that no provider holds, as those of an ENGINE.
    std::vector<std::string> providers = {"default", "fips"};

    /// Takes a certificate although it has expired or is not valid yet, and offers it. Default: that is an
    /// error. For tests of servers.
    bool outside_validity = false;

    openssl_scope scope = {};
};

/// credential is a certificate, its chain and its private key, proven at load to fit each other by
/// one handshake of TLS 1.3 in memory: so a key that is public only, another certificate's, or of a kind that this OpenSSL
/// cannot use in TLS 1.3, is an error there and then, and so is a certificate that has expired or is not valid yet.
///
/// Immutable and cheap to copy; holds its own references. Any thread may use it.
class REQAUTH_EXPORT credential {
public:
    /// from_files reads a file with the leaf certificate first and its chain after it, and one with the private key, which
    /// may be the same: PEM, whose other blocks are passed over, or DER.
    /// Throws error: unreadable, malformed, holds_nothing, passphrase, key_unusable, provider, outside_validity.
    [[nodiscard]] static credential from_files(const std::filesystem::path& certificate,
                                               const std::filesystem::path& key,
                                               const credential_options& options = {});

    /// from_texts takes the octets of such files.
    [[nodiscard]] static credential from_texts(const named_text& certificate, const named_text& key,
                                               const credential_options& options = {});

    /// from_uri takes the private key from a provider, by a URI that OSSL_STORE understands
    /// ("pkcs11:…", "handle:…", "file:…"), and the certificate from a file. Throws the same.
    [[nodiscard]] static credential from_uri(const std::filesystem::path& certificate, const std::string& key_uri,
                                             const credential_options& options = {});

    /// from_objects takes what the application has loaded itself. It takes references of its own:
    /// the caller's stay the caller's. `chain` is without the leaf.
    [[nodiscard]] static credential from_objects(X509& certificate, EVP_PKEY& key, std::span<X509* const> chain = {},
                                                 const credential_options& options = {});

    /// subject is the leaf's subject as RFC 2253 has it, printable ASCII; thumbprint is SHA-256 over its DER.
    [[nodiscard]] std::string subject() const;
    [[nodiscard]] const std::array<std::uint8_t, 32>& thumbprint() const noexcept;

    /// not_after is the end of the leaf's validity: from then on the credential is not offered.
    [[nodiscard]] std::chrono::system_clock::time_point not_after() const noexcept;

    /// provider is the name of the provider that holds the private key; "legacy" where none does.
    [[nodiscard]] const std::string& provider() const noexcept;

    /// holder is the library's own view of it.
    [[nodiscard]] const std::shared_ptr<const detail::loaded_credential>& holder() const noexcept { return holder_; }

private:
    explicit credential(std::shared_ptr<const detail::loaded_credential> holder) noexcept
        : holder_(std::move(holder)) {}
    std::shared_ptr<const detail::loaded_credential> holder_;
};

/// offer is when a client sets the flag in its ClientHello.
enum class offer {
    when_available, ///< it has a credential (RCA-6)
    always,         ///< even without a credential. For testing servers
    never,          ///< it does not; a server that acknowledges even so is answered illegal_parameter (RCA-9)
};

/// unacknowledged is what a client does with a CertificateRequest that does not have the flag: the
/// server asks for another reason (RCA-3, RCA-12).
enum class unacknowledged {
    as_before, ///< what the SSL_CTX or SSL has of its own: a certificate, or an empty Certificate. Never one of a
               ///< key that is, or once was, a credential of this client's: such are left out
    empty,     ///< an empty Certificate, whatever it has
    present,   ///< the flag's credential, for servers that ask because of the flag but do not say so.
               ///< Danger: shows the identity to a server that did not accept the flag
};

/// unsatisfiable is what a client does with an acknowledged request whose certificate_authorities or
/// signature_algorithms its credential cannot meet (RCA-5).
enum class unsatisfiable {
    empty,   ///< sends an empty Certificate, and leaves it to the server
    close,   ///< ends the handshake with handshake_failure
    present, ///< presents it even so, as clients do that do not look at the authorities. Danger: shows the
             ///< identity to a server that has no use for it. Where the algorithms cannot be met: empty
};

/// withheld is why a ClientHello did not have the flag.
enum class withheld {
    nothing,          ///< it had it
    never,            ///< the policy says never, or nothing is attached
    no_credential,    ///< there is none
    outside_validity, ///< every credential has expired meanwhile, or is not valid yet
    by_application,   ///< client_policy::offers_to said so
};

/// unmet is why a request that was for the flag's credential did not get it: what came nearest, of several.
enum class unmet {
    nothing,          ///< it got one, or was not to get one
    no_credential,    ///< there is none
    outside_validity, ///< every credential has expired meanwhile, or is not valid yet
    authorities,      ///< none is of a CA that the request names (RCA-5): often a chain that lacks its intermediate
    algorithms,       ///< none has a key for the request's signature_algorithms (RCA-5)
    untrusted,        ///< the server's chain did not verify: SSL_get_verify_result says why (SEC-9)
    other_name,       ///< its certificate is for other names than the one that was asked for (SEC-9)
    unknown_name,     ///< it cannot be told which name was asked for (SEC-9)
};

/// client_outcome is how a client's connection went.
struct client_outcome {
    bool offered = false;      ///< the ClientHello had the flag
    bool requested = false;    ///< a CertificateRequest came
    bool acknowledged = false; ///< and it had the flag
    bool resumed = false;      ///< an earlier session was resumed: nothing was asked (RCA-16)
    /// Why it did not have the flag.
    reqauth::withheld withheld = reqauth::withheld::never;
    /// What went out: nothing (not asked, or not yet), an empty Certificate, the flag's credential,
    /// or another certificate.
    enum class answer { none, empty, flag, other } sent = answer::none;
    /// Why the flag's credential stayed here although it was asked for: an empty Certificate went out in its place, or
    /// handshake_failure where the policy says so. `explain` has it in words.
    reqauth::unmet unmet = reqauth::unmet::nothing;
    /// What was seen of the server since that. In TLS 1.3 the client's handshake ends first, and nothing says that its
    /// certificate was taken (RFC 9846): not a ticket, and not even an answer to a request.
    enum class verdict {
        none,     ///< no certificate was asked for
        awaited,  ///< nothing yet
        ticket,   ///< a NewSessionTicket
        finished, ///< its Finished, which before TLS 1.3 comes after it has judged
        resumed,  ///< it resumed an earlier session, and asked for nothing
        refused,  ///< a fatal alert, of whatever kind, and no application data before it
    } judged = verdict::none;
    /// The fatal alert that the server sent, if one came: its number in RFC 9846, section 6.
    std::optional<std::uint8_t> alert_received;
    /// The ClientHello had the flag, and nothing has answered it, or an alert alone that names no other cause. Where the
    /// connection has ended, the server, or something before it, may not take the flag: it can be tried without, by
    /// `offers_to`. Whoever can cut connections can bring that about.
    bool hello_unanswered = false;
    /// Every flag that the server set, in whichever messages.
    flag_set server_flags;
};

/// refused is a server's no to the certificate that a client sent, or did not send. Trying again with the same
/// credential is of no use: that needs another credential, or somebody who looks at both sides. An alert need not say
/// which: general_error and the like leave it to the server's log.
class REQAUTH_EXPORT refused : public error {
public:
    explicit refused(const client_outcome& outcome);
    ~refused() override;
    /// alert is the number, alert_name what RFC 9846 calls it: "certificate_required", "unknown_ca", …
    [[nodiscard]] std::uint8_t alert() const noexcept { return alert_; }
    [[nodiscard]] std::string alert_name() const;

private:
    std::uint8_t alert_;
};

/// certificate_callback is a callback as SSL_CTX_set_cert_cb takes it, with its argument.
struct certificate_callback {
    int (*function)(SSL* ssl, void* argument) = nullptr;
    void* argument = nullptr;
};

/// client_policy is what a client offers, and what it answers.
///
/// | the request is  | it sends                                                             |
/// | acknowledged    | the credential; nothing (an empty Certificate) where it has none     |
/// | unacknowledged  | what `when_unacknowledged` says                                      |
struct client_policy {
    /// Presented when the server acknowledges the flag.
    std::optional<reqauth::credential> credential = {};

    /// More credentials of the same identity: with other kinds of keys, or of other CAs. The first of all that
    /// the request's certificate_authorities and signature_algorithms allow is presented.
    std::vector<reqauth::credential> further_credentials = {};

    reqauth::offer offer = reqauth::offer::when_available;
    unacknowledged when_unacknowledged = unacknowledged::as_before;
    unsatisfiable when_unsatisfiable = unsatisfiable::empty;

    /// Presents the flag's credential also to a server that has not proven its name. Default: it gets an empty
    /// Certificate. Proven is a chain that verified (SSL_get_verify_result is X509_V_OK) and a certificate for the name
    /// that was asked for: a name or address that was set on the SSL to be checked; else the server_name; else the address
    /// that the SSL's socket is connected to. Where there is none of them, as over a BIO of the application's own without
    /// server_name, nothing is proven (SEC-9). Behind a proxy (CONNECT, SOCKS) the socket's address is the proxy's, and the
    /// library cannot know that: set the server's name or address on the SSL.
    /// Danger: whoever answers in the server's place learns who the agent is, and can have it sign a handshake.
    bool danger_unproven_servers = false;

    /// Other flags to propose in the same extension (FLAG-10). What they mean is the application's.
    flag_set further_flags = {};

    /// Keeps apart the sessions of clients that are otherwise equal, as those of two tenants.
    std::string label = {};

    /// The numbers in use. They must be what the server uses.
    flag_number flag = request_client_auth;
    extension_type extension = tls_flags_extension;

    /// Asked once for each handshake that would have the flag; false: it goes without. By default all have it. In the thread
    /// of the connection; what it throws fails the handshake. For a server that ends connections on the flag.
    std::function<bool(const SSL& ssl)> offers_to = {};

    /// Called in the thread of the connection when its handshake ends or breaks off, and again where its outcome changes
    /// after that: a ticket, or a fatal alert. For programs that do not hold the SSL themselves, as with libcurl.
    /// It must not free `ssl`, nor read or write through it. What it throws is dropped.
    std::function<void(const SSL& ssl, const client_outcome& outcome)> observe = {};

    /// libreqauth takes the slot of SSL_CTX_set_cert_cb, which has no getter. An application with such
    /// a callback hands it over here: it runs first, as before (SEC-6).
    certificate_callback chained_certificate_callback = {};
};

/// client_scope is what a pool of connections and a cache of sessions are to be keyed on, beside the server's
/// name and port: two connections with equal scopes may serve for each other. SHA-256 over what makes a difference.
using client_scope = std::array<std::uint8_t, 32>;

/// client_counters is what became of handshakes. Each is counted once, when it has ended: well, in a fatal alert, or cut off.
struct client_counters {
    std::uint64_t handshakes = 0;
    std::uint64_t offered = 0;      ///< with the flag
    std::uint64_t asked = 0;        ///< in which a certificate was asked for,
    std::uint64_t acknowledged = 0; ///< because of the flag
    std::uint64_t presented = 0;    ///< in which the flag's credential went out
    std::uint64_t verified = 0;     ///< whose server's certificate was verified
    std::uint64_t resumed = 0;      ///< that resumed a session
    std::uint64_t refused = 0;      ///< whose certificate was refused, as `judged` says; also after their end
    /// Why they did not have the flag, by `withheld`, and why the credential stayed here, by `unmet`.
    std::array<std::uint64_t, 5> withheld{};
    std::array<std::uint64_t, 8> unmet{};
    /// Of servers' certificates, by X509_V_ERR_ value. The last is for all that are larger.
    std::array<std::uint64_t, 128> verify_errors{};
};

/// client offers the flag on SSL_CTXs and answers what comes of it.
///
/// Sessions made by an attached SSL_CTX carry its scope as a mark (ticket application data), which survives
/// i2d_SSL_SESSION. A ClientHello that would resume a session with another client's mark is not sent: the
/// handshake fails. A session of this client under earlier credentials, or without a mark, is left out, and a full
/// handshake follows.
///
/// Two kinds of sessions are not resumed, so that the flag does no harm with a server that knows it halfway. Those of a
/// TLS 1.3 handshake that offered the flag and was asked without it have no mark. And one that was presented in a
/// handshake which ended in a fatal alert or was cut off is left out from then on: the client remembers the last 64.
///
/// Any thread may attach; the handshakes of an SSL_CTX begin after its attach. What was attached
/// goes on when the client object is gone. One client serves any number of SSL_CTXs and threads.
class REQAUTH_EXPORT client {
public:
    /// Throws error: out_of_range; extension_taken, where OpenSSL handles that type; contradiction, where
    /// `further_flags` holds the flag.
    explicit client(client_policy policy);

    /// attach makes `context` offer and answer as the policy says. It registers the extension, takes the
    /// cert_cb slot, and wraps a client_cert_cb that is there, so that it is not asked where an empty
    /// Certificate is to go out (RCA-7); everything else of `context` stays as it is. Nothing is offered where
    /// TLS 1.3 cannot be negotiated (FLAG-9). It wraps the info callback of `context`, too.
    /// Throws error and leaves `context` unchanged: unsuitable_context (DTLS, QUIC in threads), already_attached,
    /// extension_taken, openssl; key_unusable, where the security level of `context` forbids a credential's key or chain.
    void attach(SSL_CTX& context) const;

    /// offers says whether a ClientHello would have the flag now.
    [[nodiscard]] bool offers() const noexcept;

    /// scope is that of an SSL_CTX to which a client is attached. It is over the credentials, the flag, the
    /// extension, the policy's answers and label; all own certificates of `context` with their chains; and its trust:
    /// verify mode, names, addresses, flags, depth, time and levels, also those of the store, and the certificates in
    /// it when it was first asked for.
    /// Not seen, for want of a getter, and so to be told apart by `label`: purpose, trust and policies of the
    /// parameters; DANE records and expected raw keys; CRLs; what a lookup finds on demand, as in a hashed
    /// directory, or is put into the store later; what a verify callback, cert_verify_callback, client_cert_cb or the
    /// chained certificate callback does.
    /// Throws error{not_attached} where no client is attached, error{openssl}.
    [[nodiscard]] static client_scope scope(SSL_CTX& context);

    /// The same of one SSL, with what was set on it: a session's mark is compared with this.
    [[nodiscard]] static client_scope scope(SSL& ssl);

    /// resume has `ssl` present `session` in its ClientHello. `ssl` was made of an attached SSL_CTX.
    /// True: it will be presented. `session` stays the caller's.
    /// False: its mark is another scope's, a handshake with it has failed, or OpenSSL has used it up. Nothing changes, and a full handshake follows.
    /// Throws as scope does, and then nothing changes.
    static bool resume(SSL& ssl, SSL_SESSION& session);

    /// replace gives all SSL_CTXs and copies of this client new credentials, at one moment, while they connect. An empty
    /// list: it offers no more, unless `offer` is always.
    /// A handshake under way keeps the credentials with which it began. A request after the handshake gets one only if
    /// they are still the same. Of earlier ones 32 octets for each key are kept, so that `as_before` knows them.
    /// Throws error{key_unusable} where an attached SSL_CTX's security level, as it was at attach, forbids one; error{openssl}
    /// or std::bad_alloc. Nothing has changed then. Any thread may call it.
    void replace(std::vector<credential> credentials);

    /// reload reads the files of those credentials that came from files again, all or nothing, and replaces
    /// what has changed. Says whether something had. A pair of which one half is written
    /// already is an error like any other that loading or replace throws: the old credentials stay, and the next reload tries again.
    bool reload();

    /// counters gives what became of the handshakes on all SSL_CTXs and copies of this client. Any thread.
    [[nodiscard]] client_counters counters() const noexcept;

    client(const client&) noexcept;
    client(client&&) noexcept;
    client& operator=(const client&) noexcept;
    client& operator=(client&&) noexcept;
    ~client();

private:
    struct state;
    std::shared_ptr<const state> state_;
};

/// client_outcome_of reads it, at any time, in a thread that may use `ssl`. Of a resumed
/// connection `requested` is false and means nothing (RCA-16). Allocates nothing.
[[nodiscard]] REQAUTH_EXPORT client_outcome client_outcome_of(const SSL& ssl) noexcept;

/// last_outcome_of is client_outcome_of where a call on `ssl` has failed for good, whichever it was. It first reads the
/// alert that may have come: a server that refuses and closes at once has the client's write fail, and the alert lie there
/// unread. It does not wait, writes nothing, and leaves application data to be read. SSL_get_error is to be asked before it.
/// Give the `socket` where OpenSSL does not read from it itself, as in Asio and libcurl: the alert may still be there, and is
/// read from it once the connection is reset. Of a BIO of the application's own nothing is read, since that might wait.
[[nodiscard]] REQAUTH_EXPORT client_outcome last_outcome_of(SSL& ssl, int socket = -1) noexcept;

/// throw_if_refused throws `refused` where that outcome says so.
REQAUTH_EXPORT void throw_if_refused(SSL& ssl, int socket = -1);

/// explanation is why a server was not shown the flag's credential, or refused it. Its texts are printable ASCII.
struct explanation {
    std::string cause;                    ///< one line; empty: there is nothing to explain
    std::string remedy;                   ///< what to do
    std::vector<std::string> authorities; ///< the CAs that the last request named, as RFC 2253 has them
    std::vector<std::string> issuers;     ///< those of our credentials and their chains, where `authorities` are unmet
};

/// explain puts client_outcome in words: withheld, unmet, refused. At any time, as client_outcome_of. Throws
/// std::bad_alloc.
[[nodiscard]] REQAUTH_EXPORT explanation explain(const SSL& ssl);

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(offer when) noexcept;
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(unacknowledged what) noexcept;
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(unsatisfiable what) noexcept;
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(client_outcome::answer sent) noexcept;
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(client_outcome::verdict judged) noexcept;
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(withheld why) noexcept;
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(unmet why) noexcept;

} // namespace reqauth
