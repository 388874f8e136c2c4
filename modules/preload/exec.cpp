// SPDX-License-Identifier: Apache-2.0

// libreqauth-exec.so: attaches libreqauth to the SSL_CTXs of a program that does not know it.

#include "hooks.hpp"
#include "journal.hpp"
#include "settings/spelling.hpp"
#include "tally.hpp"

#include <reqauth/error.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <dlfcn.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

/// own_callback is the program's own, of SSL_CTX_set_cert_cb or SSL_set_cert_cb: the library has that slot.
struct own_callback {
    certificate_function function = nullptr;
    void* argument = nullptr;
};

/// own_verification is the program's of SSL_CTX_set_cert_verify_callback, where agents are hidden from it.
struct own_verification {
    verify_function function = nullptr;
    void* argument = nullptr;
};

/// kept is what is remembered of an SSL_CTX.
struct kept {
    own_callback certificate;
    own_verification verification;
    bool verifies = false;                        ///< verify has the slot of own_verification
    void (*info)(const SSL*, int, int) = nullptr; ///< the program's own, where connections are noted
    reqauth::attachment where;                    ///< of a server
};

/// state is this process's.
struct state {
    explicit state(settings all) : log(all), with(std::move(all)) {}

    journal log;
    settings with;
    pinned files;
    std::string unreadable; ///< which of them, and why
    std::optional<reqauth::client> client;
    std::optional<reqauth::server> server;
    reqauth::server_policy policy;
    /// Attaching, a server's. Held while the process forks: so a child finds it free, and what it guards whole.
    std::mutex guard;
    std::set<std::string> warned; ///< what was said of SSL_CTXs, once
    /// Those that ask nobody yet, since their certificate and trust are still to come. An SSL_CTX that ends leaves.
    std::set<SSL_CTX*> waiting;
    tally own{};
    tally* shared = &own; ///< of all processes, where there is one
};
state* here = nullptr;

void free_kept(void* context, void* what, CRYPTO_EX_DATA*, int, long, void*) {
    if (what == nullptr) return;
    {
        const std::lock_guard lock(here->guard);
        here->waiting.erase(static_cast<SSL_CTX*>(context));
    }
    delete static_cast<kept*>(what);
}
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

/// own_mark is for an agent's session that libreqauth gives none, since it vouches for nobody by it.
/// The leaf stands where it does in the library's.
struct own_mark {
    std::array<char, leaf_in_mark> begins{'r', 'q', 'x'};
    std::array<unsigned char, leaf_octets> leaf{}; ///< the beginning of SHA-256 of the certificate
    std::array<char, mark_octets - leaf_in_mark - leaf_octets> nothing{};
};
static_assert(sizeof(own_mark) == mark_octets);

bool digest(const X509& certificate, std::array<unsigned char, leaf_octets>& begins) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> all{};
    if (X509_digest(&certificate, EVP_sha256(), all.data(), nullptr) != 1) return false;
    std::copy_n(all.begin(), begins.size(), begins.begin());
    return true;
}

