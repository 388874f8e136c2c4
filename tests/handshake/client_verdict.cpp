// SPDX-License-Identifier: Apache-2.0
// Late refusal: what a client knows of the server's judgement, and when.

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"
#include "support/sockets.hpp"

#include <openssl/kdf.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <future>
#include <string>
#include <vector>

using namespace support;
using answer = reqauth::client_outcome::answer;
using verdict = reqauth::client_outcome::verdict;

namespace {

reqauth::client_outcome outcome(const pair& both) { return reqauth::client_outcome_of(*both.client.ssl); }

/// refusal is the alert by which throw_if_refused says no: "" where it does not.
std::string refusal(SSL& client, std::string* text = nullptr) {
    try {
        reqauth::throw_if_refused(client);
        return "";
    } catch (const reqauth::refused& no) {
        CHECK(no.code() == reqauth::errc::refused);
        if (text != nullptr) *text = no.what();
        return std::string(no.alert_name());
    }
}

std::string secret; ///< of the last server's application data

void note_secret(const SSL*, const char* line) {
    constexpr std::string_view label = "SERVER_TRAFFIC_SECRET_0 ";
    const std::string_view text(line);
    if (!text.starts_with(label)) return;
    long size = 0;
    unsigned char* octets = OPENSSL_hexstr2buf(line + text.rfind(' ') + 1, &size);
    secret.assign(reinterpret_cast<char*>(octets), static_cast<std::size_t>(size));
    OPENSSL_free(octets);
}

/// expanded is HKDF-Expand-Label of RFC 9846, section 7.1, over the secret, with SHA-256.
std::string expanded(const std::string& label, std::size_t size) {
    const std::string name = "tls13 " + label;
    std::string info = octets({0, static_cast<int>(size), static_cast<int>(name.size())}) + name + octets({0});
    std::string out(size, '\0');
    EVP_PKEY_CTX* hkdf = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr);
    EVP_PKEY_derive_init(hkdf);
    EVP_PKEY_CTX_set_hkdf_mode(hkdf, EVP_PKEY_HKDEF_MODE_EXPAND_ONLY);
    EVP_PKEY_CTX_set_hkdf_md(hkdf, EVP_sha256());
    EVP_PKEY_CTX_set1_hkdf_key(hkdf, reinterpret_cast<unsigned char*>(secret.data()), static_cast<int>(secret.size()));
    EVP_PKEY_CTX_add1_hkdf_info(hkdf, reinterpret_cast<unsigned char*>(info.data()), static_cast<int>(info.size()));
    CHECK(EVP_PKEY_derive(hkdf, reinterpret_cast<unsigned char*>(out.data()), &size) == 1);
    EVP_PKEY_CTX_free(hkdf);
    return out;
}

/// alert_record is a server's record with an alert, which OpenSSL would not send, as its first, second, ... under the secret.
std::string alert_record(int level, int number, int sequence) {
    std::string text = octets({level, number, 21});
    const std::string header = octets({23, 3, 3, 0, static_cast<int>(text.size()) + 16});
    const std::string key = expanded("key", 16);
    std::string iv = expanded("iv", 12);
    iv.back() = static_cast<char>(iv.back() ^ sequence);
    std::string tag(16, '\0');
    const auto* in = reinterpret_cast<const unsigned char*>(text.data());
    EVP_CIPHER_CTX* gcm = EVP_CIPHER_CTX_new();
    int size = 0;
    EVP_EncryptInit_ex(gcm, EVP_aes_128_gcm(), nullptr, reinterpret_cast<const unsigned char*>(key.data()),
                       reinterpret_cast<const unsigned char*>(iv.data()));
    EVP_EncryptUpdate(gcm, nullptr, &size, reinterpret_cast<const unsigned char*>(header.data()), 5);
    EVP_EncryptUpdate(gcm, reinterpret_cast<unsigned char*>(text.data()), &size, in, static_cast<int>(text.size()));
    EVP_EncryptFinal_ex(gcm, nullptr, &size);
    EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, 16, tag.data());
    EVP_CIPHER_CTX_free(gcm);
    return header + text + tag;
}

