// SPDX-License-Identifier: Apache-2.0
#include "journal.hpp"

#include "../agent_text.hpp"
#include "hooks.hpp"

#include <reqauth/http.hpp>

#include <nlohmann/json.hpp>
#include <openssl/ssl.h>

#include <unistd.h>

#include <cerrno>

using json = nlohmann::ordered_json;

namespace {

// One call, so that lines of several processes do not mix.
void put(int file, std::string line) {
    const int before = errno;
    line += '\n';
    (void)!::write(file, line.data(), line.size());
    errno = before;
}

std::string line_of(const json& members) { return members.dump(-1, ' ', true, json::error_handler_t::replace); }

json text_or_null(std::string_view text) { return text.empty() ? json() : json(text); }

json common(const SSL& ssl, std::string_view event, std::string_view side) {
    const char* name = SSL_get_servername(&ssl, TLSEXT_NAMETYPE_host_name);
    return {{"event", event},
            {"program", program_invocation_short_name},
            {"process", getpid()},
            {"side", side},
            {"ok", SSL_is_init_finished(&ssl) == 1},
            {"version", SSL_get_version(&ssl)},
            {"server_name", text_or_null(name != nullptr ? name : "")},
            {"resumed", SSL_session_reused(&ssl) == 1}};
}

std::string_view named(reqauth::server_outcome::answer certificate) {
    using answer = reqauth::server_outcome::answer;
    switch (certificate) {
    case answer::not_asked: return "not_requested";
    case answer::awaited: return "awaited";
    case answer::empty: return "empty";
    case answer::verified: return "verified";
    case answer::invalid: break;
    }
    return "invalid";
}

json members_of(const reqauth::presented_certificate& what) {
    return {{"subject", what.subject},
            {"issuer", what.issuer},
            {"serial", what.serial},
            {"not_before", what.not_before},
            {"not_after", what.not_after},
            {"fingerprint", reqauth_modules::hexadecimal(what.thumbprint)},
            {"key_proven", what.key_proven},
            {"verify_error", what.verify_error},
            {"depth", what.depth},
            {"failed", text_or_null(what.failed)},
            {"because", text_or_null(what.because)},
            {"server_at_fault", what.server_at_fault}};
}

std::string quoted(const json& text) { return text.is_null() ? "no name" : reqauth::quoted(text.get<std::string>()); }

} // namespace

journal::journal(const settings& all)
    : verbose_(all.verbose), path_(all.log), error_(file::of(STDERR_FILENO)),
      retries_without_flag_(all.retry_without_flag) {
    if (path_.empty()) return;
    try {
        log_ = open_log(path_, true);
        number_ = log_.number;
    } catch (const cannot_log& why) {
        lost_ = true;
        say(std::string("does not write its log: ") + why.what());
    }
}

void journal::say(const std::string& text) {
    if (error_.still()) put(error_.number, "reqauth-exec: " + (printable_name().text + (" " + text)));
}

void journal::say_refused(const SSL& ssl) {
    const reqauth::explanation why = reqauth::explain(ssl);
    say(quoted(common(ssl, "", "")["server_name"]) + ": " + why.cause + "; " + why.remedy);
}

void journal::log(std::string_view json) {
    if (path_.empty() || lost_) return;
    file now{number_, log_.device, log_.inode};
    if (!now.still()) {
        try {
            now = open_log(path_, false);
            if (!now.same_as(log_)) {
                close(now.number);
                throw cannot_log(path_ + ": is another file by now; start it again");
            }
            number_ = now.number;
        } catch (const cannot_log& why) {
            if (!lost_.exchange(true)) say(std::string("has closed its log, and writes it no more: ") + why.what());
            return;
        }
    }
    put(now.number, std::string(json));
}

/// cure is what to do about it with reqauth-exec's options.
std::string cure(reqauth::unmet what) {
    switch (what) {
    case reqauth::unmet::authorities:
        return "put the intermediate into --cert, or give a certificate of one of the CAs that it names";
    case reqauth::unmet::algorithms: return "give --cert and --key of another kind, as P-256 or RSA";
    case reqauth::unmet::outside_validity: return "renew --cert, or look at this machine's clock";
    case reqauth::unmet::untrusted:
    case reqauth::unmet::other_name:
    case reqauth::unmet::unknown_name:
        return "have the program verify the server, by a name that its certificate has, or say "
               "--danger-unproven-servers";
    case reqauth::unmet::no_credential:
    case reqauth::unmet::nothing: break;
    }
    return {};
}

