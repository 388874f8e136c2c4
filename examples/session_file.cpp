// SPDX-License-Identifier: Apache-2.0
#include "session_file.hpp"

#include "command_line.hpp"
#include "endpoint.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace {

using bio_ptr = std::unique_ptr<BIO, free_with<BIO_free_all>>;

// OpenSSL's default opens the terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

bool is_of(X509& certificate, const std::string& name) {
    return is_ip_address(name) ? X509_check_ip_asc(&certificate, name.c_str(), 0) == 1
                               : X509_check_host(&certificate, name.data(), name.size(), 0, nullptr) == 1;
}

std::filesystem::path directory_of(const std::string& file) {
    const auto directory = std::filesystem::path(file).parent_path();
    return directory.empty() ? "." : directory;
}

} // namespace

session_ptr read_session(const std::string& file, const std::string& name) {
    require_readable({"--session-in", file});
    const bio_ptr in(BIO_new_file(file.c_str(), "rb"));
    ERR_clear_error();
    session_ptr session(in ? PEM_read_bio_SSL_SESSION(in.get(), nullptr, no_passphrase, nullptr) : nullptr);
    if (!session)
        throw usage_error("--session-in " + file + ": holds no session in PEM; give a file that --session-out wrote");
    if (SSL_SESSION_is_resumable(session.get()) != 1)
        throw usage_error("--session-in " + file +
                          " holds a session without a ticket or an id, which no server resumes");
    X509* server = SSL_SESSION_get0_peer(session.get());
    if (server == nullptr || !is_of(*server, name))
        throw usage_error("--session-in " + file + " is a session with another server than " + name +
                          ": leave it out, or give its --servername");
    return session;
}

void require_writable(const std::string& option, const std::string& file) {
    std::error_code unknown;
    const auto there = std::filesystem::status(file, unknown).type();
    // Renaming over a device would destroy it.
    if (there != std::filesystem::file_type::not_found && there != std::filesystem::file_type::regular)
        throw usage_error(option + " " + file +
                          ": cannot be written: it is there, and no ordinary file; give another name");
    if (::access(directory_of(file).c_str(), W_OK | X_OK) != 0)
        throw usage_error(option + " " + file + ": cannot be written: its directory: " + std::strerror(errno) +
                          "; give one that this user can write to");
}

void write_session(SSL_SESSION& session, const std::string& file) {
    // In the same directory, so that it can take the place of `file`. mkstemp fills in six letters; mode 0600.
    std::string written = file + '.' + std::string(6, 'X');
    const int descriptor = ::mkstemp(written.data());
    const auto failed = [&](const std::string& why) {
        if (descriptor >= 0) ::unlink(written.c_str());
        return usage_error("--session-out " + file + ": cannot be written: " + why);
    };
    if (descriptor < 0) throw failed(std::strerror(errno));
    bio_ptr out(BIO_new_fd(descriptor, BIO_CLOSE));
    ERR_clear_error();
    if (!out || PEM_write_bio_SSL_SESSION(out.get(), &session) != 1) throw failed(openssl_error());
    out.reset();
    if (std::rename(written.c_str(), file.c_str()) != 0) throw failed(std::strerror(errno));
}
