// SPDX-License-Identifier: Apache-2.0
#include "support/sessions.hpp"

#include <ctime>
#include <stdexcept>
#include <vector>

namespace support {
namespace {

std::string id_of(const SSL_SESSION& session) {
    unsigned int size = 0;
    const unsigned char* id = SSL_SESSION_get_id(&session, &size);
    return {reinterpret_cast<const char*>(id), size};
}

fleet::cache& cache_of(SSL* ssl) { return *static_cast<fleet::cache*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl))); }

int keep(SSL* ssl, SSL_SESSION* made) {
    std::string octets(static_cast<std::size_t>(i2d_SSL_SESSION(made, nullptr)), '\0');
    auto* out = reinterpret_cast<unsigned char*>(octets.data());
    i2d_SSL_SESSION(made, &out);
    cache_of(ssl).put(id_of(*made), octets);
    return 0;
}

SSL_SESSION* find(SSL* ssl, const unsigned char* id, int size, int* copy) {
    *copy = 0;
    const std::string found = cache_of(ssl).get({reinterpret_cast<const char*>(id), static_cast<std::size_t>(size)});
    const auto* in = reinterpret_cast<const unsigned char*>(found.data());
    return found.empty() ? nullptr : d2i_SSL_SESSION(nullptr, &in, static_cast<long>(found.size()));
}

} // namespace

void fleet::cache::put(const std::string& id, std::string session) {
    const std::lock_guard lock(guard_);
    if (by_id_.insert_or_assign(id, std::move(session)).second) in_order_.push_back(id);
    if (in_order_.size() <= 5000) return;
    by_id_.erase(in_order_.front());
    in_order_.pop_front();
}

std::string fleet::cache::get(const std::string& id) {
    const std::lock_guard lock(guard_);
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? std::string() : found->second;
}

void fleet::keep_sessions(SSL_CTX& server) {
    SSL_CTX_set_app_data(&server, &cache_);
    SSL_CTX_set_session_cache_mode(&server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(&server, keep);
    SSL_CTX_sess_set_get_cb(&server, find);
}

void fleet::join(SSL_CTX& server, tickets how) {
    std::vector<unsigned char> keys(static_cast<std::size_t>(SSL_CTX_get_tlsext_ticket_keys(&server, nullptr, 0)), 7);
    if (SSL_CTX_set_tlsext_ticket_keys(&server, keys.data(), static_cast<long>(keys.size())) != 1)
        throw std::runtime_error("SSL_CTX_set_tlsext_ticket_keys failed");
    if (early_data_in(how)) SSL_CTX_set_max_early_data(&server, 1024);
    if (how == tickets::early_data_stateless) SSL_CTX_set_options(&server, SSL_OP_NO_ANTI_REPLAY);
    if (how == tickets::stateless || how == tickets::early_data_stateless) return;
    if (how == tickets::stateful) SSL_CTX_set_options(&server, SSL_OP_NO_TICKET);
    keep_sessions(server);
    // Against replay OpenSSL takes only what it can remove from its own cache, into which it puts what it finds.
    if (how == tickets::early_data) SSL_CTX_set_session_cache_mode(&server, SSL_SESS_CACHE_SERVER);
}

void take_over(SSL_SESSION& session, SSL& by) {
    std::string mark = "reqauthC";
    try {
        const reqauth::client_scope scope = reqauth::client::scope(by);
        mark.append(reinterpret_cast<const char*>(scope.data()), scope.size());
    } catch (const reqauth::error&) {
        return; // a client without the library presents what it is given
    }
    SSL_SESSION_set1_ticket_appdata(&session, mark.data(), mark.size());
}

early shake_early(pair& both, SSL_SESSION& session) {
    early found;
    take_over(session, *both.client.ssl);
    SSL_set_session(both.client.ssl.get(), &session);
    std::size_t written = 0;
    if (SSL_write_early_data(both.client.ssl.get(), "GET /", 5, &written) != 1)
        throw std::runtime_error("SSL_write_early_data failed");
    bool finished = false;
    for (int round = 0; round < 10; ++round) {
        both.server.give(both.client.take());
        while (!finished) {
            char buffer[64];
            std::size_t size = 0;
            const int status = SSL_read_early_data(both.server.ssl.get(), buffer, sizeof buffer, &size);
            if (status == SSL_READ_EARLY_DATA_ERROR) break;
            found.read.append(buffer, size);
            if (size > 0) found.during = seen(both);
            finished = status == SSL_READ_EARLY_DATA_FINISH;
        }
        if (finished) both.server.step();
        both.client.give(both.server.take());
        both.client.step();
    }
    found.resumed = SSL_session_reused(both.server.ssl.get()) == 1;
    found.good = both.shake();
    return found;
}

visited visit(SSL_CTX& server, SSL_CTX& client, const circumstance& how) {
    pair both(server, client);
    SSL* to = both.client.ssl.get();
    SSL* from = both.server.ssl.get();
    if (how.name != nullptr) SSL_set_tlsext_host_name(to, how.name);
    if (how.retry) {
        SSL_set1_groups_list(to, "X25519:P-256");
        SSL_set1_groups_list(from, "P-256");
    }
    visited found;
    // With early data a wrong age counts as a replay.
    if (how.session != nullptr && !how.early_data) {
#if OPENSSL_VERSION_NUMBER < 0x30300000L
        SSL_SESSION_set_time(how.session, static_cast<long>(std::time(nullptr)));
#else
        SSL_SESSION_set_time_ex(how.session, std::time(nullptr));
#endif
    }
    if (how.session != nullptr && how.early_data) {
        found.early_data = shake_early(both, *how.session);
        found.good = found.early_data.good;
    } else {
        if (how.session != nullptr && !how.as_it_is) take_over(*how.session, *to);
        if (how.session != nullptr) SSL_set_session(to, how.session);
        found.good = both.shake();
    }
    found.resumed = SSL_session_reused(from) == 1;
    found.asked = both.client.count(kind::certificate_request) > 0;
    found.retried = both.client.count(kind::hello_retry_request) > 0;
    found.tickets = both.client.count(kind::new_session_ticket);
    found.alert = alert_to_client(both);
    found.verify_result = SSL_get_verify_result(from);
    found.has_certificate = SSL_get0_peer_certificate(from) != nullptr;
    found.outcome = reqauth::server_outcome_of(*from);
    found.client = reqauth::client_outcome_of(*to);
    found.who = seen(both);
    const reqauth::peer who = reqauth::peer_of(*from);
    if (const auto* agent = std::get_if<reqauth::flagged_peer>(&who)) {
        found.resumed_peer = agent->resumed();
        found.early_peer = agent->from_early_data();
        found.thumbprint = agent->thumbprint();
    }
    if (found.good) both.close();
    return found;
}

} // namespace support
