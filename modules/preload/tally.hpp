// SPDX-License-Identifier: Apache-2.0
#pragma once

// How many SSL_CTXs were made and given the flag, over all processes that one reqauth-exec started: memory that they
// share. reqauth-exec makes it as a memfd, which its program inherits; the others find it by that process.

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
};
static_assert(std::atomic<unsigned>::is_always_lock_free);

inline constexpr char tally_name[] = "reqauth-exec";

/// make_tally gives the number of its file, or -1.
inline int make_tally() {
    const int file = memfd_create(tally_name, MFD_ALLOW_SEALING | MFD_CLOEXEC);
    if (file < 0) return -1;
    // High, where no program expects one of its own; and it must not shrink under those who use it.
    const int high = fcntl(file, F_DUPFD, 100);
    close(file);
    if (high < 0 || ftruncate(high, sizeof(tally)) != 0 || fcntl(high, F_ADD_SEALS, F_SEAL_SHRINK) != 0) return -1;
    return high;
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
    void* memory = MAP_FAILED;
    struct stat status {};
    if ((fcntl(opened, F_GET_SEALS) & F_SEAL_SHRINK) != 0 && fstat(opened, &status) == 0 &&
        status.st_size == static_cast<off_t>(sizeof(tally)))
        memory = mmap(nullptr, sizeof(tally), PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    close(opened);
    return memory == MAP_FAILED ? nullptr : static_cast<tally*>(memory);
}
