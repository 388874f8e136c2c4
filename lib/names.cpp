// SPDX-License-Identifier: Apache-2.0

// What every public enum and every alert is called. The tables are in the order of the enumerators, and tests/unit/names
// holds them against the compiler's own names.

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>
#include <reqauth/peer.hpp>
#include <reqauth/server.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace reqauth {

namespace {

template <class Enum, std::size_t Size>
std::string_view name_in(const std::string_view (&names)[Size], Enum value) noexcept {
    const auto at = static_cast<std::size_t>(value);
    return at < Size ? names[at] : std::string_view();
}

constexpr std::string_view error_codes[] = {
    "unreadable",         "malformed",          "holds_nothing",    "crl_unusable",
    "passphrase",         "key_unusable",       "outside_validity", "refused",
    "provider",           "contradiction",      "out_of_range",     "names_too_long",
    "not_attached",       "unsuitable_context", "extension_taken",  "already_attached",
    "unequal_extensions", "shared_anchor",      "openssl"};
constexpr std::string_view malformations[] = {"no", "empty", "length", "trailing_zero"};
constexpr std::string_view purposes[] = {"client", "server", "any"};
constexpr std::string_view modes[] = {"none", "request", "require"};
constexpr std::string_view alt_names[] = {"dns", "uri", "email", "ip", "other"};
constexpr std::string_view reasons[] = {
    "not_offered", "ignored", "empty", "invalid", "not_witnessed", "not_vouched", "handshake_unfinished"};
constexpr std::string_view certificates[] = {"not_asked", "awaited", "empty", "verified", "invalid"};
constexpr std::string_view offers[] = {"when_available", "always", "never"};
constexpr std::string_view answers_to_unacknowledged[] = {"as_before", "empty", "present"};
constexpr std::string_view answers_to_unsatisfiable[] = {"empty", "close", "present"};
constexpr std::string_view withholdings[] = {"nothing", "never", "no_credential", "outside_validity"};
constexpr std::string_view answers[] = {"none", "empty", "flag", "other"};
constexpr std::string_view verdicts[] = {"none", "awaited", "accepted", "refused"};

constexpr std::pair<int, const char*> alerts[] = {{0, "close_notify"},
                                                  {10, "unexpected_message"},
                                                  {20, "bad_record_mac"},
                                                  {22, "record_overflow"},
                                                  {40, "handshake_failure"},
                                                  {42, "bad_certificate"},
                                                  {43, "unsupported_certificate"},
                                                  {44, "certificate_revoked"},
                                                  {45, "certificate_expired"},
                                                  {46, "certificate_unknown"},
                                                  {47, "illegal_parameter"},
                                                  {48, "unknown_ca"},
                                                  {49, "access_denied"},
                                                  {50, "decode_error"},
                                                  {51, "decrypt_error"},
                                                  {70, "protocol_version"},
                                                  {71, "insufficient_security"},
                                                  {80, "internal_error"},
                                                  {86, "inappropriate_fallback"},
                                                  {90, "user_canceled"},
                                                  {100, "no_renegotiation"},
                                                  {109, "missing_extension"},
                                                  {110, "unsupported_extension"},
                                                  {112, "unrecognized_name"},
                                                  {113, "bad_certificate_status_response"},
                                                  {115, "unknown_psk_identity"},
                                                  {116, "certificate_required"},
                                                  {120, "no_application_protocol"},
                                                  {121, "ech_required"}};

} // namespace

std::string_view to_string(errc code) noexcept { return name_in(error_codes, code); }
std::string_view to_string(malformed why) noexcept { return name_in(malformations, why); }
std::string_view to_string(purpose what) noexcept { return name_in(purposes, what); }
std::string_view to_string(client_auth::mode how) noexcept { return name_in(modes, how); }
std::string_view to_string(subject_alt_name::kind type) noexcept { return name_in(alt_names, type); }
std::string_view to_string(reason why) noexcept { return name_in(reasons, why); }
std::string_view to_string(server_outcome::answer certificate) noexcept { return name_in(certificates, certificate); }
std::string_view to_string(offer when) noexcept { return name_in(offers, when); }
std::string_view to_string(unacknowledged what) noexcept { return name_in(answers_to_unacknowledged, what); }
std::string_view to_string(unsatisfiable what) noexcept { return name_in(answers_to_unsatisfiable, what); }
std::string_view to_string(withheld why) noexcept { return name_in(withholdings, why); }
std::string_view to_string(client_outcome::answer sent) noexcept { return name_in(answers, sent); }
std::string_view to_string(client_outcome::verdict judged) noexcept { return name_in(verdicts, judged); }

std::string alert_name(int number) {
    const auto found = std::ranges::find(alerts, number, &std::pair<int, const char*>::first);
    return found != std::end(alerts) ? found->second : "alert_" + std::to_string(number);
}

} // namespace reqauth
