// SPDX-License-Identifier: Apache-2.0

// A server that knows nothing of the flag, and answers each request with all that OpenSSL tells it of the client's
// certificate: by every function that does, called as it is linked and as dlsym and dlvsym find it in libssl, of the
// connection and of its session, also as callbacks have it and after it went through DER and PEM.
//
//   seen CERTIFICATE KEY CUSTOMERS none|optional|required [post] [own] [callback]
//
// post: asks for a certificate after the handshake. own: verifies by a SSL_CTX_set_cert_verify_callback. callback: has a
// verify callback that lets in everybody.

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)

namespace {

std::map<std::string, std::string> report;

std::string text_of(const X509* certificate) {
    if (certificate == nullptr) return "nobody";
    char text[256] = {};
    X509_NAME_oneline(X509_get_subject_name(certificate), text, sizeof text);
    return text;
}

void* linked(const char* name) { return dlsym(RTLD_DEFAULT, name); }
void* handle() {
    static void* const libssl = dlopen("libssl.so." TEXT(OPENSSL_SHLIB_VERSION), RTLD_LAZY | RTLD_NOLOAD);
    return libssl;
}
void* by_handle(const char* name) { return dlsym(handle(), name); }
void* by_version(const char* name) {
    for (const char* version : {"OPENSSL_4.0.0", "OPENSSL_3.5.0", "OPENSSL_3.2.0", "OPENSSL_3.0.0"})
        if (void* found = dlvsym(handle(), name, version)) return found;
    return nullptr;
}

using finder = void* (*)(const char*);
template <class Result, class... Arguments> Result call(finder find, const char* name, Arguments... arguments) {
    auto* found = reinterpret_cast<Result (*)(Arguments...)>(find(name));
    return found != nullptr ? found(arguments...) : Result{};
}

void session_by(finder find, const std::string& what, SSL_SESSION* session) {
    report[what + " peer"] = text_of(call<X509*>(find, "SSL_SESSION_get0_peer", session));
    report[what + " key"] = call<void*>(find, "SSL_SESSION_get0_peer_rpk", session) != nullptr ? "one" : "none";
    BIO* out = BIO_new(BIO_s_mem());
    call<int>(find, "SSL_SESSION_print", out, static_cast<const SSL_SESSION*>(session));
    char* text = nullptr;
    const long size = BIO_get_mem_data(out, &text);
    const std::string printed(text, static_cast<std::size_t>(size));
    const auto at = printed.find("Verify return code");
    report[what + " printed"] = at != printed.npos ? printed.substr(at, printed.find('\n', at) - at) : "nothing";
    BIO_free(out);
}

void see_session(const std::string& what, SSL_SESSION* session) {
    if (session == nullptr) return;
    session_by(linked, what, session);
    session_by(by_handle, what + ", by dlsym,", session);
    session_by(by_version, what + ", by dlvsym,", session);
    report[what + " peer, as linked"] = text_of(SSL_SESSION_get0_peer(session));
    void* data = nullptr;
    std::size_t size = 0;
    SSL_SESSION_get0_ticket_appdata(session, &data, &size);
    report[what + " data"] = std::string(static_cast<const char*>(data), data != nullptr ? size : 0);
}

void see_session_everywhere(SSL_SESSION* session) {
    see_session("session", session);
    SSL_SESSION* copy = SSL_SESSION_dup(session);
    see_session("copy", copy);
    SSL_SESSION_free(copy);
    unsigned char* der = nullptr;
    const int size = i2d_SSL_SESSION(session, &der);
    const unsigned char* at = der;
    SSL_SESSION* read = d2i_SSL_SESSION(nullptr, &at, size);
    see_session("DER", read);
    SSL_SESSION_free(read);
    OPENSSL_free(der);
    BIO* pem = BIO_new(BIO_s_mem());
    PEM_write_bio_SSL_SESSION(pem, session);
    read = PEM_read_bio_SSL_SESSION(pem, nullptr, nullptr, nullptr);
    see_session("PEM", read);
    SSL_SESSION_free(read);
    BIO_free(pem);
}

void connection_by(finder find, const std::string& how, SSL* ssl) {
    const SSL* same = ssl;
    report["certificate" + how] = text_of(call<X509*>(find, "SSL_get0_peer_certificate", same));
    X509* owned = call<X509*>(find, "SSL_get1_peer_certificate", same);
    report["certificate, owned" + how] = text_of(owned);
    X509_free(owned);
    // A client that has sent an empty Certificate has an empty chain.
    for (const char* chain : {"SSL_get_peer_cert_chain", "SSL_get0_verified_chain"})
        report[chain + how] = std::to_string(std::max(sk_X509_num(call<STACK_OF(X509)*>(find, chain, same)), 0));
    report["result" + how] = std::to_string(call<long>(find, "SSL_get_verify_result", same));
    report["name" + how] = call<const char*>(find, "SSL_get0_peername", ssl) != nullptr ? "one" : "none";
    report["key" + how] = call<void*>(find, "SSL_get0_peer_rpk", same) != nullptr ? "one" : "none";
    report["type" + how] = std::to_string(call<int>(find, "SSL_get_negotiated_client_cert_type", same));
    report["SCTs" + how] = call<void*>(find, "SSL_get0_peer_scts", ssl) != nullptr ? "some" : "none";
    int type = 0;
    int digest = 0;
    const char* name = nullptr;
    call<int>(find, "SSL_get_peer_signature_type_nid", same, &type);
    call<long>(find, "SSL_ctrl", ssl, SSL_CTRL_GET_PEER_SIGNATURE_NID, 0L, static_cast<void*>(&digest));
    call<long>(find, "SSL_ctrl", ssl, 141 /* SSL_CTRL_GET_PEER_SIGNATURE_NAME */, 0L, static_cast<void*>(&name));
    report["signature" + how] =
        std::to_string(type) + " " + std::to_string(digest) + " " + (name != nullptr ? name : "");
    X509* certificate = nullptr;
    EVP_PKEY* key = nullptr;
    std::uint8_t usage = 0;
    const unsigned char* data = nullptr;
    std::size_t size = 0;
    report["DANE" + how] =
        std::to_string(call<int>(find, "SSL_get0_dane_authority", ssl, &certificate, &key)) + " " +
        std::to_string(call<int>(find, "SSL_get0_dane_tlsa", ssl, &usage, &usage, &usage, &data, &size));
}

void see_connection(SSL* ssl) {
    connection_by(linked, "", ssl);
    connection_by(by_handle, ", by dlsym", ssl);
    connection_by(by_version, ", by dlvsym", ssl);
    report["certificate, as linked"] = text_of(SSL_get0_peer_certificate(ssl));
    report["result, as linked"] = std::to_string(SSL_get_verify_result(ssl));
    report["mode"] = std::to_string(SSL_get_verify_mode(ssl));
    SSL* other = SSL_new(SSL_get_SSL_CTX(ssl));
    SSL_set_accept_state(other);
    SSL_set_session(other, SSL_get_session(ssl));
    report["certificate, of a connection with the session"] = text_of(SSL_get0_peer_certificate(other));
    SSL_free(other);
}

int on_verify(int, X509_STORE_CTX* verification) {
    report["verify callback"] = text_of(X509_STORE_CTX_get0_cert(verification));
    return 1;
}
int verify_all(X509_STORE_CTX* verification, void*) {
    report["cert_verify callback"] = text_of(X509_STORE_CTX_get0_cert(verification));
    return X509_verify_cert(verification) > 0 ? 1 : 0;
}
int on_session(SSL*, SSL_SESSION* session) {
    see_session("new session", session);
    return 0;
}
int on_ticket(SSL* ssl, void*) {
    SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), "mine", 4);
    see_session("ticket", SSL_get_session(ssl));
    return 1;
}
SSL_TICKET_RETURN on_ticket_back(SSL*, SSL_SESSION* session, const unsigned char*, std::size_t,
                                 SSL_TICKET_STATUS status, void*) {
    see_session("ticket that came back", session);
    return status == SSL_TICKET_SUCCESS         ? SSL_TICKET_RETURN_USE
           : status == SSL_TICKET_SUCCESS_RENEW ? SSL_TICKET_RETURN_USE_RENEW
                                                : SSL_TICKET_RETURN_IGNORE_RENEW;
}
int on_security(const SSL*, const SSL_CTX*, int operation, int, int, void* other, void*) {
    if ((operation & SSL_SECOP_PEER) != 0 && (operation & SSL_SECOP_OTHER_CERT) == SSL_SECOP_OTHER_CERT)
        report["security callback"] = text_of(static_cast<const X509*>(other));
    return 1;
}

