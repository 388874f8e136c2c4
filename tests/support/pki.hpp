// SPDX-License-Identifier: Apache-2.0
#pragma once

// Keys and certificates made in memory.

#include "support/owned.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace support {

enum class key_type { p256, rsa, ed25519, secp256k1 };

owned<EVP_PKEY> make_key(key_type type = key_type::p256);

/// public_half gives a key that has no private part.
owned<EVP_PKEY> public_half(const EVP_PKEY& key);

/// alt_name is one subjectAltName: a GEN_ type and any octets at all.
struct alt_name {
    int type = GEN_DNS;
    std::string value;
};

/// description is what a certificate says. Times are seconds from now.
struct description {
    std::string common_name;
    bool ca = false;
    std::vector<alt_name> alt_names = {};
    std::string extended_key_usage = {}; ///< as in an OpenSSL configuration; empty: no such extension
    std::string name_constraints = {};   ///< the same
    long not_before = -3600;
    long not_after = 24L * 3600;
    key_type key = key_type::p256;
    bool name_is_no_text = false;  ///< the CN is a BIT STRING
    bool key_identifiers = true;   ///< subjectKeyIdentifier and authorityKeyIdentifier
    std::string organization = {}; ///< empty: none
};

/// identity is a certificate with its private key.
struct identity {
    owned<X509> certificate;
    owned<EVP_PKEY> key;
};

/// issue makes a certificate, signed by `issuer` or, where there is none, by itself. It is for `key`,
/// or for a new one.
identity issue(const description& about, const identity* issuer = nullptr, EVP_PKEY* key = nullptr);

/// stolen is the certificate of `whose` without its private key: with one that claims its public half. P-256 only.
identity stolen(const identity& whose);

/// agent_description is a crawler's ordinary certificate.
description agent_description(std::string common_name);

/// crl_description is what a CRL says. Times are seconds from now.
struct crl_description {
    std::vector<const X509*> revoked = {};
    long this_update = -3600;
    long next_update = 24L * 3600;
    bool delta = false;      ///< names a base CRL
    bool indirect = false;   ///< may name other CAs' certificates
    bool by_serial = false;  ///< its authorityKeyIdentifier has the serial number of the issuer's certificate, too
    bool for_leaves = false; ///< its issuingDistributionPoint says so
};

/// crl makes a CRL of `issuer`, signed with its key, as PEM.
std::string crl(const identity& issuer, const crl_description& about = {});

/// pin_of is SHA-256 over the key's SubjectPublicKeyInfo.
std::array<std::uint8_t, 32> pin_of(const EVP_PKEY& key);

std::string pem(const X509& certificate);
std::string pem(const EVP_PKEY& key, const std::string& passphrase = {});
std::string public_pem(const EVP_PKEY& key);

/// cast is who plays in most tests.
struct cast {
    identity server_ca = issue({.common_name = "Server CA", .ca = true});
    identity server = issue({.common_name = "server.example", .alt_names = {{GEN_DNS, "server.example"}}}, &server_ca);
    identity agents_ca = issue({.common_name = "Agents CA", .ca = true});
    identity agent = issue(agent_description("crawler.example"), &agents_ca);
    identity other_agent = issue(agent_description("other.example"), &agents_ca);
    identity customers_ca = issue({.common_name = "Customers CA", .ca = true});
    identity customer = issue({.common_name = "customer.example", .extended_key_usage = "clientAuth"}, &customers_ca);
    identity expired_agent = issue(
        {.common_name = "expired.example", .extended_key_usage = "clientAuth", .not_before = -7200, .not_after = -3600},
        &agents_ca);
};

const cast& the_cast();

/// temporary_directory is removed with all that is in it.
class temporary_directory {
public:
    temporary_directory();
    ~temporary_directory();
    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;

    /// write makes a file and gives its path.
    std::filesystem::path write(const std::string& name, std::string_view text) const;
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

} // namespace support