void journal::write(std::string_view json, const std::string& text) {
    if (verbose_) say(text);
    log(json);
}

void journal::note(const SSL& ssl, const reqauth::client_outcome& outcome) {
    if (!wanted() && outcome.unmet == reqauth::unmet::nothing && !outcome.hello_unanswered) return;
    json line = common(ssl, "connection", "client");
    line["offered"] = outcome.offered;
    line["requested"] = outcome.requested;
    line["acknowledged"] = outcome.acknowledged;
    line["sent"] = to_string(outcome.sent);
    line["judged"] = to_string(outcome.judged);
    line["withheld"] = outcome.offered ? json() : json(to_string(outcome.withheld));
    const reqauth::explanation why = reqauth::explain(ssl);
    const std::string to_do =
        !outcome.hello_unanswered ? cure(outcome.unmet)
        : retries_without_flag_
            ? "the next connection to it goes without"
            : "it, or something before it, may not take the flag: try --retry-without-flag, and again";
    line["authorities"] = why.authorities;
    line["unmet"] = outcome.unmet == reqauth::unmet::nothing ? json() : json(to_string(outcome.unmet));
    line["issuers"] = why.issuers;
    line["why"] = why.cause.empty() ? json() : json(why.cause + "; " + (to_do.empty() ? why.remedy : to_do));
    line["alert_received"] = outcome.alert_received ? json(reqauth::alert_name(*outcome.alert_received)) : json();
    std::string text = quoted(line["server_name"]) + ": ";
    if (!outcome.offered)
        text += "the flag was not offered: " + std::string(to_string(outcome.withheld));
    else if (outcome.resumed)
        text += "offered, resumed an earlier session";
    else if (!outcome.requested)
        text += outcome.hello_unanswered ? "offered" : "offered, and not asked";
    else
        text += std::string("offered, ") + (outcome.acknowledged ? "acknowledged" : "asked for another reason") +
                ", sent: " + std::string(to_string(outcome.sent)) +
                ", judged: " + std::string(to_string(outcome.judged));
    if (outcome.alert_received) text += ", alert: " + line["alert_received"].get<std::string>();
    if (outcome.offered && !why.cause.empty()) text += ": " + line["why"].get<std::string>();
    // Told of once without --verbose: the server wanted --cert, and did not get it, or it does not take the flag.
    std::atomic<bool>& told = outcome.hello_unanswered ? told_of_ending_ : told_;
    if (!to_do.empty() && !verbose_ && !told.exchange(true)) say(text);
    write(line_of(line), text);
}

void journal::note(const SSL& ssl, const reqauth::server_outcome& outcome, std::string_view alert_sent,
                   std::string_view alert_received) {
    json line = common(ssl, "connection", "server");
    const reqauth::peer who = reqauth::peer_of(ssl);
    const auto* agent = std::get_if<reqauth::flagged_peer>(&who);
    line["offered"] = outcome.offered;
    line["outcome"] = !outcome.offered ? "not_offered" : outcome.accepted ? "accepted" : "ignored";
    line["certificate"] = named(outcome.certificate);
    line["reason"] = agent != nullptr ? json() : json(to_string(std::get<reqauth::other_peer>(who).why));
    line["subject"] = agent != nullptr ? json(agent->subject()) : json();
    const auto presented = reqauth::presented_of(ssl);
    line["presented"] = presented ? members_of(*presented) : json();
    json names = json::array();
    if (agent != nullptr)
        for (const auto& name : agent->alt_names()) names.push_back(to_string(name));
    line["san"] = std::move(names);
    line["alert_sent"] = text_or_null(alert_sent);
    line["alert_received"] = text_or_null(alert_received);
    std::string text = quoted(line["server_name"]) + ": ";
    if (agent != nullptr)
        text += "an agent, " + agent->subject() + (agent->resumed() ? ", resumed" : "");
    else
        text += "no agent: " + line["reason"].get<std::string>();
    if (presented) text += ", " + to_string(*presented);
    if (!alert_sent.empty()) text += ", alert sent: " + std::string(alert_sent);
    if (!alert_received.empty()) text += ", alert received: " + std::string(alert_received);
    write(line_of(line), text);
}
