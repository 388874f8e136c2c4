// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the library keeps with an object of OpenSSL's: an ex_data slot for each type.

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <memory>
#include <new>

namespace reqauth::detail {

inline constexpr int ex_data_class(const SSL*) noexcept { return CRYPTO_EX_INDEX_SSL; }
inline constexpr int ex_data_class(const SSL_CTX*) noexcept { return CRYPTO_EX_INDEX_SSL_CTX; }
inline constexpr int ex_data_class(const X509_STORE*) noexcept { return CRYPTO_EX_INDEX_X509_STORE; }

inline void* ex_data(const SSL* owner, int index) noexcept { return SSL_get_ex_data(owner, index); }
inline void* ex_data(const SSL_CTX* owner, int index) noexcept { return SSL_CTX_get_ex_data(owner, index); }
inline void* ex_data(const X509_STORE* owner, int index) noexcept { return X509_STORE_get_ex_data(owner, index); }

inline int set_ex_data(SSL* owner, int index, void* kept) noexcept { return SSL_set_ex_data(owner, index, kept); }
inline int set_ex_data(SSL_CTX* owner, int index, void* kept) noexcept {
    return SSL_CTX_set_ex_data(owner, index, kept);
}
inline int set_ex_data(X509_STORE* owner, int index, void* kept) noexcept {
    return X509_STORE_set_ex_data(owner, index, kept);
}

/// slot keeps one Kept with an Owner, which frees it, after Kept::owner_ends, if there is one. SSL_dup takes along what
/// Kept::for_duplicate gives, if there is one.
template <class Owner, class Kept> class slot {
public:
    /// of gives what is kept: null where nothing is.
    [[nodiscard]] static Kept* of(const Owner* owner) noexcept {
        const int at = index();
        return at < 0 || owner == nullptr ? nullptr : static_cast<Kept*>(ex_data(owner, at));
    }

    /// keep hands `kept` to an owner that keeps none yet. Throws std::bad_alloc.
    static Kept& keep(Owner* owner, std::unique_ptr<Kept> kept) {
        if (index() < 0 || set_ex_data(owner, index(), kept.get()) != 1) throw std::bad_alloc();
        return *kept.release();
    }

    /// drop frees what is kept.
    static void drop(Owner* owner) noexcept {
        const std::unique_ptr<Kept> kept(of(owner));
        if (kept != nullptr) set_ex_data(owner, index(), nullptr);
    }

private:
    static void free_kept(void* owner, void* kept, CRYPTO_EX_DATA*, int, long, void*) {
        const std::unique_ptr<Kept> ends(static_cast<Kept*>(kept));
        if constexpr (requires { ends->owner_ends(static_cast<Owner*>(owner)); })
            if (ends != nullptr) ends->owner_ends(static_cast<Owner*>(owner));
    }

    static int duplicate(CRYPTO_EX_DATA*, const CRYPTO_EX_DATA*, void** kept, int, long, void*) {
        const auto* from = static_cast<const Kept*>(*kept);
        *kept = nullptr;
        if constexpr (requires { from->for_duplicate(); }) {
            try {
                if (from != nullptr) *kept = from->for_duplicate().release();
            } catch (const std::exception&) {
                return 0;
            }
        }
        return 1;
    }

    static int index() noexcept {
        static const int made = CRYPTO_get_ex_new_index(ex_data_class(static_cast<Owner*>(nullptr)), 0, nullptr,
                                                        nullptr, duplicate, free_kept);
        return made;
    }
};

} // namespace reqauth::detail
