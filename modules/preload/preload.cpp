// SPDX-License-Identifier: Apache-2.0

// libreqauth-preload.so, which LD_PRELOAD puts before OpenSSL: it sees each SSL_CTX as it is made. It needs libc alone,
// so that programs that never use OpenSSL are as they were. What those need that do is loaded before they run, or not
// out of a root that they have changed.

#include "preload.hpp"
#include "functions.hpp"
#include "hooks.hpp"
#include "tally.hpp"

#include <openssl/ssl.h>

#include <dlfcn.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdarg>

#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)
const char known_libssl[] = "libssl.so." TEXT(OPENSSL_SHLIB_VERSION);

namespace {

tally* counts = nullptr;
int first_process = 0;
bool verbose = false;
const char* settings_text = nullptr;

// Where a path leads to: the root, and how it is mounted.
struct view {
    dev_t device;
    ino_t inode;
    unsigned long long mount;
    bool operator==(const view&) const = default;
};
view at_start{};

view view_now() {
    struct stat root {};
    struct statx mounted {};
    if (stat("/", &root) != 0) return {};
    if (statx(AT_FDCWD, "/", 0, STATX_MNT_ID, &mounted) != 0) mounted.stx_mnt_id = 0;
    return {root.st_dev, root.st_ino, mounted.stx_mnt_id};
}

bool moved() { return view_now() != at_start; }

const char* why_not_loaded = nullptr;
decltype(&reqauth_exec_begin) second_half = nullptr;

void load() {
    if (settings_text == nullptr) {
        why_not_loaded = "REQAUTH_EXEC is not in its environment; run it by reqauth-exec";
        return;
    }
    if (moved()) {
        why_not_loaded =
            "it changed its root, or what is mounted there, before it loaded OpenSSL, and nothing is taken "
            "out of another root; have it load OpenSSL first";
        return;
    }
    Dl_info self{};
    dladdr(reinterpret_cast<const void*>(&load), &self);
    char path[4096];
    const int folder = static_cast<int>(file_name(self.dli_fname) - self.dli_fname);
    std::snprintf(path, sizeof path, "%.*slibreqauth-exec.so", folder, self.dli_fname);
    void* second = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    auto* pin =
        second != nullptr ? reinterpret_cast<decltype(&reqauth_exec_pin)>(dlsym(second, "reqauth_exec_pin")) : nullptr;
    auto* begin = second != nullptr
                      ? reinterpret_cast<decltype(&reqauth_exec_begin)>(dlsym(second, "reqauth_exec_begin"))
                      : nullptr;
    if (pin == nullptr || begin == nullptr) {
        const char* error = dlerror();
        why_not_loaded = strdup(error != nullptr ? error : "libreqauth-exec.so is another one's; install it again");
        return;
    }
    set_bases_of_reqauth(pin(settings_text, counts), reinterpret_cast<const void*>(begin));
    second_half = begin;
}

void load_once() {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
}

std::atomic<const reqauth_exec_hooks*> loaded_hooks{nullptr};

void load_hooks() {
    load_once();
    if (second_half == nullptr) {
        say("goes on without the flag: %s", why_not_loaded != nullptr ? why_not_loaded : "it is out of memory");
        return;
    }
    const reqauth_exec_hooks* hooks = second_half(moved());
    if (hooks != nullptr && hooks->hides != nullptr && base_of(hooks->libssl) == base_of_known_libssl()) stand_in();
    loaded_hooks.store(hooks, std::memory_order_release);
}

const char* name_of(const void* function) {
    Dl_info where{};
    return function != nullptr && dladdr(function, &where) != 0 ? where.dli_fname : "something unknown";
}

// The second half, for a libssl that has `found`: null where it cannot work with that.
const reqauth_exec_hooks* hooks_for(const target& found) {
    static std::atomic<bool> said{false};
    if (!found.known) {
        const char* path = name_of(found.real);
        const char* name = file_name(path);
        const std::size_t size = std::strlen(known_libssl);
        const bool of_same_name =
            std::strncmp(name, known_libssl, size) == 0 && (name[size] == '\0' || name[size] == '.');
        if (!said.exchange(true)) {
            if (of_same_name)
                say("goes on without the flag where it uses %s, since another is loaded; have one OpenSSL in a program",
                    path);
            else
                say("goes on without the flag: it uses %s, and this reqauth-exec is for %s; take a build of the "
                    "program "
                    "for that",
                    path, known_libssl);
        }
        return nullptr;
    }
    const within guard;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_hooks);
    const reqauth_exec_hooks* hooks = hooks_there();
    if (hooks == nullptr || base_of_known_libssl() == base_of(hooks->libssl)) return hooks;
    if (!said.exchange(true))
        say("goes on without the flag, since libreqauth has %s; have one OpenSSL in a program", name_of(hooks->libssl));
    return nullptr;
}

SSL_CTX* note(SSL_CTX* made, const target& by) {
    if (made == nullptr) return made;
    if (counts != nullptr) ++counts->made;
    const reqauth_exec_hooks* hooks = hooks_for(by);
    const within guard;
    if (hooks != nullptr && hooks->made(made) && counts != nullptr) ++counts->given;
    return made;
}

