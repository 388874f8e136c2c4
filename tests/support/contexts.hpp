// SPDX-License-Identifier: Apache-2.0
#pragma once

// SSL_CTXs as applications have them, with and without libreqauth, and what a connection came to.

#include "support/pair.hpp"
#include "support/pki.hpp"

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>
#include <reqauth/peer.hpp>
#include <reqauth/server.hpp>
#include <reqauth/trust.hpp>

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace support {

/// server_context has a certificate and an id context, and asks nobody for a certificate.
owned<SSL_CTX> server_context(const identity& who = the_cast().server, const SSL_METHOD* method = TLS_server_method());
/// own_id_context is that id context, for server_policy::session_id_context.
std::vector<unsigned char> own_id_context();

/// client_context trusts the cast's server CA, and asks for server.example.
owned<SSL_CTX> client_context(const SSL_METHOD* method = TLS_client_method());

/// present loads a certificate and key as an application does without libreqauth.
void present(SSL_CTX& context, const identity& who);

/// ask makes `context` ask for certificates of `ca`, as an application does without libreqauth.
void ask(SSL_CTX& context, int mode, const identity& ca, SSL_verify_cb callback = nullptr);

reqauth::trust trust_in(const identity& ca);
inline reqauth::trust agents() { return trust_in(the_cast().agents_ca); }

reqauth::credential credential_of(const identity& who, std::span<X509* const> chain = {});

/// agent_policy offers, with the cast's agent.
reqauth::client_policy agent_policy();

/// attached makes `context` answer, or offer, the flag. The server or client object is gone after it.
void attach(SSL_CTX& context, const reqauth::server_policy& policy, const reqauth::server_options& options = {});
owned<SSL_CTX> attached_server(const reqauth::server_policy& policy, const reqauth::server_options& options = {});
owned<SSL_CTX> attached_client(const reqauth::client_policy& policy = agent_policy());

/// asking is the policy of most tests: request a certificate of the agents' CA, beside customers too.
reqauth::server_policy asking();
/// demanding requires one.
reqauth::server_policy demanding();

/// seen is peer_of in words: "flagged CN=crawler.example", or the reason, with the verify error where
/// there is one: "invalid 18".
std::string seen(const SSL& server);
inline std::string seen(const pair& both) { return seen(*both.server.ssl); }

/// flags is an extension body with these flags; its own encoder, so that the library's is not judged by itself.
std::string flags(std::initializer_list<unsigned> numbers);

/// sane_conversation is a good flagged handshake. It stands first and last where a peer misbehaves.
std::string sane_conversation();

/// alert_to_server says what the server got; alert_to_client the client. "none" where nothing came.
std::string alert_to_server(const pair& both);
std::string alert_to_client(const pair& both);

/// failure_of calls, and gives the code of the reqauth::error that it throws, and its text.
reqauth::errc failure_of(const std::function<void()>& call, std::string* text = nullptr);

} // namespace support
