// SPDX-License-Identifier: Apache-2.0

// libreqauth-preload.so, which LD_PRELOAD puts before OpenSSL: it sees each SSL_CTX as it is made. It needs libc alone,
// so that programs that never use OpenSSL are as they were.

#include "hooks.hpp"
#include "tally.hpp"

#include <openssl/ssl.h>

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <sys/syscall.h>

#include <cstdarg>

namespace {

// Above zero while OpenSSL or the library call what stands here: SSL_CTX_new calls SSL_CTX_new_ex, attaching SSL_new.
thread_local int inside = 0;
// OpenSSL's function that runs then: what it calls is of the same OpenSSL. Its own calls can look like ours.
thread_local void* running = nullptr;

struct within {
    explicit within(void* function = nullptr) {
        ++inside;
        running = function;
    }
    ~within() {
        --inside;
        running = nullptr;
    }
    within(const within&) = delete;
    within& operator=(const within&) = delete;
};

tally* counts = nullptr;
int first_process = 0;
bool verbose = false;

__attribute__((format(printf, 1, 2))) void say(const char* format, ...) {
    const int before = errno;
    char text[512];
    const int start = std::snprintf(text, sizeof text, "reqauth-exec: %s ", program_invocation_short_name);
    std::va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text + start, sizeof text - static_cast<std::size_t>(start) - 1, format, arguments);
    va_end(arguments);
    std::strcat(text, "\n");
    (void)!write(STDERR_FILENO, text, std::strlen(text));
    errno = before;
}

const char* file_name(const char* path) {
    const char* slash = std::strrchr(path, '/');
    return slash != nullptr ? slash + 1 : path;
}

// The libssl that this was built for, as "libssl.so.3".
#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)
constexpr char known_libssl[] = "libssl.so." TEXT(OPENSSL_SHLIB_VERSION);

// The function that `caller` would have called: a program can load several OpenSSLs, each for a library of its own.
void* next(const char* name, void* caller) {
    Dl_info where{};
    link_map* object = nullptr;
    void* found = nullptr;
    if (dladdr1(running != nullptr ? running : caller, &where, reinterpret_cast<void**>(&object), RTLD_DL_LINKMAP) !=
            0 &&
        object->l_name[0] != '\0') {
        if (void* loaded = dlopen(object->l_name, RTLD_LAZY | RTLD_NOLOAD)) {
            found = dlsym(loaded, name);
            dlclose(loaded);
        }
    }
    if (found == nullptr) found = dlsym(RTLD_NEXT, name);
    if (found == nullptr) {
        if (void* loaded = dlopen(known_libssl, RTLD_LAZY | RTLD_NOLOAD)) {
            found = dlsym(loaded, name);
            dlclose(loaded);
        }
    }
    return found;
}

template <class Function> Function* next(Function*, const char* name, void* caller) {
    return reinterpret_cast<Function*>(next(name, caller));
}

Dl_info library_of(const void* function) {
    Dl_info where{};
    if (dladdr(function, &where) == 0) where.dli_fname = "something unknown";
    return where;
}

const reqauth_exec_hooks* loaded_hooks = nullptr;

void load_hooks() {
    Dl_info self = library_of(reinterpret_cast<const void*>(&load_hooks));
    char path[4096];
    const int folder = static_cast<int>(file_name(self.dli_fname) - self.dli_fname);
    std::snprintf(path, sizeof path, "%.*slibreqauth-exec.so", folder, self.dli_fname);
    void* second = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (second == nullptr) {
        say("goes on without the flag: %s", dlerror());
        return;
    }
    if (auto* begin = reinterpret_cast<decltype(&reqauth_exec_begin)>(dlsym(second, "reqauth_exec_begin")))
        loaded_hooks = begin();
}

// The second half, for a libssl that has `function`: null where it cannot work with that.
const reqauth_exec_hooks* hooks_for(const void* function) {
    const Dl_info its = library_of(function);
    static std::atomic<bool> said{false};
    const char* name = file_name(its.dli_fname);
    const std::size_t size = sizeof known_libssl - 1;
    if (std::strncmp(name, known_libssl, size) != 0 || (name[size] != '\0' && name[size] != '.')) {
        if (!said.exchange(true))
            say("goes on without the flag: it uses %s, and this reqauth-exec is for %s; take a build of the program "
                "for that",
                its.dli_fname, known_libssl);
        return nullptr;
    }
    const within guard;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_hooks);
    if (loaded_hooks == nullptr) return nullptr;
    const Dl_info ours = library_of(loaded_hooks->libssl);
    if (ours.dli_fbase == its.dli_fbase) return loaded_hooks;
    if (!said.exchange(true))
        say("goes on without the flag where it uses %s, since libreqauth has %s; have one OpenSSL in a program",
            its.dli_fname, ours.dli_fname);
    return nullptr;
}

SSL_CTX* note(SSL_CTX* made, const void* by) {
    if (made == nullptr) return made;
    if (counts != nullptr) ++counts->made;
    const reqauth_exec_hooks* hooks = hooks_for(by);
    const within guard;
    if (hooks != nullptr && hooks->made(made) && counts != nullptr) ++counts->given;
    return made;
}

