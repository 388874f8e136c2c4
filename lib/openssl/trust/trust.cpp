// SPDX-License-Identifier: Apache-2.0
#include <reqauth/trust.hpp>

#include "../base/fence.hpp"
#include "../base/hash.hpp"
#include "../base/pem.hpp"
#include "trust_store.hpp"

#include <reqauth/error.hpp>

#include <openssl/core_names.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <system_error>

namespace reqauth {

namespace detail {

static void add_to(hash& all, const anchor& one) { all.add(one.thumbprint); }
static void add_to(hash& all, const revocation_list& one) { all.add(one.thumbprint); }

namespace {

void must(bool worked) {
    if (!worked) throw error(errc::openssl, "a trust store cannot be made" + drain_errors());
}

/// collected is what was found so far, in files or elsewhere.
struct collected {
    std::vector<std::pair<std::shared_ptr<X509>, std::string>> certificates; ///< and where each comes from
    trust_store into;
};

std::string place_of(std::string_view name, std::size_t number) {
    return std::string(name) + ": CRL " + std::to_string(number);
}

// What OpenSSL would pass over, without a word, in favour of no CRL at all.
void check_kind(const X509_CRL& crl, std::string_view name, std::size_t number) {
    if (X509_CRL_get_ext_by_NID(&crl, NID_delta_crl, -1) >= 0)
        throw error(errc::crl_unusable, place_of(name, number) + " is a delta CRL", "give the complete one");
    int critical = 0;
    const std::unique_ptr<ISSUING_DIST_POINT, freed_by<ISSUING_DIST_POINT_free>> point(static_cast<ISSUING_DIST_POINT*>(
        X509_CRL_get_ext_d2i(&crl, NID_issuing_distribution_point, &critical, nullptr)));
    if (point == nullptr && critical != -1)
        throw error(errc::crl_unusable, place_of(name, number) + " has an unreadable issuingDistributionPoint",
                    "have the CA issue it anew");
    if (point != nullptr && (point->indirectCRL > 0 || point->onlysomereasons != nullptr))
        throw error(errc::crl_unusable,
                    place_of(name, number) + " is indirect or for some reasons only, which OpenSSL does not use",
                    "give the CA's own, for all reasons");
}

// OpenSSL lets pass what such an entry names, which takes back one of a base CRL (RFC 5280, section 5.3.1).
void check_entries(X509_CRL& crl, std::string_view name, std::size_t number) {
    const STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(&crl);
    for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
        const X509_REVOKED* entry = sk_X509_REVOKED_value(entries, i);
        if (X509_REVOKED_get_ext_by_NID(entry, NID_crl_reason, -1) < 0) continue;
        const std::unique_ptr<ASN1_ENUMERATED, freed_by<ASN1_ENUMERATED_free>> reason(
            static_cast<ASN1_ENUMERATED*>(X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, nullptr, nullptr)));
        if (reason == nullptr || ASN1_ENUMERATED_get(reason.get()) == CRL_REASON_REMOVE_FROM_CRL)
            throw error(errc::crl_unusable,
                        place_of(name, number) + ": entry " + std::to_string(i + 1) +
                            " has a reason that only a delta CRL may have (removeFromCRL), or that cannot be read",
                        "have the CA issue it anew");
    }
}

// A CRL in the name of an anchor that none of that name has signed would refuse everybody in each handshake.
void check_signer(const trust_store& trust, X509_CRL& crl, std::string_view name, std::size_t number) {
    bool named = false;
    for (const auto& certificate : trust.certificates) {
        if (X509_NAME_cmp(X509_get_subject_name(certificate.get()), X509_CRL_get_issuer(&crl)) != 0) continue;
        named = true;
        EVP_PKEY* key = X509_get0_pubkey(certificate.get());
        if (key != nullptr && X509_CRL_verify(&crl, key) == 1) return ERR_clear_error();
    }
    ERR_clear_error();
    if (named)
        throw error(errc::crl_unusable,
                    place_of(name, number) + " has the name of the anchor " + name_text(X509_CRL_get_issuer(&crl)) +
                        " but is not signed with its key",
                    "give the CRL of that CA");
}

void add_crl(trust_store& trust, std::shared_ptr<X509_CRL> crl, std::string_view name, std::size_t number) {
    check_kind(*crl, name, number);
    check_entries(*crl, name, number);
    trust.crls.push_back({sha256(*crl), std::move(crl), std::string(name)});
}

void add(collected& all, pem_objects found, std::string_view name) {
    for (x509_handle& certificate : found.certificates) all.certificates.emplace_back(std::move(certificate), name);
    std::size_t number = 0;
    for (crl_handle& crl : found.crls) add_crl(all.into, std::move(crl), name, ++number);
}

collected collected_of(std::span<const named_text> files, const openssl_scope& scope) {
    collected all;
    for (const auto& [name, text] : files) add(all, objects_in(text, name, wanted::certificates_and_crls, scope), name);
    return all;
}

void check_signers(const trust_store& trust, std::string_view name) {
    std::size_t number = 0;
    for (const revocation_list& list : trust.crls) check_signer(trust, *list.crl, name, ++number);
}

template <class Range, class Key> void sort_each_once(Range& range, Key key) {
    std::ranges::sort(range, {}, key);
    const auto same = [&](const auto& a, const auto& b) { return std::invoke(key, a) == std::invoke(key, b); };
    range.erase(std::unique(range.begin(), range.end(), same), range.end());
}

void describe_anchors(trust_store& trust, const decltype(collected::certificates)& certificates) {
    std::vector<std::pair<anchor, std::shared_ptr<X509>>> described;
    for (const auto& [certificate, from] : certificates)
        described.emplace_back(describe_anchor(*certificate, from), certificate);
    sort_each_once(
        described, [](const auto& one) -> const auto& { return one.first.thumbprint; });
    std::vector<std::string> subjects;
    for (auto& [one, certificate] : described) {
        // OpenSSL works out a certificate's extensions when it first needs them: now, and not in a handshake.
        ERR_clear_error();
        if (X509_check_purpose(certificate.get(), -1, 0) != 1)
            must(ERR_GET_REASON(ERR_peek_last_error()) != ERR_R_MALLOC_FAILURE);
        ERR_clear_error();
        subjects.push_back(one.subject);
        trust.anchors.push_back(std::move(one));
        trust.certificates.push_back(std::move(certificate));
    }
    sort_each_once(subjects, std::identity());
    names_handle names(sk_X509_NAME_new_null());
    must(names != nullptr);
    for (const std::string& subject : subjects) {
        const auto* der = reinterpret_cast<const unsigned char*>(subject.data());
        X509_NAME* copy = d2i_X509_NAME(nullptr, &der, static_cast<long>(subject.size()));
        if (copy == nullptr || sk_X509_NAME_push(names.get(), copy) == 0) {
            X509_NAME_free(copy);
            must(false);
        }
        trust.names_octets += 2 + subject.size();
    }
    trust.names = std::make_shared<ca_names>(std::move(names));
}

// Adds what is in `trust` to its X509_STORE, each of which is there once.
void fill(X509_STORE* store, const trust_store& trust) {
#if OPENSSL_VERSION_NUMBER < 0x40000000L
    // Before 4.0 X509_STORE_add_cert and _crl sort all that is there at each call: 5 s for 10,000 anchors.
    STACK_OF(X509_OBJECT)* objects = X509_STORE_get0_objects(store);
    const auto push = [&](auto set, auto* object) {
        X509_OBJECT* held = X509_OBJECT_new();
        if (held == nullptr || set(held, object) != 1 || sk_X509_OBJECT_push(objects, held) == 0) {
            X509_OBJECT_free(held);
            must(false);
        }
    };
    for (const auto& certificate : trust.certificates) push(X509_OBJECT_set1_X509, certificate.get());
    for (const revocation_list& list : trust.crls) push(X509_OBJECT_set1_X509_CRL, list.crl.get());
    sk_X509_OBJECT_sort(objects);
#else
    for (const auto& certificate : trust.certificates) must(X509_STORE_add_cert(store, certificate.get()) == 1);
    for (const revocation_list& list : trust.crls) must(X509_STORE_add_crl(store, list.crl.get()) == 1);
#endif
}

// Makes what follows from the rest.
std::shared_ptr<const trust_store> finished(trust_store trust) {
    trust.store.reset(X509_STORE_new(), X509_STORE_free);
    must(trust.store != nullptr);
    fill(trust.store.get(), trust);
    X509_VERIFY_PARAM* parameters = X509_STORE_get0_param(trust.store.get());
    must(X509_VERIFY_PARAM_set_flags(parameters, trust.flags()) == 1 &&
         X509_VERIFY_PARAM_set_purpose(parameters, trust.purpose_id()) == 1);
    if (trust.depth) X509_VERIFY_PARAM_set_depth(parameters, *trust.depth);
    if (trust.time) X509_VERIFY_PARAM_set_time(parameters, *trust.time);
    trust.by_address.clear();
    for (std::size_t at = 0; at < trust.certificates.size(); ++at)
        trust.by_address.emplace_back(trust.certificates[at].get(), at);
    std::ranges::sort(trust.by_address);
    X509_STORE_set_check_policy(trust.store.get(), witness_hooks.ended);
    X509_STORE_set_cleanup(trust.store.get(), witness_hooks.over);
    const std::unique_ptr<X509_STORE_CTX, freed_by<X509_STORE_CTX_free>> plain(X509_STORE_CTX_new());
    must(plain != nullptr && X509_STORE_CTX_init(plain.get(), nullptr, nullptr, nullptr) == 1);
    trust.verify = X509_STORE_CTX_get_verify(plain.get());
    trust.digest = hash("libreqauth trust 2").settings<trust_settings>(trust).end();
    return std::make_shared<const trust_store>(std::move(trust));
}

template <class Change> std::shared_ptr<const trust_store> changed(const trust_store& from, Change&& change) {
    trust_store more = from;
    change(more);
    return finished(std::move(more));
}

std::shared_ptr<const trust_store> finished(collected all, std::string_view name) {
    if (all.certificates.empty())
        throw error(errc::holds_nothing, std::string(name) + ": holds no certificate, only CRLs", "give the CAs too");
    describe_anchors(all.into, all.certificates);
    check_signers(all.into, name);
    sort_each_once(all.into.crls, &revocation_list::thumbprint);
    return finished(std::move(all.into));
}

bool is_read(const std::filesystem::path& file) {
    constexpr std::array<std::string_view, 5> endings = {".pem", ".crt", ".cer", ".crl", ".der"};
    return std::ranges::find(endings, file.extension().string()) != endings.end();
}

std::vector<std::filesystem::path> files_in(const std::filesystem::path& directory) {
    const auto fail = [](const std::filesystem::path& what, const std::string& why) {
        throw error(errc::unreadable, what.string() + ": cannot be read: " + why,
                    "look at its name and its permissions");
    };
    std::vector<std::filesystem::path> files;
    std::error_code failed;
    std::filesystem::directory_iterator entry(directory, failed);
    for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
        if (!is_read(entry->path())) continue;
        std::error_code why;
        const auto kind = entry->status(why).type();
        if (kind == std::filesystem::file_type::directory) continue;
        if (kind != std::filesystem::file_type::regular)
            fail(entry->path(), why ? why.message() : "no regular file, or a link to nowhere");
        files.push_back(entry->path());
    }
    if (failed) fail(directory, failed.message());
    std::ranges::sort(files);
    return files;
}

