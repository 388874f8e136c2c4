// SPDX-License-Identifier: Apache-2.0
#pragma once

// What is counted of a server's handshakes, in one table, and as text for those who watch servers.

#include "../lib/describe.hpp"

#include <reqauth/server.hpp>

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace reqauth_settings {

using reqauth::server_counters;

/// counter is a row of the table.
struct counter {
    const char* name; ///< as Prometheus has it
    const char* help;
    std::variant<std::uint64_t server_counters::*, decltype(server_counters::reasons) server_counters::*,
                 decltype(server_counters::verify_errors) server_counters::*>
        field;
};

constexpr counter counters[] = {
    {"reqauth_handshakes_total", "TLS handshakes that have ended, well or badly", &server_counters::handshakes},
    {"reqauth_handshakes_offered_total", "Handshakes whose client offered the flag request_client_auth",
     &server_counters::offered},
    {"reqauth_handshakes_asked_total", "Of those offered, handshakes in which a certificate was asked for",
     &server_counters::asked},
    {"reqauth_handshakes_acknowledged_total", "Of those offered, handshakes in which it was asked for due to the flag",
     &server_counters::acknowledged},
    {"reqauth_handshakes_verified_total", "Handshakes by which a verified agent came in", &server_counters::verified},
    {"reqauth_handshakes_resumed_total", "Of those verified, handshakes that resumed a session",
     &server_counters::resumed},
    {"reqauth_handshakes_refused_total", "Of those offered, handshakes that the server ended with an alert",
     &server_counters::refused},
    {"reqauth_handshakes_unverified_total", "Handshakes by which no verified agent came in, by the reason",
     &server_counters::reasons},
    {"reqauth_verify_errors_total", "Agents' certificates that did not verify, by OpenSSL's error",
     &server_counters::verify_errors},
};

static_assert(std::size(counters) == reqauth::detail::fields_of<server_counters>(), "a counter is not in the table");

/// one_server is a server's counters, and its name for the label "server"; empty: without.
struct one_server {
    std::string name;
    server_counters counted;
};

/// metrics_type is the media type of what metrics writes: Prometheus' text format. Verify errors that never came are left out.
inline constexpr char metrics_type[] = "text/plain; version=0.0.4; charset=utf-8";
std::string metrics(const std::vector<one_server>& servers);

} // namespace reqauth_settings
