// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <stdexcept>
#include <string_view>

namespace reqauth_apache {

namespace {

// Sets the row of the table that the directive spells. Apache puts the file and the line before an error.
// NOLINTNEXTLINE(bugprone-exception-escape): all that is thrown is a std::exception
const char* take(cmd_parms* command, void*, const char* argument) noexcept {
    try {
        const auto row = static_cast<std::size_t>(static_cast<const setting*>(command->cmd->cmd_data) - table);
        if (table[row].of_listener && command->server->is_virtual != 0)
            throw std::runtime_error("holds for all virtual hosts at once: write it outside of <VirtualHost>");
        settings& to = settings_of(command->server);
        if (std::holds_alternative<path>(table[row].kind)) {
            const char* whole = ap_server_root_relative(command->pool, argument);
            if (whole == nullptr) throw std::runtime_error("\"" + std::string(argument) + "\" is no path");
            argument = whole;
        }
        set(to.all, row, argument);
        to.said[row] = {{command->directive->filename, command->directive->line_num}, command->server};
        if (row == of("agents")) to.anchors = load({.agents = to.all.agents});
        return nullptr;
    } catch (const std::exception& failed) {
        return apr_pstrcat(command->pool, command->cmd->name, ": ", words_of(failed).c_str(), nullptr);
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
template <class Function> command_rec command(const char* name, Function* function, cmd_how how, const char* help,
                                              int places = RSRC_CONF, const setting* row = nullptr) {
    return {name,
            reinterpret_cast<cmd_func>(reinterpret_cast<void (*)()>(function)),
            const_cast<setting*>(row),
            places,
            how,
            help}; // NOLINT
}

/// spell makes the directive of a row.
command_rec spell(const char* name, std::size_t row) {
    return command(name, take, TAKE1, table[row].help, RSRC_CONF, &table[row]);
}

} // namespace

// In any order.
const command_rec commands[] = {
    spell("ReqAuth", of("on")),
    spell("ReqAuthCACertificateFile", of("agents")),
    spell("ReqAuthCACertificatePath", of("agents")),
    spell("ReqAuthCARevocationFile", of("crl")),
    spell("ReqAuthPurpose", of("purpose")),
    spell("ReqAuthAdmittedFile", of("admitted")),
    spell("ReqAuthMissing", of("missing")),
    spell("ReqAuthInvalid", of("invalid")),
    spell("ReqAuthUnvouched", of("unvouched")),
    spell("ReqAuthCANames", of("ca_names")),
    spell("ReqAuthVerifyDepth", of("verify_depth")),
    spell("ReqAuthBesideRequired", of("beside_required")),
    spell("ReqAuthCrossSigned", of("cross_signed")),
    spell("ReqAuthMisdirected", of("misdirected")),
    spell("ReqAuthCount", of("counts")),
    spell("ReqAuthDangerTrustInboundFields", of("trusts_inbound")),
    spell("ReqAuthSessionAge", of("session_age")),
    spell("ReqAuthFlag", of("flag")),
    spell("ReqAuthExtension", of("extension")),
    command("ReqAuthHeader", take_header, TAKE12,
            "a header field for the application behind, and the REQAUTH_... that it holds"),
    command("SSLVerifyClient", note_verify_client, TAKE1, "as mod_ssl has it", RSRC_CONF | OR_AUTHCFG),
    command_rec{}};

const char* spelled(std::size_t row) {
    const auto* each = commands;
    while (each->name != nullptr && each->cmd_data != &table[row]) ++each;
    return each->name;
}

} // namespace reqauth_apache
