// SPDX-License-Identifier: Apache-2.0
#include "tls.hpp"

#include "command_line.hpp"
#include "printable.hpp"
#include "settings/command_line.hpp"

#include <reqauth/client.hpp>
#include <reqauth/trust.hpp>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace {

// OpenSSL's default opens the terminal.
int refuse_passphrase(char*, int, int, void*) { return -1; }

bool is_pipe(const std::filesystem::path& file) { return std::filesystem::is_fifo(file); }

/// explain throws usage_error with what the library says of files that OpenSSL has refused, or else with OpenSSL's words.
/// What can be read only once is not read again.
template <class Load>
[[noreturn]] void explain(std::initializer_list<std::pair<std::string, std::string>> files, Load load) {
    const std::string words = openssl_error();
    try {
        if (std::ranges::none_of(files, [](const auto& each) { return is_pipe(each.second); })) load();
    } catch (const reqauth::error& error) {
        throw usage_error(reqauth_settings::in_words(error, files));
    }
    throw usage_error(files.begin()->first + " " + files.begin()->second + ": cannot be used: " + words);
}

void write_key(const SSL* ssl, const char* line) {
    const int descriptor = *static_cast<const int*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    const std::string text = std::string(line) + '\n';
    // One write to a file opened with O_APPEND: lines of several threads do not mix.
    [[maybe_unused]] const ssize_t written = ::write(descriptor, text.data(), text.size());
}

} // namespace

void require_readable(const named_file& what) {
    struct stat found {};
    const int why = ::stat(what.file.c_str(), &found) != 0   ? errno
                    : S_ISDIR(found.st_mode)                 ? EISDIR
                    : ::access(what.file.c_str(), R_OK) != 0 ? errno
                                                             : 0;
    if (why == 0) return;
    throw usage_error(what.option + " " + what.file + ": cannot be read: " + std::strerror(why) + "; " +
                      (why == EISDIR   ? "name a file in it"
                       : why == EACCES ? "let this user read it, and enter its directory"
                                       : "look at its name"));
}

void use_certificate(SSL_CTX& context, const named_file& certificate, const named_file& key) {
    require_readable(certificate);
    require_readable(key);
    SSL_CTX_set_default_passwd_cb(&context, refuse_passphrase);
    ERR_clear_error();
    const char* leaf = certificate.file.c_str();
    const char* secret = key.file.c_str();
    if ((SSL_CTX_use_certificate_chain_file(&context, leaf) == 1 ||
         (!is_pipe(leaf) && SSL_CTX_use_certificate_file(&context, leaf, SSL_FILETYPE_ASN1) == 1)) &&
        (SSL_CTX_use_PrivateKey_file(&context, secret, SSL_FILETYPE_PEM) == 1 ||
         (!is_pipe(secret) && SSL_CTX_use_PrivateKey_file(&context, secret, SSL_FILETYPE_ASN1) == 1)))
        return;
    explain({{certificate.option, certificate.file}, {key.option, key.file}}, [&] {
        reqauth::credential_options how;
        how.outside_validity = true;
        (void)reqauth::credential::from_files(certificate.file, key.file, how);
    });
}

void load_anchors(X509_STORE& store, const named_file& anchors) {
    require_readable(anchors);
    ERR_clear_error();
    if (X509_STORE_load_file(&store, anchors.file.c_str()) == 1) {
        STACK_OF(X509)* all = X509_STORE_get1_all_certs(&store);
        const int count = sk_X509_num(all);
        sk_X509_pop_free(all, X509_free);
        if (count > 0) return; // there may be CRLs alone
    }
    if (!is_pipe(anchors.file)) {
        const std::unique_ptr<BIO, free_with<BIO_free_all>> in(BIO_new_file(anchors.file.c_str(), "rb"));
        const std::unique_ptr<X509, free_with<X509_free>> one(in ? d2i_X509_bio(in.get(), nullptr) : nullptr);
        if (one && X509_STORE_add_cert(&store, one.get()) == 1) return;
    }
    explain({{anchors.option, anchors.file}}, [&] { (void)reqauth::trust::from_file(anchors.file); });
}

keylog::keylog(const std::string& file)
    : descriptor_(::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) {
    if (descriptor_ < 0)
        throw usage_error("--keylog " + file + ": cannot be written: " + std::strerror(errno) +
                          "; name a file in a directory that this user can write to");
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

namespace {

/// names_in are those that a certificate is for, as the name to ask for has them.
std::string names_in(const X509& certificate) {
    std::string text;
    const std::unique_ptr<GENERAL_NAMES, free_with<GENERAL_NAMES_free>> names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
        int type = 0;
        const auto* value =
            static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type));
        if (type != GEN_DNS && type != GEN_IPADD) continue;
        const auto* data = ASN1_STRING_get0_data(value);
        const auto size = ASN1_STRING_length(value);
        char address[INET6_ADDRSTRLEN] = "";
        if (type == GEN_IPADD) inet_ntop(size == 4 ? AF_INET : AF_INET6, data, address, sizeof address);
        if (i == 8) return text + " and others";
        text += (text.empty() ? "" : ", ") +
                (type == GEN_IPADD ? address
                                   : printable({reinterpret_cast<const char*>(data), static_cast<std::size_t>(size)}));
    }
    return text.empty() ? "no name" : text;
}

/// why_unverified says of a server's certificate why it does not verify, and what to do.
std::string why_unverified(const SSL& ssl) {
    const long error = SSL_get_verify_result(&ssl);
    const STACK_OF(X509)* chain = SSL_get_peer_cert_chain(&ssl);
    const std::string words = X509_verify_cert_error_string(error);
    switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        if (sk_X509_num(chain) == 0) return words;
        return words + ": the server's certificate is for " + names_in(*sk_X509_value(chain, 0)) +
               "; if that is the one, name it with --servername";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return words + ": no CA that is trusted here issued the server's certificate; give that CA with --ca";
    default: return words;
    }
}

} // namespace

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
    if (kind == SSL_ERROR_SSL && reason == SSL_R_HTTP_REQUEST)
        return "the client speaks plain HTTP, and this is a port for TLS";
    if (kind == SSL_ERROR_SSL && reason == SSL_R_WRONG_VERSION_NUMBER && SSL_is_server(&ssl) == 0 &&
        SSL_get_state(&ssl) == TLS_ST_CW_CLNT_HELLO)
        return "the server does not speak TLS on this port, but plain HTTP or something else; give its port for TLS";
    if (reason != SSL_R_CERTIFICATE_VERIFY_FAILED) return text;
    return text + ": " +
           (SSL_is_server(&ssl) == 1 ? X509_verify_cert_error_string(SSL_get_verify_result(&ssl))
                                     : why_unverified(ssl));
}