// The mark of an agent's session, of this libreqauth's OpenSSL: null where there is none.
const void* mark_of(SSL_SESSION* session) {
    void* data = nullptr;
    std::size_t size = 0;
    const reqauth_exec_hooks* hooks = hooks_there();
    if (hooks == nullptr || session == nullptr) return nullptr;
    const within guard;
    const target found = find(function::SSL_SESSION_get0_ticket_appdata, reinterpret_cast<void*>(&mark_of));
    const bool there = as(&SSL_SESSION_get0_ticket_appdata, found)(session, &data, &size) == 1 && size >= mark_octets;
    return there && hooks->is_agents_session(session) ? data : nullptr;
}

void look_after_write(SSL* ssl, int result, const target& by) {
    const reqauth_exec_hooks* hooks = hooks_there();
    if (within::any() || !by.known || hooks == nullptr) return;
    const within guard;
    hooks->write_failed(ssl, result);
}

void end();

// Before the program's own code runs, and before it can change what a path means.
__attribute__((constructor)) void begin() {
    const int before = errno;
    at_start = view_now();
    const char* all = std::getenv(settings_variable);
    settings_text = all != nullptr ? strdup(all) : nullptr;
    verbose = all != nullptr && std::strstr(all, "\"verbose\":true") != nullptr;
    const char* where = std::getenv(tally_variable);
    int keeper = -1;
    int file = -1;
    // NOLINTNEXTLINE(cert-err34-c): reqauth-exec wrote it
    if (where != nullptr && std::sscanf(where, "%d:%d:%d", &first_process, &keeper, &file) == 3)
        counts = find_tally(keeper, file);
    at_quick_exit(end);
    if (learn_functions()) load_once();
    errno = before;
}

// Only the program that reqauth-exec was given speaks for all, once. Of one that ends otherwise the keeper does.
__attribute__((destructor)) void end() {
    if (counts == nullptr || getpid() != first_process) return;
    static bool ended = false;
    if (ended) return;
    ended = true;
    counts->told = 1;
    char text[400];
    if (conclusion(*counts, verbose, text, sizeof text) != 0) say("%s", text);
}

} // namespace

#define CALLER __builtin_return_address(0)

const reqauth_exec_hooks* hooks_there() { return loaded_hooks.load(std::memory_order_acquire); }

const char* file_name(const char* path) {
    const char* slash = std::strrchr(path, '/');
    return slash != nullptr ? slash + 1 : path;
}

void say(const char* format, ...) {
    const int before = errno;
    char text[512];
    const int start = std::snprintf(text, sizeof text, "reqauth-exec: %s ", printable_name().text);
    std::va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text + start, sizeof text - static_cast<std::size_t>(start) - 1, format, arguments);
    va_end(arguments);
    const std::size_t end = std::strlen(text);
    text[end] = '\n';
    (void)!write(STDERR_FILENO, text, end + 1);
    errno = before;
}