void serve(SSL_CTX* context, int connection, bool post) {
    report.clear();
    SSL* ssl = SSL_new(context);
    SSL_set_fd(ssl, connection);
    if (SSL_accept(ssl) == 1) {
        char request[4096];
        const int size = SSL_read(ssl, request, sizeof request);
        if (size > 0 && post) { // the client reads one octet, and with it the request, and sends one after its answer
            SSL_verify_client_post_handshake(ssl);
            SSL_do_handshake(ssl);
            SSL_write(ssl, "!", 1);
            SSL_read(ssl, request, 1);
        }
        if (size > 0) {
            see_connection(ssl);
            see_session_everywhere(SSL_get_session(ssl));
            std::string page;
            for (const auto& [what, found] : report) page += what + ": " + found + "\n";
            page = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + std::to_string(page.size()) +
                   "\r\n\r\n" + page;
            SSL_write(ssl, page.data(), static_cast<int>(page.size()));
        }
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(connection);
}

} // namespace

int main(int count, char** arguments) {
    if (count < 5) return 2;
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    const std::string mode = arguments[4];
    bool post = false;
    for (int i = 5; i < count; ++i) {
        if (std::strcmp(arguments[i], "post") == 0) post = true;
        if (std::strcmp(arguments[i], "own") == 0) SSL_CTX_set_cert_verify_callback(context, verify_all, nullptr);
        if (std::strcmp(arguments[i], "callback") == 0) SSL_CTX_set_verify(context, SSL_VERIFY_NONE, on_verify);
    }
    SSL_CTX_use_certificate_chain_file(context, arguments[1]);
    SSL_CTX_use_PrivateKey_file(context, arguments[2], SSL_FILETYPE_PEM);
    SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>("seen"), 4);
    SSL_CTX_sess_set_new_cb(context, on_session);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
    SSL_CTX_set_session_ticket_cb(context, on_ticket, on_ticket_back, nullptr);
    SSL_CTX_set_security_callback(context, on_security);
    if (mode != "none") {
        SSL_CTX_load_verify_file(context, arguments[3]);
        SSL_CTX_set_verify(context,
                           SSL_VERIFY_PEER | (mode == "required" ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0) |
                               (post ? SSL_VERIFY_POST_HANDSHAKE : 0),
                           SSL_CTX_get_verify_callback(context));
    }
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 16) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        return 1;
    std::printf("port %d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    for (;;) serve(context, accept(listener, nullptr, nullptr), post);
}