// What the store's own parameters say and trust has no setting for would be lost: refuse it.
void take_parameters(X509_STORE& store, trust_store& trust) {
    X509_VERIFY_PARAM* parameters = X509_STORE_get0_param(&store);
    const unsigned long flags = X509_VERIFY_PARAM_get_flags(parameters);
    constexpr unsigned long known = X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL |
                                    X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_USE_CHECK_TIME;
    const std::unique_ptr<char, decltype([](char* text) { OPENSSL_free(text); })> address(
        X509_VERIFY_PARAM_get1_ip_asc(parameters));
    if ((flags & ~known) != 0 || X509_VERIFY_PARAM_get0_host(parameters, 0) != nullptr ||
        X509_VERIFY_PARAM_get0_email(parameters) != nullptr || address != nullptr)
        throw error(errc::contradiction,
                    "the X509_STORE handed over has a host name, an address or a verify flag that trust has no "
                    "setting for",
                    "clear it, and use the with_... settings");
    if ((flags & X509_V_FLAG_CRL_CHECK) != 0 && trust.crls.empty())
        throw error(errc::contradiction,
                    "the X509_STORE handed over checks revocation but holds no CRL that can be enumerated",
                    "add the CRLs to it, or clear CRL_CHECK and use with_crls");
    trust.partial_chains = (flags & X509_V_FLAG_PARTIAL_CHAIN) != 0;
    trust.crls_for_every_ca = (flags & X509_V_FLAG_CRL_CHECK) != 0 && (flags & X509_V_FLAG_CRL_CHECK_ALL) != 0;
    if ((flags & X509_V_FLAG_USE_CHECK_TIME) != 0) trust.time = X509_VERIFY_PARAM_get_time(parameters);
    const int depth = X509_VERIFY_PARAM_get_depth(parameters);
    if (depth >= 0 && depth <= std::numeric_limits<std::uint16_t>::max())
        trust.depth = static_cast<std::uint16_t>(depth);
}

