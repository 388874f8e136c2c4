// SPDX-License-Identifier: Apache-2.0
// A client without memory: each allocation fails in turn, alone and with all that come after it.

#include "catch.hpp"
#include "support/contexts.hpp"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <new>
#include <optional>
#include <string_view>

namespace {

/// Which allocation fails, of operator new and OpenSSL's together, counted while `armed`.
struct {
    bool armed = false;
    std::size_t run = 1; ///< how many fail, one after the other
    std::size_t nth = SIZE_MAX;
    std::size_t count = 0;
    long kept = 0; ///< allocated and not freed
} memory;

bool fails() {
    if (!memory.armed) return false;
    ++memory.count;
    return memory.count >= memory.nth && memory.count - memory.nth < memory.run;
}

void* allocate(std::size_t size) {
    if (fails()) return nullptr;
    ++memory.kept;
    return std::malloc(size == 0 ? 1 : size);
}
void release(void* old) {
    if (old != nullptr) --memory.kept;
    std::free(old);
}
void* openssl_allocate(std::size_t size, const char*, int) { return allocate(size); }
void* openssl_change(void* old, std::size_t size, const char*, int) {
    if (old == nullptr) return allocate(size);
    return fails() ? nullptr : std::realloc(old, size);
}
void openssl_release(void* old, const char*, int) { release(old); }

// Before OpenSSL allocates anything, which is before main.
const bool in_use = CRYPTO_set_mem_functions(openssl_allocate, openssl_change, openssl_release) == 1;

} // namespace

void* operator new(std::size_t size) {
    if (void* made = allocate(size)) return made;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* old) noexcept { release(old); }
void operator delete(void* old, const std::nothrow_t&) noexcept { release(old); }
void operator delete(void* old, std::size_t) noexcept { release(old); }

using namespace support;

namespace {

/// OpenSSL itself crashes without memory where it works with other elliptic curves, and in OSSL_STORE (seen on 3.0).
identity with_ed25519(const char* name, const identity* issuer) {
    return issue({.common_name = name, .ca = issuer == nullptr, .key = key_type::ed25519}, issuer);
}

/// short_of is memory that runs short as long as it lives.
struct short_of {
    short_of() { memory.armed = true; }
    short_of(const short_of&) = delete;
    short_of& operator=(const short_of&) = delete;
    ~short_of() { memory.armed = false; }
};

/// each_allocation has `once` run with each allocation failing in turn, and again where memory is left behind: that may
/// be a cache of OpenSSL's. `once` gives nullptr, or what went wrong.
void each_allocation(const char* what, const std::function<const char*()>& once,
                     std::initializer_list<std::size_t> runs = {1, SIZE_MAX}) {
    REQUIRE(in_use);
    memory.nth = SIZE_MAX;
    once();
    std::size_t failed = 0;
    std::size_t leaks = 0;
    const char* wrong = nullptr;
    std::size_t wrong_at = 0;
    for (const std::size_t run : runs) {
        memory.run = run;
        for (memory.nth = 1;; memory.nth += run == SIZE_MAX ? 7 : 1) {
            bool leaks_here = true;
            for (int round = 0; round < 2 && leaks_here; ++round) {
                const long kept = memory.kept;
                memory.count = 0;
                const char* result = once();
                ERR_clear_error();
                leaks_here = memory.kept > kept;
                if (result != nullptr && wrong == nullptr) {
                    wrong = result;
                    wrong_at = memory.nth;
                }
            }
            leaks += leaks_here ? 1 : 0;
            if (memory.count < memory.nth) break;
            ++failed;
        }
    }
    memory.nth = SIZE_MAX;
    CAPTURE(what, failed, wrong_at);
    CHECK(failed > 5);
    CHECK(leaks == 0);
    CHECK(std::string(wrong != nullptr ? wrong : "") == "");
}

/// attempt says whether a call went through, and that an error is of the kinds that may come.
template <class Call> bool attempt(Call&& call) {
    const short_of limit;
    try {
        call();
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    } catch (const reqauth::error&) {
        return false;
    }
}

/// shake_hands lets the client run short of memory, and gives the server, or none where memory had gone before.
owned<SSL> shake_hands(SSL& client, SSL_CTX& server_context) {
    BIO* near_end = nullptr;
    BIO* far_end = nullptr;
    if (BIO_new_bio_pair(&near_end, 0, &far_end, 0) != 1) return nullptr;
    owned<SSL> server(SSL_new(&server_context));
    SSL_set_bio(server.get(), near_end, near_end);
    SSL_set_accept_state(server.get());
    SSL_set_bio(&client, far_end, far_end);
    SSL_set_connect_state(&client);
    bool connected = false;
    for (int i = 0; i < 10; ++i) {
        if (!connected) {
            const short_of limit;
            const int result = SSL_do_handshake(&client);
            connected = result == 1;
            const int why = SSL_get_error(&client, result);
            if (!connected && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) break;
        }
        SSL_do_handshake(server.get());
    }
    if (connected) { // and the tickets
        const short_of limit;
        char octet;
        SSL_peek(&client, &octet, 1);
    }
    return server;
}

bool shows(const SSL* server, const identity& who) {
    X509* certificate = server != nullptr ? SSL_get0_peer_certificate(server) : nullptr;
    return certificate != nullptr && EVP_PKEY_eq(X509_get0_pubkey(certificate), who.key.get()) == 1;
}

/// shows_own_again says that an SSL shows its own, with its chain, after it was cleared and with memory enough.
bool shows_own_again(SSL& client, SSL_CTX& server, const identity& own) {
    const auto before = memory;
    memory.nth = SIZE_MAX;
    SSL_set_session(&client, nullptr); // a full handshake
    SSL_clear(&client);
    const auto to = shake_hands(client, server);
    memory.nth = before.nth;
    memory.count = before.count;
    const STACK_OF(X509)* got = to != nullptr ? SSL_get_peer_cert_chain(to.get()) : nullptr;
    return shows(to.get(), own) && sk_X509_num(got) == 1;
}

} // namespace

