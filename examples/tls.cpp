// SPDX-License-Identifier: Apache-2.0
#include "tls.hpp"

#include "command_line.hpp"

#include <reqauth/error.hpp>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace {

// OpenSSL's default opens the terminal. This one only notes that a passphrase was wanted.
int refuse_passphrase(char*, int, int, void* wanted) {
    if (wanted != nullptr) *static_cast<bool*>(wanted) = true;
    return -1;
}

void write_key(const SSL* ssl, const char* line) {
    const int descriptor = *static_cast<const int*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    const std::string text = std::string(line) + '\n';
    // One write to a file opened with O_APPEND: lines of several threads do not mix.
    [[maybe_unused]] const ssize_t written = ::write(descriptor, text.data(), text.size());
}

} // namespace

void require_readable(const std::string& option, const std::string& file) {
    std::ifstream in(file);
    in.peek(); // a directory opens, but does not read
    if (!in || in.bad()) {
        const int why = errno;
        throw usage_error("cannot read " + option + " " + file + ": " +
                          (in.eof() ? "the file is empty" : std::strerror(why)));
    }
}

std::string encrypted_key(const std::string& key) {
    return key + " is encrypted, and nobody is asked for a passphrase here: give a decrypted key, made by openssl pkey "
                 "-in ENCRYPTED -out PLAIN";
}

void use_certificate(SSL_CTX& context, const std::string& certificate, const std::string& key) {
    bool encrypted = false;
    SSL_CTX_set_default_passwd_cb(&context, refuse_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(&context, &encrypted);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(&context, certificate.c_str()) != 1)
        throw usage_error(certificate + " cannot be used as a certificate chain in PEM: " + openssl_error());
    const bool loaded = SSL_CTX_use_PrivateKey_file(&context, key.c_str(), SSL_FILETYPE_PEM) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(&context, nullptr);
    if (encrypted) throw usage_error(encrypted_key(key));
    if (!loaded)
        throw usage_error(key + " cannot be used as the private key of " + certificate + ": " + openssl_error());
}

keylog::keylog(const std::string& file)
    : descriptor_(::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) {
    if (descriptor_ < 0) throw usage_error("cannot write --keylog " + file + ": " + std::strerror(errno));
}

keylog::~keylog() { ::close(descriptor_); }

void keylog::watch(SSL_CTX& context) {
    SSL_CTX_set_app_data(&context, &descriptor_);
    SSL_CTX_set_keylog_callback(&context, write_key);
}

std::optional<std::string> negotiated_version(const SSL& ssl) {
    if (SSL_get_pending_cipher(&ssl) == nullptr && SSL_get_current_cipher(&ssl) == nullptr) return std::nullopt;
    return SSL_get_version(&ssl);
}

std::string openssl_error() {
    const char* data = nullptr;
    int flags = 0;
    const unsigned long error = ERR_peek_error_all(nullptr, nullptr, nullptr, &data, &flags);
    const char* reason =
        ERR_SYSTEM_ERROR(error) ? std::strerror(ERR_GET_REASON(error)) : ERR_reason_error_string(error);
    std::string text = reason != nullptr ? reason : "";
    if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != 0)
        text += (text.empty() ? "" : ": ") + std::string(data);
    std::ranges::replace(text, '\n', ' ');
    ERR_clear_error();
    return text.empty() ? "no reason given" : text;
}

std::string describe_failure(const SSL& ssl, int result, const std::string& peer) {
    const int system = errno;
    const int kind = SSL_get_error(&ssl, result);
    const int reason = ERR_GET_REASON(ERR_peek_last_error());
    if (kind == SSL_ERROR_ZERO_RETURN || (kind == SSL_ERROR_SSL && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) ||
        (kind == SSL_ERROR_SYSCALL && system == 0)) {
        ERR_clear_error();
        return "the " + peer + " closed the connection";
    }
    if (kind == SSL_ERROR_SYSCALL) {
        ERR_clear_error();
        return std::strerror(system);
    }
    if (kind == SSL_ERROR_SSL && reason >= SSL_AD_REASON_OFFSET) { // OpenSSL's reason for an alert that came
        ERR_clear_error();
        return "the " + peer + " sent the alert " + reqauth::alert_name(reason - SSL_AD_REASON_OFFSET);
    }
    const std::string text = openssl_error();
    if (reason != SSL_R_CERTIFICATE_VERIFY_FAILED) return text;
    return text + ": " + X509_verify_cert_error_string(SSL_get_verify_result(&ssl));
}
