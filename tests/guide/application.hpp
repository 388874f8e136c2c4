// SPDX-License-Identifier: Apache-2.0
#pragma once

// The application around the documents' code. It includes nothing of libreqauth: a document that leaves
// out an #include does not compile.

#include <openssl/ssl.h>

#include <string>

/// What the application does with each kind of visitor; the test keeps what was called.
void serve_agent(SSL& ssl, const std::string& name);
void serve_as_before(SSL& ssl);
void log_line(const std::string& text);
