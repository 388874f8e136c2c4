// SPDX-License-Identifier: Apache-2.0
#include "outcome.hpp"

namespace reqauth::detail {

namespace {

// Facts of an earlier handshake of the same SSL are nobody's. The server's own Random cannot be
// repeated by a client, so only it carries a decision; under TLS 1.2 nothing is recorded at all.
bool decided_now(const server_facts* facts, const findings& now) noexcept {
    return facts != nullptr && facts->hello && facts->server_random == now.server_random;
}

bool heard_now(const server_facts* facts, const findings& now) noexcept {
    return decided_now(facts, now) || (facts != nullptr && facts->hello && !facts->server_random &&
                                       facts->hello->client_random == now.client_random);
}

} // namespace

std::optional<reason> conclude(const server_facts* facts, const findings& now) noexcept {
    if (!now.server) return reason::not_offered;
    if (!now.finished) return reason::handshake_unfinished;
    //= TLS-5
    if (!heard_now(facts, now) || !facts->hello->offered) return reason::not_offered;
    if (!decided_now(facts, now) || facts->decided != decision::accept) return reason::ignored;
    //= SEC-1
    //= RCA-16
    if (now.resumed && !facts->vouched) return reason::not_vouched;
    if (facts->witness.failed) return reason::invalid;
    if (!now.certificate) return reason::empty;
    if (!facts->witness.held || facts->witness.leaf != now.leaf) return reason::not_witnessed;
    return std::nullopt;
}

//= MTLS-7
bool is_unvouched(const server_facts* facts, const findings& now) noexcept {
    return conclude(facts, now) == reason::invalid && !now.resumed && now.certificate && facts->witness.unvouched &&
           facts->witness.leaf == now.leaf;
}

server_outcome progress(const server_facts* facts, const findings& now) noexcept {
    using answer = server_outcome::answer;
    server_outcome out;
    if (!now.server || !heard_now(facts, now)) return out;
    out.offered = facts->hello->offered;
    out.flags = facts->hello->flags;
    if (!out.offered || !decided_now(facts, now) || facts->decided != decision::accept) return out;
    out.accepted = true;
    if (now.resumed && !facts->vouched) return out;
    if (facts->witness.failed) {
        out.certificate = answer::invalid;
        out.verify_error = facts->witness.error;
    } else if (!now.finished) {
        out.certificate = answer::awaited;
    } else {
        const auto against = conclude(facts, now);
        out.certificate = !against ? answer::verified : *against == reason::empty ? answer::empty : answer::invalid;
    }
    return out;
}

} // namespace reqauth::detail
