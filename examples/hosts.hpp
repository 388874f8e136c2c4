// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "server_options.hpp"
#include "settings/counters.hpp"
#include "tls.hpp"

#include <reqauth/server.hpp>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// hosts are the SSL_CTXs of the server: the first, and one for each --vhost. They belong to one
/// reqauth::server. An SSL is made of the first, and moves to the host whose name the client gives.
class hosts {
public:
    /// Throws usage_error or reqauth::error. `options` must outlive it.
    explicit hosts(const server_options& options);
    hosts(const hosts&) = delete;
    hosts& operator=(const hosts&) = delete;

    [[nodiscard]] SSL_CTX& first() const { return *all_.front().context; }

    /// warnings are the library's, one line each, about what was loaded at the start.
    [[nodiscard]] std::vector<std::string> warnings() const;

    void log_keys(keylog& keys) const;

    /// reload reads the same agents-ca and CRL files again, and gives all hosts the new trust at one moment. The
    /// application's own (--customers-ca, certificates, keys) stays: OpenSSL has no way to change an SSL_CTX while
    /// it serves. Gives warnings. Throws, and changes nothing, where a file does not load. Any thread.
    std::vector<std::string> reload();

    /// metrics are the counters of each host, as GET /metrics gives them. Any thread.
    [[nodiscard]] std::string metrics() const;

private:
    struct host {
        std::string name; ///< lower case; empty: every other
        std::string certificate;
        std::string key;
        std::string agents_ca;      ///< empty: the flag is ignored
        std::string customers_auth; ///< none, request, require
        std::string customers_ca;
        context_ptr context = {};
        std::array<unsigned char, 32> id_context = {};
        reqauth::attachment attached = {};
        std::unique_ptr<reqauth::server_counters> counted = std::make_unique<reqauth::server_counters>();
    };

    void configure(host& each);
    static std::string of(const host& each, const std::string& warning);
    [[nodiscard]] reqauth::server_policy policy_of(const host& each) const;
    [[nodiscard]] const host& named(std::string_view name) const;
    static int keep_sessions_apart(SSL* ssl, int* alert, void* self);
    static int move_to_host(SSL* ssl, int* alert, void* self);

    const server_options& options_;
    std::vector<host> all_;
    std::vector<unsigned char> ticket_keys_;
    reqauth::server server_;
};
