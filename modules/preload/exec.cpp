// SPDX-License-Identifier: Apache-2.0

// libreqauth-exec.so: attaches libreqauth to the SSL_CTXs of a program that does not know it.

#include "hooks.hpp"
#include "journal.hpp"

#include <reqauth/error.hpp>

#include <openssl/ssl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace {

/// own_callback is the program's own, of SSL_CTX_set_cert_cb or SSL_set_cert_cb: the library has that slot.
struct own_callback {
    certificate_function function = nullptr;
    void* argument = nullptr;
};

/// kept is what is remembered of an SSL_CTX.
struct kept {
    own_callback certificate;
    void (*info)(const SSL*, int, int) = nullptr; ///< the program's own, where connections are noted
};

/// pending is an SSL_CTX that asks nobody yet: its certificate and its trust are still to come.
struct pending {
    std::shared_ptr<SSL_CTX> context;
    reqauth::attachment where;
};

/// state is this process's, from its first SSL_CTX on.
struct state {
    explicit state(settings all) : log(all), with(std::move(all)) {}

    journal log;
    settings with;
    std::optional<reqauth::client> client;
    std::optional<reqauth::server> server;
    reqauth::server_policy policy;
    std::mutex guard;
    std::vector<pending> waiting; ///< a server's
};
state* here = nullptr;

void free_kept(void*, void* what, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<kept*>(what); }
void free_callback(void*, void* what, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<own_callback*>(what); }

int copy_callback(CRYPTO_EX_DATA*, const CRYPTO_EX_DATA*, void** what, int, long, void*) {
    const auto* from = static_cast<const own_callback*>(*what);
    *what = from != nullptr ? new (std::nothrow) own_callback(*from) : nullptr;
    return from == nullptr || *what != nullptr ? 1 : 0;
}

int context_slot() {
    static const int slot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_kept);
    return slot;
}
int connection_slot() {
    static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, copy_callback, free_callback);
    return slot;
}

int noted_slot() {
    static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return slot;
}

kept* kept_of(const SSL_CTX* context) { return static_cast<kept*>(SSL_CTX_get_ex_data(context, context_slot())); }

void keep(SSL_CTX& context) {
    auto fresh = std::make_unique<kept>();
    if (SSL_CTX_set_ex_data(&context, context_slot(), fresh.get()) == 1) (void)fresh.release();
}

/// without_flag says why an SSL_CTX, or all of a process, goes without it.
void without_flag(const char* why) noexcept {
    try {
        here->log.say(std::string("goes on without the flag: ") + why);
    } catch (const std::exception&) { // there is no memory to say it with
    }
}

/// The program's cert_cb, which runs first, as it would without the library.
int run_own(SSL* ssl, void*) {
    const auto* own = static_cast<const own_callback*>(SSL_get_ex_data(ssl, connection_slot()));
    if (own == nullptr) {
        const kept* of_context = kept_of(SSL_get_SSL_CTX(ssl));
        own = of_context != nullptr ? &of_context->certificate : nullptr;
    }
    return own != nullptr && own->function != nullptr ? own->function(ssl, own->argument) : 1;
}

bool set_cert_cb(SSL_CTX* context, certificate_function function, void* argument) {
    kept* of_context = here->client ? kept_of(context) : nullptr;
    if (of_context == nullptr) return false;
    of_context->certificate = {function, argument};
    return true;
}

bool set_ssl_cert_cb(SSL* ssl, certificate_function function, void* argument) {
    if (!here->client || kept_of(SSL_get_SSL_CTX(ssl)) == nullptr) return false;
    auto* own = static_cast<own_callback*>(SSL_get_ex_data(ssl, connection_slot()));
    if (own == nullptr) {
        own = new (std::nothrow) own_callback;
        if (own == nullptr || SSL_set_ex_data(ssl, connection_slot(), own) != 1) {
            delete own;
            return false;
        }
    }
    *own = {function, argument};
    return true;
}

