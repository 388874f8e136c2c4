// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apache.hpp"

#include <reqauth/server.hpp>

namespace reqauth_apache {

/// count has the handshakes of an SSL_CTX counted under the name of its virtual host. Throws std::bad_alloc.
void count(const server_rec* server, const reqauth::attachment& where);

/// show_status is the handler reqauth-status: the counters of each virtual host, over all processes.
int show_status(request_rec* r) noexcept;

} // namespace reqauth_apache