__attribute__((constructor)) void begin() {
    const char* where = std::getenv(tally_variable);
    int file = -1;
    if (where == nullptr || std::sscanf(where, "%d:%d", &first_process, &file) != 2) return;
    const int before = errno;
    counts = find_tally(first_process, file);
    errno = before;
    const char* all = std::getenv(settings_variable);
    verbose = all != nullptr && std::strstr(all, "\"verbose\":true") != nullptr;
}

// Only the program that reqauth-exec was given speaks for all, once.
__attribute__((destructor)) void end() {
    if (counts == nullptr || getpid() != first_process) return;
    static bool ended = false;
    if (ended) return;
    ended = true;
    const unsigned made = counts->made;
    const unsigned given = counts->given;
    if (made == 0)
        say("never made an OpenSSL SSL_CTX, nor did what it started: the flag was in nothing. It may use another TLS "
            "library, or have an OpenSSL of its own inside");
    else if (given == 0)
        say("made %u SSL_CTX%s, and none was given the flag", made, made == 1 ? "" : "s");
    else if (verbose)
        say("and what it started made %u SSL_CTX%s, of which %u %s given the flag", made, made == 1 ? "" : "s", given,
            given == 1 ? "was" : "were");
}

} // namespace

#define CALLER __builtin_return_address(0)

extern "C" {

REQAUTH_EXPORT SSL_CTX* SSL_CTX_new(const SSL_METHOD* method) {
    auto* real = next(&SSL_CTX_new, "SSL_CTX_new", CALLER);
    if (real == nullptr) return nullptr;
    if (inside > 0) return real(method);
    SSL_CTX* made = nullptr;
    {
        const within guard(reinterpret_cast<void*>(real));
        made = real(method);
    }
    return note(made, reinterpret_cast<const void*>(real));
}

REQAUTH_EXPORT SSL_CTX* SSL_CTX_new_ex(OSSL_LIB_CTX* libctx, const char* properties, const SSL_METHOD* method) {
    auto* real = next(&SSL_CTX_new_ex, "SSL_CTX_new_ex", CALLER);
    if (real == nullptr) return nullptr;
    if (inside > 0) return real(libctx, properties, method);
    SSL_CTX* made = nullptr;
    {
        const within guard(reinterpret_cast<void*>(real));
        made = real(libctx, properties, method);
    }
    return note(made, reinterpret_cast<const void*>(real));
}

REQAUTH_EXPORT SSL* SSL_new(SSL_CTX* context) {
    auto* real = next(&SSL_new, "SSL_new", CALLER);
    if (real == nullptr) return nullptr;
    if (inside == 0 && context != nullptr) {
        const reqauth_exec_hooks* hooks = hooks_for(reinterpret_cast<const void*>(real));
        const within guard;
        if (hooks != nullptr) hooks->begins(context);
    }
    return real(context);
}

REQAUTH_EXPORT void SSL_CTX_set_cert_cb(SSL_CTX* context, certificate_function function, void* argument) {
    auto* real = next(&SSL_CTX_set_cert_cb, "SSL_CTX_set_cert_cb", CALLER);
    if (real == nullptr) return;
    if (inside == 0) {
        const reqauth_exec_hooks* hooks = hooks_for(reinterpret_cast<const void*>(real));
        const within guard;
        if (hooks != nullptr && hooks->set_cert_cb(context, function, argument)) return;
    }
    real(context, function, argument);
}

REQAUTH_EXPORT void SSL_set_cert_cb(SSL* ssl, certificate_function function, void* argument) {
    auto* real = next(&SSL_set_cert_cb, "SSL_set_cert_cb", CALLER);
    if (real == nullptr) return;
    if (inside == 0) {
        const reqauth_exec_hooks* hooks = hooks_for(reinterpret_cast<const void*>(real));
        const within guard;
        if (hooks != nullptr && hooks->set_ssl_cert_cb(ssl, function, argument)) return;
    }
    real(ssl, function, argument);
}

REQAUTH_EXPORT int SSL_SESSION_set1_id_context(SSL_SESSION* session, const unsigned char* value, unsigned int size) {
    auto* real = next(&SSL_SESSION_set1_id_context, "SSL_SESSION_set1_id_context", CALLER);
    if (real == nullptr) return 0;
    if (inside == 0 && session != nullptr) {
        const reqauth_exec_hooks* hooks = hooks_for(reinterpret_cast<const void*>(real));
        const within guard;
        if (hooks != nullptr && library_of(CALLER).dli_fbase != library_of(hooks->libreqauth).dli_fbase &&
            hooks->keeps_id_context(session))
            return 1;
    }
    return real(session, value, size);
}

// Shells leave this way, without their destructors.
REQAUTH_EXPORT void _exit(int status) {
    end();
    syscall(SYS_exit_group, status);
    __builtin_unreachable();
}
REQAUTH_EXPORT void _Exit(int status) { _exit(status); }
}