std::string alert_name(int alert) {
    std::string name = SSL_alert_desc_string_long(alert);
    std::ranges::transform(name, name.begin(), [](char c) {
        return c == ' ' ? '_' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return name;
}

/// note_connection stands in the place of the program's info callback, and calls it.
void note_connection(const SSL* ssl, int event, int value) {
    const kept* of_context = kept_of(SSL_get_SSL_CTX(ssl));
    if (of_context != nullptr && of_context->info != nullptr) of_context->info(ssl, event, value);
    if (SSL_is_server(ssl) != 1) return;
    // A handshake begins once and ends once; what comes after it, as a key update, looks the same.
    auto* connection = const_cast<SSL*>(ssl); // NOLINT: OpenSSL gives callbacks no other
    if ((event & SSL_CB_HANDSHAKE_START) != 0) SSL_set_ex_data(connection, noted_slot(), nullptr);
    const bool fatal = (event & SSL_CB_ALERT) != 0 && (value >> 8) == SSL3_AL_FATAL;
    const bool ended = event == SSL_CB_ACCEPT_EXIT && value == 1 && SSL_get_ex_data(ssl, noted_slot()) == nullptr;
    if (!ended && !fatal) return;
    SSL_set_ex_data(connection, noted_slot(), here);
    try {
        const std::string alert = fatal ? alert_name(value) : "";
        const bool sent = (event & SSL_CB_WRITE) != 0;
        here->log.note(*ssl, reqauth::server_outcome_of(*ssl), sent ? alert : "", sent ? "" : alert);
    } catch (const std::exception&) { // a note that cannot be written changes nothing
    }
}

/// made attaches at once: so every SSL_CTX has the same custom extensions, whatever the program switches between. A
/// server's asks nobody before its first connection.
bool made(SSL_CTX* context) {
    try {
        const SSL_METHOD* role = SSL_CTX_get_ssl_method(context);
        if (here->client) {
            if (role == TLS_server_method()) return false;
            keep(*context);
            here->client->attach(*context);
            return true;
        }
        if (!here->server || role == TLS_client_method()) return false;
        const std::lock_guard lock(here->guard);
        keep(*context);
        SSL_CTX_up_ref(context);
        std::shared_ptr<SSL_CTX> reference(context, SSL_CTX_free);
        here->waiting.push_back({std::move(reference), here->server->attach(*context, {})});
        return true;
    } catch (const std::exception& failed) {
        without_flag(failed.what());
        return false;
    }
}

/// ask gives an SSL_CTX, as it has become, the policy. Where that cannot be, it goes on asking nobody.
void ask(const pending& one) {
    try {
        // What made could not see yet. Of an SSL_CTX that can carry the flag it says that it does already.
        reqauth::server().attach(*one.context, {});
    } catch (const reqauth::error& failed) {
        if (failed.code() != reqauth::errc::already_attached) {
            SSL_CTX_set_psk_find_session_callback(one.context.get(), nullptr);
            without_flag(failed.what());
            return;
        }
    }
    try {
        for (const std::string& warning : here->server->replace({{one.where, here->policy}})) here->log.say(warning);
        kept* of_context = kept_of(one.context.get());
        if (here->log.wanted() && of_context != nullptr) {
            of_context->info = SSL_CTX_get_info_callback(one.context.get());
            SSL_CTX_set_info_callback(one.context.get(), note_connection);
        }
    } catch (const std::exception& failed) {
        without_flag(failed.what());
    }
}

/// begins has all SSL_CTXs that are there by now answer the flag: this one may switch to any of them.
void begins(SSL_CTX* context) {
    if (!here->server || SSL_CTX_get_ssl_method(context) == TLS_client_method()) return;
    try {
        const std::lock_guard lock(here->guard);
        for (const pending& one : std::exchange(here->waiting, {})) ask(one);
    } catch (const std::exception& failed) {
        without_flag(failed.what());
    }
}

/// HAProxy gives every session its own id context, and an agent's would then resume for anybody who presents it.
/// docs/reference.md has the mark of an agent's session.
bool keeps_id_context(const SSL_SESSION* session) {
    constexpr std::string_view mark = "reqauth\x01";
    void* data = nullptr;
    std::size_t size = 0;
    // It changes nothing, and OpenSSL 3 takes no const.
    return here->server &&
           SSL_SESSION_get0_ticket_appdata(const_cast<SSL_SESSION*>(session), &data, &size) == 1 && // NOLINT
           std::string_view(static_cast<const char*>(data), size).starts_with(mark);
}

// A function whose address no program takes: it would be the program's, then.
const reqauth_exec_hooks hooks{reinterpret_cast<const void*>(&SSL_CTX_set_psk_find_session_callback),
                               reinterpret_cast<const void*>(&reqauth::server_outcome_of),
                               made,
                               begins,
                               set_cert_cb,
                               set_ssl_cert_cb,
                               keeps_id_context};

} // namespace

const reqauth_exec_hooks* reqauth_exec_begin() noexcept {
    try {
        const char* told = std::getenv(settings_variable);
        // It lives as long as the process: SSLs may be freed at its very end.
        here = new state(told != nullptr ? read_settings(told) : settings{});
        if (told == nullptr) {
            without_flag("REQAUTH_EXEC is not in its environment; run it by reqauth-exec");
            return nullptr;
        }
        if (here->with.server) {
            here->policy = server_policy_of(here->with);
            here->server.emplace(server_options_of(here->with));
        } else {
            reqauth::client_policy policy = client_policy_of(here->with);
            policy.chained_certificate_callback = {run_own, nullptr};
            if (here->log.wanted())
                policy.observe = [](const SSL& ssl, const reqauth::client_outcome& how) { here->log.note(ssl, how); };
            here->client.emplace(std::move(policy));
        }
        return &hooks;
    } catch (const std::exception& failed) {
        if (here != nullptr) without_flag(failed.what());
        return nullptr;
    }
}
