// SPDX-License-Identifier: Apache-2.0
#include "log_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace {

struct descriptor {
    explicit descriptor(int opened) : number(opened) {}
    ~descriptor() {
        if (number >= 0) close(number);
    }
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    void reset(int opened) {
        if (number >= 0) close(number);
        number = opened;
    }
    int number;
};

struct stat examine(const descriptor& opened, const std::string& path, const std::string& place) {
    if (opened.number < 0)
        throw cannot_log(path + ": " +
                         (errno == ELOOP || errno == ENOTDIR
                              ? place + " is a symbolic link, or no directory; name the file by its own path"
                          : errno == ENXIO ? place + " is a FIFO or a socket; name a file"
                                           : place + ": " + std::strerror(errno)));
    struct stat status {};
    if (fstat(opened.number, &status) != 0) throw cannot_log(path + ": " + std::strerror(errno));
    if (status.st_uid != 0 && status.st_uid != geteuid())
        throw cannot_log(path + ": " + place +
                         " is another user's, who decides what file this is; name one where root "
                         "or you alone do");
    return status;
}

} // namespace

file file::of(int number) noexcept {
    struct stat status {};
    if (number < 0 || fstat(number, &status) != 0) return {};
    return {number, status.st_dev, status.st_ino};
}

bool file::still() const noexcept {
    const file now = of(number);
    return number >= 0 && now.number >= 0 && same_as(now);
}

file open_log(const std::string& path, bool make) {
    descriptor folder(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    std::size_t begin = 1;
    for (auto end = path.find('/', begin); end != std::string::npos; begin = end + 1, end = path.find('/', begin)) {
        if (end == begin) continue;
        folder.reset(openat(folder.number, path.substr(begin, end - begin).c_str(),
                            O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        examine(folder, path, path.substr(0, end));
    }
    descriptor opened(
        openat(folder.number, path.substr(begin).c_str(),
               O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (make ? O_CREAT : 0), 0600));
    const struct stat status = examine(opened, path, path);
    if (!S_ISREG(status.st_mode)) throw cannot_log(path + ": is no regular file; name one");
    if (status.st_nlink != 1)
        throw cannot_log(path + ": the file has another name, too, and may be meant for something else; name another");
    const file found = file::of(opened.number);
    opened.number = -1;
    return found;
}
