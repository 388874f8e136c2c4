// SPDX-License-Identifier: Apache-2.0
// Late refusal: what a client knows of the server's judgement, and when.

#include "catch.hpp"
#include "support/contexts.hpp"
#include "support/sessions.hpp"

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

/// sockets are two that are connected, by TCP.
struct sockets {
    sockets() {
        const int listening = socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        REQUIRE(bind(listening, reinterpret_cast<sockaddr*>(&address), size) == 0);
        REQUIRE(listen(listening, 1) == 0);
        REQUIRE(getsockname(listening, reinterpret_cast<sockaddr*>(&address), &size) == 0);
        client = socket(AF_INET, SOCK_STREAM, 0);
        REQUIRE(connect(client, reinterpret_cast<sockaddr*>(&address), size) == 0);
        server = accept(listening, nullptr, nullptr);
        close(listening);
    }
    sockets(const sockets&) = delete;
    sockets& operator=(const sockets&) = delete;
    ~sockets() {
        close(client);
        if (server >= 0) close(server);
    }
    void reset() {
        const linger at_once{1, 0};
        setsockopt(server, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(std::exchange(server, -1));
    }
    int client = -1;
    int server = -1;
};

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
    CHECK(outcome(both).judged == verdict::accepted);
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
        CHECK(outcome(both).judged != verdict::refused); // protocol_version is not about a certificate
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
        CHECK(told.back().judged == verdict::accepted);
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
          (of_its_own ? verdict::awaited : verdict::accepted));
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