/// forward is a BIO of an application's own, as libcurl's: it hands on to a socket, and counts.
struct forward {
    int socket;
    int reads = 0;
    static BIO* over(forward* to) {
        static BIO_METHOD* const method = [] {
            BIO_METHOD* made = BIO_meth_new(BIO_TYPE_MEM, "an application's"); // so does libcurl
            BIO_meth_set_write(made, [](BIO* bio, const char* data, int size) {
                return static_cast<int>(
                    write(static_cast<forward*>(BIO_get_data(bio))->socket, data, static_cast<std::size_t>(size)));
            });
            BIO_meth_set_read(made, [](BIO* bio, char* into, int size) {
                auto& self = *static_cast<forward*>(BIO_get_data(bio));
                ++self.reads;
                return static_cast<int>(read(self.socket, into, static_cast<std::size_t>(size)));
            });
            BIO_meth_set_ctrl(made, [](BIO*, int what, long, void*) { return what == BIO_CTRL_FLUSH ? 1L : 0L; });
            return made;
        }();
        BIO* made = BIO_new(method);
        BIO_set_data(made, to);
        BIO_set_init(made, 1);
        return made;
    }
};

/// shaken is a client whose handshake has ended well over `between`. The server has the certificate, and has answered.
struct shaken {
    shaken(const sockets& between, SSL_CTX& client_context, SSL_CTX& server_context, BIO* own = nullptr)
        : client(SSL_new(&client_context)), server(SSL_new(&server_context)) {
        if (own != nullptr)
            SSL_set_bio(client.get(), own, own);
        else
            SSL_set_fd(client.get(), between.client);
        SSL_set_fd(server.get(), between.server);
        auto far = std::async(std::launch::async, [&] { return SSL_accept(server.get()); });
        CHECK(SSL_connect(client.get()) == 1);
        accepted = far.get() == 1;
    }
    owned<SSL> client;
    owned<SSL> server;
    bool accepted = false;
};

owned<SSL_CTX> without_names(const identity& ca) {
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(trust_in(ca));
    policy.ca_names = false;
    return attached_server(policy);
}

owned<SSL_CTX> sends_whatever(const identity& who) {
    reqauth::client_policy policy;
    policy.credential = credential_of(who);
    policy.when_unsatisfiable = reqauth::unsatisfiable::present;
    return attached_client(policy);
}

} // namespace

TEST_CASE("client / certificate sent, TLS 1.3 / before and after the server's ticket -> awaited, then accepted",
          "[handshake][cve][RCA-4]") {
    const auto server = attached_server(demanding());
    const auto client = attached_client();
    pair both(*server, *client);
    both.client.step();
    both.server.give(both.client.take());
    both.server.step();
    both.client.give(both.server.take());
    both.client.step();
    REQUIRE(both.client.done); // and the server has seen nothing of it
    CHECK(outcome(both).sent == answer::flag);
    CHECK(outcome(both).judged == verdict::awaited);
    REQUIRE(both.shake());
    CHECK(outcome(both).judged == verdict::ticket);
    CHECK(refusal(*both.client.ssl).empty());
}

TEST_CASE("TLS 1.3 late rejection / the client's handshake has ended well -> refused, by the alert's name, and not to "
          "be tried again",
          "[handshake][cve][RCA-4]") {
    struct row {
        const char* alert;
        owned<SSL_CTX> server;
        owned<SSL_CTX> client;
        answer sent;
    };
    const auto required = [](const reqauth::trust& agents) {
        reqauth::server_policy policy;
        policy.when_offered = reqauth::client_auth::require(agents);
        return attached_server(policy);
    };
    reqauth::client_policy nothing;
    nothing.offer = reqauth::offer::always;
    const std::string revoked = crl(the_cast().agents_ca, {.revoked = {the_cast().agent.certificate.get()}});
    std::vector<row> rows;
    rows.push_back({"certificate_required", required(agents()), attached_client(nothing), answer::empty});
    rows.push_back({"unknown_ca", required(agents()), sends_whatever(the_cast().customer), answer::flag});
    rows.push_back({"certificate_expired", required(agents()), sends_whatever(the_cast().expired_agent), answer::flag});
    rows.push_back({"certificate_revoked", required(agents().with_crls(revoked)), attached_client(), answer::flag});
    rows.push_back({"bad_certificate", required(agents().with_pins({pin_of(*the_cast().customer.key)})),
                    attached_client(), answer::flag});
    ROWS(each.alert, rows, const row& each) {
        CAPTURE(each.alert);
        pair both(*each.server, *each.client);
        CHECK_FALSE(both.shake());
        CHECK(both.client.done); // it believed so
        CHECK(outcome(both).sent == each.sent);
        CHECK(outcome(both).judged == verdict::refused);
        std::string text;
        CHECK(refusal(*both.client.ssl, &text) == each.alert);
        CHECK(text.find(each.alert) != std::string::npos);
        CHECK(text.find("do not try again") != std::string::npos);
    }
}

