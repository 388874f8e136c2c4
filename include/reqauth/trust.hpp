// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/export.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

namespace reqauth {

namespace detail {
struct trust_store;
}

/// trust is a set of trust anchors: the certificates under which one outcome's clients are verified,
/// and nothing else. The system's roots are never in it, whatever is missing (SEC-2).
///
/// Immutable and cheap to copy: copies share the anchors. Any thread may use it.
class REQAUTH_EXPORT trust {
public:
    /// from_file reads every certificate of a PEM file. Text between the PEM blocks is skipped.
    /// Throws error{unreadable} if it cannot be read, error{malformed} naming the file and the
    /// certificate's place in it if it holds none, or one that is broken: never a part of a file.
    [[nodiscard]] static trust from_file(const std::filesystem::path& pem, openssl_scope scope = {});

    /// from_pem reads the same from memory; `name` stands for the file in errors.
    [[nodiscard]] static trust from_pem(std::string_view pem, std::string_view name = "PEM text",
                                        openssl_scope scope = {});

    /// size is the number of different anchors.
    [[nodiscard]] std::size_t size() const noexcept;

    trust(const trust&) noexcept;
    trust(trust&&) noexcept;
    trust& operator=(const trust&) noexcept;
    trust& operator=(trust&&) noexcept;
    ~trust();

    /// store is the library's own view of it.
    [[nodiscard]] const std::shared_ptr<const detail::trust_store>& store() const noexcept { return store_; }

private:
    explicit trust(std::shared_ptr<const detail::trust_store> store) noexcept;
    std::shared_ptr<const detail::trust_store> store_;
};

} // namespace reqauth
