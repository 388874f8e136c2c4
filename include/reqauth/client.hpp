// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/export.hpp>
#include <reqauth/flags.hpp>

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
    /// using its keys never asks a person. The name is the one in OpenSSL's configuration.
    std::vector<std::string> providers = {"default", "fips"};

    openssl_scope scope = {};
};

/// credential is a certificate, its chain and its private key, proven at load to fit each other by
/// one signature: so a key that is public only, or another certificate's, is an error there and then.
///
/// Immutable and cheap to copy; holds its own references. Any thread may use it.
class REQAUTH_EXPORT credential {
public:
    /// from_files reads a PEM file with the leaf certificate first and its chain after it, and a PEM
    /// file with the private key (it may be the same file).
    /// Throws error: unreadable, malformed, passphrase, key_unusable, provider.
    [[nodiscard]] static credential from_files(const std::filesystem::path& certificate,
                                               const std::filesystem::path& key,
                                               const credential_options& options = {});

    /// from_uri takes the private key from a provider, by a URI that OSSL_STORE understands
    /// ("pkcs11:…", "handle:…", "file:…"), and the certificate from a PEM file. Throws the same.
    [[nodiscard]] static credential from_uri(const std::filesystem::path& certificate, const std::string& key_uri,
                                             const credential_options& options = {});

    /// from_objects takes what the application has loaded itself. It takes references of its own:
    /// the caller's stay the caller's. `chain` is without the leaf.
    [[nodiscard]] static credential from_objects(X509& certificate, EVP_PKEY& key, std::span<X509* const> chain = {},
                                                 const credential_options& options = {});

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
    always,         ///< it has none, and says even so that it takes a request well: for tests of servers
    never,          ///< it does not; a server that acknowledges even so is answered illegal_parameter (RCA-9)
};

/// unacknowledged is what a client does with a CertificateRequest that does not have the flag: the
/// server asks for another reason (RCA-3, RCA-12).
enum class unacknowledged {
    as_before, ///< what the SSL_CTX or SSL has of its own: its certificate, or an empty Certificate
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
    reqauth::offer offer = reqauth::offer::when_available;
    unacknowledged when_unacknowledged = unacknowledged::as_before;
    unsatisfiable when_unsatisfiable = unsatisfiable::empty;

    /// Other flags to propose in the same extension (FLAG-10). What they mean is the application's.
    flag_set further_flags = {};

    /// The numbers in use. They must be what the server uses.
    flag_number flag = request_client_auth;
    extension_type extension = tls_flags_extension;

    /// libreqauth takes the slot of SSL_CTX_set_cert_cb, which has no getter. An application with such
    /// a callback hands it over here: it runs first, as before (SEC-6).
    certificate_callback chained_certificate_callback = {};
};

/// client offers the flag on SSL_CTXs and answers what comes of it.
///
/// Any thread may attach; the handshakes of an SSL_CTX begin after its attach. What was attached
/// goes on when the client object is gone. One client serves any number of SSL_CTXs and threads.
class REQAUTH_EXPORT client {
public:
    /// Throws error{contradiction} where a number is out of range, or `further_flags` holds the flag.
    explicit client(client_policy policy);

    /// attach makes `context` offer and answer as the policy says. It registers the extension, takes the
    /// cert_cb slot, and wraps a client_cert_cb that is there, so that it is not asked where an empty
    /// Certificate is to go out (RCA-7); everything else of `context` stays as it is. Nothing is offered where
    /// TLS 1.3 cannot be negotiated (FLAG-9).
    /// Throws error and leaves `context` unchanged: unsuitable_context (DTLS), already_attached,
    /// extension_taken, openssl.
    void attach(SSL_CTX& context) const;

    /// offers says whether ClientHellos will have the flag.
    [[nodiscard]] bool offers() const noexcept;

    client(const client&) noexcept;
    client(client&&) noexcept;
    client& operator=(const client&) noexcept;
    client& operator=(client&&) noexcept;
    ~client();

private:
    struct state;
    std::shared_ptr<const state> state_;
};

/// client_outcome is how a client's connection went.
struct client_outcome {
    bool offered = false;      ///< the ClientHello had the flag
    bool requested = false;    ///< a CertificateRequest came
    bool acknowledged = false; ///< and it had the flag
    /// What went out: nothing (not asked, or not yet), an empty Certificate, the flag's credential,
    /// or another certificate.
    enum class answer { none, empty, flag, other } sent = answer::none;
    /// Every flag that the server set, in whichever messages.
    flag_set server_flags;
};

/// client_outcome_of reads it, at any time, in a thread that may use `ssl`. In TLS 1.3 the client is
/// done before the server has judged its certificate: `sent` is not yet "accepted". Of a resumed
/// connection `requested` is false and means nothing (RCA-16). Allocates nothing.
[[nodiscard]] REQAUTH_EXPORT client_outcome client_outcome_of(const SSL& ssl) noexcept;

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(client_outcome::answer sent) noexcept;

} // namespace reqauth
