// SPDX-License-Identifier: Apache-2.0

// A client of a resource server whose tokens are bound to certificates: libcurl, which gets a token over a connection
// with the certificate (RFC 8705, section 2), and uses it where the certificate is asked for because of the flag.
//
//   bound-client CA CERTIFICATE KEY RESOURCE_URL TOKEN_URL CLIENT_ID
//   TOKEN=... bound-client CA CERTIFICATE KEY RESOURCE_URL
//
// Prints the status, WWW-Authenticate if there is one, and the body. Exit status: 0 the resource came, 1 it did not, 2 usage.

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>

#include <curl/curl.h>
#include <nlohmann/json.hpp>
#include <openssl/ssl.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

using easy_handle = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using header_list = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

/// libcurl calls it for each new connection. No exception may cross libcurl.
CURLcode offer_the_flag(CURL*, void* context, void* client) {
    try {
        static_cast<const reqauth::client*>(client)->attach(*static_cast<SSL_CTX*>(context));
        return CURLE_OK;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bound-client: %s\n", error.what());
        return CURLE_ABORTED_BY_CALLBACK;
    }
}

std::size_t append(const char* octets, std::size_t, std::size_t count, void* text) {
    static_cast<std::string*>(text)->append(octets, count);
    return count;
}

/// answer is what came for one request.
struct answer {
    long status = 0;
    std::string challenge;
    std::string body;
};

answer perform(CURL* curl, const std::string& url, const char* ca) {
    answer got;
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &got.body);
    const CURLcode result = curl_easy_perform(curl);
    if (result != CURLE_OK) throw std::runtime_error(url + ": " + curl_easy_strerror(result));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &got.status);
    curl_header* header = nullptr;
    if (curl_easy_header(curl, "WWW-Authenticate", 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
        got.challenge = header->value;
    return got;
}

/// get_token asks the authorization server, which wants a certificate of everyone: that is curl's own, without the flag.
std::string get_token(char** given) {
    const easy_handle curl(curl_easy_init(), curl_easy_cleanup);
    const std::string form = std::string("grant_type=client_credentials&client_id=") + given[6];
    curl_easy_setopt(curl.get(), CURLOPT_SSLCERT, given[2]);
    curl_easy_setopt(curl.get(), CURLOPT_SSLKEY, given[3]);
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, form.c_str());
    const answer got = perform(curl.get(), given[5], given[1]);
    const auto json = nlohmann::json::parse(got.body, nullptr, false);
    if (got.status != 200 || !json.is_object() || !json.contains("access_token"))
        throw std::runtime_error("the authorization server gave no token: " + std::to_string(got.status));
    return json["access_token"].get<std::string>();
}

} // namespace

int main(int argc, char** argv) try {
    const char* had = std::getenv("TOKEN");
    if (argc != (had != nullptr ? 5 : 7)) {
        std::fputs("usage: bound-client CA CERTIFICATE KEY RESOURCE_URL TOKEN_URL CLIENT_ID, or with TOKEN in the "
                   "environment and without the last two\n",
                   stderr);
        return 2;
    }
    const std::string token = had != nullptr ? had : get_token(argv);

    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(argv[2], argv[3]);
    reqauth::client client(std::move(policy));
    const easy_handle curl(curl_easy_init(), curl_easy_cleanup);
    curl_easy_setopt(curl.get(), CURLOPT_SSL_CTX_DATA, &client);
    if (curl_easy_setopt(curl.get(), CURLOPT_SSL_CTX_FUNCTION, offer_the_flag) != CURLE_OK)
        throw std::runtime_error("this libcurl is not built with OpenSSL");
    const header_list headers(curl_slist_append(nullptr, ("Authorization: Bearer " + token).c_str()),
                              curl_slist_free_all);
    curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());

    const answer got = perform(curl.get(), argv[4], argv[1]);
    std::printf("%ld\n", got.status);
    if (!got.challenge.empty()) std::printf("WWW-Authenticate: %s\n", got.challenge.c_str());
    std::printf("%s", got.body.c_str());
    return got.status == 200 ? 0 : 1;
} catch (const std::exception& error) {
    std::fprintf(stderr, "bound-client: %s\n", error.what());
    return 1;
}
