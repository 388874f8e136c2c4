// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a server does when a handshake has ended.

#include "record.hpp"

namespace reqauth::detail {

/// handshake_done gives back what is the application's, and lets go of what only the handshake needs. Again it does nothing.
/// The info callback tells of it, unless the application has put another over ours: then it is seen at the next occasion.
void handshake_done(SSL* ssl, server_record& record);

} // namespace reqauth::detail
