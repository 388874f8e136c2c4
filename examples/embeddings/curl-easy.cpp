// SPDX-License-Identifier: Apache-2.0

// libcurl, one handle: CURLOPT_SSL_CTX_FUNCTION attaches the client to each SSL_CTX that libcurl makes, and
// client_policy::observe tells how a handshake went, since libcurl keeps the SSL to itself.
//
//   curl-easy CA CERTIFICATE KEY URL...
//
// Gets each URL, then the first once more on a new connection, which resumes. PROXY=http://host:port in the environment
// goes through a proxy: its CONNECT comes before TLS, and nothing changes.
// Exit status: 0 done, 1 a connection failed, 2 usage or credential, 3 the server refused the certificate.

#include "curl_refusals.hpp"

#include <reqauth/client.hpp>

#include <curl/curl.h>
#include <openssl/ssl.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace {

/// libcurl calls it for each new connection; on one that is reused nothing is asked. No exception may cross libcurl.
CURLcode offer_the_flag(CURL*, void* context, void* client) {
    try {
        static_cast<const reqauth::client*>(client)->attach(*static_cast<SSL_CTX*>(context));
        return CURLE_OK;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "curl-easy: %s\n", error.what());
        return CURLE_ABORTED_BY_CALLBACK;
    }
}

} // namespace

int main(int argc, char** argv) try {
    if (argc < 5) {
        std::fputs("usage: curl-easy CA CERTIFICATE KEY URL...\n", stderr);
        return 2;
    }
    reqauth::client_outcome seen; // of the last handshake; it outlives the handle
    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(argv[2], argv[3]);
    policy.observe = [&](const SSL&, const reqauth::client_outcome& outcome) { seen = outcome; };
    reqauth::client client(std::move(policy));

    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
    curl_easy_setopt(curl.get(), CURLOPT_CAINFO, argv[1]);
    curl_easy_setopt(curl.get(), CURLOPT_PROXY, std::getenv("PROXY"));
    curl_easy_setopt(curl.get(), CURLOPT_SSL_CTX_DATA, &client);
    if (curl_easy_setopt(curl.get(), CURLOPT_SSL_CTX_FUNCTION, offer_the_flag) != CURLE_OK) {
        std::fputs("curl-easy: this libcurl is not built with OpenSSL\n", stderr);
        return 2;
    }

    connection watched{curl.get()};
    watch(watched);

    const auto visit = [&](const char* url) {
        curl_easy_setopt(curl.get(), CURLOPT_URL, url);
        const CURLcode result = curl_easy_perform(curl.get());
        // In TLS 1.3 a refusal comes after the handshake: libcurl calls it a failure to send or to receive.
        if (seen.judged == reqauth::client_outcome::verdict::refused) throw reqauth::refused(seen);
        if (result != CURLE_OK) throw std::runtime_error(curl_easy_strerror(result));
        long status = 0, connects = 0;
        curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(curl.get(), CURLINFO_NUM_CONNECTS, &connects);
        std::printf("\nvisit: %ld, sent %s, %s, %s\n", status, to_string(seen.sent).data(),
                    seen.resumed ? "resumed" : "not resumed", connects != 0 ? "new connection" : "same connection");
    };
    for (int i = 4; i < argc; ++i) visit(argv[i]);
    curl_easy_setopt(curl.get(), CURLOPT_FRESH_CONNECT, 1L);
    visit(argv[4]);
    return 0;
} catch (const reqauth::error& error) {
    std::fprintf(stderr, "curl-easy: %s\n", error.what());
    return error.code() == reqauth::errc::refused ? 3 : 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "curl-easy: %s\n", error.what());
    return 1;
}
