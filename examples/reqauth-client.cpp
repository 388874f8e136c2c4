// SPDX-License-Identifier: Apache-2.0

// reqauth-client: an HTTPS client that offers its certificate by the flag.
// What concerns the library stands in offer_the_flag(); the rest is a connection and HTTP.

#include "client_connection.hpp"
#include "client_options.hpp"
#include "command_line.hpp"
#include "handshake_events.hpp"
#include "json.hpp"
#include "load_credential.hpp"
#include "printable.hpp"
#include "session_file.hpp"
#include "settings/command_line.hpp"
#include "tls.hpp"
#include "why.hpp"
#include "wire_trace.hpp"

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <csignal>

namespace {

constexpr std::string_view program = "reqauth-client";

/// offer_the_flag is what the library adds.
void offer_the_flag(SSL_CTX& context, const client_options& options, std::optional<reqauth::credential> credential) {
    reqauth::client_policy policy;
    policy.credential = std::move(credential);
    policy.offer = options.offer == "always"  ? reqauth::offer::always
                   : options.offer == "never" ? reqauth::offer::never
                                              : reqauth::offer::when_available;
    policy.when_unacknowledged = options.on_unacknowledged == "other"  ? reqauth::unacknowledged::as_before
                                 : options.on_unacknowledged == "flag" ? reqauth::unacknowledged::present
                                                                       : reqauth::unacknowledged::empty;
    policy.when_unsatisfiable = options.on_unsatisfiable == "close"     ? reqauth::unsatisfiable::close
                                : options.on_unsatisfiable == "present" ? reqauth::unsatisfiable::present
                                                                        : reqauth::unsatisfiable::empty;
    for (const reqauth::flag_number flag : options.flags) policy.further_flags.insert(flag);
    policy.flag = options.flag;
    policy.extension = options.extension;
    reqauth::client(std::move(policy)).attach(context);
}

/// verify_the_server is as in any client.
void verify_the_server(SSL_CTX& context, const client_options& options) {
    SSL_CTX_set_verify(&context, SSL_VERIFY_PEER, nullptr);
    if (options.ca.empty()) {
        SSL_CTX_set_default_verify_paths(&context);
        return;
    }
    load_anchors(*SSL_CTX_get_cert_store(&context), {"--ca", options.ca});
}

int session_slot() {
    static const int slot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return slot;
}

/// keep_last_session puts each session that the server gives in the place of the one before.
void keep_last_session(SSL_CTX& context, session_ptr& last) {
    SSL_CTX_set_ex_data(&context, session_slot(), &last);
    SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(&context, [](SSL* ssl, SSL_SESSION* session) {
        static_cast<session_ptr*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), session_slot()))->reset(session);
        return 1; // it is ours now
    });
}

context_ptr make_context(const client_options& options) {
    context_ptr context(SSL_CTX_new(TLS_client_method()));
    if (!context) throw std::runtime_error(openssl_error());
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(context.get(), options.tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_post_handshake_auth(context.get(), options.post_handshake ? 1 : 0);
    verify_the_server(*context, options);
    if (!options.other_certificate.empty())
        use_certificate(*context, {"--other-cert", options.other_certificate}, {"--other-key", options.other_key});
    return context;
}

/// take_over makes a session look as if it were of this very connection, so that a server can be tested with it:
/// docs/reference.md has the mark.
void take_over(SSL_SESSION& session, const reqauth::client_scope& scope) {
    std::string mark = "reqauthC";
    mark.append(reinterpret_cast<const char*>(scope.data()), scope.size());
    SSL_SESSION_set1_ticket_appdata(&session, mark.data(), mark.size());
}

ssl_ptr make_ssl(SSL_CTX& context, const client_options& options) {
    ssl_ptr ssl(SSL_new(&context));
    if (!ssl) throw std::runtime_error(openssl_error());
    const char* name = options.server_name.c_str();
    const bool named = is_ip_address(options.server_name)
                           ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name) == 1
                           : X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl.get()), name, 0) == 1 &&
                                 SSL_set_tlsext_host_name(ssl.get(), name) == 1;
    if (!named) throw usage_error("--servername " + options.server_name + " cannot be a server's name");
    if (!options.session_in.empty()) {
        const session_ptr session = read_session(options.session_in, options.server_name);
        if (options.foreign_session) take_over(*session, reqauth::client::scope(*ssl));
        if (!reqauth::client::resume(*ssl, *session))
            throw usage_error("--session-in " + options.session_in +
                              " is used up, another client's (of other credentials, flags, trust or settings), or of "
                              "a handshake in which the server asked without the flag; "
                              "connect without it or, to test a server, with --foreign-session");
        // SSL_set_session has taken over what was found when the session was made.
        if (SSL_get_verify_result(ssl.get()) != X509_V_OK)
            throw usage_error("--session-in " + options.session_in +
                              " is a session with a server that was not verified: connect without it");
    }
    return ssl;
}

