// SPDX-License-Identifier: Apache-2.0
// The same work in other ways: an agent connects, is authenticated, and makes requests. Those that the agent signs itself are
// no more than their cryptography and the least of parsing, so that what they cost is a lower bound.

#include "conversation.hpp"
#include "parties.hpp"
#include "programs.hpp"

#include <openssl/core_names.h>

#include <array>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <unordered_map>

namespace bench {
namespace {

void must(bool worked, const char* what) {
    if (!worked) throw std::runtime_error(std::string(what) + " failed");
}

const std::string request_line =
    "GET /articles/1 HTTP/1.1\r\nHost: server.example\r\nUser-Agent: crawler/1.0\r\nAccept: */*\r\n";
const std::string response =
    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'x');

// Base64, of what an HTTP field holds between colons.

std::string encoded(std::string_view octets) {
    std::string text(4 * ((octets.size() + 2) / 3) + 1, '\0');
    text.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                                         reinterpret_cast<const unsigned char*>(octets.data()),
                                                         static_cast<int>(octets.size()))));
    return text;
}

std::string decoded(std::string_view text) {
    std::string octets(text.size(), '\0');
    const int size =
        EVP_DecodeBlock(reinterpret_cast<unsigned char*>(octets.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
    octets.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    while (!octets.empty() && !text.empty() && text.back() == '=') {
        octets.pop_back();
        text.remove_suffix(1);
    }
    return octets;
}

/// between gives what stands in `text` after `before`, up to `after`.
std::string_view between(std::string_view text, std::string_view before, std::string_view after) {
    const auto from = text.find(before);
    if (from == std::string_view::npos) return {};
    text.remove_prefix(from + before.size());
    return text.substr(0, text.find(after));
}

/// signer signs, and verifies, in Ed25519 or in ECDSA with P-256, whose signatures are the two numbers (RFC 9421).
class signer {
public:
    explicit signer(const std::string& algorithm)
        : name(algorithm), key_(algorithm == "ed25519" ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                                                       : EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")) {
        must(key_ != nullptr, "EVP_PKEY_Q_keygen");
    }

    [[nodiscard]] std::string sign(std::string_view base) const {
        const auto context = begun();
        must(EVP_DigestSignInit(context.get(), nullptr, digest(), nullptr, key_.get()) == 1, "EVP_DigestSignInit");
        std::string made(128, '\0');
        std::size_t size = made.size();
        must(EVP_DigestSign(context.get(), of(made), &size, of(base), base.size()) == 1, "EVP_DigestSign");
        made.resize(size);
        if (name == "ed25519") return made;
        const unsigned char* in = of(std::string_view(made));
        const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(
            d2i_ECDSA_SIG(nullptr, &in, static_cast<long>(size)), &ECDSA_SIG_free);
        std::string numbers(64, '\0');
        BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), of(numbers), 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), of(numbers) + 32, 32);
        return numbers;
    }

    [[nodiscard]] bool verify(std::string_view base, const std::string& signature) const {
        if (signature.size() != 64) return false;
        std::string der = signature;
        if (name != "ed25519") {
            const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(ECDSA_SIG_new(), &ECDSA_SIG_free);
            ECDSA_SIG_set0(pair.get(), BN_bin2bn(of(std::string_view(signature)), 32, nullptr),
                           BN_bin2bn(of(std::string_view(signature)) + 32, 32, nullptr));
            der.assign(static_cast<std::size_t>(i2d_ECDSA_SIG(pair.get(), nullptr)), '\0');
            unsigned char* out = of(der);
            i2d_ECDSA_SIG(pair.get(), &out);
        }
        const auto context = begun();
        return EVP_DigestVerifyInit(context.get(), nullptr, digest(), nullptr, key_.get()) == 1 &&
               EVP_DigestVerify(context.get(), of(std::string_view(der)), der.size(), of(base), base.size()) == 1;
    }

    std::string name;
    std::string id = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"; ///< as long as a JWK thumbprint

