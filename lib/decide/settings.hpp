// SPDX-License-Identifier: Apache-2.0
#pragma once

// The settings of servers and clients, described.

#include "../describe.hpp"

#include <reqauth/client.hpp>
#include <reqauth/server.hpp>

namespace reqauth::detail {

template <> inline constexpr auto description<client_auth::settings> = described<client_auth::settings>(
    setting("asks", &client_auth::settings::asks), setting("agents", &client_auth::settings::agents),
    setting("lets_invalid_pass", &client_auth::settings::lets_invalid_pass),
    setting("takes_unvouched", &client_auth::settings::takes_unvouched));

template <> inline constexpr auto description<server_policy> = described<server_policy>(
    setting("when_offered", &server_policy::when_offered), setting("ca_names", &server_policy::ca_names),
    setting("beside_customers", &server_policy::beside_customers),
    setting("beside_required", &server_policy::beside_required),
    setting("shared_anchors", &server_policy::shared_anchors), setting("cross_signed", &server_policy::cross_signed),
    setting("verify_result_ok", &server_policy::verify_result_ok),
    setting("refuse_early_data", &server_policy::refuse_early_data),
    setting("session_id_context", &server_policy::session_id_context,
            {.most = 32, .unit = " octets"})); // OpenSSL's most

inline constexpr bounds flag_bounds{.most = flag_set::capacity - 1, .rule = "FLAG-1"};

template <> inline constexpr auto description<server_options> = described<server_options>(
    apart("accept", &server_options::accept), // its answer is in the scope of each ClientHello
    apart("observe", &server_options::observe),
    setting("max_session_age", &server_options::max_session_age,
            {.most = longest_session_age.count(), .unit = " seconds"}),
    setting("label", &server_options::label), setting("flag", &server_options::flag, flag_bounds),
    setting("extension", &server_options::extension),
    apart("chained_psk_find_session", &server_options::chained_psk_find_session),
    apart("certificate_is_chosen_by_callback", &server_options::certificate_is_chosen_by_callback),
    apart("assigned_extensions_alone", &server_options::assigned_extensions_alone));

template <> inline constexpr auto description<client_policy> = described<client_policy>(
    apart("credential", &client_policy::credential), // a digest of their own: they can be replaced
    apart("further_credentials", &client_policy::further_credentials), setting("offer", &client_policy::offer),
    setting("when_unacknowledged", &client_policy::when_unacknowledged),
    setting("when_unsatisfiable", &client_policy::when_unsatisfiable),
    setting("danger_unproven_servers", &client_policy::danger_unproven_servers),
    setting("further_flags", &client_policy::further_flags), setting("label", &client_policy::label),
    setting("flag", &client_policy::flag, flag_bounds), setting("extension", &client_policy::extension),
    apart("offers_to", &client_policy::offers_to), apart("observe", &client_policy::observe),
    apart("chained_certificate_callback", &client_policy::chained_certificate_callback));

} // namespace reqauth::detail
