// SPDX-License-Identifier: Apache-2.0
#pragma once

// Files to certificates and CRLs, all of them or an error.

#include "fence.hpp"
#include "handle.hpp"

#include <reqauth/error.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace reqauth::detail {

/// read_file gives a file's octets. Throws error{unreadable} with the system's reason.
[[nodiscard]] std::string read_file(const std::filesystem::path& file);

/// crl_handle owns a CRL.
using crl_handle = std::unique_ptr<X509_CRL, freed_by<X509_CRL_free>>;

/// pem_objects are what a file holds, in its order.
struct pem_objects {
    std::vector<x509_handle> certificates;
    std::vector<crl_handle> crls;
};

/// wanted is what a file is to hold. Of own certificates a TRUSTED CERTIFICATE is one, too: its uses are for verifying.
enum class wanted { own_certificates, crls, certificates_and_crls };

/// objects_in reads every object that is wanted, of PEM, or the one that is there in DER. PEM of other names is passed over,
/// as OpenSSL does. Throws error{malformed} naming `name` and the block's place if one is broken, or is a TRUSTED CERTIFICATE
/// among anchors, error{holds_nothing} if there is none: never a part.
[[nodiscard]] pem_objects objects_in(std::string_view octets, std::string_view name, wanted kinds,
                                     const openssl_scope& scope);

/// is_pem says whether there is a block of PEM.
[[nodiscard]] inline bool is_pem(std::string_view octets) {
    return octets.find("-----BEGIN ") != std::string_view::npos;
}

/// not_there throws an error: the octets of `name` are none of what is wanted, which stands under the PEM label `label`, but
/// something else.
[[noreturn]] void not_there(errc code, std::string_view octets, std::string_view name, std::string_view wanted,
                            std::string_view label);

/// sha256 is SHA-256 over a certificate's or CRL's DER. Throws error{openssl}.
[[nodiscard]] std::array<std::uint8_t, 32> sha256(const X509& certificate);
[[nodiscard]] std::array<std::uint8_t, 32> sha256(const X509_CRL& crl);

/// der_of writes an object as DER by its i2d function. Throws error{openssl}.
template <class Object, class ToDer> [[nodiscard]] std::string der_of(const Object* object, ToDer to_der) {
    unsigned char* der = nullptr;
    const int size = to_der(object, &der);
    const std::unique_ptr<unsigned char, decltype([](unsigned char* octets) { OPENSSL_free(octets); })> owned(der);
    if (size < 0) throw error(errc::openssl, "a certificate cannot be written as DER" + drain_errors());
    return {reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)};
}

/// hex writes octets as lower-case hex; escape writes one as \HH.
[[nodiscard]] std::string hex(std::span<const std::uint8_t> octets);
[[nodiscard]] std::string escape(char octet);

/// seconds_of is a time in seconds since 1970, by OpenSSL's own reading of it; nothing where it has none.
/// time_text is a time as ISO 8601 has it. time_point is such seconds on the system's clock, which ends before the year 9999 of "for ever".
[[nodiscard]] std::optional<std::int64_t> seconds_of(const ASN1_TIME* time) noexcept;
[[nodiscard]] std::string time_text(const ASN1_TIME* time);
[[nodiscard]] std::chrono::system_clock::time_point time_point(std::int64_t seconds) noexcept;

/// name_text is an X.509 name as RFC 2253 has it, in printable ASCII, with \HH wherever something is escaped.
[[nodiscard]] std::string name_text(const X509_NAME* name);

} // namespace reqauth::detail
