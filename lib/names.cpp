// SPDX-License-Identifier: Apache-2.0

// What every public enum and every alert is called. tests/unit/names holds the tables against the compiler's own names.

#include "names.hpp"

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>
#include <reqauth/peer.hpp>
#include <reqauth/server.hpp>

#include <algorithm>
#include <utility>

namespace reqauth {

using detail::name_in;

namespace {

// clang-format off
constexpr std::pair<int, const char*> alerts[] = {
    {0, "close_notify"}, {10, "unexpected_message"}, {20, "bad_record_mac"}, {22, "record_overflow"},
    {40, "handshake_failure"}, {42, "bad_certificate"}, {43, "unsupported_certificate"}, {44, "certificate_revoked"},
    {45, "certificate_expired"}, {46, "certificate_unknown"}, {47, "illegal_parameter"}, {48, "unknown_ca"},
    {49, "access_denied"}, {50, "decode_error"}, {51, "decrypt_error"}, {70, "protocol_version"},
    {71, "insufficient_security"}, {80, "internal_error"}, {86, "inappropriate_fallback"}, {90, "user_canceled"},
    {100, "no_renegotiation"}, {109, "missing_extension"}, {110, "unsupported_extension"}, {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"}, {115, "unknown_psk_identity"}, {116, "certificate_required"},
    {117, "general_error"}, {120, "no_application_protocol"}, {121, "ech_required"},
};

} // namespace

std::string_view to_string(errc code) noexcept {
    return name_in({"unreadable", "malformed", "holds_nothing", "crl_unusable", "passphrase", "key_unusable",
                    "outside_validity", "refused", "provider", "contradiction", "out_of_range", "names_too_long",
                    "not_attached", "unsuitable_context", "extension_taken", "already_attached", "unequal_extensions",
                    "shared_anchor", "openssl"}, code);
}
std::string_view to_string(reason why) noexcept {
    return name_in({"not_offered", "ignored", "empty", "invalid", "not_witnessed", "not_vouched",
                    "handshake_unfinished"}, why);
}
// clang-format on
std::string_view to_string(purpose what) noexcept { return name_in({"client", "server", "any"}, what); }
std::string_view to_string(client_auth::mode how) noexcept { return name_in({"none", "request", "require"}, how); }
std::string_view to_string(subject_alt_name::kind type) noexcept {
    return name_in({"dns", "uri", "email", "ip", "other"}, type);
}
std::string_view to_string(server_outcome::answer certificate) noexcept {
    return name_in({"not_asked", "awaited", "empty", "verified", "invalid"}, certificate);
}
std::string_view to_string(offer when) noexcept { return name_in({"when_available", "always", "never"}, when); }
std::string_view to_string(unacknowledged what) noexcept { return name_in({"as_before", "empty", "present"}, what); }
std::string_view to_string(unsatisfiable what) noexcept { return name_in({"empty", "close", "present"}, what); }
std::string_view to_string(unmet why) noexcept {
    return name_in({"nothing", "no_credential", "outside_validity", "authorities", "algorithms", "untrusted",
                    "other_name", "unknown_name"},
                   why);
}
std::string_view to_string(withheld why) noexcept {
    return name_in({"nothing", "never", "no_credential", "outside_validity", "by_application"}, why);
}
std::string_view to_string(client_outcome::answer sent) noexcept {
    return name_in({"none", "empty", "flag", "other"}, sent);
}
std::string_view to_string(client_outcome::verdict judged) noexcept {
    return name_in({"none", "awaited", "ticket", "finished", "resumed", "refused"}, judged);
}

std::string alert_name(int number) {
    const auto* found = std::ranges::find(alerts, number, &std::pair<int, const char*>::first);
    return found != std::end(alerts) ? found->second : "alert_" + std::to_string(number);
}

} // namespace reqauth