struct context_freed {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
struct bio_freed {
    void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};

bool is_agents_session(const SSL_SESSION* session);

kept* kept_of(const SSL_CTX* context) { return static_cast<kept*>(SSL_CTX_get_ex_data(context, context_slot())); }

void keep(SSL_CTX& context) {
    auto fresh = std::make_unique<kept>();
    if (SSL_CTX_set_ex_data(&context, context_slot(), fresh.get()) == 1) (void)fresh.release();
}

int place_slot() {
    static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return slot;
}

/// may_have_flag says whether a server has ended no connection on it, of all that reqauth-exec has started. It remembers which
/// server the SSL is to, by name, and by address where the SSL has the socket: one that is reset has no address any more.
bool may_have_flag(const SSL& ssl) {
    const char* name = SSL_get_servername(&ssl, TLSEXT_NAMETYPE_host_name);
    std::string place = name != nullptr ? name : "";
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    const int socket = SSL_get_fd(&ssl);
    if (socket >= 0 && getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0)
        place.append(reinterpret_cast<const char*>(&address), size);
    const server_hash server = hash_of(place.data(), place.size());
    SSL* connection = const_cast<SSL*>(&ssl);          // NOLINT: OpenSSL's setter takes it so
    auto* kept_hash = reinterpret_cast<void*>(server); // NOLINT(performance-no-int-to-ptr): it is no pointer
    if (SSL_set_ex_data(connection, place_slot(), kept_hash) != 1) throw std::bad_alloc();
    return !goes_without(*here->shared, server);
}

/// without_flag says why an SSL_CTX, or all of a process, goes without it.
void without_flag(const std::exception& why) noexcept {
    try {
        const auto* ours = dynamic_cast<const reqauth::error*>(&why);
        here->log.say("goes on without the flag: " +
                      (ours == nullptr ? why.what()
                       : ours->code() == reqauth::errc::shared_anchor
                           ? "--agents-ca: " + ours->cause() +
                                 "; take it out of what the program itself trusts for clients, or give agents a CA of "
                                 "their own"
                           : reqauth_settings::in_words(*ours)));
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

bool set_verify(SSL_CTX* context, verify_function function, void* argument) {
    kept* of_context = here->server ? kept_of(context) : nullptr;
    if (of_context == nullptr || !of_context->verifies) return false;
    of_context->verification = {function, argument};
    return true;
}

/// mark_session marks an agent's session that libreqauth vouches for to nobody: nobody resumes it, and the program can
/// still get at it.
bool mark_session(SSL* ssl, X509_STORE_CTX* verification) {
    SSL_SESSION* session = SSL_get_session(ssl);
    if (is_agents_session(session)) return true;
    own_mark mark;
    const X509* leaf = X509_STORE_CTX_get0_cert(verification);
    return (leaf == nullptr || digest(*leaf, mark.leaf)) &&
           SSL_SESSION_set1_ticket_appdata(session, &mark, sizeof mark) == 1;
}

/// verify stands in the place of the program's SSL_CTX_set_cert_verify_callback, which sees no agent.
int verify(X509_STORE_CTX* verification, void* what) {
    const auto* of_context = static_cast<const kept*>(what);
    auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
    // After the client's Finished it is the program that asks.
    const bool agent = ssl != nullptr && SSL_get_peer_finished(ssl, nullptr, 0) == 0 && reqauth::is_of_agent(*ssl);
    const own_verification& own = of_context->verification;
    if (!agent && own.function != nullptr) return own.function(verification, own.argument);
    const int verified = X509_verify_cert(verification);
    if (agent && !mark_session(ssl, verification)) return 0;
    return verified > 0 ? 1 : 0;
}

/// note_connection stands in the place of the program's info callback, and calls it. The library's observer cannot: it has
/// to be there when the SSL_CTX is attached, and programs set theirs on the SSL_CTX after that.
void note_connection(const SSL* ssl, int event, int value) {
    const kept* of_context = kept_of(SSL_get_SSL_CTX(ssl));
    if (of_context != nullptr && of_context->info != nullptr) of_context->info(ssl, event, value);
    if (SSL_is_server(ssl) != 1) return;
    // A handshake begins once and ends once; what comes after it, as a key update, looks the same.
    auto* connection = const_cast<SSL*>(ssl); // NOLINT: OpenSSL gives callbacks no other
    if ((event & SSL_CB_HANDSHAKE_START) != 0) SSL_set_ex_data(connection, noted_slot(), nullptr);
    const bool fatal = (event & SSL_CB_ALERT) != 0 && (value >> 8) == SSL3_AL_FATAL;
    // Where early data is read, a call ends before the client's Finished has come.
    const bool ended = event == SSL_CB_ACCEPT_EXIT && value == 1 && SSL_get_peer_finished(ssl, nullptr, 0) > 0 &&
                       SSL_get_ex_data(ssl, noted_slot()) == nullptr;
    if (!ended && !fatal) return;
    SSL_set_ex_data(connection, noted_slot(), here);
    try {
        const std::string alert = fatal ? reqauth::alert_name(value & 0xff) : "";
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
        keep(*context);
        kept* of_context = kept_of(context);
        if (of_context == nullptr) throw std::bad_alloc();
        const std::lock_guard lock(here->guard);
        of_context->where = here->server->attach(*context, {});
        if (!here->with.visible) {
            of_context->verifies = true;
            SSL_CTX_set_cert_verify_callback(context, verify, of_context);
        }
        here->waiting.insert(context);
        return true;
    } catch (const std::exception& failed) {
        without_flag(failed);
        return false;
    }
}

/// takes_agents says whether the program can serve agents that it does not know of. Where not, why is said once.
bool takes_agents(const SSL_CTX& context) {
    const auto is = [](const char* symbol) { return dlsym(RTLD_DEFAULT, symbol) != nullptr; };
    const char* instead = is(of_apache)                                                          ? apache_instead
                          : is(of_nginx) && SSL_CTX_get_verify_mode(&context) != SSL_VERIFY_NONE ? nginx_instead
                                                                                                 : nullptr;
    if (instead != nullptr && here->warned.insert(instead).second)
        here->log.say(std::string("goes on without the flag: it ") + instead);
    return instead == nullptr;
}

/// ask gives an SSL_CTX, as it has become, the policy. Where that cannot be, it goes on asking nobody.
void ask(SSL_CTX& context) {
    try {
        if (!takes_agents(context)) return;
        // What made could not see yet. Of an SSL_CTX that can carry the flag it says that it does already. One without any
        // certificate is that of a program whose servername callback chooses, as HAProxy's.
        reqauth::server_options how;
        how.certificate_is_chosen_by_callback = SSL_CTX_get0_certificate(&context) == nullptr;
        reqauth::server(how).attach(context, {});
    } catch (const reqauth::error& failed) {
        if (failed.code() != reqauth::errc::already_attached) {
            SSL_CTX_set_psk_find_session_callback(&context, nullptr);
            without_flag(failed);
            return;
        }
    }
    try {
        kept* of_context = kept_of(&context);
        for (const std::string& warning : here->server->replace({{of_context->where, here->policy}}))
            if (here->warned.insert(warning).second)
                here->log.say("warning: " + reqauth_settings::in_words(warning, reqauth_settings::spelled));
        if (here->log.wanted()) {
            of_context->info = SSL_CTX_get_info_callback(&context);
            SSL_CTX_set_info_callback(&context, note_connection);
        }
    } catch (const std::exception& failed) {
        without_flag(failed);
    }
}

/// begins has all SSL_CTXs that are there by now answer the flag: this one may switch to any of them.
void begins(SSL_CTX* context) {
    if (!here->server || SSL_CTX_get_ssl_method(context) == TLS_client_method()) return;
    try {
        // The last reference to one may be ours by the end, and its end takes the lock.
        std::vector<std::unique_ptr<SSL_CTX, context_freed>> held;
        const std::lock_guard lock(here->guard);
        held.reserve(here->waiting.size());
        // One that another thread is freeing waits for the lock, too; OpenSSL gives no second first reference.
        for (SSL_CTX* one : std::exchange(here->waiting, {}))
            if (SSL_CTX_up_ref(one) == 1) held.emplace_back(one);
        for (const auto& one : held) ask(*one);
    } catch (const std::exception& failed) {
        without_flag(failed);
    }
}

/// write_failed finds the alert of a server that has refused and closed: the program reads no more.
void write_failed(SSL* ssl, int result) {
    using outcome = reqauth::client_outcome;
    if (!here->client || SSL_get_error(ssl, result) != SSL_ERROR_SYSCALL) return;
    const outcome before = reqauth::client_outcome_of(*ssl);
    if (before.sent == outcome::answer::none || before.judged == outcome::verdict::refused) return;
    const int error = errno;
    const BIO* from = SSL_get_rbio(ssl);
    // curl's own never blocks, and is there while curl is in a call.
    if (from != nullptr && std::string_view(BIO_method_name(from)) == "OpenSSL CF BIO") {
        char octet = 0;
        ERR_set_mark();
        static_cast<void>(SSL_peek(ssl, &octet, 1));
        ERR_pop_to_mark();
    }
    try {
        if (reqauth::last_outcome_of(*ssl).judged == outcome::verdict::refused) here->log.say_refused(*ssl);
    } catch (const std::exception&) { // there is no memory to say it with
    }
    errno = error;
}

/// ends finds the alert with which a server has closed a connection of QUIC: no callback tells of it. It is said once, since
/// programs try again.
void ends(SSL* ssl) {
    constexpr int quic_1 = 1; // OSSL_QUIC1_VERSION
    if (!here->client || SSL_version(ssl) != quic_1) return;
    try {
        using verdict = reqauth::client_outcome::verdict;
        static std::atomic<bool> said{false};
        if (reqauth::last_outcome_of(*ssl).judged == verdict::refused && !said.exchange(true))
            here->log.say_refused(*ssl);
    } catch (const std::exception&) { // there is no memory to say it with
    }
}

/// mark_of gives what marks an agent's session: null where it is no agent's.
const own_mark* mark_of(const SSL_SESSION* session) {
    void* data = nullptr;
    std::size_t size = 0;
    // It changes nothing, and OpenSSL 3 takes no const.
    if (session == nullptr ||
        SSL_SESSION_get0_ticket_appdata(const_cast<SSL_SESSION*>(session), &data, &size) != 1 || // NOLINT
        size != mark_octets)
        return nullptr;
    const auto* mark = static_cast<const own_mark*>(data);
    return reqauth::is_agents_session(*session) || mark->begins == own_mark().begins ? mark : nullptr;
}

bool is_agents_session(const SSL_SESSION* session) { return mark_of(session) != nullptr; }

/// What came in post-handshake authentication since is not the agent's, but for the program's own trust.
bool hides_session(const SSL_SESSION* session) {
    const own_mark* mark = mark_of(session);
    if (mark == nullptr) return false;
    const X509* peer = SSL_SESSION_get0_peer(const_cast<SSL_SESSION*>(session)); // NOLINT
    std::array<unsigned char, leaf_octets> now{};
    return peer == nullptr || !digest(*peer, now) || now == mark->leaf;
}

bool hides(const SSL* ssl) {
    const SSL_SESSION* session = SSL_get_session(ssl);
    return is_agents_session(session) ? hides_session(session) : reqauth::is_of_agent(*ssl);
}

/// Without a certificate nothing was wrong with it. Where everybody must have one, there is nobody without, and a
/// program may look at the result alone.
long verify_result(const SSL* ssl) {
    return (SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0 ? SSL_get_verify_result(ssl) : X509_V_OK;
}

int print_session(BIO* out, std::FILE* file, const SSL_SESSION* session) {
    const std::unique_ptr<BIO, bio_freed> whole(BIO_new(BIO_s_mem()));
    if (whole == nullptr || SSL_SESSION_print(whole.get(), session) != 1) return 0;
    char* begin = nullptr;
    const long size = BIO_get_mem_data(whole.get(), &begin);
    std::string_view text(begin, static_cast<std::size_t>(size));
    const auto write = [&](std::string_view part) {
        return file != nullptr ? std::fwrite(part.data(), 1, part.size(), file) == part.size()
                               : BIO_write(out, part.data(), static_cast<int>(part.size())) >= 0;
    };
    constexpr std::string_view names = "Verify return code: ";
    const auto at = text.find(names);
    if (at == std::string_view::npos) return write(text) ? 1 : 0;
    const auto end = text.find('\n', at);
    return write(text.substr(0, at + names.size())) && write("0 (ok)") &&
                   write(end != std::string_view::npos ? text.substr(end) : std::string_view())
               ? 1
               : 0;
}

// A function whose address no program takes: it would be the program's, then.
reqauth_exec_hooks hooks{.libssl = reinterpret_cast<const void*>(&SSL_CTX_set_psk_find_session_callback),
                         .made = made,
                         .begins = begins,
                         .set_cert_cb = set_cert_cb,
                         .set_ssl_cert_cb = set_ssl_cert_cb,
                         .set_verify = set_verify,
                         .write_failed = write_failed,
                         .ends = ends,
                         .hides = nullptr,
                         .hides_session = hides_session,
                         .is_agents_session = is_agents_session,
                         .verify_result = verify_result,
                         .print_session = print_session};

// std::mutex is free to be held over a fork, by the thread that forks.
void before_fork() { here->guard.lock(); }
void after_fork() { here->guard.unlock(); }

} // namespace

const void* reqauth_exec_pin(const char* text, tally* counts) noexcept {
    try {
        // It lives as long as the process: SSLs may be freed at its very end.
        here = new state(read_settings(text));
        if (counts != nullptr) here->shared = counts;
        here->files = pin(here->with);
        if (pthread_atfork(before_fork, after_fork, after_fork) != 0) throw std::bad_alloc();
    } catch (const std::exception& failed) {
        // Said where the program makes an SSL_CTX, if it ever does.
        if (here != nullptr) here->unreadable = failed.what();
    }
    return reinterpret_cast<const void*>(&reqauth::server_outcome_of);
}

const reqauth_exec_hooks* reqauth_exec_begin(bool moved) noexcept {
    if (here == nullptr) return nullptr;
    try {
        if (!here->unreadable.empty()) throw std::runtime_error(here->unreadable);
        if (here->with.server) {
            here->policy = server_policy_of(here->with, here->files);
            here->server.emplace(server_options_of(here->with));
            if (!here->with.visible) hooks.hides = hides;
        } else {
            if (moved && is_uri(here->with.key))
                throw std::runtime_error("it changed its root before its first SSL_CTX, and no provider is loaded out "
                                         "of another root; have it make an SSL_CTX first");
            reqauth::client_policy policy = client_policy_of(here->with, here->files);
            policy.chained_certificate_callback = {run_own, nullptr};
            policy.observe = [](const SSL& ssl, const reqauth::client_outcome& how) {
                here->log.note(ssl, how);
                if (how.hello_unanswered && here->with.retry_without_flag)
                    leave_out(*here->shared, reinterpret_cast<server_hash>(SSL_get_ex_data(&ssl, place_slot())));
            };
            if (here->with.retry_without_flag) policy.offers_to = may_have_flag;
            here->client.emplace(std::move(policy));
        }
        here->files = {};
        return &hooks;
    } catch (const std::exception& failed) {
        without_flag(failed);
        return nullptr;
    }
}
