// SPDX-License-Identifier: Apache-2.0
#pragma once

// A server that refuses and closes at once has libcurl fail while it writes its request. It reads no more then, and the
// alert stays unread in the socket. What it takes to read it: the socket, while the connection is still there.

#include <reqauth/client.hpp>

#include <curl/curl.h>
#include <openssl/ssl.h>

#include <netinet/in.h>
#include <sys/socket.h>

/// connection is one handle and the last socket that was opened for it.
struct connection {
    CURL* curl;
    curl_socket_t socket = CURL_SOCKET_BAD;
};

inline curl_socket_t open_socket(void* of, curlsocktype, curl_sockaddr* where) {
    return static_cast<connection*>(of)->socket =
               socket(where->family, where->socktype | SOCK_CLOEXEC, where->protocol);
}

/// libcurl calls it now and then, and before it leaves a connection that has failed.
inline int look_for_alert(void* of, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    const auto [curl, last] = *static_cast<const connection*>(of);
    const curl_tlssessioninfo* tls = nullptr;
    long port = 0;
    sockaddr_in own{}; // the port of an IPv6 address is at the same place
    socklen_t size = sizeof own;
    curl_easy_getinfo(curl, CURLINFO_TLS_SSL_PTR, &tls);
    curl_easy_getinfo(curl, CURLINFO_LOCAL_PORT, &port);
    if (tls == nullptr || tls->internals == nullptr) return 0;
    if (getsockname(last, reinterpret_cast<sockaddr*>(&own), &size) != 0 || ntohs(own.sin_port) != port) return 0;
    static_cast<void>(reqauth::last_outcome_of(*static_cast<SSL*>(tls->internals), last)); // observe is told of it
    return 0;
}

/// watch has `observe` told of such a refusal, too. `one` has to outlive the transfer.
inline void watch(connection& one) {
    curl_easy_setopt(one.curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(one.curl, CURLOPT_OPENSOCKETDATA, &one);
    curl_easy_setopt(one.curl, CURLOPT_XFERINFOFUNCTION, look_for_alert);
    curl_easy_setopt(one.curl, CURLOPT_XFERINFODATA, &one);
    curl_easy_setopt(one.curl, CURLOPT_NOPROGRESS, 0L);
}