constexpr std::string_view of_store = "the X509_STORE handed over";

std::vector<std::shared_ptr<X509_CRL>> crls_of(X509_STORE& store) {
    std::vector<std::shared_ptr<X509_CRL>> crls;
    const auto copy = [&](const STACK_OF(X509_OBJECT) * objects) {
        for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i)
            if (const X509_CRL* crl = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i)); crl != nullptr) {
                crl_handle copy(X509_CRL_dup(crl));
                must(copy != nullptr);
                crls.push_back(std::move(copy));
            }
    };
#if OPENSSL_VERSION_NUMBER < 0x30300000L
    must(X509_STORE_lock(&store) == 1);
    const std::unique_ptr<X509_STORE, freed_by<X509_STORE_unlock>> locked(&store);
    copy(X509_STORE_get0_objects(&store));
#else
    const std::unique_ptr<STACK_OF(X509_OBJECT),
                          decltype([](STACK_OF(X509_OBJECT) * all) { sk_X509_OBJECT_pop_free(all, X509_OBJECT_free); })>
        objects(X509_STORE_get1_objects(&store));
    must(objects != nullptr);
    copy(objects.get());
#endif
    return crls;
}

} // namespace

// As OpenSSL looks for the CRL of a certificate's issuer.
static bool is_of(X509_CRL& crl, X509& issuer) {
    ERR_set_mark();
    const std::unique_ptr<AUTHORITY_KEYID, freed_by<AUTHORITY_KEYID_free>> names(
        static_cast<AUTHORITY_KEYID*>(X509_CRL_get_ext_d2i(&crl, NID_authority_key_identifier, nullptr, nullptr)));
    const bool fits = names == nullptr || X509_check_akid(&issuer, names.get()) == X509_V_OK;
    ERR_pop_to_mark();
    return fits;
}

