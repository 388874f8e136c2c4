// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/export.hpp>
#include <reqauth/flags.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace reqauth {

namespace detail {
struct identity;
struct peer_maker;
}

/// subject_alt_name is one entry of a certificate's subjectAltName.
struct subject_alt_name {
    enum class kind { dns, uri, email, ip, other };
    kind type;
    /// The value as printable ASCII. Any octet that is not printable ASCII, and any of \ " , stands
    /// as \HH: so no value can end a list, a header, a log line or a string of JSON, and a NUL
    /// cuts nothing short. An IP address is in its usual text form.
    std::string value;
    friend bool operator==(const subject_alt_name&, const subject_alt_name&) = default;
};

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(subject_alt_name::kind type) noexcept;

/// to_string gives "DNS:crawler.example", "URI:…", "email:…", "IP:…" or "other:…".
[[nodiscard]] REQAUTH_EXPORT std::string to_string(const subject_alt_name& name);

/// flagged_peer is a client that offered the flag, was accepted, and whose certificate this very
/// connection, or the session that it resumed, verified against the policy's trust anchors, with the
/// library's own verify callback as the witness (SEC-1). Only peer_of makes one.
///
/// It says nothing about the application's own client authentication: what a flagged_peer may do
/// is for a policy of its own (RCA-14).
///
/// Cheap to copy; holds its own references and outlives the SSL. Any thread may use it.
class REQAUTH_EXPORT flagged_peer {
public:
    /// subject is the leaf's subject as RFC 2253 has it, printable ASCII, escaped.
    [[nodiscard]] const std::string& subject() const noexcept;
    /// issuer is the leaf's issuer, written as the subject is.
    [[nodiscard]] const std::string& issuer() const noexcept;
    /// serial is the leaf's serial number in upper-case hex, whole octets: "0A3F".
    [[nodiscard]] const std::string& serial() const noexcept;
    /// not_after is the end of the leaf's validity, in whole seconds.
    [[nodiscard]] std::chrono::system_clock::time_point not_after() const noexcept;
    /// alt_names are the leaf's subjectAltNames in the certificate's order.
    [[nodiscard]] const std::vector<subject_alt_name>& alt_names() const noexcept;
    /// thumbprint is SHA-256 over the leaf's DER.
    [[nodiscard]] const std::array<std::uint8_t, 32>& thumbprint() const noexcept;
    /// certificate is the verified leaf. Owned by this object: X509_up_ref it to keep it longer.
    [[nodiscard]] X509& certificate() const noexcept;
    /// chain is the verified chain, leaf first and anchor last; of a resumed connection it is the leaf
    /// alone, since tickets carry no more. Owned as the leaf is.
    [[nodiscard]] const std::vector<X509*>& chain() const noexcept;
    /// anchor is the trust anchor in which the chain ended, also where the connection was resumed: whose operator vouches.
    /// Owned as the leaf is.
    [[nodiscard]] X509& anchor() const noexcept;
    /// has_name says whether the leaf has that subjectAltName, written as alt_names has it. Letter case of DNS names does not
    /// count. No wildcard matches: a certificate with one has no name but that.
    [[nodiscard]] bool has_name(subject_alt_name::kind type, std::string_view name) const noexcept;
    /// resumed says that an earlier handshake verified the certificate, and this one resumed its session.
    [[nodiscard]] bool resumed() const noexcept;
    /// from_early_data says that the server accepted early data (0-RTT) on this connection. What came in
    /// it can be a replay of what the agent sent once (TLS-4): serve only what is safe to repeat by it.
    [[nodiscard]] bool from_early_data() const noexcept;

private:
    friend struct detail::peer_maker;
    explicit flagged_peer(std::shared_ptr<const detail::identity> who) noexcept : who_(std::move(who)) {}
    std::shared_ptr<const detail::identity> who_;
};

/// reason says why there is no flagged_peer.
enum class reason {
    not_offered,          ///< the client did not offer the flag, or this is not a server's connection
    ignored,              ///< the client offered it and the policy, the predicate or SEC-7 passed it over
    empty,                ///< asked, the client sent an empty Certificate
    invalid,              ///< the certificate did not verify; verify_error says why
    not_witnessed,        ///< the handshake ended well, but the library's own verify callback never saw it do so
    not_vouched,          ///< a resumed session that nothing vouches for: an external PSK, or another policy's
    handshake_unfinished, ///< the handshake goes on, or failed. It stays the last
};

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(reason why) noexcept;

/// other_peer is everybody else: never authenticated through the flag. What client authentication of
/// the application's own found is read as it always was.
struct other_peer {
    reason why = reason::not_offered;
    /// An X509_V_ERR_ value where `why` is invalid, else 0. X509_verify_cert_error_string names it.
    int verify_error = 0;
};

/// peer is what a connection turned out to be.
using peer = std::variant<flagged_peer, other_peer>;

/// peer_of says who is at the other end of a server's connection. Call it once the handshake has ended, in a thread that may
/// use `ssl`. It judges anew at each call, and reads the certificate at the first. That allocates for a flagged_peer, and may
/// throw std::bad_alloc; nothing else is thrown.
[[nodiscard]] REQAUTH_EXPORT peer peer_of(const SSL& ssl);