TEST_CASE("client / no memory: attach, replace, scope, resume -> an error or done, and nothing lost",
          "[handshake][attack]") {
    const auto server = attached_server(asking());
    const reqauth::credential first = credential_of(the_cast().agent);
    const reqauth::credential second = credential_of(the_cast().other_agent);
    each_allocation("attach", [&]() -> const char* {
        const auto client = client_context();
        SSL_CTX_set_info_callback(client.get(), [](const SSL*, int, int) {});
        std::optional<reqauth::client> crawler;
        if (!attempt([&] {
                reqauth::client_policy policy;
                policy.credential = first;
                crawler.emplace(std::move(policy));
            }))
            return nullptr;
        if (attempt([&] { crawler->attach(*client); })) return nullptr;
        crawler->attach(*client); // can be tried again, where memory is back
        return nullptr;
    });
    const auto context = client_context();
    present(*context, the_cast().customer);
    X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(context.get()), "server.example", 0);
    X509_VERIFY_PARAM_set1_ip_asc(SSL_CTX_get0_param(context.get()), "192.0.2.1");
    reqauth::client_policy policy;
    policy.credential = first;
    reqauth::client crawler(policy);
    crawler.attach(*context);
    const auto scope = reqauth::client::scope(*context);
    each_allocation("scope", [&]() -> const char* {
        const owned<SSL> ssl(SSL_new(context.get()));
        reqauth::client_scope found{};
        if (attempt([&] { found = reqauth::client::scope(*ssl); }) && found != scope) return "another scope";
        return SSL_get_certificate(ssl.get()) == the_cast().customer.certificate.get() ? nullptr : "certificate lost";
    });
    each_allocation("scope of an SSL_CTX with a new store", [&]() -> const char* {
        X509_STORE* const store = X509_STORE_new();
        X509_STORE_add_cert(store, the_cast().server_ca.certificate.get());
        SSL_CTX_set_cert_store(context.get(), store);
        reqauth::client_scope found{};
        return attempt([&] { found = reqauth::client::scope(*context); }) && found != scope ? "another scope" : nullptr;
    });
    each_allocation("replace", [&]() -> const char* {
        const bool done = attempt([&] { crawler.replace({second}); });
        if ((reqauth::client::scope(*context) != scope) != done) return "half replaced";
        if (done) crawler.replace({first});
        return reqauth::client::scope(*context) == scope ? nullptr : "not put back";
    });
}

TEST_CASE("client / no memory: loading a credential -> an error, or all of it", "[handshake][attack-control]") {
    const temporary_directory directory;
    const identity agent = with_ed25519("agent.example", &the_cast().agents_ca);
    const auto certificate =
        directory.write("agent.pem", pem(*agent.certificate) + pem(*the_cast().agents_ca.certificate));
    const auto key = directory.write("agent.key", pem(*agent.key));
    const auto context = client_context();
    reqauth::client_policy policy;
    policy.credential = reqauth::credential::from_files(certificate, key);
    reqauth::client crawler(policy);
    crawler.attach(*context);
    const auto scope = reqauth::client::scope(*context);
    each_allocation("from_files", [&]() -> const char* {
        std::optional<reqauth::credential> loaded;
        if (!attempt([&] { loaded = reqauth::credential::from_files(certificate, key); })) return nullptr;
        crawler.replace({*loaded});
        return reqauth::client::scope(*context) == scope ? nullptr : "a part of it";
    });
}

