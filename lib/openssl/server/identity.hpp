// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "record.hpp"

#include <memory>
#include <string>

namespace reqauth::detail {

/// identity_of reads what the flagged_peer of a connection shows, and takes references of its own. Throws error{openssl}.
[[nodiscard]] std::shared_ptr<const identity> identity_of(const SSL& ssl, const server_record::handshake& now);

/// serial_of writes a certificate's serial number as flagged_peer has it. Throws error{openssl}.
[[nodiscard]] std::string serial_of(const X509& certificate);

} // namespace reqauth::detail
