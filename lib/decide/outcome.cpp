// SPDX-License-Identifier: Apache-2.0
#include "outcome.hpp"

namespace reqauth {

std::string_view to_string(reason why) noexcept {
    switch (why) {
    case reason::not_offered: return "not_offered";
    case reason::ignored: return "ignored";
    case reason::empty: return "empty";
    case reason::invalid: return "invalid";
    case reason::not_witnessed: return "not_witnessed";
    case reason::not_vouched: return "not_vouched";
    case reason::handshake_unfinished: return "handshake_unfinished";
    }
    return "";
}

namespace detail {

namespace {

// Facts of an earlier handshake of the same SSL are nobody's. The server's own Random cannot be
// repeated by a client, so only it carries a decision; under TLS 1.2 nothing is recorded at all.
bool decided_now(const server_exchange* exchange, const findings& now) noexcept {
    return exchange != nullptr && exchange->hello && exchange->server_random == now.server_random;
}

bool heard_now(const server_exchange* exchange, const findings& now) noexcept {
    return decided_now(exchange, now) || (exchange != nullptr && exchange->hello && !exchange->server_random &&
                                          exchange->hello->client_random == now.client_random);
}

} // namespace

std::optional<reason> conclude(const server_exchange* exchange, const findings& now) noexcept {
    if (!now.server) return reason::not_offered;
    if (!now.finished) return reason::handshake_unfinished;
    //= TLS-5
    if (!heard_now(exchange, now) || !exchange->hello->offered) return reason::not_offered;
    if (!decided_now(exchange, now) || exchange->decided != verdict::accept) return reason::ignored;
    //= SEC-1
    //= RCA-16
    if (now.resumed && !exchange->vouched) return reason::not_vouched;
    if (exchange->witness.failed) return reason::invalid;
    if (!now.certificate) return reason::empty;
    if (!exchange->witness.held || exchange->witness.leaf != now.leaf) return reason::not_witnessed;
    return std::nullopt;
}

server_outcome progress(const server_exchange* exchange, const findings& now) noexcept {
    using answer = server_outcome::answer;
    server_outcome out;
    if (!now.server || !heard_now(exchange, now)) return out;
    out.offered = exchange->hello->offered;
    out.flags = exchange->hello->flags;
    if (!out.offered || !decided_now(exchange, now) || exchange->decided != verdict::accept) return out;
    out.accepted = true;
    if (now.resumed && !exchange->vouched) return out;
    if (exchange->witness.failed) {
        out.certificate = answer::invalid;
        out.verify_error = exchange->witness.error;
    } else if (!now.finished) {
        out.certificate = answer::awaited;
    } else {
        const auto against = conclude(exchange, now);
        out.certificate = !against ? answer::verified : *against == reason::empty ? answer::empty : answer::invalid;
    }
    return out;
}

} // namespace detail
} // namespace reqauth