bool was_signed_by(X509_CRL& crl, X509& issuer) {
    ERR_set_mark();
    EVP_PKEY* key = X509_get0_pubkey(&issuer);
    const bool fits = is_of(crl, issuer) && key != nullptr && X509_CRL_verify(&crl, key) == 1;
    ERR_pop_to_mark();
    return fits;
}

// Two certificates can write one key in two ways: a point with and without compression, parameters by name and in full,
// RSA with and without the restriction to PSS. What the key is does not differ then.
//= RCA-13
std::string value_of_key(X509& certificate) {
    std::string der = der_of(X509_get_X509_PUBKEY(&certificate), i2d_X509_PUBKEY);
    EVP_PKEY* key = X509_get0_pubkey(&certificate);
    ERR_set_mark();
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    // One that cannot be read is compared as it is written, unless there was no memory for it.
    const pkey_handle read(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
    const bool no_memory = ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
    ASN1_OBJECT* algorithm = nullptr;
    X509_PUBKEY_get0_param(&algorithm, nullptr, nullptr, nullptr, X509_get_X509_PUBKEY(&certificate));
    const int kind = OBJ_obj2nid(algorithm);
    const char* name = nullptr;
    if (kind == NID_rsaEncryption || kind == NID_rsassaPss) name = OSSL_PKEY_PARAM_RSA_N;
    if (kind == NID_X9_62_id_ecPublicKey) name = OSSL_PKEY_PARAM_EC_PUB_X;
    if (key == nullptr) name = nullptr;
    BIGNUM* number = nullptr;
    if (name != nullptr) EVP_PKEY_get_bn_param(key, name, &number);
    ERR_pop_to_mark();
    const std::unique_ptr<BIGNUM, freed_by<BN_free>> owned(number);
    must(!no_memory && (read == nullptr) == (key == nullptr) && (name == nullptr) == (number == nullptr));
    if (number == nullptr) return der;
    std::string octets(static_cast<std::size_t>(BN_num_bytes(number)), '\0');
    BN_bn2bin(number, reinterpret_cast<unsigned char*>(octets.data()));
    return octets;
}

anchor describe_anchor(X509& certificate, const std::string& from) {
    anchor described{sha256(certificate),
                     value_of_key(certificate),
                     der_of(X509_get_subject_name(&certificate), i2d_X509_NAME),
                     from,
                     {}};
    described.text = name_text(X509_get_subject_name(&certificate)) + " (" + from + (from.empty() ? "" : ", ") +
                     "SHA-256 " + hex(described.thumbprint) + ")";
    return described;
}

const anchor* trust_store::find(const X509& certificate) const {
    // OpenSSL found it in our store, as a rule, and to digest it takes longer than the rest of the check.
    const auto held = std::ranges::lower_bound(by_address, &certificate, {}, &decltype(by_address)::value_type::first);
    if (held != by_address.end() && held->first == &certificate) return &anchors[held->second];
    const auto thumbprint = sha256(certificate);
    const auto equal = std::ranges::lower_bound(anchors, thumbprint, {}, &anchor::thumbprint);
    return equal != anchors.end() && equal->thumbprint == thumbprint ? &*equal : nullptr;
}

X509* trust_store::anchor_at(std::size_t place) const noexcept {
    return place < certificates.size() ? certificates[place].get() : nullptr;
}

unsigned long trust_store::flags() const noexcept {
    return (partial_chains ? X509_V_FLAG_PARTIAL_CHAIN : 0UL) | (time ? X509_V_FLAG_USE_CHECK_TIME : 0UL) |
           (crls.empty() ? 0UL : X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) |
           X509_V_FLAG_POLICY_CHECK; // the last of OpenSSL's checks, in whose place the witness is told that all is done
}

std::optional<std::string> trust_store::unusable_crl(const X509& certificate, X509* issuer) const {
    for (const revocation_list& list : crls) {
        const X509_NAME* by = X509_CRL_get_issuer(list.crl.get());
        if (X509_NAME_cmp(X509_get_issuer_name(&certificate), by) != 0) continue;
        const bool fits = issuer == nullptr || was_signed_by(*list.crl, *issuer);
        return "the CRL of " + name_text(by) + " (SHA-256 " + hex(list.thumbprint) + ") cannot be used for " +
               name_text(X509_get_subject_name(&certificate)) + ": " +
               (fits ? "it is for other certificates of that CA (issuingDistributionPoint)"
                     : "it is for another key or certificate of that CA (authorityKeyIdentifier, signature)") +
               "; add the CRL that is for it";
    }
    return std::nullopt;
}

int trust_store::revocation_error(X509& certificate, X509& issuer, bool is_leaf) const {
    if (crls.empty()) return X509_V_OK;
    bool named = false;
    X509_CRL* newest = nullptr; // of those in force, as OpenSSL takes it
    for (const revocation_list& list : crls) {
        X509_CRL* crl = list.crl.get();
        if (X509_NAME_cmp(X509_get_issuer_name(&certificate), X509_CRL_get_issuer(crl)) != 0) continue;
        named = true;
        if (X509_cmp_timeframe(X509_STORE_get0_param(store.get()), X509_CRL_get0_lastUpdate(crl),
                               X509_CRL_get0_nextUpdate(crl)) != 0 ||
            !is_of(*crl, issuer))
            continue;
        if (newest == nullptr || ASN1_TIME_compare(X509_CRL_get0_lastUpdate(newest), X509_CRL_get0_lastUpdate(crl)) < 0)
            newest = crl;
    }
    X509_REVOKED* entry = nullptr;
    if (newest != nullptr)
        return X509_CRL_get0_by_cert(newest, &entry, &certificate) != 0 ? X509_V_ERR_CERT_REVOKED : X509_V_OK;
    return named || is_leaf || crls_for_every_ca ? X509_V_ERR_UNABLE_TO_GET_CRL : X509_V_OK;
}

int trust_store::purpose_id() const noexcept {
    return purpose == reqauth::purpose::any      ? X509_PURPOSE_ANY
           : purpose == reqauth::purpose::server ? X509_PURPOSE_SSL_SERVER
                                                 : X509_PURPOSE_SSL_CLIENT;
}

} // namespace detail

