// SPDX-License-Identifier: Apache-2.0
#include "base64.hpp"
#include "oauth.hpp"
#include "registered_name.hpp"

#include "../openssl/base/fence.hpp"
#include "../openssl/base/pem.hpp"

#include <reqauth/error.hpp>

#include <nlohmann/json.hpp>
#include <openssl/crypto.h>

#include <algorithm>
#include <variant>

namespace reqauth::oauth {

namespace {

using detail::access;
using nlohmann::json;
using reqauth::detail::alt_name;
using reqauth::detail::name_handle;
using thumbprints = std::vector<thumbprint>;

constexpr std::size_t most_octets = 1024 * 1024;

struct alt_name_member {
    const char* name;
    int type;
    const char* like;
};
constexpr std::array<alt_name_member, 4> alt_name_members{
    {{"tls_client_auth_san_dns", GEN_DNS, "client.example"},
     {"tls_client_auth_san_uri", GEN_URI, "https://client.example/"},
     {"tls_client_auth_san_ip", GEN_IPADD, "192.0.2.1 or 2001:db8::1"},
     {"tls_client_auth_san_email", GEN_EMAIL, "a@client.example"}}};
constexpr const char* subject_member = "tls_client_auth_subject_dn";

[[noreturn]] void malformed(const std::string& what, const std::string& remedy) {
    throw error(errc::malformed, "the client's metadata: " + what, remedy, "MTLS-8");
}

std::string text_of(const json& member, const std::string& name) {
    if (!member.is_string()) malformed(name + " is no string", "give one");
    return member.get<std::string>();
}

/// thumbprints_in reads the first certificate of each key's x5c: that is the client's own.
thumbprints thumbprints_in(const json& metadata) {
    const std::string like = R"(give {"keys":[{…,"x5c":["base64 of the certificate's DER"]}]})";
    const auto jwks = metadata.find("jwks");
    if (jwks == metadata.end())
        malformed("it has no jwks",
                  metadata.contains("jwks_uri") ? "fetch jwks_uri, and put what it gives there" : like);
    const auto keys = jwks->is_object() ? jwks->find("keys") : jwks->end();
    if (!jwks->is_object() || keys == jwks->end() || !keys->is_array()) malformed("jwks is no JWK Set", like);
    thumbprints all;
    for (const json& key : *keys) {
        const auto chain = key.is_object() ? key.find("x5c") : key.end();
        if (!key.is_object()) malformed("a key of jwks is no object", like);
        if (chain == key.end()) continue;
        if (!chain->is_array() || chain->empty() || !chain->front().is_string())
            malformed("an x5c of jwks is no list of texts", like);
        const auto der = reqauth::detail::padded(chain->front().get_ref<const std::string&>());
        ERR_set_mark();
        const unsigned char* at = der ? der->data() : nullptr;
        const reqauth::detail::x509_handle certificate(
            der && !der->empty() ? d2i_X509(nullptr, &at, static_cast<long>(der->size())) : nullptr);
        ERR_pop_to_mark();
        if (certificate == nullptr || at != der->data() + der->size())
            malformed("an x5c of jwks does not begin with a certificate", like);
        all.push_back(reqauth::detail::sha256(*certificate));
    }
    if (all.empty()) malformed("no key of jwks has a certificate", like);
    return all;
}

} // namespace

struct registered_client::known {
    std::variant<name_handle, alt_name, thumbprints> by;
};

namespace {

std::variant<name_handle, alt_name, thumbprints> name_in(const json& metadata) {
    std::string found;
    for (const auto& member : metadata.items()) {
        if (!member.key().starts_with("tls_client_auth_")) continue;
        if (!found.empty())
            throw error(errc::contradiction, "the client's metadata: it has " + found + " and " + member.key(),
                        "a client of tls_client_auth has one name: take the other out", "MTLS-8");
        found = member.key();
    }
    if (found.empty())
        malformed("it has no name for tls_client_auth",
                  std::string("give one of ") + subject_member + " and tls_client_auth_san_dns, _uri, _ip or _email");
    const std::string text = text_of(metadata[found], found);
    if (found == subject_member) {
        name_handle subject = reqauth::detail::subject_in(text);
        if (subject == nullptr)
            malformed(found + " is no distinguished name", "write it as RFC 4514 does: CN=client,O=Example,C=DE");
        return subject;
    }
    for (const alt_name_member& member : alt_name_members) {
        if (found != member.name) continue;
        alt_name name = reqauth::detail::alt_name_in(member.type, text);
        if (name.octets.empty()) malformed(found + " is no such name", std::string("write it like ") + member.like);
        return name;
    }
    malformed(found + " is not known",
              std::string("give one of ") + subject_member + " and tls_client_auth_san_dns, _uri, _ip or _email");
}

} // namespace

registered_client registered_client::from_metadata(std::string_view text) {
    if (text.size() > most_octets) malformed("it is larger than 1 MiB", "take out what the client does not need");
    const json metadata = json::parse(text, nullptr, false);
    if (!metadata.is_object()) malformed("it is no JSON object", "give one");
    const auto how = metadata.find("token_endpoint_auth_method");
    const std::string method = how != metadata.end() ? text_of(*how, "token_endpoint_auth_method") : "";
    registered_client client;
    if (method == "tls_client_auth")
        client.known_ = std::make_shared<known>(known{name_in(metadata)});
    else if (method == "self_signed_tls_client_auth")
        client.known_ = std::make_shared<known>(known{thumbprints_in(metadata)});
    else
        malformed("its token_endpoint_auth_method is not one with a certificate",
                  "it is tls_client_auth or self_signed_tls_client_auth");
    return client;
}

namespace {

/// fits says whether the certificate is the client's, or what is not.
struct fits {
    const X509& certificate;
    const thumbprint& its;
    bool vouched;
    client_cause operator()(const name_handle& subject) const {
        //= MTLS-7
        if (!vouched) return client_cause::not_vouched;
        return reqauth::detail::has(certificate, *subject) ? client_cause::authenticated : client_cause::other_subject;
    }
    client_cause operator()(const alt_name& name) const {
        if (!vouched) return client_cause::not_vouched;
        return reqauth::detail::has(certificate, name) ? client_cause::authenticated : client_cause::other_alt_name;
    }
    client_cause operator()(const thumbprints& all) const {
        const bool there = std::ranges::any_of(
            all, [&](const thumbprint& one) { return CRYPTO_memcmp(one.data(), its.data(), one.size()) == 0; });
        return there ? client_cause::authenticated : client_cause::not_registered;
    }
};

std::string description_of(client_cause why, const std::optional<reason>& because, const served& how) {
    switch (why) {
    case client_cause::authenticated: break;
    case client_cause::missing_certificate:
        return "the client authenticates with its registered certificate, and " +
               std::string(detail::why_none(because, how));
    case client_cause::wrong_outcome:
        return how.by_flagged
                   ? "the certificate of this connection does not serve here: offer the TLS flag "
                     "request_client_auth, and present the certificate when the server asks because of it"
                   : "the certificate of this connection does not serve here: ask the operator of the server "
                     "which kind does";
    case client_cause::not_vouched:
        return "nobody here vouches for the certificate of this connection, nor for its names: use one of a CA that "
               "the "
               "server trusts, with its intermediate certificates";
    case client_cause::too_early: return "the request came in early data: send it again after the TLS handshake";
    case client_cause::other_subject:
        return "the certificate of this connection has another subject than the one that is registered for this client";
    case client_cause::other_alt_name:
        return "the certificate of this connection has not the subjectAltName that is registered for this client";
    case client_cause::not_registered:
        return "the certificate of this connection is none of those that are registered for this client in its jwks";
    }
    return "";
}

client_cause judge(const client_certificate& shown, const served& how) noexcept {
    //= TLS-4
    if (access::early(shown) || access::none_because(shown) == reason::handshake_unfinished)
        return client_cause::too_early;
    if (access::certificate(shown) == nullptr) return client_cause::missing_certificate;
    //= RCA-14
    return detail::serves(access::from(shown), how) ? client_cause::authenticated : client_cause::wrong_outcome;
}

} // namespace

//= MTLS-8
client_decision authenticate_client(const client_certificate& shown, const registered_client& client,
                                    const served& how) {
    client_decision out;
    out.why = judge(shown, how);
    if (out.authenticated())
        out.why = std::visit(fits{*access::certificate(shown), *access::leaf(shown),
                                  access::from(shown) != client_certificate::source::unvouched},
                             access::known(client).by);
    out.status = out.authenticated() ? 200 : out.why == client_cause::too_early ? 425 : 401;
    if (out.why == client_cause::missing_certificate) out.certificate = access::none_because(shown);
    out.description = description_of(out.why, out.certificate, how);
    if (out.status == 401) out.body = R"({"error":"invalid_client","error_description":")" + out.description + "\"}";
    return out;
}

std::string_view to_string(client_cause why) noexcept {
    switch (why) {
    case client_cause::authenticated: return "authenticated";
    case client_cause::missing_certificate: return "missing_certificate";
    case client_cause::wrong_outcome: return "wrong_outcome";
    case client_cause::not_vouched: return "not_vouched";
    case client_cause::too_early: return "too_early";
    case client_cause::other_subject: return "other_subject";
    case client_cause::other_alt_name: return "other_alt_name";
    case client_cause::not_registered: return "not_registered";
    }
    return "";
}

} // namespace reqauth::oauth