private:
    static const unsigned char* of(std::string_view text) {
        return reinterpret_cast<const unsigned char*>(text.data());
    }
    static unsigned char* of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
    static std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> begun() {
        return {EVP_MD_CTX_new(), &EVP_MD_CTX_free};
    }
    [[nodiscard]] const EVP_MD* digest() const { return name == "ed25519" ? nullptr : EVP_sha256(); }
    owned<EVP_PKEY> key_;
};

using key_ring = std::unordered_map<std::string, const signer*>;

const signer* found(const key_ring& keys, std::string_view id) {
    const auto at = keys.find(std::string(id));
    return at == keys.end() ? nullptr : at->second;
}

/// way is how an agent is authenticated.
struct way {
    way(std::string called, owned<SSL_CTX> serves, owned<SSL_CTX> visits)
        : name(std::move(called)), server(std::move(serves)), client(std::move(visits)) {}
    std::string name;
    owned<SSL_CTX> server;
    support::visitor client;
    std::function<std::string(SSL&)> fields = [](SSL&) { return std::string(); }; ///< of a request
    std::function<bool(SSL&, const std::string&)> knows = [](SSL&, const std::string&) {
        return true;
    }; ///< the agent by its request
    bool asks_later = false;
    bool resumes = false;
};

bool has_certificate(SSL& ssl, const std::string&) {
    return SSL_get0_peer_certificate(&ssl) != nullptr && SSL_get_verify_result(&ssl) == X509_V_OK;
}

// HTTP message signatures (RFC 9421), as web-bot-auth has them.

std::string signature_base(std::string_view parameters) {
    return std::string("\"@authority\": server.example\n\"signature-agent\": "
                       "\"https://crawler.example\"\n\"@signature-params\": ")
        .append(parameters);
}

std::string signed_fields(const signer& by) {
    static const std::string nonce(64, 'n');
    const std::string now = std::to_string(std::time(nullptr)), then = std::to_string(std::time(nullptr) + 60);
    const std::string parameters = "(\"@authority\" \"signature-agent\");created=" + now + ";expires=" + then +
                                   ";keyid=\"" + by.id + "\";alg=\"" + by.name + "\";nonce=\"" + encoded(nonce) +
                                   "\";tag=\"web-bot-auth\"";
    return "Signature-Agent: \"https://crawler.example\"\r\nSignature-Input: sig1=" + parameters +
           "\r\nSignature: sig1=:" + encoded(by.sign(signature_base(parameters))) + ":\r\n";
}

bool is_signed(const key_ring& keys, const std::string& request) {
    const auto parameters = between(request, "Signature-Input: sig1=", "\r\n");
    const signer* by = found(keys, between(parameters, "keyid=\"", "\""));
    const auto expires = between(parameters, "expires=", ";");
    if (by == nullptr || expires.empty() || std::stoll(std::string(expires)) < std::time(nullptr)) return false;
    return by->verify(signature_base(parameters), decoded(between(request, "Signature: sig1=:", ":\r\n")));
}

// The Concealed HTTP authentication scheme (RFC 9729): a signature over what only this connection exports.

struct exported {
    std::string input;
    std::string verification;
};

exported export_from(SSL& ssl, const signer& by) {
    const std::string context = std::string("\x08\x07", 2) + char(by.id.size()) + by.id + char(32) +
                                std::string(32, 'k') + "\x05https" + "\x0eserver.example" +
                                std::string("\x01\xbb\0", 3);
    constexpr std::string_view label = "EXPORTER-HTTP-Concealed-Authentication";
    std::string octets(48, '\0');
    must(SSL_export_keying_material(&ssl, reinterpret_cast<unsigned char*>(octets.data()), octets.size(), label.data(),
                                    label.size(), reinterpret_cast<const unsigned char*>(context.data()),
                                    context.size(), 1) == 1,
         "SSL_export_keying_material");
    return {std::string(64, ' ') + "HTTP Concealed Authentication" + std::string(1, '\0') + octets.substr(0, 32),
            octets.substr(32)};
}