using namespace detail;

trust trust::from_file(const std::filesystem::path& pem, openssl_scope scope) {
    return from_pem(read_file(pem), pem.string(), scope);
}

trust trust::from_directory(const std::filesystem::path& directory, openssl_scope scope) {
    const auto files = files_in(directory);
    if (files.empty())
        throw error(errc::holds_nothing,
                    directory.string() + ": holds no file whose name ends in .pem, .crt, .cer, .crl or .der",
                    "give a directory of such files");
    std::vector<named_text> texts;
    for (const auto& file : files) texts.push_back({file.string(), read_file(file)});
    return trust(finished(collected_of(texts, scope), directory.string()));
}

trust trust::from_pem(std::string_view pem, std::string_view name, openssl_scope scope) {
    return from_texts(std::array{named_text{std::string(name), std::string(pem)}}, scope);
}

trust trust::from_texts(std::span<const named_text> files, openssl_scope scope) {
    return trust(finished(collected_of(files, scope), files.empty() ? "no file" : files.front().name));
}

trust trust::nobody() {
    trust_store none;
    describe_anchors(none, {});
    return trust(finished(std::move(none)));
}

trust trust::from_store(X509_STORE& store) {
    ERR_clear_error();
    const certificates_handle held(X509_STORE_get1_all_certs(&store));
    must(held != nullptr);
    collected all;
    for (int i = 0; i < sk_X509_num(held.get()); ++i) {
        X509* certificate = sk_X509_value(held.get(), i);
        if (X509_get0_trust_objects(certificate) != nullptr || X509_get0_reject_objects(certificate) != nullptr)
            throw error(errc::malformed,
                        std::string(of_store) + ": " + describe_anchor(*certificate).text +
                            " has uses or rejections of its own (TRUSTED CERTIFICATE)",
                        "add it as a plain certificate, or leave it out");
        x509_handle copy(X509_dup(certificate));
        must(copy != nullptr);
        all.certificates.emplace_back(std::move(copy), of_store);
    }
    if (all.certificates.empty())
        throw error(errc::holds_nothing, std::string(of_store) + ": holds no certificate that can be enumerated",
                    "add certificates to it, or use from_directory");
    std::size_t number = 0;
    for (auto& crl : crls_of(store)) add_crl(all.into, std::move(crl), of_store, ++number);
    take_parameters(store, all.into);
    return trust(finished(std::move(all), of_store));
}

