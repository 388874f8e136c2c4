// SPDX-License-Identifier: Apache-2.0
// Preloaded into a server under test: each SSL_CTX writes the secrets of its connections to the file that KEYLOG names,
// for tshark. The file is opened at once, since servers drop the right to.
#include <openssl/ssl.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace {

const int file = [] {
    const char* name = std::getenv("KEYLOG");
    return name != nullptr ? open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
}();

void keep(const SSL*, const char* secret) {
    const std::string line = std::string(secret) + '\n';
    if (write(file, line.data(), line.size()) < 0) std::abort(); // a test would go by what is not there
}

} // namespace

extern "C" SSL_CTX* SSL_CTX_new(const SSL_METHOD* method) {
    using made_by = SSL_CTX* (*)(const SSL_METHOD*);
    static const auto next = reinterpret_cast<made_by>(dlsym(RTLD_NEXT, "SSL_CTX_new"));
    SSL_CTX* made = next(method);
    if (made != nullptr && file >= 0) SSL_CTX_set_keylog_callback(made, keep);
    return made;
}