TEST_CASE("client / other ends of a connection -> no refusal", "[handshake]") {
    const auto server = attached_server(asking());
    const auto client = attached_client();
    {
        pair both(*server_context(), *client);
        REQUIRE(both.shake());
        CHECK(outcome(both).judged == verdict::none); // nobody asked
        CHECK(refusal(*both.client.ssl).empty());
    }
    {
        SSL_CTX_set_min_proto_version(server.get(), TLS1_3_VERSION);
        const auto old = attached_client();
        SSL_CTX_set_max_proto_version(old.get(), TLS1_2_VERSION);
        pair both(*server, *old);
        CHECK_FALSE(both.shake());
        CHECK(outcome(both).judged == verdict::none); // protocol_version came before any certificate
        CHECK(refusal(*both.client.ssl).empty());
    }
}

TEST_CASE("client / observe -> told of the end of the handshake, of the ticket, and of a late alert",
          "[handshake][SEC-3]") {
    std::vector<reqauth::client_outcome> told;
    auto policy = agent_policy();
    policy.observe = [&told](const SSL&, const reqauth::client_outcome& outcome) {
        told.push_back(outcome);
        throw std::runtime_error("dropped");
    };
    const auto client = attached_client(policy);
    {
        const auto server = attached_server(asking());
        pair both(*server, *client);
        REQUIRE(both.shake());
        REQUIRE(told.size() >= 2);
        CHECK(told.front().acknowledged);
        CHECK(told.front().judged == verdict::awaited);
        CHECK(told.back().judged == verdict::ticket);
    }
    told.clear();
    {
        reqauth::server_policy customers;
        customers.when_offered = reqauth::client_auth::require(trust_in(the_cast().customers_ca));
        customers.ca_names = false;
        const auto server = attached_server(customers);
        pair both(*server, *client);
        CHECK_FALSE(both.shake());
        REQUIRE(told.size() == 2);
        CHECK(told.front().judged == verdict::awaited);
        CHECK(told.back().judged == verdict::refused);
        CHECK(told.back().alert_received == SSL_AD_UNKNOWN_CA);
    }
}

TEST_CASE(
    "client / last_outcome_of / a refusal that the server's reset came right after, and a write that failed -> found",
    "[handshake][RCA-4]") {
    const auto refusing = without_names(the_cast().customers_ca);
    const auto client = attached_client();
    ROWS(each, (std::vector<std::string>{"on its socket", "of its own", "of its own, the socket given"}),
         const std::string& each) {
        sockets between;
        forward own{between.client};
        shaken both(between, *client, *refusing, each == "on its socket" ? nullptr : forward::over(&own));
        CHECK_FALSE(both.accepted);
        between.reset();
        std::array<char, 1> octet{};
        for (int i = 0; i < 3 && SSL_write(both.client.get(), "ask", 3) > 0; ++i) {}
        const int reads = own.reads;
        errno = EXDEV;
        const auto outcome =
            reqauth::last_outcome_of(*both.client, each == "of its own, the socket given" ? between.client : -1);
        CHECK(errno == EXDEV);
        CHECK(own.reads == reads); // that might have waited
        if (each == "of its own") {
            CHECK(outcome.judged == verdict::awaited);
            CHECK(SSL_read(both.client.get(), octet.data(), 1) <= 0); // libcurl may read on
            CHECK(refusal(*both.client) == "unknown_ca");
        } else {
            CHECK(outcome.judged == verdict::refused);
            CHECK(outcome.alert_received == SSL_AD_UNKNOWN_CA);
            CHECK(refusal(*both.client) == "unknown_ca");
        }
        CHECK((fcntl(between.client, F_GETFL) & O_NONBLOCK) == 0);
    }
}