trust trust::with_crls(std::string_view pem, std::string_view name, openssl_scope scope) const {
    trust_store more = *store_;
    auto found = objects_in(pem, name, wanted::crls, scope);
    std::size_t number = 0;
    for (crl_handle& crl : found.crls) {
        check_signer(more, *crl, name, ++number);
        add_crl(more, std::move(crl), name, number);
    }
    sort_each_once(more.crls, &revocation_list::thumbprint);
    return trust(finished(std::move(more)));
}

trust trust::with_crls_from_file(const std::filesystem::path& pem, openssl_scope scope) const {
    return with_crls(read_file(pem), pem.string(), scope);
}

trust trust::with_crls_for_every_ca() const {
    if (store_->crls.empty())
        throw error(errc::contradiction, "with_crls_for_every_ca on trust without a CRL refuses everybody",
                    "add the CRLs first, with with_crls");
    return trust(changed(*store_, [](trust_settings& now) { now.crls_for_every_ca = true; }));
}

trust trust::with_pins(const std::vector<spki_pin>& pins) const {
    if (pins.empty())
        throw error(errc::contradiction, "with_pins was given no pin", "give one, or leave it out to pin nothing");
    trust_store more = *store_;
    more.pins.insert(more.pins.end(), pins.begin(), pins.end());
    sort_each_once(more.pins, std::identity());
    return trust(finished(std::move(more)));
}

trust trust::with_admitted(std::string_view rules, std::string_view name) const {
    trust_store more = *store_;
    for (admission& rule : admissions_in(rules, name, more.anchors)) more.admitted.push_back(std::move(rule));
    sort_each_once(more.admitted, std::identity());
    return trust(finished(std::move(more)));
}

trust trust::with_admitted_from_file(const std::filesystem::path& rules) const {
    return with_admitted(read_file(rules), rules.string());
}

trust trust::with_depth(std::uint16_t most) const {
    return trust(changed(*store_, [&](trust_settings& now) { now.depth = most; }));
}

trust trust::with_purpose(purpose what) const {
    return trust(changed(*store_, [&](trust_settings& now) { now.purpose = what; }));
}

trust trust::with_time(std::chrono::system_clock::time_point then) const {
    return trust(changed(*store_, [&](trust_settings& now) { now.time = std::chrono::system_clock::to_time_t(then); }));
}

trust trust::with_partial_chains() const {
    return trust(changed(*store_, [](trust_settings& now) { now.partial_chains = true; }));
}

std::size_t trust::size() const noexcept { return store_->anchors.size(); }
std::size_t trust::crl_count() const noexcept { return store_->crls.size(); }
const std::array<std::uint8_t, 32>& trust::digest() const noexcept { return store_->digest; }

} // namespace reqauth
