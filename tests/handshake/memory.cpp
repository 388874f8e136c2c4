// SPDX-License-Identifier: Apache-2.0
// Each allocation fails once, of operator new and of OpenSSL: what there is then is whole, or it is not there.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include <cstdlib>
#include <new>

namespace {

thread_local std::size_t counted = 0;
thread_local std::size_t failing = 0; ///< the one that fails; 0: none
thread_local bool armed = false;

bool fails() noexcept { return armed && ++counted == failing; }

void* openssl_malloc(std::size_t size, const char*, int) { return fails() ? nullptr : std::malloc(size); }
void* openssl_realloc(void* old, std::size_t size, const char*, int) {
    return fails() ? nullptr : std::realloc(old, size);
}
void openssl_free(void* old, const char*, int) { std::free(old); }

// Before OpenSSL allocates anything, which is before main.
const bool counting = CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) == 1;

} // namespace

void* operator new(std::size_t size) {
    if (!fails())
        if (void* made = std::malloc(size == 0 ? 1 : size)) return made;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return fails() ? nullptr : std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* old) noexcept { std::free(old); }
void operator delete(void* old, const std::nothrow_t&) noexcept { std::free(old); }
void operator delete(void* old, std::size_t) noexcept { std::free(old); }

using namespace support;

namespace {

/// without_memory lets one allocation fail from here to its end, in this thread.
class without_memory {
public:
    without_memory() { armed = true; }
    ~without_memory() { armed = false; }
    without_memory(const without_memory&) = delete;
    without_memory& operator=(const without_memory&) = delete;
};

/// for_each_allocation calls `attempt` with each allocation in its without_memory failing once, until none does. Gives how
/// many there were.
template <class Attempt> std::size_t for_each_allocation(Attempt attempt, std::size_t step = 1, std::size_t first = 1) {
    REQUIRE(counting);
    for (std::size_t number = first;; number += step) {
        counted = 0;
        failing = number;
        attempt();
        ERR_clear_error();
        failing = 0;
        if (counted < number) return counted;
    }
}

/// none_thrown calls, and says whether nothing was thrown: errors and bad_alloc are what may be.
template <class Call> bool none_thrown(Call call) {
    try {
        const without_memory now;
        call();
        return true;
    } catch (const reqauth::error&) {
        return false;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

struct chain_of_three {
    identity root = issue({.common_name = "Root", .ca = true});
    identity middle = issue({.common_name = "Middle", .ca = true}, &root);
    identity agent = issue({.common_name = "crawler.example",
                            .alt_names = {{GEN_DNS, "a.example"},
                                          {GEN_DNS, "b.example"},
                                          {GEN_URI, "https://c.example/"},
                                          {GEN_EMAIL, "d@e.example"},
                                          {GEN_IPADD, octets({192, 0, 2, 1})}},
                            .extended_key_usage = "clientAuth"},
                           &middle);
    identity expired = issue({.common_name = "expired.example",
                              .alt_names = {{GEN_DNS, "expired.example"}},
                              .extended_key_usage = "clientAuth",
                              .not_before = -7200,
                              .not_after = -3600},
                             &middle);
};

const chain_of_three& three() {
    static const chain_of_three made;
    return made;
}

reqauth::server_policy asking_three() {
    auto policy = asking();
    policy.when_offered = reqauth::client_auth::request(trust_in(three().root));
    return policy;
}

std::unique_ptr<bad_peer> client_of_three(const identity& who) {
    std::unique_ptr<bad_peer> client(new bad_peer(flagged_client(who)));
    SSL_CTX_add1_chain_cert(client->context.get(), three().middle.certificate.get());
    return client;
}

/// whole_or_none says what peer_of came to: nothing of a flagged_peer may be missing.
std::string whole_or_none(const reqauth::peer& who) {
    const auto* agent = std::get_if<reqauth::flagged_peer>(&who);
    if (agent == nullptr) return "none";
    const bool whole = agent->subject() == "CN=crawler.example" && agent->issuer() == "CN=Middle" &&
                       !agent->serial().empty() && agent->alt_names().size() == 5 &&
                       agent->alt_names()[4].value == "192.0.2.1" && agent->chain().size() == 3;
    return whole ? "whole" : "a part";
}

// The server's allocations alone can fail: what endpoint::step records is the test's.
void step(endpoint& server) {
    {
        const without_memory now;
        SSL_do_handshake(server.ssl.get());
    }
    ERR_clear_error();
}

/// shake_without_memory does a handshake, as far as it goes.
void shake_without_memory(pair& both) {
    SSL_set_msg_callback(both.server.ssl.get(), nullptr);
    SSL_set_info_callback(both.server.ssl.get(), nullptr);
    for (int i = 0; i < 4; ++i) {
        both.client.step();
        both.server.give(both.client.take());
        step(both.server);
        both.client.give(both.server.take());
    }
    both.client.step();
}

/// own is what an application set on its SSL for its customers.
struct own {
    X509_STORE* store;
    int mode;
    SSL_verify_cb verify;
    int names;
    int own_names;
    std::string host, email, address;
    int depth;
    unsigned long flags;
    friend bool operator==(const own&, const own&) = default;

    friend std::ostream& operator<<(std::ostream& out, const own& one) {
        return out << one.store << ' ' << one.mode << ' ' << reinterpret_cast<const void*>(one.verify) << ' '
                   << one.names << ' ' << one.own_names << ' ' << one.host << ' ' << one.email << ' ' << one.address
                   << ' ' << one.depth << ' ' << one.flags;
    }
};

std::string text_of(const char* text) { return text != nullptr ? text : "none"; }

own own_of(SSL* ssl) {
    X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl);
    own now{};
    SSL_get0_verify_cert_store(ssl, &now.store);
    now.mode = SSL_get_verify_mode(ssl);
    now.verify = SSL_get_verify_callback(ssl);
    now.names = sk_X509_NAME_num(SSL_get_client_CA_list(ssl));
    now.own_names = sk_X509_NAME_num(SSL_get0_CA_list(ssl));
    now.host = text_of(X509_VERIFY_PARAM_get0_host(parameters, 0));
    now.email = text_of(X509_VERIFY_PARAM_get0_email(parameters));
    char* address = X509_VERIFY_PARAM_get1_ip_asc(parameters);
    now.address = text_of(address);
    OPENSSL_free(address);
    now.depth = X509_VERIFY_PARAM_get_depth(parameters);
    now.flags = X509_VERIFY_PARAM_get_flags(parameters);
    return now;
}

int as_it_is(int ok, X509_STORE_CTX*) { return ok; }

int admits_everything(X509_STORE_CTX* verification, void*) {
    X509_verify_cert(verification);
    return 1;
}

int other_store_slot() {
    static const int slot = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_X509_STORE, 0, nullptr, nullptr, nullptr, nullptr);
    return slot;
}

void set_own(SSL* ssl, bool dane) {
    const owned<X509_STORE> store(X509_STORE_new());
    X509_STORE_add_cert(store.get(), the_cast().customers_ca.certificate.get());
    X509_STORE_set_ex_data(store.get(), other_store_slot(), &counted);
    SSL_set1_verify_cert_store(ssl, store.get());
    SSL_set_verify(ssl, SSL_VERIFY_PEER, as_it_is);
    SSL_add_client_CA(ssl, the_cast().customers_ca.certificate.get());
    SSL_add1_to_CA_list(ssl, the_cast().customers_ca.certificate.get());
    X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set1_host(parameters, "nobody.example", 0);
    X509_VERIFY_PARAM_set1_email(parameters, "nobody@nobody.example", 0);
    X509_VERIFY_PARAM_set1_ip_asc(parameters, "192.0.2.99");
    X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_CLIENT);
    X509_VERIFY_PARAM_set_depth(parameters, 7);
    X509_VERIFY_PARAM_add0_policy(parameters, OBJ_txt2obj("1.2.3.4", 1));
    if (dane) {
        const std::string nothing(32, 'd');
        SSL_dane_enable(ssl, "nobody.example");
        SSL_dane_tlsa_add(ssl, 3, 1, 1, reinterpret_cast<const unsigned char*>(nothing.data()), nothing.size());
    }
}

} // namespace

