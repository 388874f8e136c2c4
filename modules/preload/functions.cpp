// SPDX-License-Identifier: Apache-2.0
#include "functions.hpp"
#include "preload.hpp"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>

namespace {

thread_local int inside = 0;
thread_local void* running = nullptr;

#define REQAUTH_EXEC_TEXT(name) #name,
constexpr const char* names[] = {REQAUTH_EXEC_TAKEN(REQAUTH_EXEC_TEXT) REQAUTH_EXEC_HIDDEN(REQAUTH_EXEC_TEXT)};
constexpr auto count = static_cast<std::size_t>(function::count);
constexpr auto first_hidden = static_cast<std::size_t>(function::SSL_get0_peer_certificate);

// Those of the libssl for which this was built.
struct known_functions {
    void* real[count];
    const void* libssl;
};
known_functions known{};
std::atomic<bool> learned{false};
const void* reqauth_bases[2] = {};

void learn_once() {
    void* libssl = dlopen(known_libssl, RTLD_LAZY | RTLD_NOLOAD);
    if (libssl == nullptr) return;
    for (std::size_t i = 0; i < count; ++i) known.real[i] = dlsym(libssl, names[i]);
    known.libssl = base_of(known.real[static_cast<std::size_t>(function::SSL_CTX_new)]);
    dlclose(libssl);
    learned.store(known.libssl != nullptr, std::memory_order_release);
}

// Where calls came from that were for the known libssl, and who that was: found without a lock. A library that is
// unloaded leaves its places behind; so OpenSSL's callers have to be of one OpenSSL in such a place.
constexpr std::size_t places_size = 4096;
std::atomic<std::uint64_t> places[places_size];

template <class Visit> void visit_places(std::uint64_t place, Visit visit) {
    constexpr int most = 16;
    const auto begin = static_cast<std::size_t>(place * 0x9e3779b97f4a7c15U >> 52U);
    for (std::size_t i = 0; i < most; ++i)
        if (visit(places[(begin + i) % places_size])) return;
}

bool recall(std::uint64_t place, caller& who) {
    bool there = false;
    visit_places(place, [&](const std::atomic<std::uint64_t>& slot) {
        const std::uint64_t kept = slot.load(std::memory_order_acquire);
        there = kept >> 2U == place;
        if (there) who = static_cast<caller>(kept & 3U);
        return there || kept == 0;
    });
    return there;
}

void remember(std::uint64_t place, caller who) {
    visit_places(place, [&](std::atomic<std::uint64_t>& slot) {
        std::uint64_t empty = 0;
        return slot.compare_exchange_strong(empty, place << 2U | static_cast<std::uint64_t>(who));
    });
}

void* look_up(const char* name, void* from) {
    Dl_info where{};
    link_map* object = nullptr;
    void* found = nullptr;
    if (dladdr1(from, &where, reinterpret_cast<void**>(&object), RTLD_DL_LINKMAP) != 0 && object->l_name[0] != '\0') {
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

const void* own_base() { return base_of(reinterpret_cast<const void*>(&learn_once)); }

caller who_is(const void* from) {
    const void* base = base_of(from);
    return base == reqauth_bases[0] || base == reqauth_bases[1] ? caller::reqauth : caller::anybody;
}

} // namespace

within::within(void* function) : before_(running) {
    ++inside;
    running = function;
}
within::~within() {
    --inside;
    running = before_;
}
bool within::any() { return inside > 0; }

const void* base_of(const void* address) {
    Dl_info where{};
    return address != nullptr && dladdr(address, &where) != 0 ? where.dli_fbase : nullptr;
}

bool learn_functions() {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    // Not while it is not loaded: once is for ever.
    void* libssl = dlopen(known_libssl, RTLD_LAZY | RTLD_NOLOAD);
    if (libssl == nullptr) return false;
    pthread_once(&once, learn_once);
    dlclose(libssl);
    return learned.load(std::memory_order_acquire);
}

const void* base_of_known_libssl() { return known.libssl; }

void set_bases_of_reqauth(const void* library, const void* second_half) {
    reqauth_bases[0] = base_of(library);
    reqauth_bases[1] = base_of(second_half);
}

target find(function which, void* from) {
    const auto index = static_cast<std::size_t>(which);
    const auto place = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(from));
    caller who = caller::reqauth;
    if (running == nullptr && recall(place, who)) return {known.real[index], inside > 0 ? caller::reqauth : who, true};
    if (running != nullptr) from = running;
    void* found = look_up(names[index], from);
    if (found == nullptr) return {nullptr, caller::anybody, false};
    if (!learned.load(std::memory_order_acquire)) learn_functions();
    const void* base = base_of(found);
    // stand_in may have put ours there.
    if (!learned.load(std::memory_order_acquire) || (base != known.libssl && base != own_base()))
        return {found, caller::anybody, false};
    if (running != nullptr) return {known.real[index], caller::reqauth, true};
    who = who_is(from);
    remember(place, who);
    return {known.real[index], inside > 0 ? caller::reqauth : who, true};
}

// The entry of libssl's table of symbols is changed, where the dynamic linker reads.
void stand_in() {
    struct segment {
        std::uintptr_t address;
        int protection; ///< of the segment that has it; -1: not found
    };
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    Dl_info self{};
    void* ours = dladdr(reinterpret_cast<const void*>(&learn_once), &self) != 0
                     ? dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD)
                     : nullptr;
    if (ours == nullptr) return;
    for (std::size_t i = first_hidden; i < count; ++i) {
        Dl_info where{};
        ElfW(Sym)* symbol = nullptr;
        link_map* libssl = nullptr;
        const void* own = dlsym(ours, names[i]);
        if (own == nullptr || known.real[i] == nullptr ||
            dladdr1(known.real[i], &where, reinterpret_cast<void**>(&libssl), RTLD_DL_LINKMAP) == 0 ||
            dladdr1(known.real[i], &where, reinterpret_cast<void**>(&symbol), RTLD_DL_SYMENT) == 0 ||
            symbol == nullptr || std::strcmp(where.dli_sname, names[i]) != 0)
            continue;
        segment at{reinterpret_cast<std::uintptr_t>(symbol), -1};
        dl_iterate_phdr(
            [](dl_phdr_info* object, std::size_t, void* data) {
                auto* wanted = static_cast<segment*>(data);
                for (int j = 0; j < object->dlpi_phnum; ++j) {
                    const auto& part = object->dlpi_phdr[j];
                    const std::uintptr_t begin = object->dlpi_addr + part.p_vaddr;
                    if (part.p_type == PT_LOAD && begin <= wanted->address && wanted->address - begin < part.p_memsz)
                        wanted->protection =
                            ((part.p_flags & PF_R) != 0 ? PROT_READ : 0) | ((part.p_flags & PF_X) != 0 ? PROT_EXEC : 0);
                }
                return wanted->protection >= 0 ? 1 : 0;
            },
            &at);
        auto* begin = reinterpret_cast<void*>(at.address / page * page); // NOLINT(performance-no-int-to-ptr): a page
        const std::size_t size = at.address % page + sizeof *symbol;
        if (at.protection < 0 || mprotect(begin, size, at.protection | PROT_WRITE) != 0) continue;
        symbol->st_value = reinterpret_cast<std::uintptr_t>(own) - libssl->l_addr;
        mprotect(begin, size, at.protection);
    }
    dlclose(ours);
}