TEST_CASE("client / no memory: handshakes -> no certificate where it does not belong, and its own are there after it",
          "[handshake][attack][RCA-3][RCA-12]") {
    const identity ca = with_ed25519("CA", nullptr);
    const identity agent = with_ed25519("agent.example", &ca);
    auto about = agent_description("rsa.example");
    about.key = key_type::rsa;
    const identity own = issue(about, &ca);
    const auto with_server = [&](owned<SSL_CTX> context) {
        SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
        SSL_CTX_set1_groups_list(context.get(), "X25519");
        return context;
    };
    const identity server_identity = with_ed25519("server.example", &ca);
    const auto asks = with_server(server_context(server_identity));
    const auto acknowledges = with_server(server_context(server_identity));
    SSL_CTX_set_verify(acknowledges.get(), SSL_VERIFY_NONE, nullptr);
    reqauth::server_policy asking_agents;
    asking_agents.when_offered = reqauth::client_auth::request(trust_in(ca));
    attach(*acknowledges, asking_agents);
    const auto client = client_context();
    SSL_CTX_set1_groups_list(client.get(), "X25519");
    X509_STORE_add_cert(SSL_CTX_get_cert_store(client.get()), ca.certificate.get());
    reqauth::client_policy policy;
    policy.credential = credential_of(agent);
    reqauth::client(policy).attach(*client);
    present(*client, own);
    SSL_CTX_add1_chain_cert(client.get(), ca.certificate.get());
    present(*client, agent);
    REQUIRE([&] {
        const owned<SSL> ssl(SSL_new(client.get()));
        return shows(shake_hands(*ssl, *acknowledges).get(), agent) && shows_own_again(*ssl, *asks, own);
    }());
    for (const bool acknowledged : {false, true})
        each_allocation(acknowledged ? "acknowledged" : "unacknowledged", [&]() -> const char* {
            const owned<SSL> ssl(SSL_new(client.get()));
            const auto server = shake_hands(*ssl, acknowledged ? *acknowledges : *asks);
            if (acknowledged && shows(server.get(), own)) return "its own for the flag's";
            if (!acknowledged && shows(server.get(), agent)) return "the flag's without the flag";
            return shows_own_again(*ssl, *asks, own) ? nullptr : "its own is lost";
        });
}

TEST_CASE("client / no memory: the address that it checks -> no identity for a server that has not proven it",
          "[handshake][attack][SEC-9]") {
    const identity ca = with_ed25519("CA", nullptr);
    const identity agent = with_ed25519("agent.example", &ca);
    const auto server = server_context(with_ed25519("server.example", &ca));
    SSL_CTX_set1_groups_list(server.get(), "X25519");
    reqauth::server_policy asking_agents;
    asking_agents.when_offered = reqauth::client_auth::request(trust_in(ca));
    attach(*server, asking_agents);
    const owned<SSL_CTX> client(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set1_groups_list(client.get(), "X25519");
    SSL_CTX_set_cert_verify_callback( // an application that judges later
        client.get(),
        [](X509_STORE_CTX* verification, void*) {
            X509_STORE_CTX_set_error(verification, X509_V_OK);
            return 1;
        },
        nullptr);
    reqauth::client_policy policy;
    policy.credential = credential_of(agent);
    reqauth::client(policy).attach(*client);
    const auto comes = [&](bool checks) {
        owned<SSL> ssl(SSL_new(client.get()));
        SSL_set_tlsext_host_name(ssl.get(), "server.example"); // by which it would be proven
        if (checks) X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), "192.0.2.9");
        return ssl;
    };
    memory.nth = SIZE_MAX;
    REQUIRE(shows(shake_hands(*comes(false), *server).get(), agent));
    each_allocation("an address that is checked",
                    [&]() -> const char* {
                        const auto ssl = comes(true);
                        return shows(shake_hands(*ssl, *server).get(), agent) ? "shown to a server of another address"
                                                                              : nullptr;
                    },
                    {1, 2, 3, SIZE_MAX});
}
