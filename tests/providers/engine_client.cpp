// SPDX-License-Identifier: Apache-2.0

// A client whose key is in an ENGINE, as OpenSSL 3's applications may still have one. Engines are deprecated, and gone
// in OpenSSL 4, so it is the application that loads the key; the library is handed it. This is the one file that does so.
//
//   engine-client --connect HOST:PORT --ca FILE --cert FILE --key URI [--vouch]
//
// The engine "pkcs11" comes from OpenSSL's configuration. Prints the same members as reqauth-client --json. Exit
// status 0: done; 1: the connection failed; 2: the credential is refused; 77: this OpenSSL has no engines.

#define OPENSSL_SUPPRESS_DEPRECATED

#include <openssl/engine.h>

#if defined(OPENSSL_NO_ENGINE) || OPENSSL_VERSION_MAJOR >= 4

#include <cstdio>

int main() {
    std::puts("this OpenSSL has no engines");
    return 77;
}

#else

#include "support/owned.hpp"

#include <reqauth/client.hpp>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ui.h>

#include <csignal>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

namespace {

void must(bool worked, const std::string& what) {
    if (worked) return;
    char text[256];
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
    throw std::runtime_error(what + ": " + text);
}

reqauth::credential load(const std::string& certificate_file, const std::string& uri, bool vouch) {
    static ENGINE* const engine = ENGINE_by_id("pkcs11");
    must(engine != nullptr && ENGINE_init(engine) == 1, "the engine");
    // The application's own call: it says how the engine may ask. Not at all.
    static UI_METHOD* const nobody = UI_create_method("nobody");
    UI_method_set_opener(nobody, [](UI*) { return 0; });
    const support::owned<EVP_PKEY> key(ENGINE_load_private_key(engine, uri.c_str(), nobody, nullptr));
    must(key != nullptr, "the key");
    const support::owned<BIO> file(BIO_new_file(certificate_file.c_str(), "r"));
    const support::owned<X509> certificate(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr));
    must(certificate != nullptr, certificate_file);
    reqauth::credential_options options;
    if (vouch) options.providers.emplace_back("legacy");
    return reqauth::credential::from_objects(*certificate, *key, {}, options);
}

int run(std::map<std::string, std::string>& options) {
    const auto credential = load(options["--cert"], options["--key"], options.contains("--vouch"));
    const support::owned<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
    must(SSL_CTX_load_verify_file(context.get(), options["--ca"].c_str()) == 1, options["--ca"]);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    reqauth::client_policy policy;
    policy.credential = credential;
    reqauth::client(policy).attach(*context);

    const support::owned<BIO> connection(BIO_new_ssl_connect(context.get()));
    SSL* ssl = nullptr;
    BIO_get_ssl(connection.get(), &ssl);
    BIO_set_conn_hostname(connection.get(), options["--connect"].c_str());
    must(X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl), "localhost", 0) == 1, "X509_VERIFY_PARAM_set1_host");
    const bool shaken = BIO_do_handshake(connection.get()) == 1;
    char octet = 0;
    if (shaken) {
        SSL_shutdown(ssl);
        SSL_read(ssl, &octet, 1); // until the server has judged the certificate and closed
    }
    const auto outcome = reqauth::client_outcome_of(*ssl);
    std::cout << R"({"ok":)" << (shaken ? "true" : "false") << R"(,"offered":)" << (outcome.offered ? "true" : "false")
              << R"(,"acknowledged":)" << (outcome.acknowledged ? "true" : "false") << R"(,"sent":")"
              << to_string(outcome.sent) << R"(","key_provider":")" << credential.provider() << "\"}" << std::endl;
    return shaken ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    std::map<std::string, std::string> options;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        options[name] = name != "--vouch" && i + 1 < argc ? argv[++i] : "";
    }
    try {
        return run(options);
    } catch (const std::exception& failed) {
        std::cerr << "engine-client: " << failed.what() << std::endl;
        return 2;
    }
}

#endif