std::string concealed_fields(SSL& ssl, const signer& by) {
    const exported of_it = export_from(ssl, by);
    return "Authorization: Concealed k=" + by.id + ", a=" + encoded(std::string(32, 'k')) +
           ", s=2055, v=" + encoded(of_it.verification) + ", p=" + encoded(by.sign(of_it.input)) + "\r\n";
}

bool is_concealed(SSL& ssl, const key_ring& keys, const std::string& request) {
    const auto field = between(request, "Authorization: Concealed k=", "\r\n");
    const signer* by = found(keys, field.substr(0, field.find(',')));
    if (by == nullptr) return false;
    const exported of_it = export_from(ssl, *by);
    return decoded(between(field, "v=", ",")) == of_it.verification &&
           by->verify(of_it.input, decoded(field.substr(field.find("p=") + 2)));
}

/// kept_field is what was made for one connection.
class kept_field {
public:
    template <class Make> const std::string& of(const SSL& ssl, Make make) {
        unsigned char random[SSL3_RANDOM_SIZE];
        SSL_get_client_random(&ssl, random, sizeof random);
        if (std::string now(reinterpret_cast<char*>(random), sizeof random); now != random_) {
            value_ = make();
            random_ = std::move(now);
        }
        return value_;
    }

private:
    std::string random_;
    std::string value_;
};

/// visit is one connection: the first request, and a later one.
void visit(way& how, const std::string& label, conversation::count counted) {
    const owned<SSL_SESSION> session = how.resumes ? std::move(how.client.shelf.last) : nullptr;
    conversation both(*how.server, *how.client.context, session.get(), counted);
    const auto read = [](SSL* ssl, std::size_t most) {
        std::string text(most, '\0');
        std::size_t size = 0;
        must(SSL_read_ex(ssl, text.data(), text.size(), &size) == 1, "SSL_read");
        text.resize(size);
        return text;
    };
    const auto write = [](SSL* ssl, const std::string& text) {
        std::size_t size = 0;
        must(SSL_write_ex(ssl, text.data(), text.size(), &size) == 1, "SSL_write");
    };
    std::string request;
    int trips = 0;
    const auto ask_and_answer = [&] {
        bool sent = false, answered = false, asked = false;
        request.clear();
        for (trips = 0; !answered; ++trips) {
            must(trips < 10, "the conversation");
            both.turn(both.client);
            if (both.client.done && !sent) {
                both.work(both.client,
                          [&] { write(both.client.ssl.get(), request_line + how.fields(*both.client.ssl) + "\r\n"); });
                sent = true;
            }
            both.turn(both.server);
            if (!both.server.done || !sent) continue;
            both.work(both.server, [&] {
                SSL* ssl = both.server.ssl.get();
                if (request.empty()) request = read(ssl, 2000);
                if (how.knows(*ssl, request)) {
                    write(ssl, response);
                    answered = true;
                } else {
                    must(how.asks_later && !asked, "the agent's authentication");
                    must(SSL_verify_client_post_handshake(ssl) == 1 && SSL_do_handshake(ssl) == 1,
                         "SSL_verify_client_post_handshake");
                    asked = true;
                }
            });
        }
        both.turn(both.client);
        both.work(both.client, [&] { must(read(both.client.ssl.get(), 2000) == response, "the response"); });
    };
    std::uint64_t octets[] = {0, 0};
    const auto note_it = [&](const char* what) {
        if (label.empty()) return;
        const std::string said = label + what;
        note(said + (counted == conversation::count::client ? " | client" : " | server"));
        const std::uint64_t now[] = {both.to_server(), both.to_client()};
        row(said + " | server",
            {{"octets", static_cast<double>(now[0] - octets[0])}, {"round trips", static_cast<double>(trips)}});
        row(said + " | client", {{"octets", static_cast<double>(now[1] - octets[1])}});
        octets[0] = now[0];
        octets[1] = now[1];
    };
    ask_and_answer();
    note_it("first request");
    ask_and_answer();
    note_it("later request");
    both.close();
    if (!label.empty()) note("close");
}

} // namespace

