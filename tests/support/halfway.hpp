// SPDX-License-Identifier: Apache-2.0
#pragma once

// A server that knows the flag halfway, without libreqauth, as one that is public does.

#include <openssl/ssl.h>

namespace support {

/// know_the_flag_halfway has a server's SSL_CTX ask whoever offers the flag, and acknowledge nothing. Who offers it and
/// resumes is answered unexpected_message after its Finished: a Certificate was expected there, too.
void know_the_flag_halfway(SSL_CTX& context);

} // namespace support
