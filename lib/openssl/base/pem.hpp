// SPDX-License-Identifier: Apache-2.0
#pragma once

// PEM text to certificates and CRLs, all of them or an error.

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

/// pem_objects are what a PEM text holds, in its order.
struct pem_objects {
    std::vector<x509_handle> certificates;
    std::vector<crl_handle> crls;
};

/// wanted is what a PEM text is to hold, and other_blocks what to do with blocks of another kind.
enum class wanted { certificates, crls, certificates_and_crls };
enum class other_blocks { skip, refuse };

/// objects_in reads every object of `pem` that is wanted. Throws error{malformed} naming `name` and the block's
/// place if one is broken or there is none: never a part.
[[nodiscard]] pem_objects objects_in(std::string_view pem, std::string_view name, wanted kinds, other_blocks others,
                                     const openssl_scope& scope);

/// not_there throws an error: the octets of `name` are none of what is wanted, which stands under the PEM label `label`, but
/// something else.
[[noreturn]] void not_there(errc code, std::string_view octets, std::string_view name, std::string_view wanted,
                            std::string_view label);

/// certificates_in reads the certificates alone.
[[nodiscard]] std::vector<x509_handle> certificates_in(std::string_view pem, std::string_view name, other_blocks others,
                                                       const openssl_scope& scope);

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
