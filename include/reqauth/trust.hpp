// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/export.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

extern "C" {
typedef struct x509_store_st X509_STORE;
}

namespace reqauth {

namespace detail {
struct trust_store;
}

/// spki_pin is SHA-256 over the DER of a key's SubjectPublicKeyInfo, as `openssl pkey -pubin -outform DER` writes it.
using spki_pin = std::array<std::uint8_t, 32>;

/// purpose is what every certificate of a chain must be fit for, by its key usages.
enum class purpose {
    client, ///< TLS client authentication
    server, ///< TLS server authentication: public CAs no longer issue for clients
    any,    ///< anything. Danger: a certificate that was issued for mail or code then opens the door, too.
};

/// to_string gives the enumerator's name.
[[nodiscard]] REQAUTH_EXPORT std::string_view to_string(purpose what) noexcept;

/// named_text is a file's octets, and what messages call it.
struct named_text {
    std::string name;
    std::string text;
};

/// trust is a set of trust anchors with all that decides about a chain that ends in one: the certificates
/// under which one outcome's clients are verified, revocation lists, pins and verify parameters, and nothing
/// else. The system's roots are never in it, whatever is missing (SEC-2).
///
/// Immutable and cheap to copy: copies share everything. Any thread may use it. Each with_… gives a new trust and leaves
/// this one as it is. Where memory ends it throws std::bad_alloc, or error{openssl} if OpenSSL notices first. Files are
/// read at load, never in a handshake. Loading does not look at the clock: what has expired is refused in the handshake, and
/// attach warns of it.
class REQAUTH_EXPORT trust {
public:
    /// from_file reads every certificate of a file in PEM, and every CRL if it has some: those are used as with_crls has
    /// it. Text between the blocks and blocks of other names are passed over. A file in DER holds one of either.
    /// Throws error: unreadable; malformed, naming the file and the block's place in it, for a block that is broken or a
    /// TRUSTED CERTIFICATE; holds_nothing without a certificate; crl_unusable. Never a part of a file is used.
    [[nodiscard]] static trust from_file(const std::filesystem::path& pem, openssl_scope scope = {});

    /// from_directory reads every file whose name ends in .pem, .crt, .cer, .crl or .der as from_file does, but not
    /// the directories in it. A file may hold certificates, CRLs or both. Other names are skipped, so
    /// OpenSSL's hash links (abcd1234.0) are.
    /// Throws as from_file, naming the file; error{holds_nothing} if there is no such file, or no certificate in
    /// any; error{unreadable} also for what is no regular file, as a link to nowhere.
    [[nodiscard]] static trust from_directory(const std::filesystem::path& directory, openssl_scope scope = {});

    /// from_pem reads the same as from_file from memory; `name` stands for the file in errors.
    [[nodiscard]] static trust from_pem(std::string_view pem, std::string_view name = "PEM text",
                                        openssl_scope scope = {});

    /// from_texts takes the octets of several files as from_file does.
    [[nodiscard]] static trust from_texts(std::span<const named_text> files, openssl_scope scope = {});

    /// from_store copies the certificates and CRLs that `store` holds now. Later changes of it change nothing here.
    /// CRLs are used as with_crls has it, whatever the store's flags. Depth, time, PARTIAL_CHAIN and CRL_CHECK_ALL are
    /// taken over. The purpose is not: OpenSSL has no getter. What a lookup finds on demand, as a hashed directory, is not
    /// taken either, since it cannot be enumerated: use from_directory.
    /// Throws error{holds_nothing} if there is no certificate in it; error{malformed} if one has uses or rejections of
    /// OpenSSL's own (TRUSTED CERTIFICATE); error{contradiction} if its parameters have a host name, an address or a
    /// flag that trust has no setting for, or CRL_CHECK without a CRL; error{openssl}.
    [[nodiscard]] static trust from_store(X509_STORE& store);

    /// nobody has no anchor: no certificate verifies. For client_auth::or_unvouched.
    [[nodiscard]] static trust nobody();

    /// with_crls adds the CRLs of a file's text; from then on revocation is checked. A certificate that a CRL
    /// of its issuer names is refused, the leaf's and those of CAs between it and the anchor. The leaf's
    /// issuer must have a CRL here, and every CRL that is used must be in force: otherwise the client is
    /// refused. A CA without a CRL passes, unless with_crls_for_every_ca. A CRL of its issuer's name that cannot be used
    /// for it, since it is for another key or certificate of that CA, refuses, and attach warns of it. A CRL of an issuer
    /// that is no anchor is kept, as it may be for a CA that the client sends. Of several of one issuer OpenSSL takes the newest.
    /// Throws error, naming `name` and the block or CRL: holds_nothing if there is none; malformed for a broken one;
    /// crl_unusable for a delta CRL, an indirect one or one for some reasons only, which OpenSSL would
    /// pass over, for one with an entry of the reason removeFromCRL, whom it would let pass, and for one in the name of an
    /// anchor that is not signed with an anchor's key.
    [[nodiscard]] trust with_crls(std::string_view pem, std::string_view name = "PEM text",
                                  openssl_scope scope = {}) const;

