// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <reqauth/error.hpp>

#include <charconv>
#include <stdexcept>
#include <string_view>

namespace reqauth_apache {

namespace {

// What is wrong with an argument: Apache puts the file and the line before it.
struct wrong : std::runtime_error {
    using std::runtime_error::runtime_error;
};

bool either(std::string_view argument, const char* yes, const char* no) {
    if (ap_cstr_casecmp(argument.data(), yes) == 0) return true;
    if (ap_cstr_casecmp(argument.data(), no) == 0) return false;
    throw wrong("takes " + std::string(yes) + " or " + no + ", not \"" + std::string(argument) + '"');
}

template <class Number> Number number(std::string_view argument, Number most, const char* what) {
    Number value = 0;
    const auto [end, failed] = std::from_chars(argument.data(), argument.data() + argument.size(), value);
    if (failed != std::errc() || end != argument.data() + argument.size() || value > most)
        throw wrong("takes " + std::string(what) + ", 0 to " + std::to_string(most) + ", not \"" +
                    std::string(argument) + '"');
    return value;
}

std::filesystem::path path(cmd_parms* command, const char* argument) {
    const char* whole = ap_server_root_relative(command->pool, argument);
    if (whole == nullptr) throw wrong("\"" + std::string(argument) + "\" is no path");
    return whole;
}

template <class Type> void put(cmd_parms* command, given<Type>& where, Type value) {
    where = {std::move(value), {command->directive->filename, command->directive->line_num}, command->server};
}

constexpr std::uint32_t seven_days = 7 * 24 * 3600;

using setter = void (*)(settings&, cmd_parms*, const char*);

void set_on(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.on, either(argument, "on", "off"));
}
void set_file(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.anchors, reqauth::trust::from_file(path(command, argument)));
}
void set_directory(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.anchors, reqauth::trust::from_directory(path(command, argument)));
}
void set_revocation(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.revocation, path(command, argument));
}
void set_missing(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.missing_fails, either(argument, "fail", "continue"));
}
void set_invalid(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.invalid_continues, either(argument, "continue", "fail"));
}
void set_ca_names(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.ca_names, either(argument, "on", "off"));
}
void set_depth(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.depth, number<std::uint16_t>(argument, 100, "a number of CAs"));
}
void set_beside_required(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.beside_required, either(argument, "on", "off"));
}
void set_misdirected(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.misdirected_is_421, either(argument, "421", "empty"));
}
void set_trusts_inbound(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.trusts_inbound, either(argument, "on", "off"));
}
void set_session_age(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.session_age, std::chrono::seconds(number<std::uint32_t>(argument, seven_days, "seconds")));
}
void set_flag(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.flag, number<reqauth::flag_number>(argument, 2039, "the flag's number"));
}
void set_extension(settings& to, cmd_parms* command, const char* argument) {
    put(command, to.extension, number<reqauth::extension_type>(argument, 65535, "an extension type"));
}

template <setter Set, bool Everywhere> const char* take(cmd_parms* command, void*, const char* argument) noexcept {
    try {
        if (!Everywhere && command->server->is_virtual != 0)
            throw wrong("holds for all virtual hosts at once: write it outside of <VirtualHost>");
        Set(settings_of(command->server), command, argument);
        return nullptr;
    } catch (const std::exception& failed) {
        return apr_pstrcat(command->pool, command->cmd->name, ": ", failed.what(), nullptr);
    }
}

// mod_ssl's own directive: httpd gives it to each module that has one of this name. mod_ssl tells nobody what it says of
// a place; and it looks there whether the connection's verify mode is that strong already, not whether a customer came.
const char* note_verify_client(cmd_parms* command, void* place, const char* argument) noexcept {
    if (ap_find_linked_module("mod_ssl.c") == nullptr) return "SSLVerifyClient is of mod_ssl: load it (a2enmod ssl)";
    if (command->path != nullptr)
        static_cast<place_settings*>(place)->requires_customer =
            ap_cstr_casecmp(argument, "require") == 0 || ap_cstr_casecmp(argument, "on") == 0;
    return nullptr;
}

const char* take_header(cmd_parms* command, void*, const char* name, const char* variable) noexcept {
    try {
        settings_of(command->server).set(field_of(name, variable));
        return nullptr;
    } catch (const std::exception& failed) {
        return apr_pstrcat(command->pool, command->cmd->name, ": ", failed.what(), nullptr);
    }
}

// Apache's macros for this need designated initializers in C++, which they do not use there.
command_rec command(const char* name, const char* (*function)(cmd_parms*, void*, const char*) noexcept,
                    const char* help, int places = RSRC_CONF) {
    return {name, reinterpret_cast<cmd_func>(reinterpret_cast<void (*)()>(function)), nullptr, places, TAKE1,
            help}; // NOLINT
}

constexpr bool everywhere = true;
constexpr bool once = false;

} // namespace

const command_rec commands[] = {
    command("ReqAuth", take<set_on, everywhere>, "on or off: ask clients that offer the flag for a certificate"),
    command("ReqAuthCACertificateFile", take<set_file, everywhere>, "a PEM file with the CAs of agents"),
    command("ReqAuthCACertificatePath", take<set_directory, everywhere>, "a directory of PEM files with them"),
    command("ReqAuthCARevocationFile", take<set_revocation, everywhere>, "a PEM file with CRLs of those CAs"),
    command("ReqAuthMissing", take<set_missing, everywhere>, "continue or fail: where no certificate is sent"),
    command("ReqAuthInvalid", take<set_invalid, everywhere>, "fail or continue: where it does not verify"),
    command("ReqAuthCANames", take<set_ca_names, everywhere>, "on or off: name the CAs in the request"),
    command("ReqAuthVerifyDepth", take<set_depth, everywhere>, "the most CAs between a certificate and its anchor"),
    command("ReqAuthBesideRequired", take<set_beside_required, everywhere>,
            "on or off: agents come in beside SSLVerifyClient require"),
    command("ReqAuthMisdirected", take<set_misdirected, everywhere>,
            "empty or 421: where Host is another virtual host than the handshake's"),
    {"ReqAuthHeader", reinterpret_cast<cmd_func>(reinterpret_cast<void (*)()>(take_header)), nullptr, RSRC_CONF, TAKE12,
     "a header field for the application behind, and the REQAUTH_... that it holds"}, // NOLINT
    command("ReqAuthDangerTrustInboundFields", take<set_trusts_inbound, everywhere>,
            "on or off: leaves Client-Cert and the fields of ReqAuthHeader as they came, behind a proxy"),
    command("ReqAuthSessionAge", take<set_session_age, once>, "seconds for which a verification counts in sessions"),
    command("ReqAuthFlag", take<set_flag, once>, "the number of the flag request_client_auth"),
    command("ReqAuthExtension", take<set_extension, once>, "the type of the extension tls_flags"),
    command("SSLVerifyClient", note_verify_client, "as mod_ssl has it", RSRC_CONF | OR_AUTHCFG),
    command_rec{}};

} // namespace reqauth_apache
