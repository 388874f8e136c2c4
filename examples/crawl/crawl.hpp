// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "crawl_options.hpp"
#include "tls.hpp"

#include <reqauth/client.hpp>

#include <curl/curl.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

struct fetch;
struct connection;

using store_ptr = std::unique_ptr<X509_STORE, free_with<X509_STORE_free>>;

/// host is a host of the list, and what there is to tell of it.
struct host {
    std::string name;
    unsigned done = 0;
    unsigned failed = 0;
    bool offered = false; ///< on any connection, as are the next two
    bool acknowledged = false;
    bool authenticated = false;          ///< it answered who presented a certificate
    bool without_flag = false;           ///< it ended a connection on the flag, and is asked without
    unsigned resumed = 0;                ///< connections that resumed a session
    std::optional<std::string> withheld; ///< why the flag was not offered
    std::optional<std::string> refused;  ///< the alert by which it refused the certificate
    std::optional<std::string> unmet;    ///< why it was not shown one that it asked for, and what to do
    std::map<std::string, unsigned> failures;

    std::deque<fetch*> waiting;
    unsigned running = 0;
    unsigned unanswered = 0; ///< URLs in a row
    bool left = false;       ///< nothing more is asked of it
    std::chrono::steady_clock::time_point not_before = {};
    /// A cache of sessions to itself: libcurl's for several hosts has only 8 places.
    std::unique_ptr<CURLSH, free_with<curl_share_cleanup>> sessions;
};

/// fetch is a URL on its way, and how it ended.
struct fetch {
    std::size_t number; ///< in the list, from 1
    std::string url;
    host* of;
    unsigned tries = 0;
    bool fell_back = false; ///< one of them was the last with the flag
    long status = 0;        ///< HTTP's; 0: no answer
    std::uint64_t octets = 0;
    std::shared_ptr<const connection> over = {};
    bool authenticated = false;
    std::optional<std::string> refused = {};
    std::optional<std::string> error = {};
    std::string file = {};
};

/// connection is one of libcurl's: it hangs on the SSL_CTX that libcurl makes for it.
struct connection {
    host* to;
    reqauth::client_outcome outcome;
    std::optional<std::string> why = {}; ///< it was not shown a certificate that it asked for, or ended on the flag
};

/// crawl fetches everything under one identity. One thread.
class crawl {
public:
    /// Calls `ended` for each URL whose fate is known. Throws usage_error, reqauth::error, std::runtime_error.
    crawl(const crawl_options& options, std::function<void(const fetch&)> ended);
    ~crawl();
    crawl(const crawl&) = delete;
    crawl& operator=(const crawl&) = delete;

    /// step goes on with it, for a moment. It says whether there is more to do.
    bool step();

    /// stop begins nothing new. What runs has a few seconds to end, and is cancelled then.
    void stop();

    /// reload reads the credentials' files again, and says whether one has changed. Throws reqauth::error.
    bool reload() { return client_.reload(); }

    [[nodiscard]] const std::deque<host>& hosts() const noexcept { return hosts_; }
    [[nodiscard]] std::size_t running() const noexcept { return transfers_.size(); }

private:
    /// transfer is one try.
    struct transfer {
        crawl* self;
        fetch* what;
        std::unique_ptr<CURL, free_with<curl_easy_cleanup>> easy;
        curl_socket_t socket = CURL_SOCKET_BAD; ///< the last that was opened for it
        std::unique_ptr<std::FILE, free_with<std::fclose>> file = {};
        std::string complaint = {};                   ///< from here
        std::array<char, CURL_ERROR_SIZE> words = {}; ///< from libcurl
    };

    static CURLcode attach(CURL* easy, void* context, void* of_transfer);
    static std::size_t see_header(char* data, std::size_t one, std::size_t size, void* of_transfer);
    static curl_socket_t open_socket(void* of_transfer, curlsocktype what, curl_sockaddr* where);
    static int look_for_alert(void* of_transfer, curl_off_t, curl_off_t, curl_off_t, curl_off_t);
    static std::size_t see_body(char* data, std::size_t one, std::size_t size, void* of_transfer);

    void begin_what_may();
    void begin(fetch& what);
    void try_ended(CURL* easy, CURLcode code);
    void take_outcome(fetch& what, CURLcode code);
    void end(fetch& what);
    void leave(host& which);

    const crawl_options options_;
    const std::function<void(const fetch&)> ended_;
    reqauth::client client_;
    const store_ptr trust_;
    std::deque<host> hosts_; // they and the next stay where they are
    std::deque<fetch> fetches_;
    std::size_t first_ = 0; // the first host with something left
    std::optional<std::chrono::steady_clock::time_point> stopping_;
    std::unique_ptr<curl_slist, free_with<curl_slist_free_all>> addresses_;
    std::unique_ptr<CURLM, free_with<curl_multi_cleanup>> multi_;
    std::unordered_map<CURL*, transfer> transfers_; // they go before the multi handle does
};
