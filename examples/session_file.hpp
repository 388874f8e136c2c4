// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tls.hpp"

#include <string>

using session_ptr = std::unique_ptr<SSL_SESSION, free_with<SSL_SESSION_free>>;

/// read_session reads a session in PEM, as openssl s_client -sess_out writes it, for a server called `name`. It holds
/// what was found out about the server, which is not verified again: a session that shows a certificate of another
/// name, or one that was not verified, is an error. Throws usage_error.
session_ptr read_session(const std::string& file, const std::string& name);

/// require_writable throws usage_error where write_session could not write `file`.
void require_writable(const std::string& option, const std::string& file);

/// write_session writes it for the owner alone, and at once: `file` is the old one or the new one, never a part.
/// Throws usage_error.
void write_session(SSL_SESSION& session, const std::string& file);
