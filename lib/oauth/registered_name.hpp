// SPDX-License-Identifier: Apache-2.0
#pragma once

// The names of a certificate as a client's metadata registers them, compared as names and not as text.

#include "../openssl/base/handle.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace reqauth::detail {

using name_handle = std::unique_ptr<X509_NAME, freed_by<X509_NAME_free>>;

/// subject_in reads a distinguished name as RFC 4514 writes it: the last relative name first. Null: it is none, or empty.
[[nodiscard]] name_handle subject_in(std::string_view text);

/// alt_name is a subjectAltName of a kind that RFC 8705 has.
struct alt_name {
    int type; ///< GEN_DNS, GEN_URI, GEN_IPADD or GEN_EMAIL
    std::string octets;
};

/// alt_name_in reads one. It is empty where the text can be none of that kind.
[[nodiscard]] alt_name alt_name_in(int type, std::string_view text);

/// has says whether the certificate has that very name, beside whatever others.
[[nodiscard]] bool has(const X509& certificate, const alt_name& name);
[[nodiscard]] bool has(const X509& certificate, const X509_NAME& subject);

} // namespace reqauth::detail
