// SPDX-License-Identifier: Apache-2.0
#include "program.hpp"

#include "hooks.hpp"

#include <openssl/opensslv.h>

#include <elf.h>
#include <link.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace fs = std::filesystem;

namespace {

constexpr int cannot_run = 126;
constexpr int not_found = 127;
const std::string libssl = "libssl.so." + std::to_string(OPENSSL_SHLIB_VERSION);

bool is_executable(const fs::path& file) {
    std::error_code error;
    return fs::is_regular_file(file, error) && access(file.c_str(), X_OK) == 0;
}

template <class Object> Object object_at(const std::string& octets, std::size_t offset) {
    Object object{};
    if (offset <= octets.size() && octets.size() - offset >= sizeof object)
        std::memcpy(&object, octets.data() + offset, sizeof object);
    return object;
}

std::string read_start(const fs::path& file, std::size_t most) {
    std::ifstream in(file, std::ios::binary);
    std::string octets(most, '\0');
    in.read(octets.data(), static_cast<std::streamsize>(most));
    octets.resize(static_cast<std::size_t>(in.gcount()));
    return octets;
}

/// elf is what an ELF file says of itself.
struct elf {
    bool ours = false;        ///< made for this machine
    std::string loader;       ///< of the dynamic linker; empty: static
    bool has_openssl = false; ///< defines SSL_CTX_new, for others to use
    bool is_apache = false;   ///< defines what Apache's modules call
    bool is_go = false;
};

elf examine(const fs::path& file) {
    using header_type = ElfW(Ehdr);
    std::ifstream in(file, std::ios::binary);
    const auto read = [&](std::uint64_t offset, std::uint64_t size) {
        constexpr std::uint64_t most = 64U << 20U;
        std::string octets(static_cast<std::size_t>(std::min(size, most)), '\0');
        in.clear();
        in.seekg(static_cast<std::streamoff>(offset));
        in.read(octets.data(), static_cast<std::streamsize>(octets.size()));
        octets.resize(static_cast<std::size_t>(in.gcount()));
        return octets;
    };
    const auto header = object_at<header_type>(read(0, sizeof(header_type)), 0);
    const auto self = object_at<header_type>(read_start("/proc/self/exe", sizeof(header_type)), 0);
    elf what;
    what.ours = std::memcmp(header.e_ident, self.e_ident, EI_DATA + 1) == 0 && header.e_machine == self.e_machine;
    if (!what.ours) return what;
    const std::string programs = read(header.e_phoff, std::uint64_t{header.e_phnum} * sizeof(ElfW(Phdr)));
    for (std::size_t i = 0; i < header.e_phnum; ++i) {
        const auto one = object_at<ElfW(Phdr)>(programs, i * sizeof(ElfW(Phdr)));
        // NOLINTNEXTLINE(readability-redundant-string-cstr): to its NUL
        if (one.p_type == PT_INTERP) what.loader = read(one.p_offset, one.p_filesz).c_str();
    }
    const std::string sections = read(header.e_shoff, std::uint64_t{header.e_shnum} * sizeof(ElfW(Shdr)));
    const auto titles = object_at<ElfW(Shdr)>(sections, header.e_shstrndx * sizeof(ElfW(Shdr)));
    const std::string titled = read(titles.sh_offset, titles.sh_size);
    for (std::size_t i = 0; i < header.e_shnum; ++i) {
        const auto one = object_at<ElfW(Shdr)>(sections, i * sizeof(ElfW(Shdr)));
        if (one.sh_name < titled.size() && std::string_view(titled.c_str() + one.sh_name) == ".go.buildinfo")
            what.is_go = true;
        if (one.sh_type != SHT_DYNSYM) continue;
        const auto linked = object_at<ElfW(Shdr)>(sections, one.sh_link * sizeof(ElfW(Shdr)));
        const std::string symbols = read(one.sh_offset, one.sh_size);
        const std::string names = read(linked.sh_offset, linked.sh_size);
        for (std::size_t at = 0; at < symbols.size(); at += sizeof(ElfW(Sym))) {
            const auto symbol = object_at<ElfW(Sym)>(symbols, at);
            if (symbol.st_shndx == SHN_UNDEF || symbol.st_name >= names.size()) continue;
            const std::string_view name(names.c_str() + symbol.st_name);
            what.has_openssl |= name == "SSL_CTX_new";
            what.is_apache |= name == of_apache;
        }
    }
    return what;
}

/// libraries are the names of all that the dynamic linker would load with a program. The linker is what runs the
/// program anyway, and here it runs nothing of it.
std::vector<std::string> libraries(const std::string& loader, const fs::path& program) {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) return {};
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(loader.c_str(), loader.c_str(), "--list", program.c_str(), nullptr);
        _exit(cannot_run);
    }
    close(ends[1]);
    std::string text;
    std::array<char, 4096> buffer{};
    for (ssize_t got = 0; child > 0 && (got = read(ends[0], buffer.data(), buffer.size())) > 0;)
        text.append(buffer.data(), static_cast<std::size_t>(got));
    close(ends[0]);
    if (child > 0) waitpid(child, nullptr, 0);
    std::vector<std::string> names;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string name;
        words >> name;
        names.push_back(fs::path(name).filename());
    }
    return names;
}

