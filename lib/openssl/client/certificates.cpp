// SPDX-License-Identifier: Apache-2.0
#include "certificates.hpp"

#include "../base/fence.hpp"

#include <reqauth/error.hpp>

#include <algorithm>

namespace reqauth::detail {

namespace {

void must(bool worked, const char* what) {
    if (!worked) throw error(errc::openssl, std::string(what) + drain_errors());
}

// OpenSSL lists an SSL's certificates by making one after the other the current one. This puts the current one back.
struct current_certificate {
    explicit current_certificate(SSL* of)
        : ssl(of), leaf(reference(SSL_get_certificate(of))), key(reference(SSL_get_privatekey(of))) {}
    current_certificate(const current_certificate&) = delete;
    current_certificate& operator=(const current_certificate&) = delete;
    ~current_certificate() {
        if (SSL_get_certificate(ssl) == leaf.get() && SSL_get_privatekey(ssl) == key.get()) return;
        if (leaf != nullptr && key != nullptr)
            SSL_select_current_cert(ssl, leaf.get());
        else if (leaf != nullptr)
            SSL_use_certificate(ssl, leaf.get());
        else if (key != nullptr)
            SSL_use_PrivateKey(ssl, key.get());
    }
    SSL* ssl;
    x509_handle leaf;
    pkey_handle key;
};

own_certificate read_current(SSL* ssl) {
    STACK_OF(X509)* chain = nullptr;
    must(SSL_get0_chain_certs(ssl, &chain) == 1, "a certificate's chain cannot be read");
    return {SSL_get_certificate(ssl), SSL_get_privatekey(ssl), chain};
}

void set_all(SSL* ssl, const std::vector<own_certificate>& all) {
    SSL_certs_clear(ssl);
    for (const own_certificate& one : all) {
        const bool set = one.certificate == nullptr ? SSL_use_PrivateKey(ssl, one.key.get()) == 1
                         : one.key == nullptr
                             ? SSL_use_certificate(ssl, one.certificate.get()) == 1
                             : SSL_use_cert_and_key(ssl, one.certificate.get(), one.key.get(), one.chain.get(), 1) == 1;
        must(set, "a certificate cannot be set on this SSL");
    }
}

bool holds(const std::vector<own_certificate>& all, const own_certificate& one) {
    return std::ranges::any_of(
        all, [&](const own_certificate& each) { return each.certificate == one.certificate && each.key == one.key; });
}

} // namespace

own_certificate::own_certificate(X509* leaf, EVP_PKEY* its_key, STACK_OF(X509) * rest)
    : certificate(reference(leaf)), key(reference(its_key)),
      chain(rest != nullptr ? X509_chain_up_ref(rest) : nullptr) {
    must(rest == nullptr || chain != nullptr, "a certificate's chain cannot be kept");
}

std::vector<own_certificate> certificates_of(SSL* ssl) {
    const current_certificate current(ssl);
    std::vector<own_certificate> all;
    std::optional<own_certificate> last;
    if (current.leaf != nullptr || current.key != nullptr) last = read_current(ssl);
    for (long step = SSL_CERT_SET_FIRST; SSL_set_current_cert(ssl, step) == 1; step = SSL_CERT_SET_NEXT)
        if (SSL_get_certificate(ssl) != current.leaf.get()) all.push_back(read_current(ssl));
    if (last) all.push_back(std::move(*last));
    return all;
}

void client_certificates::put(SSL* ssl, std::vector<own_certificate> own, std::vector<own_certificate> in_their_place) {
    if (!changed_) {
        own_ = std::move(own);
        context_ = SSL_get_SSL_CTX(ssl);
    }
    changed_ = true;
    put_ = std::move(in_their_place);
    all_put_ = false;
    set_all(ssl, put_);
    all_put_ = true;
}

void client_certificates::present(SSL* ssl, const loaded_credential* credential) {
    std::vector<own_certificate> only;
    if (credential != nullptr)
        only.emplace_back(credential->certificate.get(), credential->key.get(), credential->chain.get());
    put(ssl, certificates_of(ssl), std::move(only));
}

void client_certificates::leave_out(SSL* ssl, const std::function<bool(const own_certificate&)>& which) {
    std::vector<own_certificate> own = certificates_of(ssl);
    std::vector<own_certificate> others;
    for (const own_certificate& one : own)
        if (!which(one)) others.push_back(one);
    if (others.size() != own.size()) put(ssl, std::move(own), std::move(others));
}

void client_certificates::give_back(SSL* ssl) {
    if (!changed_) return;
    std::vector<own_certificate> there = certificates_of(ssl);
    const std::size_t all_there = there.size();
    std::erase_if(there, [&](const own_certificate& one) { return holds(put_, one); });
    const bool replaced = all_put_ && !put_.empty() && there.size() == all_there;
    if (SSL_get_SSL_CTX(ssl) == context_ && !replaced) {
        std::ranges::move(there, std::back_inserter(own_));
        all_put_ = false;
        set_all(ssl, own_);
    }
    *this = {};
}

} // namespace reqauth::detail