void alternatives(const arguments& how) {
    const auto counted = how.text("side") == "client" ? conversation::count::client : conversation::count::server;
    const people who("P-256");
    const signer ed25519("ed25519");
    const signer p256("ecdsa-p256-sha256");
    std::vector<std::unique_ptr<way>> ways;
    const auto add = [&](const std::string& name, owned<SSL_CTX> server, owned<SSL_CTX> client) -> way& {
        return *ways.emplace_back(std::make_unique<way>(name, std::move(server), std::move(client)));
    };
    for (const bool resumes : {false, true}) {
        const std::string more = resumes ? ", resumed" : "";
        add("nobody is authenticated" + more, bare_server(who), bare_client(who));
        add("the flag" + more, flag_server(who), flag_client(who, offering(who))).knows = [](SSL& ssl,
                                                                                             const std::string&) {
            return std::holds_alternative<reqauth::flagged_peer>(reqauth::peer_of(ssl));
        };
        add("everybody is asked" + more, mutual_server(who), mutual_client(who)).knows = has_certificate;

        way& later = add("post-handshake" + more, mutual_server(who), mutual_client(who));
        SSL_CTX_set_verify(later.server.get(), SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, nullptr);
        SSL_CTX_set_post_handshake_auth(later.client.context.get(), 1);
        later.knows = has_certificate;
        later.asks_later = true;

        way& named = add("ALPN h2+bot" + more, mutual_server(who), mutual_client(who));
        SSL_CTX_set_verify(named.server.get(), SSL_VERIFY_NONE, nullptr);
        SSL_CTX_set_alpn_select_cb(
            named.server.get(),
            [](SSL* ssl, const unsigned char** chosen, unsigned char* size, const unsigned char* offered, unsigned,
               void*) {
                SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
                *chosen = offered + 1;
                *size = offered[0];
                return SSL_TLSEXT_ERR_OK;
            },
            nullptr);
        const std::string protocol = "\x06h2+bot";
        SSL_CTX_set_alpn_protos(named.client.context.get(), reinterpret_cast<const unsigned char*>(protocol.data()),
                                static_cast<unsigned>(protocol.size()));
        named.knows = has_certificate;

        for (const signer* by : {&ed25519, &p256}) {
            const key_ring keys{{by->id, by}};
            way& signs = add("signature, " + by->name + more, bare_server(who), bare_client(who));
            signs.fields = [by](SSL&) { return signed_fields(*by); };
            signs.knows = [keys](SSL&, const std::string& request) { return is_signed(keys, request); };
        }
        // One proof holds for all of its connection: both sides keep it.
        way& conceals = add("concealed, ed25519" + more, bare_server(who), bare_client(who));
        conceals.fields = [&ed25519, kept = kept_field()](SSL& ssl) mutable -> const std::string& {
            return kept.of(ssl, [&] { return concealed_fields(ssl, ed25519); });
        };
        conceals.knows = [keys = key_ring{{ed25519.id, &ed25519}},
                          kept = kept_field()](SSL& ssl, const std::string& request) mutable {
            const std::string_view field = between(request, "Authorization: ", "\r\n");
            if (kept.of(ssl, [&] { return is_concealed(ssl, keys, request) ? std::string(field) : std::string(); }) ==
                field)
                return !field.empty();
            return is_concealed(ssl, keys, request);
        };
        for (auto& each : ways) each->resumes = each->name.ends_with(", resumed");
    }
    for (const auto& each : ways)
        if (each->resumes) {
            each->resumes = false;
            visit(*each, "", conversation::count::none);
            each->resumes = true;
        }
    for (int round = -2; round < how.number("rounds"); ++round)
        for (const auto& each : ways)
            visit(*each, round < 0 ? "" : "alternatives | " + each->name + " | ",
                  round < 0 ? conversation::count::none : counted);
}

} // namespace bench