extern "C" {

// A program that has loaded OpenSSL since it began, as Python does, and not used it yet.
REQAUTH_EXPORT int chroot(const char* path) noexcept {
    if (learn_functions()) load_once();
    return static_cast<int>(syscall(SYS_chroot, path));
}

REQAUTH_EXPORT SSL_CTX* SSL_CTX_new(const SSL_METHOD* method) {
    const target found = find(function::SSL_CTX_new, CALLER);
    if (found.real == nullptr) return nullptr;
    if (within::any()) return as(&SSL_CTX_new, found)(method);
    SSL_CTX* made = nullptr;
    {
        const within guard(found.real);
        made = as(&SSL_CTX_new, found)(method);
    }
    return note(made, found);
}

REQAUTH_EXPORT SSL_CTX* SSL_CTX_new_ex(OSSL_LIB_CTX* libctx, const char* properties, const SSL_METHOD* method) {
    const target found = find(function::SSL_CTX_new_ex, CALLER);
    if (found.real == nullptr) return nullptr;
    if (within::any()) return as(&SSL_CTX_new_ex, found)(libctx, properties, method);
    SSL_CTX* made = nullptr;
    {
        const within guard(found.real);
        made = as(&SSL_CTX_new_ex, found)(libctx, properties, method);
    }
    return note(made, found);
}

REQAUTH_EXPORT SSL* SSL_new(SSL_CTX* context) {
    const target found = find(function::SSL_new, CALLER);
    if (found.real == nullptr) return nullptr;
    if (!within::any() && context != nullptr) {
        const reqauth_exec_hooks* hooks = hooks_for(found);
        const within guard;
        if (hooks != nullptr) hooks->begins(context);
    }
    return as(&SSL_new, found)(context);
}

REQAUTH_EXPORT void SSL_CTX_set_cert_cb(SSL_CTX* context, certificate_function function, void* argument) {
    const target found = find(function::SSL_CTX_set_cert_cb, CALLER);
    if (found.real == nullptr) return;
    if (!within::any()) {
        const reqauth_exec_hooks* hooks = hooks_for(found);
        const within guard;
        if (hooks != nullptr && hooks->set_cert_cb(context, function, argument)) return;
    }
    as(&SSL_CTX_set_cert_cb, found)(context, function, argument);
}

REQAUTH_EXPORT void SSL_set_cert_cb(SSL* ssl, certificate_function function, void* argument) {
    const target found = find(function::SSL_set_cert_cb, CALLER);
    if (found.real == nullptr) return;
    if (!within::any()) {
        const reqauth_exec_hooks* hooks = hooks_for(found);
        const within guard;
        if (hooks != nullptr && hooks->set_ssl_cert_cb(ssl, function, argument)) return;
    }
    as(&SSL_set_cert_cb, found)(ssl, function, argument);
}

REQAUTH_EXPORT void SSL_CTX_set_cert_verify_callback(SSL_CTX* context, verify_function function, void* argument) {
    const target found = find(function::SSL_CTX_set_cert_verify_callback, CALLER);
    if (found.real == nullptr) return;
    if (!within::any()) {
        const reqauth_exec_hooks* hooks = hooks_for(found);
        const within guard;
        if (hooks != nullptr && hooks->set_verify(context, function, argument)) return;
    }
    as(&SSL_CTX_set_cert_verify_callback, found)(context, function, argument);
}

// An agent's session resumes within the scope that libreqauth gave it, and is known by its mark. HAProxy gives every
// session an id context of its own, for whoever presents it; stunnel writes ticket application data. The program's
// data stands after the mark, where the program finds it as it wrote it.
REQAUTH_EXPORT int SSL_SESSION_set1_id_context(SSL_SESSION* session, const unsigned char* value, unsigned int size) {
    const target found = find(function::SSL_SESSION_set1_id_context, CALLER);
    if (found.real == nullptr) return 0;
    if (found.who == caller::anybody && mark_of(session) != nullptr) return 1;
    return as(&SSL_SESSION_set1_id_context, found)(session, value, size);
}

REQAUTH_EXPORT int SSL_SESSION_set1_ticket_appdata(SSL_SESSION* session, const void* data, std::size_t size) {
    const target found = find(function::SSL_SESSION_set1_ticket_appdata, CALLER);
    if (found.real == nullptr) return 0;
    auto* set = as(&SSL_SESSION_set1_ticket_appdata, found);
    const void* mark = found.who == caller::anybody ? mark_of(session) : nullptr;
    if (mark == nullptr) return set(session, data, size);
    if (size > SIZE_MAX - mark_octets) return 0;
    // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): there is no C++ library
    auto* both = static_cast<char*>(std::malloc(mark_octets + size));
    if (both == nullptr) return 0;
    std::memcpy(both, mark, mark_octets);
    if (data != nullptr && size > 0) std::memcpy(both + mark_octets, data, size);
    const int done = set(session, both, mark_octets + (data != nullptr ? size : 0));
    std::free(both); // NOLINT(cppcoreguidelines-no-malloc)
    return done;
}

REQAUTH_EXPORT int SSL_SESSION_get0_ticket_appdata(SSL_SESSION* session, void** data, std::size_t* size) {
    const target found = find(function::SSL_SESSION_get0_ticket_appdata, CALLER);
    if (found.real == nullptr) return 0;
    const int done = as(&SSL_SESSION_get0_ticket_appdata, found)(session, data, size);
    if (done != 1 || !found.known || *size < mark_octets) return done;
    if (found.who !=
        caller::anybody) { // for whom nothing that is longer is a server's mark; a client's begins otherwise
        if (std::memcmp(*data, mark_begins, sizeof mark_begins) == 0) *size = mark_octets;
    } else if (mark_of(session) != nullptr) {
        *size -= mark_octets;
        *data = *size > 0 ? static_cast<char*>(*data) + mark_octets : nullptr;
    }
    return done;
}

REQAUTH_EXPORT int SSL_write(SSL* ssl, const void* data, int size) {
    const target found = find(function::SSL_write, CALLER);
    if (found.real == nullptr) return -1;
    const int written = as(&SSL_write, found)(ssl, data, size);
    if (written <= 0 && size > 0) look_after_write(ssl, written, found);
    return written;
}

REQAUTH_EXPORT int SSL_write_ex(SSL* ssl, const void* data, std::size_t size, std::size_t* written) {
    const target found = find(function::SSL_write_ex, CALLER);
    if (found.real == nullptr) return 0;
    const int done = as(&SSL_write_ex, found)(ssl, data, size, written);
    if (done <= 0) look_after_write(ssl, done, found);
    return done;
}

REQAUTH_EXPORT void SSL_free(SSL* ssl) {
    const target found = find(function::SSL_free, CALLER);
    if (found.real == nullptr) return;
    const reqauth_exec_hooks* hooks = hooks_there();
    if (ssl != nullptr && !within::any() && found.known && hooks != nullptr) {
        const within guard;
        hooks->ends(ssl);
    }
    as(&SSL_free, found)(ssl);
}

// Shells leave this way, without their destructors.
REQAUTH_EXPORT void _exit(int status) {
    end();
    syscall(SYS_exit_group, status);
    __builtin_unreachable();
}
REQAUTH_EXPORT void _Exit(int status) { _exit(status); }
}
