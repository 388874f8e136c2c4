// SPDX-License-Identifier: Apache-2.0
#pragma once

// Sessions: a client's shelf of them, servers that share them as the nodes of a fleet do, and visits that resume.

#include "support/contexts.hpp"
#include "support/pair.hpp"

#include <array>
#include <deque>
#include <map>
#include <mutex>
#include <string>

namespace support {

/// session_shelf keeps the last session that clients of an SSL_CTX got, and counts them. It takes the
/// SSL_CTX's app data.
class session_shelf {
public:
    session_shelf() = default;
    session_shelf(const session_shelf&) = delete;
    session_shelf& operator=(const session_shelf&) = delete;

    void serve(SSL_CTX& context) {
        SSL_CTX_set_app_data(&context, this);
        SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(&context, [](SSL* ssl, SSL_SESSION* made) {
            auto* shelf = static_cast<session_shelf*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
            shelf->last.reset(made);
            ++shelf->count;
            return 1;
        });
    }

    owned<SSL_SESSION> last;
    int count = 0;
};

/// visitor is a client's SSL_CTX with its shelf.
struct visitor {
    explicit visitor(owned<SSL_CTX> made) : context(std::move(made)) { shelf.serve(*context); }
    owned<SSL_CTX> context;
    session_shelf shelf;
};

/// take_over makes a session look as if it were of this very connection, where its client would leave it out: servers
/// are to be tested with whatever session a client presents. docs/reference.md has the mark.
void take_over(SSL_SESSION& session, SSL& by);

/// tickets is how a server keeps sessions. Early data makes OpenSSL keep them itself, unless it is told that
/// replay is the application's care.
enum class tickets { stateless, stateful, early_data, early_data_stateless };
inline constexpr std::array all_tickets{tickets::stateless, tickets::stateful, tickets::early_data,
                                        tickets::early_data_stateless};
constexpr bool early_data_in(tickets how) { return how == tickets::early_data || how == tickets::early_data_stateless; }

/// fleet is what the nodes of a fleet share: the ticket keys, and a session cache, in which sessions are octets.
/// It takes the app data of the SSL_CTXs that join. Any thread may shake hands.
class fleet {
public:
    fleet() = default;
    fleet(const fleet&) = delete;
    fleet& operator=(const fleet&) = delete;

    void join(SSL_CTX& server, tickets how);

    /// keep_sessions has `server` use the session cache alone.
    void keep_sessions(SSL_CTX& server);

    /// cache is sessions by id; with more than the newest few thousand it forgets the oldest.
    class cache {
    public:
        void put(const std::string& id, std::string session);
        std::string get(const std::string& id); ///< empty: none

    private:
        std::mutex guard_;
        std::map<std::string, std::string> by_id_;
        std::deque<std::string> in_order_;
    };

private:
    cache cache_;
};

/// early is what became of early data.
struct early {
    std::string read;   ///< what the server accepted
    std::string during; ///< peer_of in words, as it came
    bool resumed = false;
    bool good = false;
};

/// shake_early has the client send early data with `session`, and the server read what it accepts.
early shake_early(pair& both, SSL_SESSION& session);

/// circumstance is how a client visits.
struct circumstance {
    const char* name = nullptr; ///< server_name; null: none
    SSL_SESSION* session = nullptr;
    bool retry = false;      ///< with a HelloRetryRequest
    bool early_data = false; ///< with early data, if there is a session
    bool as_it_is = false;   ///< the session is not taken over: its client decides
};

/// visited is how a visit went.
struct visited {
    bool good = false;
    bool resumed = false; ///< OpenSSL says so
    bool asked = false;   ///< a CertificateRequest came
    bool retried = false;
    std::string who; ///< peer_of in words
    bool resumed_peer = false;
    bool early_peer = false;
    std::array<std::uint8_t, 32> thumbprint{};
    long verify_result = 0;
    bool has_certificate = false;
    reqauth::server_outcome outcome;
    reqauth::client_outcome client;
    early early_data;
    std::size_t tickets = 0;
    std::string alert; ///< what the client got

    /// full says that it went well and resumed nothing.
    [[nodiscard]] bool full() const { return good && !resumed; }
};

/// visit connects and, where that went well, closes. A session is presented as one just got, bar with early data: a
/// client is not trusted to leave out what has expired.
visited visit(SSL_CTX& server, SSL_CTX& client, const circumstance& how = {});

} // namespace support
