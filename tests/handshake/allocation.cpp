// SPDX-License-Identifier: Apache-2.0
// An unflagged connection costs no heap allocation of ours.

#include "catch.hpp"
#include "support/contexts.hpp"

#include <openssl/crypto.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <variant>

namespace {

// Every operator new of this process, the library's included, and every allocation of OpenSSL.
std::atomic<std::size_t> news{0};
std::atomic<std::size_t> mallocs{0};

void* counted_malloc(std::size_t size, const char*, int) {
    mallocs.fetch_add(1, std::memory_order_relaxed);
    return std::malloc(size);
}
void* counted_realloc(void* old, std::size_t size, const char*, int) {
    mallocs.fetch_add(1, std::memory_order_relaxed);
    return std::realloc(old, size);
}
void counted_free(void* old, const char*, int) { std::free(old); }

// Before OpenSSL allocates anything, which is before main.
const bool counting = CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) == 1;

} // namespace

void* operator new(std::size_t size) {
    news.fetch_add(1, std::memory_order_relaxed);
    if (void* made = std::malloc(size == 0 ? 1 : size)) return made;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    news.fetch_add(1, std::memory_order_relaxed);
    return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* old) noexcept { std::free(old); }
void operator delete(void* old, const std::nothrow_t&) noexcept { std::free(old); }
void operator delete(void* old, std::size_t) noexcept { std::free(old); }

using namespace support;

namespace {

struct cost {
    std::size_t news;
    std::size_t mallocs;
};

/// serve does one handshake without the test's own recording, which allocates, and gives its cost.
cost serve(SSL_CTX& server_context, SSL_CTX& client_context, bool flagged = false) {
    BIO* near_end = nullptr;
    BIO* far_end = nullptr;
    REQUIRE(BIO_new_bio_pair(&near_end, 0, &far_end, 0) == 1);
    owned<SSL> client(SSL_new(&client_context));
    SSL_set_bio(client.get(), far_end, far_end);
    SSL_set_connect_state(client.get());
    const cost before{news, mallocs};
    owned<SSL> server(SSL_new(&server_context));
    SSL_set_bio(server.get(), near_end, near_end);
    SSL_set_accept_state(server.get());
    bool done = false;
    for (int i = 0; i < 100 && !done; ++i) {
        const int connected = SSL_do_handshake(client.get());
        const int accepted = SSL_do_handshake(server.get());
        done = connected == 1 && accepted == 1;
    }
    const bool as_expected = std::holds_alternative<reqauth::flagged_peer>(reqauth::peer_of(*server)) == flagged &&
                             reqauth::server_outcome_of(*server).offered == flagged;
    server.reset();
    const cost after{news, mallocs};
    REQUIRE(done);
    REQUIRE(as_expected);
    return {after.news - before.news, after.mallocs - before.mallocs};
}

int add_nothing(SSL*, unsigned, unsigned, const unsigned char**, std::size_t*, X509*, std::size_t, int*, void*) {
    return 0;
}
int parse_nothing(SSL*, unsigned, unsigned, const unsigned char*, std::size_t, X509*, std::size_t, int*, void*) {
    return 1;
}
int find_nothing(SSL*, const unsigned char*, std::size_t, SSL_SESSION** session) {
    *session = nullptr;
    return 1;
}

} // namespace

TEST_CASE("server / unflagged connection / allocations -> none of ours", "[handshake][RCA-15]") {
    REQUIRE(counting);
    auto with = server_context();
    attach(*with, asking());
    auto without = server_context();
    constexpr unsigned everywhere = SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_3_SERVER_HELLO |
                                    SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS | SSL_EXT_TLS1_3_HELLO_RETRY_REQUEST |
                                    SSL_EXT_TLS1_3_CERTIFICATE | SSL_EXT_TLS1_3_CERTIFICATE_REQUEST |
                                    SSL_EXT_TLS1_3_NEW_SESSION_TICKET | SSL_EXT_TLS1_3_ONLY;
    REQUIRE(SSL_CTX_add_custom_ext(without.get(), 62, everywhere, add_nothing, nullptr, nullptr, parse_nothing,
                                   nullptr) == 1);
    SSL_CTX_set_psk_find_session_callback(without.get(), find_nothing);
    const auto client = client_context();
    serve(*with, *client);
    serve(*without, *client);

    // The client's own allocations and the length of an ECDSA signature vary: the least of many is compared.
    std::size_t least_with = SIZE_MAX;
    std::size_t least_without = SIZE_MAX;
    for (int i = 0; i < 20; ++i) {
        const cost ours = serve(*with, *client);
        CHECK(ours.news == 0);
        least_with = std::min(least_with, ours.mallocs);
        least_without = std::min(least_without, serve(*without, *client).mallocs);
    }
    CHECK(least_with == least_without);
}

TEST_CASE("server / flagged connection / allocations -> counted, so the count above can fail", "[handshake]") {
    const auto server = attached_server(asking());
    const auto client = attached_client();
    const std::size_t before = news;
    pair both(*server, *client);
    REQUIRE(both.shake());
    CHECK(seen(both) == "flagged CN=crawler.example");
    CHECK(news > before);
}

TEST_CASE("server / flagged connection, ca_names off / allocations -> as many with 10,000 anchors as with 10",
          "[handshake][SEC-4]") {
    REQUIRE(counting);
    const auto key = make_key();
    std::string anchors = pem(*the_cast().agents_ca.certificate);
    const auto client = attached_client();
    std::vector<cost> least;
    for (int made = 0; const int wanted : {10, 10000}) {
        for (; made < wanted; ++made)
            anchors +=
                pem(*issue({.common_name = "CA " + std::to_string(made), .ca = true}, nullptr, key.get()).certificate);
        reqauth::server_policy policy;
        policy.when_offered = reqauth::client_auth::request(reqauth::trust::from_pem(anchors));
        policy.ca_names = false;
        const auto server = attached_server(policy);
        serve(*server, *client, true);
        least.push_back({SIZE_MAX, SIZE_MAX});
        for (int i = 0; i < 20; ++i) {
            const cost one = serve(*server, *client, true);
            least.back() = {std::min(least.back().news, one.news), std::min(least.back().mallocs, one.mallocs)};
        }
    }
    CHECK(least[0].news == least[1].news);
    CHECK(least[0].mallocs == least[1].mallocs);
}
