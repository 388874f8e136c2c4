// SPDX-License-Identifier: Apache-2.0
#include "fields.hpp"

#include "request.hpp"
#include "settings.hpp"

#include <reqauth/http.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace reqauth_apache {

namespace {

// Both hold for the whole process. They are written while Apache reads its configuration, in one thread.
ap_filter_rec_t* trailers_filter = nullptr;

struct {
    std::vector<std::string> names = {};
    std::uint64_t lengths = 0; // bit n: one has n octets, modulo 64. Most fields need no look beyond it.
} owned;

constexpr std::uint64_t bit_of(std::string_view name) { return std::uint64_t{1} << (name.size() % 64); }

// mod_setenvif takes a field of that name for the variable.
bool is_named_as_variable(std::string_view name) {
    constexpr std::string_view begin = "REQAUTH_";
    return name.size() > begin.size() && reqauth::is_spelling_of(name.substr(0, begin.size()), begin);
}

bool is_owned(std::string_view name) {
    return (owned.lengths & bit_of(name)) != 0 &&
           std::any_of(owned.names.begin(), owned.names.end(),
                       [&](const std::string& each) { return reqauth::is_spelling_of(name, each); });
}

// next_word takes the first word off the value of a Connection field; empty at its end. As mod_proxy reads it: semicolons
// and white space part words, too.
std::string_view next_word(std::string_view& rest) {
    constexpr std::string_view between = " \t\r\n\v\f,;\"";
    rest.remove_prefix(std::min(rest.find_first_not_of(between), rest.size()));
    const std::string_view word = rest.substr(0, rest.find_first_of(between));
    rest.remove_prefix(word.size());
    return word;
}

bool lists_owned(std::string_view value) {
    for (std::string_view word = next_word(value); !word.empty(); word = next_word(value))
        if (is_owned(word)) return true;
    return false;
}

std::string without_owned(std::string_view value) {
    std::string kept;
    for (std::string_view word = next_word(value); !word.empty(); word = next_word(value))
        if (!is_owned(word)) (kept += kept.empty() ? "" : ", ") += word;
    return kept;
}

// Nearly always there is nothing to do: one look at each name.
void clean(apr_pool_t* pool, apr_table_t* fields) {
    const apr_array_header_t* const all = apr_table_elts(fields);
    auto* const entries = reinterpret_cast<apr_table_entry_t*>(all->elts); // NOLINT: as Apache has it
    for (int each = all->nelts; each-- > 0;) {
        if (each >= all->nelts) continue; // apr_table_unset takes out all of one name
        const char* const name = entries[each].key;
        if (is_owned(name) || is_named_as_variable(name))
            apr_table_unset(fields, name);
        else if (ap_cstr_casecmp(name, "Connection") == 0 && lists_owned(entries[each].val))
            entries[each].val = apr_pstrdup(pool, without_owned(entries[each].val).c_str());
    }
}

apr_status_t clean_trailers(ap_filter_t* filter, apr_bucket_brigade* brigade, ap_input_mode_t mode,
                            apr_read_type_e block, apr_off_t octets) noexcept {
    request_rec* const r = filter->r;
    apr_table_t* const before = r->headers_in;
    const apr_status_t status = ap_get_brigade(filter->next, brigade, mode, block, octets);
    // It stays in place: mod_http2 shows trailers early, and httpd reads them again.
    if (apr_is_empty_table(r->trailers_in)) return status;
    const bool are_merged = r->headers_in != before; // MergeTrailers makes another table
    r->headers_in = before;
    return fenced<apr_status_t>(APR_EGENERAL, [&] {
        clean(r->pool, r->trailers_in);
        if (are_merged) r->headers_in = apr_table_overlay(r->pool, before, r->trailers_in);
        return status;
    });
}

// What httpd or mod_proxy reads, removes or writes itself.
constexpr std::array<std::string_view, 15> taken = {
    "authorization", "connection",       "content-length", "content-type", "expect",
    "host",          "keep-alive",       "proxy",          "te",           "proxy-authorization",
    "trailer",       "proxy-connection", "upgrade",        "via",          "transfer-encoding"};

} // namespace

field field_of(std::string_view name, const char* variable) {
    const std::string quoted = '"' + std::string(name) + '"';
    constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    if (name.empty() || name.find_first_not_of(plain) != std::string_view::npos)
        throw std::runtime_error("takes a field's name of letters, digits and hyphens, not " + quoted);
    const auto same = [&](std::string_view each) { return reqauth::is_spelling_of(name, each); };
    if (std::any_of(taken.begin(), taken.end(), same))
        throw std::runtime_error("takes another field than " + quoted + ", which HTTP has a use for");
    if (variable == nullptr) return {std::string(name)};
    const char* const known = variable_named(variable);
    if (known == nullptr)
        throw std::runtime_error("takes a variable REQAUTH_... after the field's name, not \"" + std::string(variable) +
                                 '"');
    if (std::string_view(known).starts_with("REQAUTH_PRESENTED_"))
        throw std::runtime_error("hands on identities, and " + std::string(known) + " is none");
    if (std::string_view(known).starts_with("REQAUTH_UNVOUCHED_") && reqauth::is_client_cert_field(name))
        throw std::runtime_error("hands on what is verified in " + quoted + ", and " + known +
                                 " is nobody's word: give it a field of another name");
    return {std::string(name), known};
}

void own_fields(const server_rec* main) {
    owned.names = {"Client-Cert", "Client-Cert-Chain"};
    for (const server_rec* each = main; each != nullptr; each = each->next)
        for (const field& set : settings_of(each).fields)
            if (std::find(owned.names.begin(), owned.names.end(), set.name) == owned.names.end())
                owned.names.push_back(set.name);
    owned.lengths = 0;
    for (const std::string& each : owned.names) owned.lengths |= bit_of(each);
}

void clean_fields(request_rec* r) {
    if (settings_of(r->server).all.trusts_inbound) return;
    // RFC 9440, section 4: what came with the request was written by the client.
    clean(r->pool, r->headers_in);
    // HTTP/2 has trailers behind any body.
    if (r->connection->master != nullptr || apr_table_get(r->headers_in, "Transfer-Encoding") != nullptr)
        ap_add_input_filter_handle(trailers_filter, nullptr, r, r->connection);
}

void set_fields(request_rec* r) {
    const settings& own = settings_of(r->server);
    if (own.all.trusts_inbound) return;
    for (const field& each : own.fields)
        if (const char* const value = each.variable != nullptr ? apr_table_get(r->notes, each.variable) : nullptr;
            value != nullptr)
            apr_table_setn(r->headers_in, each.name.c_str(), value);
}

void register_trailers_filter() {
    // Right above what reads bodies, for HTTP/1.1 and for HTTP/2.
    constexpr auto above_bodies = static_cast<ap_filter_type>(AP_FTYPE_PROTOCOL - 1);
    trailers_filter = ap_register_input_filter("REQAUTH-TRAILERS", clean_trailers, nullptr, above_bodies);
}

} // namespace reqauth_apache