[[noreturn]] void refuse(const fs::path& program, const std::string& why) {
    throw not_possible(cannot_run, program.string() + " " + why);
}

/// The kernel and the dynamic linker drop LD_PRELOAD where a program gets more rights than its caller.
bool gets_privileges(const fs::path& program) {
    struct stat status {};
    if (stat(program.c_str(), &status) != 0) return false;
    if ((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid()) return true;
    if ((status.st_mode & S_ISGID) != 0 && status.st_gid != getegid()) return true;
    return geteuid() != 0 && getxattr(program.c_str(), "security.capability", nullptr, 0) > 0;
}

/// interpreter_of is what runs a script: none for a program.
std::optional<fs::path> interpreter_of(const std::string& start) {
    if (!start.starts_with("#!")) return std::nullopt;
    std::istringstream line(start.substr(2, start.find('\n') - 2));
    std::string interpreter;
    std::string argument;
    line >> interpreter >> argument;
    // env finds the real one.
    if (fs::path(interpreter).filename() == "env" && !argument.empty() && argument.front() != '-' &&
        argument.find('=') == std::string::npos)
        return found(argument);
    return interpreter;
}

bool links_libssl(const fs::path& program, const elf& what, bool guess) {
    const auto names = libraries(what.loader, program);
    const auto has = [&](std::string_view start) {
        return std::ranges::find_if(names, [&](const std::string& name) { return name.starts_with(start); });
    };
    if (has(libssl) != names.end()) return true;
    // NSS calls one of its own libssl3.so.
    if (const auto other = has("libssl.so."); other != names.end())
        refuse(program, "links " + *other + ", and this reqauth-exec is for " + libssl +
                            "; take a build of the program for that");
    if (!guess) return false;
    if (what.has_openssl)
        refuse(program, "has an OpenSSL of its own inside, which cannot be reached; take a build that links " + libssl +
                            ", or say --anyway if it loads that one, too");
    constexpr std::array<std::pair<std::string_view, std::string_view>, 5> others = {{{"libgnutls.so", "GnuTLS"},
                                                                                      {"libgo.so", "Go's crypto/tls"},
                                                                                      {"libssl3.so", "NSS"},
                                                                                      {"libwolfssl.so", "wolfSSL"},
                                                                                      {"libmbedtls.so", "Mbed TLS"}}};
    for (const auto& [file, name] : others)
        if (has(file) != names.end())
            refuse(program, "uses " + std::string(name) + " and not OpenSSL; take a build that links " + libssl +
                                ", or say --anyway if it loads that one later");
    return false;
}

} // namespace

fs::path found(const std::string& name) {
    if (name.find('/') != std::string::npos) {
        if (!fs::exists(name)) throw not_possible(not_found, name + " is not there; look at the name after --");
        if (!is_executable(name)) refuse(name, "cannot be executed; look at its mode");
        return name;
    }
    const char* path = std::getenv("PATH");
    std::istringstream folders(path != nullptr ? path : "/bin:/usr/bin");
    for (std::string folder; std::getline(folders, folder, ':');) {
        fs::path file = fs::path(folder.empty() ? "." : folder) / name;
        if (is_executable(file)) return file;
    }
    throw not_possible(not_found, name + " is not in the PATH; look at the name after --");
}

std::string check(const fs::path& program, bool guess, bool server) {
    fs::path file = program;
    // As many as Linux follows.
    for (int depth = 0; depth < 5; ++depth) {
        const std::string start = read_start(file, 256);
        if (start.starts_with(ELFMAG)) break;
        file = interpreter_of(start).value_or("/bin/sh");
        if (!is_executable(file)) refuse(program, "is a script for " + file.string() + ", which cannot be executed");
    }
    const std::string by = file == program ? "" : " by " + file.string();
    if (access(file.c_str(), R_OK) != 0) return by + ", which may not be read: nothing is known of it";
    if (gets_privileges(file))
        refuse(file,
               "gets the rights of another user or group (setuid, setgid or capabilities), and then no library can "
               "be preloaded; run it as that user, from a copy without them");
    const elf what = examine(file);
    if (!what.ours) refuse(file, "is for another machine; take a reqauth-exec for that");
    if (server && guess && what.is_apache) refuse(file, std::string(apache_instead) + ", or say --anyway");
    // One that links libssl as well, by C, is no better known.
    if (what.is_go && (guess || what.loader.empty()))
        refuse(file, "is written in Go, whose crypto/tls is not OpenSSL; take a program that links " + libssl +
                         (what.loader.empty() ? "" : ", or say --anyway if it visits by that one"));
    if (what.loader.empty())
        refuse(file, "is statically linked, and nothing can be preloaded; take a build that links " + libssl);
    const std::string own = examine("/proc/self/exe").loader;
    if (fs::path(what.loader).filename() != fs::path(own).filename())
        refuse(file, "uses another C library (" + what.loader + "); take a reqauth-exec for that");
    return by + (links_libssl(file, what, guess)
                     ? ", which links " + libssl
                     : ", which links no " + libssl + ": it may load that, or start what does");
}
