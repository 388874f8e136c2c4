// SPDX-License-Identifier: Apache-2.0
#pragma once

// The settings of a server, in one table. nginx's and Apache's directives and the options of the programs are spellings of
// its rows: what a setting may be, what it is without being said, and what comes of it stands here alone.

#include "../lib/describe.hpp"

#include <reqauth/error.hpp>
#include <reqauth/server.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace reqauth_settings {

constexpr std::uint32_t not_said = std::numeric_limits<std::uint32_t>::max();

/// settings is what whoever runs a server says of agents.
struct settings {
    bool on = false;
    std::string agents = {};
    std::string crl = {};
    reqauth::purpose purpose = reqauth::purpose::client;
    std::string admitted = {};
    bool missing_fails = false;
    bool invalid_continues = false;
    bool unvouched = false;
    bool ca_names = true;
    std::uint32_t verify_depth = not_said; ///< OpenSSL's default, then
    bool beside_required = false;
    bool cross_signed = false;
    bool misdirected_is_421 = false;
    bool trusts_inbound = false;
    bool counts = false;
    std::uint32_t session_age =
        static_cast<std::uint32_t>(std::chrono::seconds(reqauth::server_options().max_session_age).count());
    std::string label = {};
    std::uint32_t flag = reqauth::request_client_auth;
    std::uint32_t extension = reqauth::tls_flags_extension;
};

/// choice is one of two words, in any letter case.
struct choice {
    bool settings::*field;
    const char* yes;
    const char* no;
};

/// use is what certificates are for.
struct use {
    reqauth::purpose settings::*field;
};

/// number is 0 to `most` of what it counts.
struct number {
    std::uint32_t settings::*field;
    const char* what;
    std::uint32_t most;
};

/// path is of a file, or of a directory; text is any.
struct path {
    std::string settings::*field;
};
struct text {
    std::string settings::*field;
};

/// setting is a row of the table.
struct setting {
    std::string_view name;
    std::variant<choice, use, number, path, text> kind;
    const char* help;
    bool of_listener = false; ///< holds for all SSL_CTXs between which a connection can move
};

constexpr setting table[] = {
    {"on", choice{&settings::on, "on", "off"}, "ask clients that offer the flag for a certificate"},
    {"agents", path{&settings::agents}, "trust anchors for clients that offer the flag: PEM, or a directory of it"},
    {"crl", path{&settings::crl}, "revoked agents, of each CA that issues to agents; PEM"},
    {"purpose", use{&settings::purpose},
     "what the certificates of agents and their CAs have to be for. Danger: with any, one that was issued for mail or "
     "code "
     "opens the door, too; with server, that of each web server of these CAs"},
    {"admitted", path{&settings::admitted},
     "who may come, of those that verify: a file with a rule a line, as allow dns *.crawl.example"},
    {"missing", choice{&settings::missing_fails, "fail", "continue"}, "an agent that sends no certificate"},
    {"invalid", choice{&settings::invalid_continues, "continue", "fail"},
     "an agent whose certificate does not verify; continue: it is nobody"},
    {"unvouched", choice{&settings::unvouched, "on", "off"},
     "take certificates that nobody vouches for, too; no agent's: they are handed on by a name of their own"},
    {"ca_names", choice{&settings::ca_names, "on", "off"}, "name the agents' CAs in the request"},
    {"verify_depth", number{&settings::verify_depth, "a number of CAs", 100},
     "the most CAs between a certificate and its anchor"},
    {"beside_required", choice{&settings::beside_required, "on", "off"},
     "agents come in where a certificate is required of everybody"},
    {"cross_signed", choice{&settings::cross_signed, "on", "off"},
     "agents come in whose certificate is good as a customer's, too. Danger: it then opens both doors"},
    {"misdirected", choice{&settings::misdirected_is_421, "421", "empty"},
     "the answer where a request names another host than the handshake"},
    {"trusts_inbound", choice{&settings::trusts_inbound, "on", "off"},
     "leave the fields that hold an identity as they came, behind a proxy"},
    {"counts", choice{&settings::counts, "on", "off"}, "count offers of the flag also where nobody is asked"},
    {"session_age", number{&settings::session_age, "seconds", reqauth::longest_session_age.count()},
     "longest time from an agent's verification to its last resumption; 0: none", true},
    {"label", text{&settings::label}, "keeps the sessions of one use apart from those of another", true},
    {"flag", number{&settings::flag, "the flag's number", reqauth::flag_set::capacity - 1}, "flag number", true},
    {"extension",
     number{&settings::extension, "an extension type", std::numeric_limits<reqauth::extension_type>::max()},
     "extension type", true},
};

static_assert(std::size(table) == reqauth::detail::fields_of<settings>(), "a field of settings is not in the table");

/// row is the place of a setting in the table. A name that is not there does not compile.
consteval std::size_t row(std::string_view name) {
    for (std::size_t at = 0; at < std::size(table); ++at)
        if (table[at].name == name) return at;
    throw "there is no setting of that name";
}

/// wrong is an error about what was said, and of which setting: whoever spells it says where.
struct wrong : reqauth::error {
    wrong(std::size_t row, const reqauth::error& what) : error(what), setting(row) {}
    std::size_t setting; ///< its row
};

/// said gives a setting's value in words: empty where there is none. set is its inverse. Throws wrong.
std::string said(const settings& all, std::size_t row);
void set(settings& all, std::size_t row, std::string_view words);

/// takes says what a setting can be: "on or off", "seconds, 0 to 604800".
std::string takes(std::size_t row);

/// in_words is an error, or one of the library's warnings, for whoever wrote settings: `spelled` gives a row's spelling, which
/// stands in place of its name. What to do names nothing of the library's, and no rule does.
std::string in_words(const reqauth::error& what, const char* (*spelled)(std::size_t row));
std::string in_words(std::string warning, const char* (*spelled)(std::size_t row));

/// load reads the trust anchors, unless they are given, the CRLs, and who may come. Throws wrong.
reqauth::trust load(const settings& all, std::optional<reqauth::trust> anchors = {});

/// policy_of and options_of are what comes of them. The policy is for code that tells agents from customers. Throws wrong.
reqauth::server_policy policy_of(const settings& all, const reqauth::trust& agents);
reqauth::server_options options_of(const settings& all);

} // namespace reqauth_settings