/// allows_early_data says whether the session that is to be resumed takes this much, under this name (RFC 8446,
/// section 4.2.10).
bool allows_early_data(const SSL& ssl, const client_options& options) {
    const SSL_SESSION* session = SSL_get0_session(&ssl);
    if (session == nullptr || options.early_data.empty() || options.tls12) return false;
    const char* name = SSL_SESSION_get0_hostname(session);
    return SSL_SESSION_get_max_early_data(session) >= options.early_data.size() &&
           (name == nullptr || name == options.server_name);
}

std::string early_data_of(const SSL& ssl) {
    switch (SSL_get_early_data_status(&ssl)) {
    case SSL_EARLY_DATA_ACCEPTED: return "accepted";
    case SSL_EARLY_DATA_REJECTED: return "rejected";
    default: return "none";
    }
}

/// seen is what OpenSSL and the library say of a connection when it has ended.
struct seen {
    reqauth::client_outcome outcome;
    reqauth::explanation names;
    std::string why; ///< --cert was not shown, or not taken, and what to do; empty: nothing of that kind
    std::optional<std::string> version = {};
    std::optional<std::string> cipher = {};
    std::optional<std::string> group = {};
    std::optional<std::string> server_name = {};
    std::optional<std::string> subject = {}; ///< of --cert, where that went out
};

seen look_at(SSL& ssl, const std::optional<reqauth::credential>& credential) {
    seen all{.outcome = reqauth::last_outcome_of(ssl),
             .names = reqauth::explain(ssl),
             .why = in_words(ssl, "--servername", "--offer never")};
    all.version = negotiated_version(ssl);
    if (const SSL_CIPHER* cipher = SSL_get_current_cipher(&ssl)) all.cipher = SSL_CIPHER_get_name(cipher);
    const auto group = all.cipher ? static_cast<int>(SSL_get_negotiated_group(&ssl)) : 0;
    if (const char* name = group > 0 ? SSL_group_to_name(&ssl, group) : nullptr) all.group = name;
    if (const char* name = SSL_get_servername(&ssl, TLSEXT_NAMETYPE_host_name)) all.server_name = name;
    if (credential && all.outcome.sent == reqauth::client_outcome::answer::flag) all.subject = credential->subject();
    return all;
}

json to_json(const SSL& ssl, const seen& all, const handshake_events& events,
             const std::optional<reqauth::credential>& credential, const std::optional<std::string>& error) {
    const reqauth::client_outcome& outcome = all.outcome;
    json server_flags = json::array();
    outcome.server_flags.for_each([&](reqauth::flag_number flag) { server_flags.push_back(flag); });
    return {{"event", "connection"},
            {"ok", !error},
            {"version", or_null(all.version)},
            {"cipher", or_null(all.cipher)},
            {"group", or_null(all.group)},
            {"server_name", or_null(all.server_name)},
            {"offered", outcome.offered},
            {"withheld", outcome.offered ? json() : json(to_string(outcome.withheld))},
            {"requested", outcome.requested},
            {"acknowledged", outcome.acknowledged},
            {"authorities", all.names.authorities},
            {"sent", to_string(outcome.sent)},
            {"subject", or_null(all.subject)},
            {"judged", to_string(outcome.judged)},
            {"unmet", outcome.unmet == reqauth::unmet::nothing ? json() : json(to_string(outcome.unmet))},
            {"issuers", all.names.issuers},
            {"why", all.why.empty() ? json() : json(all.why)},
            {"server_flags", std::move(server_flags)},
            {"key_provider", credential ? json(credential->provider()) : json()},
            {"resumed", SSL_session_reused(&ssl) == 1},
            {"early_data", early_data_of(ssl)},
            {"alert_sent", or_null(events.alert_sent)},
            {"alert_received", or_null(events.alert_received)},
            {"error", or_null(error)}};
}

