// SPDX-License-Identifier: Apache-2.0

// libcurl, a pool: one CURLM and one CURLSH are one identity. The CURLM's connections and the CURLSH's sessions were
// made under it, and libcurl does not ask whose they are: so another identity gets another CURLM and another CURLSH.
// HTTP/2 puts many transfers on one connection, which was authenticated once; so they are of one identity, too. libcurl
// does so for one name and port; it does not coalesce several names.
//
//   curl-multi CONNECTIONS CA CERTIFICATE KEY URL...
//
// Gets all URLs over that many connections to a server at most. A crawler with retries: ../crawl.
// Exit status: 0 done, 1 a transfer failed, 2 usage or credential, 3 a server refused the certificate.

#include "curl_refusals.hpp"

#include <reqauth/client.hpp>

#include <curl/curl.h>
#include <openssl/ssl.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

namespace {

template <auto function> struct calls {
    template <typename handle> void operator()(handle* it) const noexcept { function(it); }
};
using easy_ptr = std::unique_ptr<CURL, calls<curl_easy_cleanup>>;
using multi_ptr = std::unique_ptr<CURLM, calls<curl_multi_cleanup>>;
using share_ptr = std::unique_ptr<CURLSH, calls<curl_share_cleanup>>;

CURLcode offer_the_flag(CURL*, void* context, void* client) {
    try {
        static_cast<const reqauth::client*>(client)->attach(*static_cast<SSL_CTX*>(context));
        return CURLE_OK;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "curl-multi: %s\n", error.what());
        return CURLE_ABORTED_BY_CALLBACK;
    }
}

std::size_t drop(const char*, std::size_t, std::size_t size, void*) { return size; }

} // namespace

int main(int argc, char** argv) try {
    if (argc < 6) {
        std::fputs("usage: curl-multi CONNECTIONS CA CERTIFICATE KEY URL...\n", stderr);
        return 2;
    }
    bool refused = false;
    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(argv[3], argv[4]);
    policy.observe = [&](const SSL& ssl, const reqauth::client_outcome& outcome) {
        const char* name = SSL_get_servername(&ssl, TLSEXT_NAMETYPE_host_name); // null where the URL has an address
        std::printf("connection: %s, sent %s, %s, %s\n", name != nullptr ? name : "", to_string(outcome.sent).data(),
                    to_string(outcome.judged).data(), outcome.resumed ? "resumed" : "not resumed");
        refused = refused || outcome.judged == reqauth::client_outcome::verdict::refused;
    };
    reqauth::client client(std::move(policy));

    const share_ptr sessions(curl_share_init());
    curl_share_setopt(sessions.get(), CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    std::deque<connection> watched;
    std::vector<easy_ptr> transfers; // they end after the pool, and before the sessions
    const multi_ptr pool(curl_multi_init());
    curl_multi_setopt(pool.get(), CURLMOPT_MAX_HOST_CONNECTIONS, std::strtol(argv[1], nullptr, 10));
    curl_multi_setopt(pool.get(), CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    for (int i = 5; i < argc; ++i) {
        CURL* one = transfers.emplace_back(curl_easy_init()).get();
        curl_easy_setopt(one, CURLOPT_URL, argv[i]);
        curl_easy_setopt(one, CURLOPT_PRIVATE, argv[i]);
        curl_easy_setopt(one, CURLOPT_CAINFO, argv[2]);
        curl_easy_setopt(one, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
        curl_easy_setopt(one, CURLOPT_PIPEWAIT, 1L); // rather another stream than another connection
        curl_easy_setopt(one, CURLOPT_WRITEFUNCTION, drop);
        watch(watched.emplace_back(connection{one}));
        curl_easy_setopt(one, CURLOPT_SHARE, sessions.get());
        curl_easy_setopt(one, CURLOPT_SSL_CTX_DATA, &client);
        if (curl_easy_setopt(one, CURLOPT_SSL_CTX_FUNCTION, offer_the_flag) != CURLE_OK)
            throw std::runtime_error("this libcurl is not built with OpenSSL");
        curl_multi_add_handle(pool.get(), one);
    }

    bool failed = false;
    for (int running = 1; running > 0;) {
        if (curl_multi_perform(pool.get(), &running) != CURLM_OK) throw std::runtime_error("libcurl failed");
        int left = 0;
        while (const CURLMsg* end = curl_multi_info_read(pool.get(), &left)) {
            const char* url = nullptr;
            long status = 0, version = 0;
            curl_easy_getinfo(end->easy_handle, CURLINFO_PRIVATE, &url);
            curl_easy_getinfo(end->easy_handle, CURLINFO_RESPONSE_CODE, &status);
            curl_easy_getinfo(end->easy_handle, CURLINFO_HTTP_VERSION, &version);
            failed = failed || end->data.result != CURLE_OK;
            std::printf("visit: %s: %ld, %s, %s\n", url, status, version == CURL_HTTP_VERSION_2 ? "HTTP/2" : "HTTP/1.1",
                        curl_easy_strerror(end->data.result));
        }
        if (running > 0) curl_multi_poll(pool.get(), nullptr, 0, 1000, nullptr);
    }
    for (const easy_ptr& one : transfers) curl_multi_remove_handle(pool.get(), one.get());
    return refused ? 3 : failed ? 1 : 0;
} catch (const reqauth::error& error) {
    std::fprintf(stderr, "curl-multi: %s\n", error.what());
    return 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "curl-multi: %s\n", error.what());
    return 1;
}
