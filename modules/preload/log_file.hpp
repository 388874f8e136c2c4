// SPDX-License-Identifier: Apache-2.0
#pragma once

// The file of --log. It is written with the rights of whoever runs reqauth-exec, often root's, so nobody else may have a
// say in what file it is.

#include <sys/types.h>

#include <stdexcept>
#include <string>

/// file is an open one, and which that is: programs close files that are not theirs, and use the numbers again.
struct file {
    int number = -1;
    dev_t device = 0;
    ino_t inode = 0;

    [[nodiscard]] static file of(int number) noexcept;
    [[nodiscard]] bool still() const noexcept;
    [[nodiscard]] bool same_as(const file& other) const noexcept {
        return device == other.device && inode == other.inode;
    }
};

/// cannot_log is why a file is not written to, in one line that names it.
struct cannot_log : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// open_log opens a regular file to append to, and makes it where `make` says so. No directory on its absolute path, nor
/// the file itself, is a symbolic link or somebody else's than root's or the caller's, and the file has no other name.
/// Never waits, as for a FIFO's reader. Throws cannot_log.
file open_log(const std::string& path, bool make);
