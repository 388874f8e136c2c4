// SPDX-License-Identifier: Apache-2.0
#include "keeper.hpp"

#include <openssl/crypto.h>

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <stdexcept>

namespace fs = std::filesystem;

namespace {

// What a program expects to be closed when it closes it, as a pipe's end, is not held open here.
void close_all_but(const std::vector<int>& kept) {
    std::vector<int> open;
    for (const auto& each : fs::directory_iterator("/proc/self/fd")) open.push_back(std::stoi(each.path().filename()));
    for (const int each : open)
        if (each != STDERR_FILENO && std::ranges::find(kept, each) == kept.end()) close(each);
}

void keep(const tally& counts, pid_t program, const std::string& name, bool verbose, const std::vector<int>& files) {
    setsid();
    (void)!chdir("/");
    close_all_but(files);
    const auto ended = static_cast<int>(syscall(SYS_pidfd_open, program, 0));
    pollfd wait{ended, POLLIN, 0};
    while (ended >= 0 && poll(&wait, 1, -1) < 0 && errno == EINTR) {}
    std::array<char, 400> text{};
    if (counts.runs == 0 || counts.told != 0 || conclusion(counts, verbose, text.data(), text.size()) == 0) return;
    const std::string line = "reqauth-exec: " + name + ' ' + text.data() + '\n';
    (void)!write(STDERR_FILENO, line.data(), line.size());
}

} // namespace

bool is_read_once(const std::string& path) {
    std::error_code none;
    const fs::file_type type = fs::status(path, none).type();
    if (type == fs::file_type::not_found || type == fs::file_type::directory) return false;
    const std::string folder = fs::canonical(fs::path(path).parent_path(), none);
    return type != fs::file_type::regular || folder == "/dev" || folder.starts_with("/proc/");
}

int copied(const std::string& path) {
    const auto fail = [&](const char* why) { return std::runtime_error(path + ": cannot be read: " + why); };
    const int from = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (from < 0) throw fail(std::strerror(errno));
    const int to = memfd_create("reqauth-exec-file", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    constexpr std::size_t most = 16U << 20U; // no PEM file is so long, and /dev/zero has no end
    std::array<char, 4096> some{};
    std::size_t size = 0;
    ssize_t got = 0;
    while (to >= 0 && size < most && (got = read(from, some.data(), some.size())) > 0) {
        size += static_cast<std::size_t>(got);
        if (write(to, some.data(), static_cast<std::size_t>(got)) != got) got = -1;
        if (got < 0) break;
    }
    OPENSSL_cleanse(some.data(), some.size());
    const int error = errno;
    close(from);
    if (to < 0 || got < 0) throw fail(std::strerror(error));
    if (got > 0) throw fail("it does not end");
    constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    if (fchmod(to, S_IRUSR) != 0 || fcntl(to, F_ADD_SEALS, seals) != 0) throw fail(std::strerror(errno));
    return to;
}

int start_keeper(tally& counts, const std::string& program, bool verbose, const std::vector<int>& files) {
    const pid_t self = getpid();
    // Not the program's child, which may wait for all that it has.
    const pid_t between = fork();
    if (between == 0) {
        const pid_t keeper = fork();
        if (keeper == 0) {
            try {
                keep(counts, self, program, verbose, files);
            } catch (const std::exception&) { // it has no memory
            }
        } else {
            counts.keeper = keeper;
        }
        _exit(0);
    }
    int status = 0;
    if (between < 0 || waitpid(between, &status, 0) != between) return -1;
    return counts.keeper > 0 ? counts.keeper.load() : -1;
}
