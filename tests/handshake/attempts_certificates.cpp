// SPDX-License-Identifier: Apache-2.0
// Attempts to break the promises of trust.hpp, peer.hpp and error.hpp with certificates, CRLs and files that nobody
// expects. docs/attacks.md has each with its result.

#include "catch.hpp"
#include "support/bad_peer.hpp"
#include "support/contexts.hpp"

#include <reqauth/http.hpp>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <functional>

using namespace support;
using reqauth::errc;
using reqauth::trust;

namespace {

using change = std::function<void(X509&)>;

/// remade is a certificate that was changed and signed again.
identity remade(identity made, const identity& issuer, const change& what) {
    what(*made.certificate);
    REQUIRE(X509_sign(made.certificate.get(), issuer.key.get(), EVP_sha256()) > 0);
    return made;
}

identity agent_with(const change& what, const identity& issuer = the_cast().agents_ca) {
    return remade(issue(agent_description("odd.example"), &issuer), issuer, what);
}

change adding(int nid, const std::string& value) {
    return [=](X509& certificate) {
        X509V3_CTX context;
        X509V3_set_ctx_nodb(&context);
        X509V3_set_ctx(&context, &certificate, &certificate, nullptr, nullptr, 0);
        const owned<X509_EXTENSION> extension(X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
        REQUIRE(extension != nullptr);
        REQUIRE(X509_add_ext(&certificate, extension.get(), -1) == 1);
    };
}

change adding_octets(const char* oid, bool critical, const std::string& octets) {
    return [=](X509& certificate) {
        ASN1_OCTET_STRING* body = ASN1_OCTET_STRING_new();
        ASN1_OCTET_STRING_set(body, reinterpret_cast<const unsigned char*>(octets.data()),
                              static_cast<int>(octets.size()));
        ASN1_OBJECT* type = OBJ_txt2obj(oid, 1);
        const owned<X509_EXTENSION> extension(X509_EXTENSION_create_by_OBJ(nullptr, type, critical ? 1 : 0, body));
        ASN1_OBJECT_free(type);
        ASN1_OCTET_STRING_free(body);
        REQUIRE(X509_add_ext(&certificate, extension.get(), -1) == 1);
    };
}

change without(int nid) {
    return [=](X509& certificate) {
        const owned<X509_EXTENSION> gone(X509_delete_ext(&certificate, X509_get_ext_by_NID(&certificate, nid, -1)));
        REQUIRE(gone != nullptr);
    };
}

change in_turn(std::vector<change> all) {
    return [=](X509& certificate) {
        for (const change& one : all) one(certificate);
    };
}

change with_subject(int type, const std::string& octets) {
    return [=](X509& certificate) {
        const std::unique_ptr<X509_NAME, decltype(&X509_NAME_free)> name(X509_NAME_new(), &X509_NAME_free);
        ASN1_STRING* value = ASN1_STRING_type_new(type);
        ASN1_STRING_set(value, octets.data(), static_cast<int>(octets.size()));
        X509_NAME_ENTRY* entry = X509_NAME_ENTRY_new();
        X509_NAME_ENTRY_set_object(entry, OBJ_nid2obj(NID_commonName));
        // Not X509_NAME_ENTRY_set_data, which looks at what it is given.
        X509_NAME_ENTRY_set_data(entry, V_ASN1_UTF8STRING, reinterpret_cast<const unsigned char*>("x"), 1);
        ASN1_STRING_copy(X509_NAME_ENTRY_get_data(entry), value);
        X509_NAME_add_entry(name.get(), entry, -1, 0);
        X509_NAME_ENTRY_free(entry);
        ASN1_STRING_free(value);
        X509_set_subject_name(&certificate, name.get());
    };
}

change with_serial(const std::string& hex) {
    return [=](X509& certificate) {
        BIGNUM* number = nullptr;
        BN_hex2bn(&number, hex.c_str());
        BN_to_ASN1_INTEGER(number, X509_get_serialNumber(&certificate));
        BN_free(number);
    };
}

change with_end(const char* time) {
    return [=](X509& certificate) { ASN1_TIME_set_string(X509_getm_notAfter(&certificate), time); };
}

reqauth::server_policy under(const trust& agents) {
    auto policy = asking();
    policy.when_offered = reqauth::client_auth::request(agents);
    return policy;
}

/// met is what became of a client: peer_of in words, and the peer itself.
struct met {
    std::string as;
    std::optional<reqauth::flagged_peer> peer;
};

met meet(const trust& agents, const identity& who, const std::vector<const identity*>& chain = {}) {
    const auto server = attached_server(under(agents));
    bad_peer client = flagged_client(who);
    for (const identity* one : chain) SSL_CTX_add1_chain_cert(client.context.get(), one->certificate.get());
    pair both(*server, *client.context);
    const bool good = both.shake();
    met found;
    found.as =
        good ? seen(both) : "refused " + std::to_string(reqauth::server_outcome_of(*both.server.ssl).verify_error);
    const reqauth::peer peer = reqauth::peer_of(*both.server.ssl);
    if (const auto* agent = std::get_if<reqauth::flagged_peer>(&peer)) found.peer = *agent;
    CHECK(ERR_peek_error() == 0);
    return found;
}

std::string crl_with_reason(const identity& issuer, const X509& revoked, long reason) {
    const std::string plain = crl(issuer, {.revoked = {&revoked}});
    const owned<BIO> in(BIO_new_mem_buf(plain.data(), static_cast<int>(plain.size())));
    const std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list(
        PEM_read_bio_X509_CRL(in.get(), nullptr, nullptr, nullptr), &X509_CRL_free);
    const std::unique_ptr<ASN1_ENUMERATED, decltype(&ASN1_ENUMERATED_free)> code(ASN1_ENUMERATED_new(),
                                                                                 &ASN1_ENUMERATED_free);
    ASN1_ENUMERATED_set(code.get(), reason);
    X509_REVOKED_add1_ext_i2d(sk_X509_REVOKED_value(X509_CRL_get_REVOKED(list.get()), 0), NID_crl_reason, code.get(), 0,
                              0);
    REQUIRE(X509_CRL_sign(list.get(), issuer.key.get(), EVP_sha256()) > 0);
    const owned<BIO> out(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509_CRL(out.get(), list.get());
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(size)};
}

std::string in_two_octets(const std::string& text) {
    std::string made;
    for (const char c : text) made += {c, '\0'};
    return made;
}

std::string with_lines_changed(std::string pem, const std::string& from, const std::string& to) {
    for (auto at = pem.find(from); at != pem.npos; at = pem.find(from, at + to.size()))
        pem.replace(at, from.size(), to);
    return pem;
}

} // namespace

TEST_CASE("server / certificates that an agent makes, or that nobody expects -> refused, or the leaf's own identity",
          "[handshake][attempt][SEC-1][SEC-3]") {
    const auto& who = the_cast();
    const identity pathlen =
        remade(issue({.common_name = "Agents CA 0", .ca = true}, &who.agents_ca), who.agents_ca,
               in_turn({without(NID_basic_constraints), adding(NID_basic_constraints, "critical,CA:TRUE,pathlen:0")}));
    const identity below = issue({.common_name = "Agents CA 00", .ca = true}, &pathlen);
    const identity deep = issue(agent_description("deep.example"), &below);
    struct row {
        const char* what;
        identity client;
        std::vector<const identity*> chain;
        std::string as;
    };
    std::vector<row> rows;
    const auto add = [&](const char* what, identity client, std::string as, std::vector<const identity*> chain = {}) {
        rows.push_back({what, std::move(client), std::move(chain), std::move(as)});
    };
    add("control", issue(agent_description("odd.example"), &who.agents_ca), "flagged CN=odd.example");
    // RFC 3820: proxyCertInfo with the policy "inherit all", under the agent's own name.
    add("a proxy certificate of an agent's",
        remade(issue({.common_name = "p"}, &who.agent), who.agent,
               [&](X509& c) {
                   const std::unique_ptr<X509_NAME, decltype(&X509_NAME_free)> name(
                       X509_NAME_dup(X509_get_subject_name(who.agent.certificate.get())), &X509_NAME_free);
                   X509_NAME_add_entry_by_txt(name.get(), "CN", MBSTRING_ASC,
                                              reinterpret_cast<const unsigned char*>("p"), 1, -1, 0);
                   X509_set_subject_name(&c, name.get());
                   adding_octets("1.3.6.1.5.5.7.1.14", true,
                                 "\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x15\x01")(c);
               }),
        "refused", {&who.agent});
    add("issued by an agent", issue(agent_description("second.example"), &who.agent), "refused", {&who.agent});
    add("a CA's own certificate", issue({.common_name = "sub.example", .ca = true}, &who.agents_ca), "refused");
    add("more CAs than pathlen", issue(agent_description("deep.example"), &below), "refused", {&below, &pathlen});
    add("a critical extension that nobody knows", agent_with(adding_octets("1.3.6.1.4.1.99999.1", true, "\x05\x00")),
        "refused");
    add("the same, not critical", agent_with(adding_octets("1.3.6.1.4.1.99999.1", false, "no DER")),
        "flagged CN=odd.example");
    add("two subjectAltNames", agent_with(adding(NID_subject_alt_name, "DNS:victim.example")), "refused");
    add("a subjectAltName that is no DER",
        agent_with(in_turn({without(NID_subject_alt_name), adding_octets("2.5.29.17", false, "\x30\x7f no")})),
        "refused");
    add("an extended key usage that is no DER",
        agent_with(in_turn({without(NID_ext_key_usage), adding_octets("2.5.29.37", false, "\x30\x7f no")})), "refused");
    add("any extended key usage only",
        agent_with(in_turn({without(NID_ext_key_usage), adding(NID_ext_key_usage, "anyExtendedKeyUsage")})), "refused");
    add("an empty subject", agent_with([](X509& c) {
            const std::unique_ptr<X509_NAME, decltype(&X509_NAME_free)> none(X509_NAME_new(), &X509_NAME_free);
            X509_set_subject_name(&c, none.get());
        }),
        "flagged ");
    ROWS(one.what, rows, const row& one) {
        CAPTURE(one.what);
        const met found = meet(agents(), one.client, one.chain);
        CHECK(found.as.substr(0, one.as.size()) == one.as);
        if (found.peer) CHECK(pem(found.peer->certificate()) == pem(*one.client.certificate));
    }
}

TEST_CASE("server / flagged_peer of odd values in a certificate -> whole, printable, no two alike",
          "[handshake][attempt][SEC-1][SEC-3]") {
    using namespace std::string_literals;
    const auto printable = [](const std::string& text) {
        return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
    };
    for (const auto& [type, octets] :
         std::vector<std::pair<int, std::string>>{{V_ASN1_BMPSTRING, "\0a\0d\0m\0i\0n"s},
                                                  {V_ASN1_BMPSTRING, "\0a\0"s},
                                                  {V_ASN1_UNIVERSALSTRING, "\0\0\0a\0"s},
                                                  {V_ASN1_UTF8STRING, "\xff\xfe"s},
                                                  {V_ASN1_UTF8STRING, "a\xc0\xafz"s},
                                                  {V_ASN1_T61STRING, "a\x1b[2Jb"s},
                                                  {V_ASN1_PRINTABLESTRING, "a\r\nSet-Cookie: b"s},
                                                  {V_ASN1_BIT_STRING, "abc"s},
                                                  {V_ASN1_OCTET_STRING, "a\0b"s},
                                                  {V_ASN1_UTF8STRING, std::string(20000, 'n')},
                                                  {V_ASN1_UTF8STRING, ""s}}) {
        CAPTURE(type, octets.size());
        const identity client = agent_with(with_subject(type, octets));
        const met found = meet(agents(), client);
        CHECK((found.as.starts_with("flagged") || found.as.starts_with("refused") || found.as == "not_witnessed"));
        if (found.peer) CHECK((printable(found.peer->subject()) && printable(found.peer->issuer())));
    }

    for (const auto& [hex, text] :
         std::vector<std::pair<std::string, std::string>>{{"0", "00"},
                                                          {"1", "01"},
                                                          {"A3F", "0A3F"},
                                                          {"80", "80"},
                                                          {"-1", "-01"},
                                                          {"-80", "-80"},
                                                          {std::string(80, 'F'), std::string(80, 'F')}}) {
        CAPTURE(hex);
        const met found = meet(agents(), agent_with(with_serial(hex)));
        REQUIRE(found.peer.has_value());
        CHECK(found.peer->serial() == text);
    }

    for (const char* end : {"99991231235959Z", "22621231235959Z", "20501231235959Z"}) {
        CAPTURE(end);
        const met found = meet(agents(), agent_with(with_end(end)));
        REQUIRE(found.peer.has_value());
        CHECK(found.peer->not_after() > std::chrono::system_clock::now() + std::chrono::hours(24 * 365));
    }

    // Registered identifiers that differ after 128 characters of text.
    std::vector<std::string> values;
    for (const char* last : {"1", "2"}) {
        std::string oid = "RID:1.3";
        for (int i = 0; i < 20; ++i) oid += ".1234567890";
        const met found =
            meet(agents(),
                 agent_with(in_turn({without(NID_subject_alt_name), adding(NID_subject_alt_name, oid + "." + last)})));
        REQUIRE(found.peer.has_value());
        REQUIRE(found.peer->alt_names().size() == 1);
        values.push_back(found.peer->alt_names()[0].value);
    }
    CHECK(values[0] != values[1]);

    auto many = agent_description("many.example");
    for (int i = 0; i < 1500; ++i) many.alt_names.push_back({GEN_DNS, "n" + std::to_string(i) + ".example"});
    const met found = meet(agents(), issue(many, &the_cast().agents_ca));
    REQUIRE(found.peer.has_value());
    CHECK(found.peer->alt_names().size() == 1501);
    CHECK(found.peer->alt_names().back().value == "n1499.example");
}

TEST_CASE("server / flagged_peer / SSL, SSL_CTX, server, policy and trust are gone -> whole all the same",
          "[handshake][attempt][SEC-3]") {
    std::optional<reqauth::flagged_peer> kept;
    {
        auto server = attached_server(asking());
        auto client = attached_client();
        auto both = std::make_unique<pair>(*server, *client);
        server.reset();
        client.reset();
        REQUIRE(both->shake());
        const reqauth::peer peer = reqauth::peer_of(*both->server.ssl);
        kept = std::get<reqauth::flagged_peer>(peer);
        SSL_clear(both->server.ssl.get());
    }
    CHECK(kept->subject() == "CN=crawler.example");
    REQUIRE(kept->chain().size() == 2);
    CHECK(X509_cmp(kept->chain()[1], the_cast().agents_ca.certificate.get()) == 0);
    CHECK(std::holds_alternative<reqauth::client_cert_fields>(reqauth::client_cert_of_agent(*kept)));
}

TEST_CASE("server / CRLs and pins / what could take them off -> refused", "[handshake][attempt][SEC-1]") {
    const auto& who = the_cast();
    CHECK(failure_of([&] { // OpenSSL takes it for none
              (void)agents().with_crls(crl_with_reason(who.agents_ca, *who.agent.certificate, 8));
          }) == errc::crl_unusable);
    for (const long reason : {1, 2, 3, 4, 5, 6, 9, 10}) {
        CAPTURE(reason);
        const auto revoking = agents().with_crls(crl_with_reason(who.agents_ca, *who.agent.certificate, reason));
        CHECK(meet(revoking, who.agent).as == "refused 23");
        CHECK(meet(revoking, who.other_agent).as == "flagged CN=other.example");
    }
    const identity sub = issue({.common_name = "Agents CA 2", .ca = true}, &who.agents_ca);
    const identity deep = issue(agent_description("deep.example"), &sub);
    const identity namesake = issue({.common_name = "Agents CA 2", .ca = true});
    const auto both = agents().with_crls(crl(who.agents_ca) + crl(sub));
    CHECK(meet(both, deep, {&sub}).as == "flagged CN=deep.example");
    // A forged, newer and empty CRL in the name of a CA that is no anchor cannot be told at load.
    const auto forged = agents().with_crls(crl(who.agents_ca) + crl(sub, {.revoked = {deep.certificate.get()}}) +
                                           crl(namesake, {.this_update = -60, .next_update = 48L * 3600}));
    CHECK(meet(forged, deep, {&sub}).as.starts_with("refused"));

    // A pinned key that is sent, and is not in the chain.
    const auto pinned = agents().with_pins({pin_of(*sub.key)});
    CHECK(meet(pinned, deep, {&sub}).as == "flagged CN=deep.example");
    CHECK(meet(pinned, who.agent, {&sub}).as == "refused 28");
    CHECK(meet(pinned, who.agent, {&sub, &deep}).as == "refused 28");
}

TEST_CASE("trust / settings at their ends -> as they say", "[handshake][attempt][SEC-1][SEC-3]") {
    using clock = std::chrono::system_clock;
    const auto& agent = the_cast().agent;
    CHECK(meet(agents().with_time(clock::time_point::max()), agent).as == "refused 10");
    CHECK(meet(agents().with_time(clock::time_point::min()), agent).as == "refused 9");
    CHECK(meet(agents().with_depth(0), agent).as == "flagged CN=crawler.example");
    CHECK(meet(agents().with_depth(65535), agent).as == "flagged CN=crawler.example");
    CHECK(meet(agents().with_pins(std::vector<reqauth::spki_pin>(2000, pin_of(*agent.key))), agent).as ==
          "flagged CN=crawler.example");

    // What trust is made of stays what it is, whatever becomes of the objects that it came from.
    const owned<X509_STORE> store(X509_STORE_new());
    X509_STORE_add_cert(store.get(), the_cast().agents_ca.certificate.get());
    const auto copy = trust::from_store(*store);
    X509_STORE_add_cert(store.get(), the_cast().customers_ca.certificate.get());
    X509_STORE_set_flags(store.get(), X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN);
    X509_STORE_set_verify_cb(store.get(), [](int, X509_STORE_CTX*) { return 1; });
    CHECK(meet(copy, the_cast().customer).as.starts_with("refused"));
    CHECK(meet(copy, the_cast().expired_agent).as == "refused 10");
    CHECK(meet(copy, agent).as == "flagged CN=crawler.example");
    CHECK(copy.digest() == agents().digest());
    for (X509_VERIFY_PARAM* all = X509_STORE_get0_param(store.get());
         const unsigned long flag : std::initializer_list<unsigned long>{
             X509_V_FLAG_NO_CHECK_TIME, X509_V_FLAG_IGNORE_CRITICAL, X509_V_FLAG_ALLOW_PROXY_CERTS,
             X509_V_FLAG_USE_DELTAS, X509_V_FLAG_POLICY_CHECK, X509_V_FLAG_X509_STRICT, X509_V_FLAG_SUITEB_128_LOS}) {
        CAPTURE(flag);
        X509_VERIFY_PARAM_clear_flags(all, ~0UL);
        X509_VERIFY_PARAM_set_flags(all, flag);
        CHECK(failure_of([&] { (void)trust::from_store(*store); }) == errc::contradiction);
    }

    // The same trust, put together in other orders.
    const auto crl_a = crl(the_cast().agents_ca);
    const auto pin_a = pin_of(*agent.key);
    const auto pin_b = pin_of(*the_cast().other_agent.key);
    const auto one = agents().with_crls(crl_a).with_pins({pin_a, pin_b}).with_depth(3).with_partial_chains();
    const auto other = agents()
                           .with_partial_chains()
                           .with_depth(9)
                           .with_pins({pin_b})
                           .with_depth(3)
                           .with_pins({pin_a, pin_b})
                           .with_crls(crl_a + crl_a);
    CHECK(one.digest() == other.digest());
    CHECK(one.digest() != one.with_purpose(reqauth::purpose::any).digest());
}

TEST_CASE("trust / files and texts that are damaged so that a block could get lost -> an error, in one line",
          "[handshake][attempt][SEC-2]") {
    using namespace std::string_literals;
    const std::string a = pem(*the_cast().agents_ca.certificate);
    const std::string b = pem(*the_cast().customers_ca.certificate);
    const struct {
        const char* what;
        std::string text;
    } rows[] = {
        {"a tab in the lines of the second", a + with_lines_changed(b, " CERTIFICATE", "\tCERTIFICATE")},
        {"two blanks in the lines of the second", a + with_lines_changed(b, " CERTIFICATE", "  CERTIFICATE")},
        {"a blank that does not break", a + with_lines_changed(b, " CERTIFICATE",
                                                               "\xc2\xa0"
                                                               "CERTIFICATE")},
        {"dashes of a word processor", a + with_lines_changed(b, "-----", "\xe2\x80\x93\xe2\x80\x93")},
        {"small letters",
         a + with_lines_changed(with_lines_changed(b, "BEGIN CERT", "begin cert"), "END CERT", "end cert")},
        {"two octets a character", a + in_two_octets(b)},
        {"a NUL before the second", a + "\0"s + b},
        {"a NUL in the second's first line", a + with_lines_changed(b, "BEGIN", "BE\0GIN"s)},
        {"a byte order mark before the second", a + "\xef\xbb\xbf" + b},
        {"all in one line", with_lines_changed(a + b, "\n", "")},
        {"lines of an old Mac", with_lines_changed(a + b, "\n", "\r")},
        {"cut short", (a + b).substr(0, a.size() + b.size() / 2)},
        {"a trusted certificate", a + with_lines_changed(b, "CERTIFICATE", "TRUSTED CERTIFICATE")},
        {"encrypted",
         a + with_lines_changed(b, "BEGIN CERTIFICATE-----\n",
                                "BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-CBC,00\n\n")},
    };
    ROWS(row.what, rows, const auto& row) {
        CAPTURE(row.what);
        std::optional<trust> read;
        std::string text;
        try {
            read = trust::from_pem(row.text, "file\n\x1b[2Jname");
        } catch (const reqauth::error& e) {
            text = e.what();
            CHECK(e.code() == errc::malformed);
        }
        CHECK((!read || read->size() == 2));
        CHECK(text.find('\n') == text.npos);
        CHECK(text.find('\x1b') == text.npos);
    }
    // Both are read.
    CHECK(trust::from_pem(with_lines_changed(a + b, "\n", "\r\n")).size() == 2);
    CHECK(trust::from_pem("\xef\xbb\xbfwords\n" + a + "more -----words-----\n" + b).size() == 2);

    const temporary_directory files;
    const auto odd = files.write("no\nCA.pem", "nothing");
    for (const auto& call : std::vector<std::function<void()>>{[&] { (void)trust::from_file(odd); },
                                                               [&] { (void)trust::from_directory(files.path()); },
                                                               [&] { (void)trust::from_file("/no\n/such"); }}) {
        std::string text;
        failure_of(call, &text);
        CHECK(text.find('\n') == text.npos);
    }
}
