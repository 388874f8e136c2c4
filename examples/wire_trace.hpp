// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/flags.hpp>

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

/// wire_trace prints on standard error each handshake message and alert of a connection, with its direction
/// and the flags that it carries: "→ CertificateRequest  tls_flags {80}".
class wire_trace {
public:
    /// `prefix` begins each line; `extension` is the type that carries the flags.
    wire_trace(reqauth::extension_type extension, std::string prefix = {});

    /// watch traces `ssl`, by its message callback. This object must outlive `ssl`.
    void watch(SSL& ssl);

private:
    static void on_message(int sent, int version, int content_type, const void* data, std::size_t size, SSL* ssl,
                           void* self);
    reqauth::extension_type extension_;
    std::string prefix_;
};

/// describe_message is one handshake message, header included, in words. It reads whatever bytes it is given.
std::string describe_message(std::span<const std::uint8_t> message, bool tls13, reqauth::extension_type extension);