TEST_CASE("client / last_outcome_of / nothing has come -> as before, without waiting, and the connection goes on",
          "[handshake][SEC-3]") {
    const auto server = attached_server(asking());
    const auto client = attached_client();
    const sockets between;
    forward own{between.client};
    const bool of_its_own = GENERATE(false, true);
    shaken both(between, *client, *server, of_its_own ? forward::over(&own) : nullptr);
    REQUIRE(both.accepted);
    // Two tickets have come. From a socket that is open the application itself reads.
    CHECK(reqauth::last_outcome_of(*both.client, between.client).judged ==
          (of_its_own ? verdict::awaited : verdict::ticket));
    for (const char* each : {"one", "two"}) {
        SSL_write(both.server.get(), each, 3);
        CHECK(reqauth::last_outcome_of(*both.client, between.client).judged != verdict::refused);
        std::array<char, 9> page{};
        CHECK(SSL_read(both.client.get(), page.data(), page.size()) == 3);
        CHECK(std::string(page.data()) == each);
    }
}

TEST_CASE("client / last_outcome_of / refused before all of a long chain was out -> found", "[handshake][RCA-4]") {
    std::promise<void> gone;
    const auto server = without_names(the_cast().agents_ca);
    SSL_CTX_set_max_cert_list(server.get(), 1000);
    owned<SSL_CTX> context(client_context());
    static std::future<void>* waited_for = nullptr;
    auto server_gone = gone.get_future();
    waited_for = &server_gone;
    SSL_CTX_set_info_callback(context.get(), [](const SSL* ssl, int event, int) {
        if (event == SSL_CB_CONNECT_LOOP && SSL_get_state(ssl) == TLS_ST_CW_CERT_VRFY) waited_for->wait();
    });
    auto policy = agent_policy();
    const std::vector<X509*> long_chain(40, the_cast().agents_ca.certificate.get());
    policy.credential = credential_of(the_cast().agent, long_chain);
    reqauth::client(policy).attach(*context);
    sockets between;
    const owned<SSL> ours(SSL_new(context.get()));
    const owned<SSL> theirs(SSL_new(server.get()));
    SSL_set_fd(ours.get(), between.client);
    SSL_set_fd(theirs.get(), between.server);
    auto far = std::async(std::launch::async, [&] {
        CHECK(SSL_accept(theirs.get()) != 1);
        between.reset();
        gone.set_value();
    });
    CHECK(SSL_connect(ours.get()) != 1);
    far.get();
    CHECK(reqauth::client_outcome_of(*ours).judged != verdict::refused);
    CHECK(reqauth::last_outcome_of(*ours).alert_received == SSL_AD_ILLEGAL_PARAMETER);
    CHECK(SSL_get_wbio(ours.get()) == SSL_get_rbio(ours.get())); // as it was
}

