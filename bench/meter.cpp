// SPDX-License-Identifier: Apache-2.0
#include "meter.hpp"

#include <openssl/crypto.h>

#include <malloc.h>

#include <cstdlib>
#include <ctime>
#include <new>
#include <stdexcept>

namespace {

bench::heap total; // one thread measures
bool counts = false;

void* took(void* made) {
    if (counts && made != nullptr) {
        ++total.allocations;
        total.octets += static_cast<std::int64_t>(malloc_usable_size(made));
    }
    return made;
}

void gave(void* old) {
    if (counts) total.octets -= static_cast<std::int64_t>(malloc_usable_size(old));
}

void* counted_malloc(std::size_t size, const char*, int) { return took(std::malloc(size)); }
void* counted_realloc(void* old, std::size_t size, const char*, int) {
    gave(old);
    return took(std::realloc(old, size));
}
void counted_free(void* old, const char*, int) {
    gave(old);
    std::free(old);
}

} // namespace

void* operator new(std::size_t size) {
    if (void* made = took(std::malloc(size == 0 ? 1 : size))) return made;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return took(std::malloc(size == 0 ? 1 : size)); }
void operator delete(void* old) noexcept { counted_free(old, nullptr, 0); }
void operator delete(void* old, const std::nothrow_t&) noexcept { counted_free(old, nullptr, 0); }
void operator delete(void* old, std::size_t) noexcept { counted_free(old, nullptr, 0); }

namespace bench {

void count_allocations() {
    mallopt(M_MXFAST, 0); // else one side tidies up, some time, what the other has freed
    if (RUNNING_ON_VALGRIND) return;
    counts = true;
    if (CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1)
        throw std::runtime_error("OpenSSL has allocated already");
}

heap heap_now() noexcept { return total; }

double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

void row(const std::string& label, const std::vector<figure>& figures) {
    if (RUNNING_ON_VALGRIND) return;
    std::printf("%s", label.c_str());
    for (const auto& [name, value] : figures)
        std::printf("\t%.*s=%.9g", static_cast<int>(name.size()), name.data(), value);
    std::printf("\n");
    std::fflush(stdout);
}

} // namespace bench