/// to_text is the same in one line for people.
std::string to_text(const seen& all, const client_options& options, const handshake_events& events,
                    const std::optional<std::string>& error) {
    using answer = reqauth::client_outcome::answer;
    const reqauth::client_outcome& outcome = all.outcome;
    if (!all.version && error) return *error + (all.why.empty() ? "" : "; " + all.why); // there was nobody to talk to
    std::string text = to_string(options.connect) + ": " + (error ? *error + "; " : "ok, ") + all.version.value_or("");
    for (const auto& each : {all.cipher, all.group})
        if (each) text += ", " + *each;
    if (all.server_name) text += ", server name " + printable(*all.server_name);
    text += "; flag " + std::string(outcome.offered ? "offered" : "not offered");
    if (outcome.resumed)
        text += "; resumed, and not asked";
    else if (!outcome.requested)
        text += "; not asked for a certificate";
    else
        text += outcome.acknowledged ? ", acknowledged; asked for a certificate" : "; asked for another reason";
    for (std::size_t i = 0; i < std::min<std::size_t>(all.names.authorities.size(), 3); ++i)
        text += (i == 0 ? " of " : "; ") + all.names.authorities[i];
    if (all.names.authorities.size() > 3) text += "; and " + std::to_string(all.names.authorities.size() - 3) + " more";
    if (outcome.sent != answer::none)
        text += "; sent " + (all.subject                     ? *all.subject
                             : outcome.sent == answer::other ? "--other-cert"
                                                             : "an empty Certificate");
    if (outcome.judged == reqauth::client_outcome::verdict::ticket) text += "; a ticket came";
    if (events.alert_received) text += "; received the alert " + *events.alert_received;
    if (events.alert_sent) text += "; sent the alert " + *events.alert_sent;
    if (!all.why.empty()) text += "; " + all.why;
    return text;
}

/// talk is the connection from its beginning to its end. Throws connection_failed.
void talk(const client_options& options, SSL& ssl, bool& line_open) {
    client_connection connection(options.connect, ssl);
    const auto print = [&](const std::string& body) {
        std::fwrite(body.data(), 1, body.size(), stdout);
        if (!body.empty()) line_open = body.back() != '\n';
    };
    if (allows_early_data(ssl, options)) connection.send_early(options.early_data);
    connection.handshake();
    if (SSL_get_early_data_status(&ssl) == SSL_EARLY_DATA_ACCEPTED && options.early_data.ends_with("\r\n\r\n"))
        print(connection.answer_to_early());
    const endpoint host{options.server_name, options.connect.port};
    for (const std::string& path : options.get)
        print(connection.get(to_string(host), path, &path == &options.get.back()));
    connection.part();
}

int run(const client_options& options) {
    session_ptr last_session; // outlives the SSL_CTX, which refers to it
    std::optional<reqauth::credential> credential;
    if (!options.certificate.empty())
        credential = load_credential(options.certificate, options.key, options.key_providers);
    const context_ptr context = make_context(options);
    offer_the_flag(*context, options, credential);
    std::optional<keylog> keys;
    if (!options.keylog.empty()) {
        keys.emplace(options.keylog);
        keys->watch(*context);
    }
    if (!options.session_out.empty()) {
        require_writable("--session-out", options.session_out);
        keep_last_session(*context, last_session);
    }
    handshake_events events;
    wire_trace trace(options.extension);
    const ssl_ptr ssl = make_ssl(*context, options);
    watch(*ssl, events);
    if (options.trace) trace.watch(*ssl);

    std::optional<std::string> error;
    bool line_open = false; // the last body did not end in a newline
    try {
        talk(options, *ssl, line_open);
    } catch (const connection_failed& failure) {
        error = failure.what();
    }
    const seen all = look_at(*ssl, credential);
    if (options.json) {
        if (line_open) print_line(stdout, "");
        print_line(stdout, dump(to_json(*ssl, all, events, credential, error)));
    } else if (error || !options.get.empty() || !options.early_data.empty()) { // standard output has the body
        complain(program, to_text(all, options, events, error), 0);
    } else {
        print_line(stdout, to_text(all, options, events, error));
    }
    const int status = is_unmet(all.outcome) ? 3 : error ? 1 : 0;
    if (error) return status; // nothing to come back to
    if (last_session)
        write_session(*last_session, options.session_out);
    else if (!options.session_out.empty())
        complain(program, "the server gave no session: --session-out " + options.session_out + " is not written", 0);
    return status;
}

} // namespace

int main(int argc, char** argv) {
    try {
        const auto read = read_client_options(argc, argv);
        if (const int* status = std::get_if<int>(&read)) return *status;
        std::signal(SIGPIPE, SIG_IGN);
        return run(std::get<client_options>(read));
    } catch (const usage_error& error) {
        return complain(program, error.what(), 2);
    } catch (const reqauth::error& error) {
        return complain(program, reqauth_settings::in_words(error), 2);
    } catch (const std::exception& error) {
        return complain(program, error.what(), 1);
    }
}