    /// with_crls_from_file reads the same from a file. Throws error{unreadable} as well.
    [[nodiscard]] trust with_crls_from_file(const std::filesystem::path& pem, openssl_scope scope = {}) const;

    /// with_crls_for_every_ca refuses a chain in which a CA other than the anchor has an issuer without a CRL
    /// here. Throws error{contradiction} if there is no CRL yet: add those first.
    [[nodiscard]] trust with_crls_for_every_ca() const;

    /// with_pins adds pins: from then on a verified chain must hold one of these keys, as the leaf's, the
    /// anchor's or in between. Throws error{contradiction} if there is none.
    [[nodiscard]] trust with_pins(const std::vector<spki_pin>& pins) const;

    /// with_admitted says who may come, of those that verify: anybody else is refused with access_denied. A rule a line; those
    /// of several calls add up. Empty lines and those that begin with # count for nothing.
    ///
    ///     allow dns crawler.example              # letter case does not count
    ///     allow dns *.crawl.example              # one label in the asterisk's place, of the agent's own choice
    ///     allow uri https://*.crawl.example/bot  # the same in a URI's host; else a URI is compared as it is written
    ///     allow spiffe prod.example by spire.pem # a trust domain, with its anchors
    ///     allow sha256 THUMBPRINT                # one certificate, whatever its names
    ///     deny dns old.crawl.example             # stronger than any allow
    ///
    /// With an `allow` each DNS and URI name of the leaf has to be allowed, and it has to have one. `by` and files' names or
    /// SHA-256 thumbprints of anchors: the rule holds for chains that end there, so that each operator's anchor vouches for
    /// its own names alone. A certificate is refused, whatever the rules, if one of these names cannot be compared: with a
    /// wildcard, an octet that no host's name has (NUL, IDN in UTF-8), a dot at its end, a SPIFFE ID beside another URI.
    /// Subjects and names of other kinds are not looked at: go by has_name.
    /// Throws error: malformed with `name` and the line; holds_nothing without a rule.
    [[nodiscard]] trust with_admitted(std::string_view rules, std::string_view name = "rules") const;

    /// with_admitted_from_file reads the same from a file. Throws error{unreadable} as well.
    [[nodiscard]] trust with_admitted_from_file(const std::filesystem::path& rules) const;

    /// with_depth sets how many CAs may stand between leaf and anchor. Default: OpenSSL's, 100.
    [[nodiscard]] trust with_depth(std::uint16_t most) const;

    /// with_purpose sets what the certificates must be fit for. Default: purpose::client.
    [[nodiscard]] trust with_purpose(purpose what) const;

    /// with_time verifies as if it were `then`, to the second, for ever. For tests, and for a clock that is
    /// wrong. Danger: what expires or is revoked after `then` stays good. Sessions go by the real clock all
    /// the same. Default: the time of the handshake.
    [[nodiscard]] trust with_time(std::chrono::system_clock::time_point then) const;

    /// with_partial_chains makes each certificate here an anchor that ends a chain, also one that is not
    /// self-signed: an intermediate without its root, or an agent's own. Default: a chain ends in a
    /// self-signed certificate.
    [[nodiscard]] trust with_partial_chains() const;

    /// size is the number of different anchors; crl_count that of different CRLs.
    [[nodiscard]] std::size_t size() const noexcept;
    [[nodiscard]] std::size_t crl_count() const noexcept;

    /// digest is SHA-256 over all that decides: each anchor, CRL and pin, in whatever order they came, and
    /// every setting. Equal for equal trust in any process on any machine, other for other trust.
    [[nodiscard]] const std::array<std::uint8_t, 32>& digest() const noexcept;

    /// store is the library's own view of it.
    [[nodiscard]] const std::shared_ptr<const detail::trust_store>& store() const noexcept { return store_; }

private:
    explicit trust(std::shared_ptr<const detail::trust_store> store) noexcept : store_(std::move(store)) {}
    std::shared_ptr<const detail::trust_store> store_;
};

} // namespace reqauth
