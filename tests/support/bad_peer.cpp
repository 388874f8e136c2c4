// SPDX-License-Identifier: Apache-2.0
#include "support/bad_peer.hpp"

#include "support/contexts.hpp"

#include <algorithm>
#include <stdexcept>

namespace support {
namespace {

int add(SSL*, unsigned, unsigned message, const unsigned char** out, std::size_t* size, X509*, std::size_t, int*,
        void* argument) {
    auto& peer = *static_cast<bad_peer*>(argument);
    const auto found = peer.says.find(message);
    if (found == peer.says.end() || found->second.empty()) return 0;
    const std::size_t nth = peer.said[message]++;
    const line& says = found->second[std::min(nth, found->second.size() - 1)];
    if (!says) return 0;
    *out = reinterpret_cast<const unsigned char*>(says->data());
    *size = says->size();
    return 1;
}

int parse(SSL*, unsigned, unsigned message, const unsigned char* in, std::size_t size, X509*, std::size_t, int*,
          void* argument) {
    static_cast<bad_peer*>(argument)->heard.emplace_back(message, std::string(reinterpret_cast<const char*>(in), size));
    return 1;
}

} // namespace

bad_peer::bad_peer(owned<SSL_CTX> made, script lines, unsigned type, unsigned messages)
    : context(std::move(made)), says(std::move(lines)) {
    if (SSL_CTX_add_custom_ext(context.get(), type, messages, add, nullptr, this, parse, this) != 1)
        throw std::runtime_error("SSL_CTX_add_custom_ext failed");
}

bad_peer flagged_client(const identity& who) {
    auto context = client_context();
    present(*context, who);
    return {std::move(context), {{in::client_hello, {flags({80})}}}};
}

bad_peer empty_handed_client() { return {client_context(), {{in::client_hello, {flags({80})}}}}; }

} // namespace support
