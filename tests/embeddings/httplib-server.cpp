// SPDX-License-Identifier: Apache-2.0

// A server of cpp-httplib's that answers the flag, names no CAs, and refuses what it cannot verify.
//
//   httplib-server CERTIFICATE KEY AGENTS_CA PORT

#include <reqauth/server.hpp>

#include <httplib.h>

#include <cstdio>
#include <cstdlib>
#include <string>

int main(int argc, char** argv) try {
    if (argc != 5) return 2;
    reqauth::server_policy policy{.when_offered = reqauth::client_auth::request(reqauth::trust::from_file(argv[3]))};
    policy.ca_names = false;
    httplib::SSLServer server([&](SSL_CTX& context) {
        if (SSL_CTX_use_certificate_chain_file(&context, argv[1]) != 1 ||
            SSL_CTX_use_PrivateKey_file(&context, argv[2], SSL_FILETYPE_PEM) != 1)
            return false;
        reqauth::server().attach(context, policy);
        return true;
    });
    server.Get("/",
               [](const httplib::Request&, httplib::Response& response) { response.set_content("ok", "text/plain"); });
    return server.listen("127.0.0.1", std::atoi(argv[4])) ? 0 : 1;
} catch (const std::exception& error) {
    std::fprintf(stderr, "httplib-server: %s\n", error.what());
    return 1;
}