TEST_CASE("server / peer_of, each allocation fails -> all of the agent, or nothing of it",
          "[handshake][attack][SEC-2]") {
    const auto server = attached_server(asking_three());
    const auto client = client_of_three(three().agent);
    std::size_t none = 0;
    std::optional<pair> both;
    const std::size_t many = for_each_allocation([&] {
        both.emplace(*server, *client->context);
        REQUIRE(both->shake());
        std::optional<reqauth::peer> who;
        if (none_thrown([&] { who = reqauth::peer_of(*both->server.ssl); })) CHECK(whole_or_none(*who) != "a part");
        if (!who || whole_or_none(*who) == "none") ++none;
        CHECK(whole_or_none(reqauth::peer_of(*both->server.ssl)) == "whole");
    });
    CHECK(many > 20);
    CHECK(none > 20);
    // From then on it is remembered.
    CHECK(for_each_allocation([&] {
              std::optional<reqauth::peer> who;
              CHECK(none_thrown([&] { who = reqauth::peer_of(*both->server.ssl); }));
              CHECK(whole_or_none(*who) == "whole");
              CHECK(none_thrown([&] { (void)reqauth::server_outcome_of(*both->server.ssl); }));
          }) == 0);
}

TEST_CASE("server / flagged handshake, each allocation fails -> the application's settings are back, or nobody gets in",
          "[handshake][attack][SEC-2][RCA-15]") {
    const auto customer = [] {
        auto context = client_context();
        present(*context, the_cast().customer); // no policy, host or address of its certificate fits
        return context;
    }();
    std::size_t first = 0;
    for (const bool permissive : {false, true})
        for (const bool dane : {false, true}) {
            if (first == 4) first = 0;
            auto context = server_context();
            if (dane) REQUIRE(SSL_CTX_dane_enable(context.get()) > 0);
            if (permissive) SSL_CTX_set_cert_verify_callback(context.get(), admits_everything, nullptr);
            attach(*context, asking_three());
            std::size_t whole = 0;
            const auto good = client_of_three(three().agent);
            const auto bad = client_of_three(three().expired);
            for (const bad_peer* client : {good.get(), bad.get()}) {
                CAPTURE(permissive, dane, client == good.get());
                const auto attempt = [&] {
                    pair both(*context, *client->context);
                    SSL* ssl = both.server.ssl.get();
                    set_own(ssl, dane);
                    const own before = own_of(ssl);
                    shake_without_memory(both);
                    const auto who = whole_or_none(reqauth::peer_of(*ssl));
                    CAPTURE(counted, failing);
                    CHECK(who != "a part");
                    if (client == bad.get()) CHECK(who == "none");
                    if (who == "whole") ++whole;
                    const bool ended = SSL_get_shutdown(ssl) == (SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
                    if (SSL_is_init_finished(ssl) == 1 && !ended) CHECK(own_of(ssl) == before);
                    // The same SSL, for a customer whom its settings refuse.
                    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
                    owned<SSL> again(std::move(both.server.ssl));
                    armed = true;
                    const bool cleared = SSL_clear(ssl) == 1;
                    armed = false;
                    ERR_clear_error();
                    if (!cleared) return;
                    owned<SSL> next(SSL_new(customer.get()));
                    pair second(std::move(again), std::move(next));
                    shake_without_memory(second);
                    const bool in =
                        SSL_is_init_finished(ssl) == 1 && (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN) == 0;
                    if (in && !permissive) CHECK(SSL_get0_peer_certificate(ssl) == nullptr);
                    if (in && permissive) CHECK(SSL_get_verify_result(ssl) != X509_V_OK);
                    CHECK(whole_or_none(reqauth::peer_of(*ssl)) == "none");
                    if (in) CHECK(own_of(ssl) == before);
                };
                // Thousands, and most of them in what is the same: a quarter each.
                CHECK(for_each_allocation(attempt, 4, ++first) > 100);
            }
            CHECK(whole > 10);
        }
}

TEST_CASE(
    "server / an agent's certificate that is good as a customer's, too, each allocation fails -> never an agent's",
    "[handshake][attack][SEC-2][RCA-17]") {
    const auto server = attached_server(asking_three());
    const auto client = client_of_three(three().agent);
    const owned<X509_STORE> customers(X509_STORE_new());
    REQUIRE(X509_STORE_add_cert(customers.get(), three().root.certificate.get()) == 1);
    const auto attempt = [&] {
        pair both(*server, *client->context);
        SSL_set1_verify_cert_store(both.server.ssl.get(), customers.get());
        SSL_set_verify(both.server.ssl.get(), SSL_VERIFY_PEER, nullptr);
        shake_without_memory(both);
        CAPTURE(counted, failing);
        CHECK(whole_or_none(reqauth::peer_of(*both.server.ssl)) == "none");
    };
    failing = 0;
    attempt(); // OpenSSL keeps what it makes first
    CHECK(for_each_allocation(attempt) > 1000);
}

TEST_CASE("trust / made, each allocation fails -> all of it, or an error", "[handshake][attack][SEC-2][RCA-13]") {
    const std::string pem_of_all = pem(*three().root.certificate) + pem(*the_cast().agents_ca.certificate) +
                                   crl(three().root) +
                                   crl(the_cast().agents_ca, {.revoked = {the_cast().agent.certificate.get()}});
    const auto whole = reqauth::trust::from_pem(pem_of_all);
    REQUIRE(whole.crl_count() == 2);
    const owned<X509_STORE> store(X509_STORE_new());
    X509_STORE_add_cert(store.get(), three().root.certificate.get());
    X509_STORE_add_cert(store.get(), the_cast().agents_ca.certificate.get());
    X509_VERIFY_PARAM_set_depth(X509_STORE_get0_param(store.get()), 3);
    const auto of_store = reqauth::trust::from_store(*store);
    const std::string more = crl(the_cast().agents_ca, {.this_update = -60});
    const std::vector<std::function<reqauth::trust()>> ways{
        [&] { return reqauth::trust::from_pem(pem_of_all); },
        [&] { return reqauth::trust::from_store(*store); },
        [&] { return whole.with_crls(more); },
        [&] { return whole.with_crls_for_every_ca(); },
        [&, pin = pin_of(*the_cast().agent.key)] { return whole.with_pins({pin}); },
        [&] { return whole.with_depth(2).with_purpose(reqauth::purpose::any); },
        [&] { return whole.with_time(std::chrono::system_clock::now()).with_partial_chains(); },
    };
    for (std::size_t way = 0; way < ways.size(); ++way) {
        CAPTURE(way);
        const auto expected = ways[way]();
        std::size_t thrown = 0;
        const std::size_t many = for_each_allocation([&] {
            std::optional<reqauth::trust> made;
            if (!none_thrown([&] { made = ways[way](); })) {
                ++thrown;
                return;
            }
            CAPTURE(failing);
            CHECK((way == 6 || made->digest() == expected.digest()));
            CHECK(made->size() == expected.size());
            CHECK(made->crl_count() == expected.crl_count());
        });
        CHECK(many > 10);
        CHECK(thrown > 10);
    }
}

TEST_CASE("trust / made, each allocation fails / one key in two encodings -> one key, or an error",
          "[handshake][attack][SEC-2][RCA-13]") {
    const auto key = make_key();
    const owned<EVP_PKEY> compressed(EVP_PKEY_dup(key.get()));
    REQUIRE(EVP_PKEY_set_utf8_string_param(compressed.get(), OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                           "compressed") == 1);
    const auto of_customers = issue({.common_name = "Shared CA", .ca = true}, nullptr, key.get());
    const auto of_agents = issue({.common_name = "Shared CA", .ca = true}, nullptr, compressed.get());
    const std::string text = pem(*of_agents.certificate);
    std::size_t made = 0;
    for_each_allocation([&] {
        std::optional<reqauth::trust> agents;
        if (!none_thrown([&] { agents = reqauth::trust::from_pem(text); })) return;
        ++made;
        auto server = server_context();
        ask(*server, SSL_VERIFY_PEER, of_customers);
        auto policy = asking();
        policy.when_offered = reqauth::client_auth::request(*agents);
        CHECK(failure_of([&] { attach(*server, policy); }) == reqauth::errc::shared_anchor);
    });
    CHECK(made > 0);
}

TEST_CASE("server / attach, each allocation fails -> attached, or as it was", "[handshake][attack][SEC-2][RCA-15]") {
    const auto client = attached_client();
    std::size_t thrown = 0;
    const auto attempt = [&] {
        auto context = server_context();
        reqauth::server server;
        std::vector<std::string> warnings;
        const auto policy = asking();
        const bool attached = none_thrown([&] { warnings = server.attach(*context, policy).warnings; });
        CAPTURE(failing, attached);
        CHECK(warnings.empty());
        {
            pair both(*context, *client);
            CHECK(both.shake());
            CHECK(seen(both) == (attached ? "flagged CN=crawler.example" : "not_offered"));
        }
        if (attached) return;
        ++thrown;
        CHECK(server.attach(*context, asking()).warnings.empty());
        pair both(*context, *client);
        CHECK(both.shake());
        CHECK(seen(both) == "flagged CN=crawler.example");
    };
    CHECK(for_each_allocation(attempt, 7) > 100);
    CHECK(thrown > 10);
}

TEST_CASE("server / replace, each allocation fails -> the new policies, or the earlier ones",
          "[handshake][attack][SEC-4]") {
    const auto client = attached_client();
    auto context = server_context();
    reqauth::server server;
    const auto where = server.attach(*context, asking());
    reqauth::server_policy off;
    bool replaced = false;
    const std::size_t many = for_each_allocation([&] {
        const reqauth::server_policy& next = off;
        const bool now = none_thrown([&] { server.replace({{where, next}}); });
        CAPTURE(failing, now);
        pair both(*context, *client);
        CHECK(both.shake());
        CHECK((seen(both) == "flagged CN=crawler.example") == !now);
        if (now) server.replace({{where, asking()}});
        replaced = replaced || now;
    });
    CHECK(many > 5);
    CHECK(replaced);
}
