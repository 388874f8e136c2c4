// SPDX-License-Identifier: Apache-2.0

// libcurl, several identities in one program: a CURLSH for each, found by client::scope. A CURLSH hands connections and
// sessions to whichever handle has it, and **libcurl does not compare CURLOPT_SSL_CTX_FUNCTION**: in one CURLSH for all
// a handle without a certificate would go over a connection that somebody else was authenticated on.
//
//   curl-share CA URL [CERTIFICATE KEY]...
//
// Gets the URL as each identity, and as nobody, three times: on a new connection, on the same one, and on a new one
// that resumes. Every time with a new handle, so that all it has from before comes from its CURLSH.
// Exit status: 0 done, 1 a transfer failed, 2 usage or credential, 3 the server refused the certificate.

#include "curl_refusals.hpp"

#include <reqauth/client.hpp>

#include <curl/curl.h>
#include <openssl/ssl.h>

#include <cstdio>
#include <map>
#include <memory>
#include <vector>

namespace {

reqauth::client_outcome last; // of the last handshake

using share_ptr = std::unique_ptr<CURLSH, decltype(&curl_share_cleanup)>;

CURLcode offer_the_flag(CURL*, void* context, void* client) {
    try {
        static_cast<const reqauth::client*>(client)->attach(*static_cast<SSL_CTX*>(context));
        return CURLE_OK;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "curl-share: %s\n", error.what());
        return CURLE_ABORTED_BY_CALLBACK;
    }
}

/// scope_of asks on an SSL_CTX like those that libcurl makes: its trust is part of the scope.
reqauth::client_scope scope_of(const reqauth::client& client, const char* ca) {
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> like(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    if (SSL_CTX_load_verify_file(like.get(), ca) != 1) throw std::runtime_error("the CA file cannot be loaded");
    SSL_CTX_set_verify(like.get(), SSL_VERIFY_PEER, nullptr);
    client.attach(*like);
    return client.scope(*like);
}

CURLSH* share_for(const reqauth::client_scope& scope) {
    static std::map<reqauth::client_scope, share_ptr> shares;
    share_ptr& found = shares.try_emplace(scope, nullptr, curl_share_cleanup).first->second;
    if (!found) {
        found.reset(curl_share_init());
        curl_share_setopt(found.get(), CURLSHOPT_SHARE, CURL_LOCK_DATA_CONNECT);
        curl_share_setopt(found.get(), CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    }
    return found.get();
}

std::size_t drop(const char*, std::size_t, std::size_t size, void*) { return size; }

void visit(const char* url, const char* ca, reqauth::client& client, bool fresh) {
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
    curl_easy_setopt(curl.get(), CURLOPT_URL, url);
    curl_easy_setopt(curl.get(), CURLOPT_CAINFO, ca);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, drop);
    connection watched{curl.get()};
    watch(watched);
    curl_easy_setopt(curl.get(), CURLOPT_SHARE, share_for(scope_of(client, ca)));
    curl_easy_setopt(curl.get(), CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
    curl_easy_setopt(curl.get(), CURLOPT_SSL_CTX_DATA, &client);
    if (curl_easy_setopt(curl.get(), CURLOPT_SSL_CTX_FUNCTION, offer_the_flag) != CURLE_OK)
        throw std::runtime_error("this libcurl is not built with OpenSSL");
    const CURLcode result = curl_easy_perform(curl.get());
    if (last.judged == reqauth::client_outcome::verdict::refused) throw reqauth::refused(last);
    if (result != CURLE_OK) throw std::runtime_error(curl_easy_strerror(result));
    long connects = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_NUM_CONNECTS, &connects);
    std::printf("visit: %s\n", connects != 0 ? "new connection" : "same connection");
}

} // namespace

int main(int argc, char** argv) try {
    if (argc < 3 || argc % 2 == 0) {
        std::fputs("usage: curl-share CA URL [CERTIFICATE KEY]...\n", stderr);
        return 2;
    }
    std::vector<reqauth::client> identities;
    for (int i = 3; i < argc; i += 2) {
        reqauth::client_policy policy;
        policy.credential = reqauth::credential::from_files(argv[i], argv[i + 1]);
        policy.observe = [](const SSL&, const reqauth::client_outcome& outcome) { last = outcome; };
        identities.emplace_back(std::move(policy));
    }
    identities.emplace_back(reqauth::client_policy{}); // nobody
    for (const bool fresh : {false, false, true})
        for (reqauth::client& who : identities) visit(argv[2], argv[1], who, fresh);
    return 0;
} catch (const reqauth::error& error) {
    std::fprintf(stderr, "curl-share: %s\n", error.what());
    return error.code() == reqauth::errc::refused ? 3 : 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "curl-share: %s\n", error.what());
    return 1;
}
