// SPDX-License-Identifier: Apache-2.0
#pragma once

// How many SSL_CTXs were made and given the flag, over all processes that one reqauth-exec started: memory that they
// share. reqauth-exec makes it as a memfd, and its keeper has it open: they find it by that process.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

struct tally {
    std::atomic<unsigned> made;
    std::atomic<unsigned> given;
    std::atomic<unsigned> runs; ///< the program was begun
    std::atomic<unsigned> told; ///< and has said what came of it
    std::atomic<int> keeper;    ///< its process
};
static_assert(std::atomic<unsigned>::is_always_lock_free);

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
