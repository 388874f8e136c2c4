// SPDX-License-Identifier: Apache-2.0
#include <reqauth/trust.hpp>

#include "fence.hpp"
#include "pem.hpp"
#include "trust_store.hpp"

#include <reqauth/error.hpp>

#include <algorithm>

namespace reqauth {

namespace detail {

namespace {

template <class Object, class ToDer> std::string der_of(const Object* object, ToDer to_der) {
    unsigned char* der = nullptr;
    const int size = to_der(object, &der);
    if (size < 0) throw error(errc::openssl, "a certificate cannot be written as DER" + drain_errors());
    std::string octets(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    return octets;
}

std::shared_ptr<const trust_store> store_of(const std::vector<x509_handle>& certificates, std::string_view name) {
    const auto out_of_memory = [&] {
        return error(errc::openssl, std::string(name) + ": the trust store failed" + drain_errors());
    };
    auto trusted = std::make_shared<trust_store>();
    trusted->store.reset(X509_STORE_new(), X509_STORE_free);
    trusted->names.reset(sk_X509_NAME_new_null());
    if (trusted->store == nullptr || trusted->names == nullptr) throw out_of_memory();
    std::vector<std::string> subjects;
    for (const x509_handle& certificate : certificates) {
        anchor described = describe_anchor(*certificate);
        if (X509_STORE_add_cert(trusted->store.get(), certificate.get()) != 1) throw out_of_memory();
        subjects.push_back(described.subject);
        trusted->anchors.push_back(std::move(described));
    }
    std::ranges::sort(trusted->anchors, {}, &anchor::thumbprint);
    const auto same = [](const anchor& a, const anchor& b) { return a.thumbprint == b.thumbprint; };
    trusted->anchors.erase(std::unique(trusted->anchors.begin(), trusted->anchors.end(), same), trusted->anchors.end());

    std::ranges::sort(subjects);
    subjects.erase(std::unique(subjects.begin(), subjects.end()), subjects.end());
    for (const std::string& subject : subjects) {
        const auto* der = reinterpret_cast<const unsigned char*>(subject.data());
        X509_NAME* copy = d2i_X509_NAME(nullptr, &der, static_cast<long>(subject.size()));
        if (copy == nullptr || sk_X509_NAME_push(trusted->names.get(), copy) == 0) {
            X509_NAME_free(copy);
            throw out_of_memory();
        }
        trusted->names_octets += 2 + subject.size();
    }
    return trusted;
}

} // namespace

anchor describe_anchor(X509& certificate) {
    anchor described{sha256(certificate),
                     der_of(X509_get_X509_PUBKEY(&certificate), i2d_X509_PUBKEY),
                     der_of(X509_get_subject_name(&certificate), i2d_X509_NAME),
                     {}};
    described.text = name_text(X509_get_subject_name(&certificate)) + " (SHA-256 " + hex(described.thumbprint) + ")";
    return described;
}

bool trust_store::contains(const std::array<std::uint8_t, 32>& thumbprint) const noexcept {
    return std::ranges::binary_search(anchors, thumbprint, {}, &anchor::thumbprint);
}

} // namespace detail

trust trust::from_file(const std::filesystem::path& pem, openssl_scope scope) {
    return from_pem(detail::read_file(pem), pem.string(), scope);
}

trust trust::from_pem(std::string_view pem, std::string_view name, openssl_scope scope) {
    return trust(detail::store_of(detail::certificates_in(pem, name, detail::other_blocks::refuse, scope), name));
}

std::size_t trust::size() const noexcept { return store_->anchors.size(); }

trust::trust(std::shared_ptr<const detail::trust_store> store) noexcept : store_(std::move(store)) {}
trust::trust(const trust&) noexcept = default;
trust::trust(trust&&) noexcept = default;
trust& trust::operator=(const trust&) noexcept = default;
trust& trust::operator=(trust&&) noexcept = default;
trust::~trust() = default;

} // namespace reqauth
