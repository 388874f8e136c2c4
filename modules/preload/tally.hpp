// SPDX-License-Identifier: Apache-2.0
#pragma once

// How many SSL_CTXs were made and given the flag, over all processes that one reqauth-exec started: memory that they
// share. reqauth-exec makes it as a memfd, and its keeper has it open: they find it by that process.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

struct tally {
    std::atomic<unsigned> made;
    std::atomic<unsigned> given;
    std::atomic<unsigned> runs;                   ///< the program was begun
    std::atomic<unsigned> told;                   ///< and has said what came of it
    std::atomic<int> keeper;                      ///< its process
    std::atomic<std::uintptr_t> without_flag[64]; ///< servers that ended a connection on it, where it is left out then
};
static_assert(std::atomic<unsigned>::is_always_lock_free && std::atomic<std::uintptr_t>::is_always_lock_free);

/// server_hash stands for a server's name and address; 0 for none.
using server_hash = std::uintptr_t;

inline server_hash hash_of(const char* octets, std::size_t size) { // FNV-1a
    std::uint64_t hash = 0xcbf29ce484222325;
    for (std::size_t at = 0; at < size; ++at) hash = (hash ^ static_cast<unsigned char>(octets[at])) * 0x100000001b3;
    return size != 0 ? static_cast<server_hash>(hash | 1) : 0;
}

inline bool goes_without(const tally& all, server_hash server) {
    for (const auto& each : all.without_flag)
        if (server != 0 && each == server) return true;
    return false;
}

/// leave_out remembers it. Of more than there is room for one is forgotten.
inline void leave_out(tally& all, server_hash server) {
    for (auto& each : all.without_flag) {
        server_hash there = 0;
        if (server == 0 || each.compare_exchange_strong(there, server) || there == server) return;
    }
    all.without_flag[server % 64] = server;
}

/// conclusion writes what came of a program's SSL_CTXs, in the words that follow its name: 0, where there is nothing to
/// say, or the octets.
inline int conclusion(const tally& counts, bool verbose, char* text, std::size_t size) {
    const unsigned made = counts.made;
    const unsigned given = counts.given;
    const char* ending = made == 1 ? "" : "s";
    if (made == 0)
        return std::snprintf(text, size, "%s",
                             "never made an OpenSSL SSL_CTX, nor did what it started: the flag was in nothing. It may "
                             "use another TLS library, or have an OpenSSL of its own inside");
    if (given == 0) return std::snprintf(text, size, "made %u SSL_CTX%s, and none was given the flag", made, ending);
    if (!verbose) return 0;
    return std::snprintf(text, size, "and what it started made %u SSL_CTX%s, of which %u %s given the flag", made,
                         ending, given, given == 1 ? "was" : "were");
}

inline constexpr char tally_name[] = "reqauth-exec";

inline tally* tally_in(int file) {
    void* memory = mmap(nullptr, sizeof(tally), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return memory == MAP_FAILED ? nullptr : static_cast<tally*>(memory);
}

/// make_tally gives its file, or -1. It must not shrink under those who use it.
inline int make_tally() {
    const int file = memfd_create(tally_name, MFD_ALLOW_SEALING | MFD_CLOEXEC);
    if (file < 0 || (ftruncate(file, sizeof(tally)) == 0 && fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK) == 0)) return file;
    close(file);
    return -1;
}

/// find_tally maps the one that `pid` has as `file`: null where that is another file, or gone.
inline tally* find_tally(int pid, int file) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, file);
    char target[64] = {};
    const ssize_t size = readlink(path, target, sizeof target - 1);
    constexpr char prefix[] = "/memfd:reqauth-exec ";
    if (size < 0 || std::strncmp(target, prefix, sizeof prefix - 1) != 0) return nullptr;
    const int opened = open(path, O_RDWR | O_CLOEXEC);
    if (opened < 0) return nullptr;
    tally* found = nullptr;
    struct stat status {};
    if ((fcntl(opened, F_GET_SEALS) & F_SEAL_SHRINK) != 0 && fstat(opened, &status) == 0 &&
        status.st_size == static_cast<off_t>(sizeof(tally)))
        found = tally_in(opened);
    close(opened);
    return found;
}
