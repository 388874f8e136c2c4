// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apache.hpp"
#include "fields.hpp"

#include "settings/settings.hpp"

#include <reqauth/server.hpp>

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace reqauth_apache {

using namespace reqauth_settings;

/// of is a row of the table.
consteval std::size_t of(std::string_view name) { return row(name); }

/// place is where a directive stands.
struct place {
    std::string file;
    int line = 0;
};

/// to_string gives "FILE:LINE".
std::string to_string(const place& where);

/// given is where a directive stands, and for which server; null: it is not there.
struct given {
    place where = {};
    const server_rec* server = nullptr;
};

/// settings is what the main server or a virtual host says, with what it inherits.
struct settings {
    reqauth_settings::settings all = {};
    std::array<given, std::size(table)> said = {};
    std::optional<reqauth::trust> anchors = {}; ///< of the file or the directory: the later one counts
    std::vector<field> fields = {};             ///< one of each name

    /// The policy that comes of it, where it is on. Made by check_config.
    std::optional<reqauth::server_policy> policy = {};

    [[nodiscard]] const given& on() const { return said[of("on")]; }
    /// set adds a field, in place of one of the same name.
    void set(const field& wanted);
};

/// place_settings is what mod_ssl's SSLVerifyClient says of a place, as a <Location>, and in .htaccess.
struct place_settings {
    std::optional<bool> requires_customer = {};
};

/// commands are the directives for Apache. spelled is the one of a row of the table.
extern const command_rec commands[];
const char* spelled(std::size_t row);

/// words_of is an error in those of the directives.
std::string words_of(const std::exception& failed);

void* create_place_settings(apr_pool_t* pool, char* place);
void* merge_place_settings(apr_pool_t* pool, void* base, void* over);

/// requires_customer says whether the place of a request does, by SSLVerifyClient require.
bool requires_customer(const request_rec* r) noexcept;

void* create_settings(apr_pool_t* pool, server_rec* server);
void* merge_settings(apr_pool_t* pool, void* base, void* over);

settings& settings_of(const server_rec* server);

/// check_config makes the policies, and rehearses what mod_ssl will ask for after the configuration was read, so that
/// `apachectl configtest` finds what would end a server that is restarted. Says what is wrong, with file and line.
int check_config(apr_pool_t* pool, apr_pool_t* log, apr_pool_t* temporary, server_rec* main) noexcept;

/// find_tls13 throws reqauth::error where a virtual host with SSLEngine on leaves out TLSv1.3; says what to do instead.
void find_tls13(const server_rec* server, const std::string& instead);

/// rehearse attaches the policy of a virtual host to an SSL_CTX made for that alone, with as much of what mod_ssl's
/// directives say there as can make attaching fail. Throws reqauth::error. Warnings go to the log.
void rehearse(const server_rec* server, const server_rec* main);

} // namespace reqauth_apache
