// SPDX-License-Identifier: Apache-2.0
#include "warnings.hpp"

#include "../base/fence.hpp"
#include "../base/pem.hpp"
#include "../trust/trust_store.hpp"

#include <reqauth/error.hpp>

#include <algorithm>
#include <map>
#include <set>

namespace reqauth::detail {

namespace {

using lines = std::vector<std::string>;

/// place is what is looked at: the SSL_CTX with its own trust, and the agents'.
struct place {
    SSL_CTX& context;
    const server_policy& policy;
    const trust_store* agents; ///< null: nobody is asked
    std::vector<anchor> own;
    std::set<const X509_NAME*, bool (*)(const X509_NAME*, const X509_NAME*)> names; ///< of the agents' anchors
};

bool is_before(const X509_NAME* a, const X509_NAME* b) { return X509_NAME_cmp(a, b) < 0; }

std::vector<anchor> own_anchors(SSL_CTX& context) {
    std::vector<anchor> anchors;
    std::vector<X509_STORE*> stores{SSL_CTX_get_cert_store(&context)};
    X509_STORE* verify_store = nullptr;
    SSL_CTX_get0_verify_cert_store(&context, &verify_store);
    if (verify_store != nullptr && verify_store != stores.front()) stores.push_back(verify_store);
    for (X509_STORE* store : stores) {
        const certificates_handle held(X509_STORE_get1_all_certs(store));
        if (held == nullptr) throw error(errc::openssl, "the SSL_CTX's trust store cannot be read" + drain_errors());
        for (int i = 0; i < sk_X509_num(held.get()); ++i)
            anchors.push_back(describe_anchor(*sk_X509_value(held.get(), i)));
    }
    return anchors;
}

std::string list_text(const revocation_list& list) {
    return "the CRL of " + name_text(X509_CRL_get_issuer(list.crl.get())) + " (" + list.from + ")";
}

// -1: it is not valid yet. 1: it no longer is. By the time of the trust, if it has one.
int outside(const trust_store& agents, const ASN1_TIME* begin, const ASN1_TIME* end) {
    return X509_cmp_timeframe(X509_STORE_get0_param(agents.store.get()), begin, end);
}

template <class Visit> void for_each_anchor(const trust_store& agents, Visit visit) {
    for (std::size_t i = 0; i < agents.anchors.size(); ++i) visit(agents.anchors[i], *agents.certificates[i]);
}

bool is_named(const revocation_list& list, const X509& issuer) {
    return X509_NAME_cmp(X509_CRL_get_issuer(list.crl.get()), X509_get_subject_name(&issuer)) == 0;
}

//= RCA-13
void shared_with_customers(const place& at, lines& say) {
    for (const anchor& agent : at.agents->anchors) {
        const auto same_key = std::ranges::find(at.own, agent.key, &anchor::key);
        if (same_key != at.own.end()) {
            if (!at.policy.shared_anchors)
                throw error(errc::shared_anchor,
                            "the key of " + agent.text + " is a trust anchor for agents and for customers, as " +
                                same_key->text,
                            "take it out of one of the two, or set shared_anchors", "RCA-13");
            continue;
        }
        const auto same_subject = std::ranges::find(at.own, agent.subject, &anchor::subject);
        if (same_subject != at.own.end())
            say.push_back(
                "the CA " + agent.text + " of agents has the name of " + same_subject->text +
                " of customers, with another key: fine in a rollover; otherwise take the one that is wrong out");
    }
}

// A chain ends in a self-signed certificate, or, with partial chains, in any that is here.
void no_root(const place& at, lines& say) {
    if (at.agents->partial_chains) return;
    for_each_anchor(*at.agents, [&](const anchor& one, X509& certificate) {
        const X509_NAME* issuer = X509_get_issuer_name(&certificate);
        const bool ca = X509_check_ca(&certificate) != 0;
        const bool alone = X509_NAME_cmp(X509_get_subject_name(&certificate), issuer) == 0;
        const bool rooted = alone || at.names.contains(issuer);
        if (ca && rooted) return;
        say.push_back(
            "the anchor " + one.text + (ca ? " is no root: " : " is no CA: ") +
            (alone    ? "it lets in whoever has its own key, and nobody else; give the CA that issues to agents, if "
                        "more are to come"
             : rooted ? "it lets in nobody whom its issuer, which is here, does not; take it out"
                      : "it lets nobody in, since its issuer " + name_text(issuer) +
                            " is not here; give the certificate of that"));
    });
}

void anchors_outside_validity(const place& at, lines& say) {
    for_each_anchor(*at.agents, [&](const anchor& one, X509& certificate) {
        const ASN1_TIME* begin = X509_get0_notBefore(&certificate);
        const ASN1_TIME* end = X509_get0_notAfter(&certificate);
        const int when = outside(*at.agents, begin, end);
        if (when > 0)
            say.push_back("the anchor " + one.text + " expired at " + time_text(end) +
                          ": it lets nobody in; give the CA's new certificate");
        if (when < 0)
            say.push_back("the anchor " + one.text + " is not valid before " + time_text(begin) +
                          ": it lets nobody in until then; look at this machine's clock, or give the CA's present one");
    });
}

void lists_outside_validity(const place& at, lines& say) {
    const auto when = [&](const revocation_list& one) {
        return outside(*at.agents, X509_CRL_get0_lastUpdate(one.crl.get()), X509_CRL_get0_nextUpdate(one.crl.get()));
    };
    for (const revocation_list& one : at.agents->crls) {
        if (when(one) == 0) continue;
        const bool other = std::ranges::any_of(at.agents->crls, [&](const revocation_list& each) {
            return X509_NAME_cmp(X509_CRL_get_issuer(each.crl.get()), X509_CRL_get_issuer(one.crl.get())) == 0 &&
                   when(each) == 0;
        });
        if (other) continue;
        say.push_back(list_text(one) +
                      (when(one) > 0
                           ? " ran out at " + time_text(X509_CRL_get0_nextUpdate(one.crl.get()))
                           : " is not in force before " + time_text(X509_CRL_get0_lastUpdate(one.crl.get()))) +
                      ": whom that CA issued is refused; give its newest one, or look at this machine's clock");
    }
}

// Beside the CRLs of all anchors another may be of a CA that agents send along.
void lists_of_nobody(const place& at, lines& say) {
    const auto without = std::ranges::find_if(at.agents->certificates, [&](const auto& one) {
        return std::ranges::none_of(at.agents->crls, [&](const auto& list) { return is_named(list, *one); });
    });
    if (without == at.agents->certificates.end()) return;
    for (const revocation_list& list : at.agents->crls)
        if (!at.names.contains(X509_CRL_get_issuer(list.crl.get())))
            say.push_back(list_text(list) + " is of no CA here, and " +
                          at.agents->anchors[static_cast<std::size_t>(without - at.agents->certificates.begin())].text +
                          " has none: whom that issued is refused; give the CRL of the CA that issues to agents");
}

void lists_for_others(const place& at, lines& say) {
    for_each_anchor(*at.agents, [&](const anchor& one, X509& certificate) {
        bool named = false;
        const bool any = std::ranges::any_of(at.agents->crls, [&](const revocation_list& list) {
            const bool same = is_named(list, certificate);
            named |= same;
            return same && was_signed_by(*list.crl, certificate);
        });
        if (named && !any)
            say.push_back(
                "no CRL of its name is for the anchor " + one.text +
                ", but for another key or certificate of that CA: whom that anchor issued is refused; add the "
                "CRL that is for it, or take the anchor out");
    });
}

// OpenSSL takes one of them, and tries no other.
void not_told_apart(const place& at, lines& say) {
    std::map<std::string_view, std::size_t> first;
    for (std::size_t i = 0; i < at.agents->anchors.size(); ++i) {
        const anchor& one = at.agents->anchors[i];
        const auto [same, is_first] = first.emplace(one.subject, i);
        const anchor& other = at.agents->anchors[same->second];
        const auto has_id = [&](std::size_t of) {
            return X509_get0_subject_key_id(at.agents->certificates[of].get()) != nullptr;
        };
        if (is_first || one.key == other.key || (has_id(i) && has_id(same->second))) continue;
        say.push_back(
            "the anchors " + other.text + " and " + one.text +
            " have one name and two keys, and no subjectKeyIdentifier to tell them apart: agents of one of them are "
            "refused; have the CA issue its certificates with that, or take the old one out");
    }
}

void many_owners(const place& at, lines& say) {
    constexpr std::size_t a_few_dozen = 36;
    std::set<std::string> owners;
    for_each_anchor(*at.agents, [&](const anchor& one, X509& certificate) {
        const X509_NAME* subject = X509_get_subject_name(&certificate);
        const int of = X509_NAME_get_index_by_NID(subject, NID_organizationName, -1);
        const ASN1_STRING* owner = of < 0 ? nullptr : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, of));
        owners.insert(owner == nullptr ? one.subject
                                       : std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(owner)),
                                                     static_cast<std::size_t>(ASN1_STRING_length(owner))));
    });
    if (owners.size() > a_few_dozen)
        say.push_back(
            "the " + std::to_string(at.agents->anchors.size()) + " anchors (" + at.agents->anchors.front().from +
            ") have " + std::to_string(owners.size()) +
            " different owners, as the system's CAs have: whoever has a certificate of any of these is let in; "
            "give those CAs alone that issue to agents");
}