/// presented_certificate is what a client showed because of the flag where it did not become a flagged_peer. It is no
/// identity: the chain did not verify, or the key was not proven, and anybody can present what he has seen elsewhere. It
/// is for logs. Its texts are printable ASCII, written as flagged_peer's; one that cannot be written is empty.
struct presented_certificate {
    std::string subject;
    std::string issuer;
    std::string serial;
    std::string not_before; ///< 2027-01-31T12:00:00Z
    std::string not_after;
    std::array<std::uint8_t, 32> thumbprint{}; ///< SHA-256 over its DER
    /// The client has its private key: the handshake ended well.
    bool key_proven = false;
    /// An X509_V_ERR_ value; 0 where the chain verified, and the client then did not prove the key.
    int verify_error = 0;
    /// Where in the chain that was, and the subject there: 0 is the certificate itself, above it are CAs.
    int depth = 0;
    std::string failed;
    /// Whose CRL or anchor it was, if that was the reason: "the CRL of CN=Agents CA ended 2026-11-01T00:00:00Z".
    std::string because;
    /// What has to be mended is the server's: its CRL or its anchor. The client gets the alert internal_error then, and
    /// none that has its owner renew a good certificate.
    bool server_at_fault = false;
};

/// to_string gives all of it in one line for a log, with the reason first. Long names are cut.
[[nodiscard]] REQAUTH_EXPORT std::string to_string(const presented_certificate& what);

/// presented_of gives it for a server's connection whose handshake has failed, while `observe` is told of it or later, or
/// that invalid_is_anonymous let pass. Nothing where no certificate came that could be read, or where it is a
/// flagged_peer's. Call it in a thread that may use `ssl`. Throws std::bad_alloc.
[[nodiscard]] REQAUTH_EXPORT std::optional<presented_certificate> presented_of(const SSL& ssl);

/// unvouched_client is a client whose certificate nobody vouches for, and that has its private key: its CertificateVerify on
/// this very connection held (MTLS-7). It is no flagged_peer, and nothing that the certificate says is known to be so. It is
/// good for one thing: to be compared, whole, with a certificate that is known already. Only unvouched_of makes one.
///
/// Cheap to copy; holds its own reference and outlives the SSL. Any thread may use it.
class REQAUTH_EXPORT unvouched_client {
public:
    /// thumbprint is SHA-256 over the certificate's DER.
    [[nodiscard]] const std::array<std::uint8_t, 32>& thumbprint() const noexcept { return thumbprint_; }
    /// certificate is owned by this object and its copies: X509_up_ref it to keep it longer.
    [[nodiscard]] X509& certificate() const noexcept { return *certificate_; }
    /// from_early_data is as flagged_peer's.
    [[nodiscard]] bool from_early_data() const noexcept { return early_; }

private:
    friend struct detail::peer_maker;
    unvouched_client() = default;
    std::array<std::uint8_t, 32> thumbprint_{};
    std::shared_ptr<X509> certificate_;
    bool early_ = false;
};

/// unvouched_of gives it for a server's connection whose policy takes such clients (client_auth::or_unvouched); nothing for
/// every other one, a flagged_peer's and a resumed one too. For peer_of it is an other_peer{invalid}. Call it once the
/// handshake has ended, in a thread that may use `ssl`. Throws std::bad_alloc.
[[nodiscard]] REQAUTH_EXPORT std::optional<unvouched_client> unvouched_of(const SSL& ssl);

/// refusal is a server's handshake that ended in a fatal alert.
struct refusal {
    std::uint8_t alert = 0; ///< its number in RFC 8446, section 6
    bool received = false;  ///< the client sent it; else the server did
    bool offered = false;   ///< the client had offered the flag
    bool accepted = false;  ///< and a certificate was asked for because of it
    long verify_error = 0;  ///< an X509_V_ERR_ value where the agent's certificate did not verify; else 0
};

/// is_of_agent says that what certificate there is on a server's connection is no customer's: it was asked for because of
/// the flag, or the session is an agent's. At any time, in a thread that may use `ssl`. It authenticates nobody: that
/// takes a flagged_peer (RCA-14, SEC-8).
[[nodiscard]] REQAUTH_EXPORT bool is_of_agent(const SSL& ssl) noexcept;

/// server_outcome is how a connection went, for logs and diagnosis. It authenticates nobody: that
/// takes a flagged_peer.
struct server_outcome {
    /// The ClientHello that counted (the second, after a HelloRetryRequest) had the flag.
    bool offered = false;
    /// The policy accepted it: a CertificateRequest acknowledged the flag, or this is a resumption.
    bool accepted = false;
    /// What became of the certificate that the flag asked for in this handshake, or in the one whose session
    /// it resumed: `verified`, if that is vouched for. A later post-handshake authentication changes nothing
    /// here. `awaited`: asked, and no answer was judged, because the
    /// handshake goes on or failed first.
    enum class answer { not_asked, awaited, empty, verified, invalid } certificate = answer::not_asked;
    /// An X509_V_ERR_ value where `certificate` is invalid; 0 where the library's verify callback did not
    /// judge it: the application has a SSL_CTX_set_cert_verify_callback (peer_of: not_witnessed).
    int verify_error = 0;
    /// Every flag of that ClientHello.
    flag_set flags;
};

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(server_outcome::answer certificate) noexcept;

/// server_outcome_of reads it at any time, also after a handshake that failed, in a thread that may use
/// `ssl`.
[[nodiscard]] REQAUTH_EXPORT server_outcome server_outcome_of(const SSL& ssl) noexcept;

/// is_agents_session says whether a session is that of a verified agent. An application can bring one, out of a cache or
/// a ticket, to a connection on which nobody offered the flag. Whoever takes the certificate there for a customer's has
/// to ask this first.
///
/// True: libreqauth verified a certificate because of the flag when the session was made. True also after a
/// post-handshake request, whatever certificate came then.
/// False: every other session; one of an agent that was not verified; one whose ticket application data the application
/// has overwritten.
///
/// It authenticates nobody, since the session may be out of date or another server's: that takes a flagged_peer. Call it
/// in a thread that may use `session`.
[[nodiscard]] REQAUTH_EXPORT bool is_agents_session(const SSL_SESSION& session) noexcept;

} // namespace reqauth