TEST_CASE("client / any alert that ends the connection after its Certificate -> refused; not after application data",
          "[handshake][RCA-4]") {
    const auto server = attached_server(asking());
    SSL_CTX_set_num_tickets(server.get(), 0);
    SSL_CTX_set_ciphersuites(server.get(), "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_keylog_callback(server.get(), note_secret);
    const auto client = attached_client();
    for (int number = 0; number < 256; ++number)
        for (const int level : {SSL3_AL_WARNING, SSL3_AL_FATAL})
            for (const bool data : {false, true}) {
                if (data && number % 10 != 7) continue; // these are enough
                CAPTURE(number, level, data);
                pair both(*server, *client);
                REQUIRE(both.shake());
                if (data) SSL_write(both.server.ssl.get(), "x", 1);
                both.client.give(both.server.take() + alert_record(level, number, data ? 1 : 0));
                both.client.step();
                const bool ends = number != SSL_AD_CLOSE_NOTIFY && number != SSL_AD_USER_CANCELLED;
                REQUIRE(outcome(both).alert_received.has_value() == ends);
                if (ends) REQUIRE(outcome(both).alert_received == number);
                REQUIRE(outcome(both).judged == (ends && !data ? verdict::refused : verdict::awaited));
                REQUIRE(refusal(*both.client.ssl) == (ends && !data ? reqauth::alert_name(number) : ""));
            }
}

TEST_CASE("client / request that cannot be met -> what of it, and both sides' names", "[handshake][RCA-5][RCA-6]") {
    using reqauth::unmet;
    const identity root = issue({.common_name = "Root", .ca = true});
    const identity intermediate = issue({.common_name = "Intermediate", .ca = true}, &root);
    const identity agent = issue(agent_description("deep.example"), &intermediate);
    const identity rsa =
        issue({.common_name = "rsa.example", .extended_key_usage = "clientAuth", .key = key_type::rsa}, &root);
    struct row {
        const char* name;
        std::vector<reqauth::credential> ours;
        unmet as;
        std::vector<const char*> words;
        std::vector<std::string> issuers = {};
    };
    const std::vector<row> rows = {
        {"no intermediate",
         {credential_of(agent)},
         unmet::authorities,
         {"CN=Root", "CN=Intermediate", "intermediate"},
         {"CN=Intermediate"}},
        {"the intermediate",
         {credential_of(agent, std::vector<X509*>{intermediate.certificate.get()})},
         unmet::nothing,
         {}},
        {"another CA",
         {credential_of(the_cast().agent)},
         unmet::authorities,
         {"CN=Root", "CN=Agents CA"},
         {"CN=Agents CA"}},
        {"two of other CAs",
         {credential_of(the_cast().agent), credential_of(the_cast().customer)},
         unmet::authorities,
         {"CN=Agents CA; CN=Customers CA"},
         {"CN=Agents CA", "CN=Customers CA"}},
        {"another key", {credential_of(rsa)}, unmet::algorithms, {"signature algorithms", "another kind of key"}},
        {"another CA, another key", {credential_of(the_cast().agent), credential_of(rsa)}, unmet::algorithms, {}},
        {"none", {}, unmet::no_credential, {"no credential"}},
    };
    reqauth::server_policy policy;
    policy.when_offered = reqauth::client_auth::request(trust_in(root));
    const auto server = attached_server(policy);
    SSL_CTX_set1_client_sigalgs_list(server.get(), "ECDSA+SHA256");
    for (const auto& what : {reqauth::unsatisfiable::empty, reqauth::unsatisfiable::close})
        ROWS(std::string(each.name) + ", " + std::string(to_string(what)), rows, const row& each) {
            reqauth::client_policy ours;
            ours.further_credentials = each.ours;
            ours.offer = reqauth::offer::always;
            ours.when_unsatisfiable = what;
            const auto client = attached_client(ours);
            pair both(*server, *client);
            const bool closes =
                what == reqauth::unsatisfiable::close && each.as != unmet::nothing && !each.ours.empty();
            CHECK(both.shake() == !closes);
            CHECK(outcome(both).acknowledged);
            CHECK(outcome(both).unmet == each.as);
            CHECK(outcome(both).sent == (closes                      ? answer::none
                                         : each.as == unmet::nothing ? answer::flag
                                                                     : answer::empty));
            CHECK(outcome(both).judged == (closes                      ? verdict::none
                                           : each.as == unmet::nothing ? verdict::ticket
                                                                       : verdict::awaited));
            const reqauth::explanation why = reqauth::explain(*both.client.ssl);
            CAPTURE(why.cause, why.remedy);
            CHECK(why.cause.empty() == (each.as == unmet::nothing));
            for (const char* word : each.words) CHECK((why.cause + why.remedy).find(word) != std::string::npos);
            CHECK(why.authorities == std::vector<std::string>{"CN=Root"}); // they stay where the handshake has failed
            CHECK(why.issuers == each.issuers);
        }
}

TEST_CASE("client / explain -> why the flag was not offered, or the certificate refused", "[handshake][RCA-6]") {
    const auto server = attached_server(demanding());
    struct row {
        const char* name;
        std::function<void(reqauth::client_policy&)> change;
        const char* words;
    };
    const std::vector<row> rows = {
        {"never", [](reqauth::client_policy& policy) { policy.offer = reqauth::offer::never; },
         "not offered: the policy"},
        {"no credential", [](reqauth::client_policy& policy) { policy.credential.reset(); },
         "not offered: there is no"},
        {"refused",
         [](reqauth::client_policy& policy) {
             policy.credential = credential_of(the_cast().customer);
             policy.when_unsatisfiable = reqauth::unsatisfiable::present;
         },
         "refused the certificate: unknown_ca"},
        {"refused, empty",
         [](reqauth::client_policy& policy) { policy.credential = credential_of(the_cast().customer); },
         "ours is of CN=Customers CA; the server refused: certificate_required"},
        {"all is well", [](reqauth::client_policy&) {}, ""},
    };
    ROWS(each.name, rows, const row& each) {
        auto policy = agent_policy();
        each.change(policy);
        const auto client = attached_client(policy);
        pair both(*server, *client);
        both.shake();
        const std::string cause = reqauth::explain(*both.client.ssl).cause;
        CAPTURE(cause);
        CHECK(cause.empty() == std::string_view(each.words).empty());
        CHECK(cause.find(each.words) != std::string::npos);
    }
    const owned<SSL> strange(SSL_new(server_context().get()));
    CHECK(reqauth::explain(*strange).authorities.empty());
}