// Where the flag would be ignored without a word. The verify mode of an SSL may still be another.
//= SEC-7
void ignored_here(const place& at, lines& say) {
    const int mode = SSL_CTX_get_verify_mode(&at.context);
    if (mode == SSL_VERIFY_NONE) return;
    if (!at.policy.beside_customers)
        say.emplace_back("the flag is ignored here, since customers are asked for a certificate (the verify mode); set "
                         "beside_customers if the code there tells agents from customers, by peer_of or "
                         "SSL_get_verify_result");
    else if ((mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0 && !at.policy.beside_required)
        say.emplace_back(
            "the flag is ignored here, since a certificate is required of everybody (the verify mode); set "
            "beside_required if agents may come in there");
}

// Something else may verify: a callback, or what a lookup finds. With such there is mostly a list of names.
void customers_without_ca(const place& at, lines& say) {
    if (SSL_CTX_get_verify_mode(&at.context) != SSL_VERIFY_NONE &&
        SSL_CTX_get_verify_callback(&at.context) == nullptr && at.own.empty() &&
        sk_X509_NAME_num(SSL_CTX_get_client_CA_list(&at.context)) <= 0)
        say.emplace_back(
            "customers are asked for a certificate here, and no CA is there to verify it by: each that comes is "
            "refused; give the customers' CAs, or do not ask them");
}

struct row {
    void (*check)(const place& at, lines& say) = nullptr;
    bool of_agents = true; ///< it needs their trust
};

constexpr row checks[] = {
    {shared_with_customers},
    {no_root},
    {anchors_outside_validity},
    {lists_outside_validity},
    {lists_of_nobody},
    {lists_for_others},
    {not_told_apart},
    {many_owners},
    {ignored_here},
    {customers_without_ca, false},
};

} // namespace

std::vector<std::string> warnings_of(SSL_CTX& context, const server_policy& policy) {
    const auto& agents = policy.when_offered.agents();
    place at{context, policy, agents ? agents->store().get() : nullptr, own_anchors(context),
             decltype(place::names)(is_before)};
    if (at.agents != nullptr)
        for (const auto& one : at.agents->certificates) at.names.insert(X509_get_subject_name(one.get()));
    constexpr std::size_t most = 5; // of one kind
    std::vector<std::string> all;
    for (const row& one : checks) {
        if (one.of_agents && at.agents == nullptr) continue;
        lines found;
        one.check(at, found);
        const std::size_t more = found.size() > most ? found.size() - most : 0;
        found.resize(found.size() - more);
        if (more != 0) found.back() += "; and " + std::to_string(more) + " more like this";
        std::ranges::move(found, std::back_inserter(all));
    }
    return all;
}

} // namespace reqauth::detail
