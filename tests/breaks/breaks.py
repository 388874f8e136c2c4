# SPDX-License-Identifier: Apache-2.0
"""Deliberate breaks of the library: what scripts/break-and-catch applies, one at a time.

A break is a name, which says what is wrong then, and its edits: a file, a text that stands in it once, however it is
laid out in lines, and what stands there in its place. Where the library changes, so must the text here: one that is
not found is an error.
"""

HANDSHAKE = "lib/openssl/server/handshake.cpp"
HELLO = "lib/openssl/server/hello.cpp"
SESSION = "lib/openssl/server/session.cpp"
ENDING = "lib/openssl/server/ending.cpp"
WITNESS = "lib/openssl/server/witness.cpp"
WARNINGS = "lib/openssl/server/warnings.cpp"
MARK = "lib/decide/mark.cpp"
SETTINGS = "lib/decide/settings.hpp"
CLIENT = "lib/openssl/client/handshake.cpp"
CLIENT_SCOPE = "lib/openssl/client/session.cpp"
CERTIFICATES = "lib/openssl/client/certificates.cpp"
CREDENTIAL = "lib/openssl/client/credential.cpp"
PEM = "lib/openssl/base/pem.cpp"
QUIC = "lib/openssl/base/quic.hpp"
ADMITTED = "lib/openssl/trust/admitted.cpp"
ANSWERS = "lib/oauth/oauth.cpp"
CLAIMS = "lib/oauth/claims.cpp"
BINDING = "lib/oauth/binding.cpp"
CLIENTS = "lib/oauth/client.cpp"
STANDING = "modules/standing.hpp"

BREAKS = [
    ("decides when the ClientHello is parsed, before the host is settled", [
        (HANDSHAKE, "if (in == message::client_hello) return hear(ssl, flags);",
         "if (in == message::client_hello) {\n        const auto failed = hear(ssl, flags);\n"
         "        return failed ? failed : decide_now(ssl);\n    }"),
        (HANDSHAKE, "    case message::encrypted_extensions: return decide_now(ssl);",
         "    case message::encrypted_extensions:\n"
         "        if (server_record* record = server_record::on(ssl)) record->now.facts.server_random = server_random_of(ssl);\n"
         "        return std::nullopt;"),
    ]),
    ("policy and store of the first context", [
        (HANDSHAKE, "hello.in_force->find(there.number) : nullptr", "&hello.in_force->entries.front() : nullptr"),
    ]),
    ("verdict ignores the predicate", [
        ("lib/decide/policy.cpp", "if (!now.same_server || !now.wanted) return", "if (!now.same_server) return"),
    ]),
    ("verdict asks beside a context that requires a certificate of everyone", [
        ("lib/decide/policy.cpp", "if (now.everyone_required && !now.beside_required) return ignored(now);", ""),
    ]),
    ("require only requests", [
        (HANDSHAKE, ".required = policy.when_offered.asks() == client_auth::mode::require,", ".required = false,"),
    ]),
    ("acknowledges without an offer", [
        (HANDSHAKE, "    if (record == nullptr) return;\n    //= TLS-3",
         "    if (record == nullptr) out.insert(request_client_auth);\n    if (record == nullptr) return;\n    //= TLS-3"),
    ]),
    ("does not acknowledge", [
        (HANDSHAKE, "    out.insert(record->now.hello->of->options.flag);", ""),
    ]),
    ("no scope", [
        (SESSION, ".number(hello.server_name.has_value()).add(name).number(hello.wanted)"
                  ".add(arrived_at != nullptr ? arrived_at->digest : sha256_digest{}).add(hello.in_force->digest)", ""),
    ]),
    ("scope without the server name", [
        (SESSION, ".number(hello.server_name.has_value()).add(name).number(hello.wanted)", ".number(hello.wanted)"),
    ]),
    ("scope without the SSL_CTX at which the ClientHello arrives", [
        (SESSION, ".add(arrived_at != nullptr ? arrived_at->digest : sha256_digest{})", ""),
        (SESSION, "const policies::entry* arrived_at = hello.in_force->find(hello.arrived_at);", ""),
    ]),
    ("sessions outlive a reload: neither scope nor mark name the policies", [
        (SESSION, ".add(arrived_at != nullptr ? arrived_at->digest : sha256_digest{}).add(hello.in_force->digest)", ""),
        (MARK, "scope[scope_octets + i] ^ policy[i]", "scope[scope_octets + i] ^ (policy[i] & 0)"),
    ]),
    ("the scope of the last ClientHello is taken for each", [
        ("lib/openssl/base/hash.hpp", "if (octets_ != octets) {", "if (octets_.empty()) {"),
    ]),
    ("no mark is written", [
        (SESSION, "if (SSL_SESSION_set1_ticket_appdata(session, octets.data(), octets.size()) != 1)",
         "if (octets.empty())"),
    ]),
    ("what is resumed is vouched for without a mark", [
        (SESSION, "if (!found || leaf == nullptr || now.decided_by == nullptr) return;",
         "if (leaf == nullptr || now.decided_by == nullptr) return;"),
        (SESSION, "if (!vouches(found, now.hello->scope, by, digest, facts.hello->at)) return;\n", "(void)by;\n"),
        (SESSION, "now.deadline = found->deadline;", "now.deadline = facts.hello->at + 3600;"),
    ]),
    ("mark without the leaf", [
        (MARK, "std::copy_n(leaf_digest.begin(), leaf.size(), leaf.begin());", "(void)leaf_digest;"),
    ]),
    ("mark without the deadline", [
        (MARK, " && now < found->deadline", ""),
        (MARK, "std::int64_t now) noexcept", "std::int64_t) noexcept"),
    ]),
    ("a session resumes though nobody vouched for it", [
        (HELLO, "if (SSL_session_reused(ssl) != 1) session_is_new(ssl);", ""),
        (SESSION, "if (!record.now.facts.vouched || left == 0) record.put_aside.stop_tickets(ssl);\n        else if", "if"),
        (SESSION, "    set_scope(ssl, scope);\n", ""),
        (HELLO, "const policies& in_force = *record.now.hello->in_force;",
         "const policies& in_force = *record.now.hello->in_force;\n"
         "    if (SSL_session_reused(ssl) != 1)\n"
         "        SSL_SESSION_set1_id_context(SSL_get_session(ssl), said.scope.data(), scope_octets);"),
    ]),
    ("timeout not kept: each renewed ticket begins its time anew", [
        (SESSION, "else if (!stateful(ssl)) SSL_SESSION_set_timeout(SSL_get_session(ssl), left);", ""),
        (SESSION, "SSL_SESSION_set_timeout(SSL_get_session(ssl), left_until(now.deadline));", ""),
        (SESSION, "bool stateful(", "[[maybe_unused]] bool stateful("),
    ]),
    ("the age of a session has no bound", [
        (SESSION, "    const std::int64_t deadline = deadline_of(chain, now(), most);",
         "    const std::int64_t deadline = now() + 7 * 24 * 3600;\n    (void)chain;"),
        (SESSION, "std::int64_t deadline_of(", "[[maybe_unused]] std::int64_t deadline_of("),
    ]),
    ("no reset on HelloRetryRequest", [
        (HANDSHAKE, "case message::hello_retry_request: forget_first_hello(ssl); return std::nullopt;",
         "case message::hello_retry_request: (void)forget_first_hello; return std::nullopt;"),
    ]),
    ("flags may differ around HelloRetryRequest", [
        (HELLO, "if (retried && !(same && before->flags == flags)) {", "if (retried && !same) {"),
    ]),
    ("a peer that was asked for once is not judged again", [
        ("lib/openssl/server/peer.cpp", "const auto against = conclude(",
         "if (now != nullptr && now->who != nullptr) return peer_maker::make(now->who);\n    const auto against = conclude("),
    ]),
    ("the leaf that was digested is not compared with the one that is there", [
        ("lib/openssl/server/ending.cpp", "held && leaf != nullptr && leaf == now->leaf.get();", "held && leaf != nullptr;"),
    ]),
    ("no reset on SSL_clear: an earlier handshake's facts count", [
        ("lib/decide/outcome.cpp", "facts->hello && facts->server_random == now.server_random;",
         "facts->hello && facts->server_random;\n    (void)now;"),
    ]),
    ("what the first ClientHello brought stays after a HelloRetryRequest", [
        (HANDSHAKE, "if (there != nullptr) record->put_aside.start_over(", "if (there == nullptr) record->put_aside.start_over("),
        (HANDSHAKE, "id_context_of(*there->of->current(), *there)", "{}"),
    ]),
    ("the last handshake's verify result stays on an SSL that is used again", [
        ("lib/openssl/server/borrowed.cpp", "SSL_set_verify_result(ssl, X509_V_OK);", ""),
    ]),
    ("what was put aside is not put back", [
        ("lib/openssl/server/borrowed.cpp", "if (taken_ == nullptr) return true;\n    taken& was = *taken_;", "taken_.reset();\n    return true;\n    taken& was = *taken_;"),
    ]),
    ("witness forgets an error that somebody passes over", [
        (WITNESS, "std::exchange(by.seen.failed, true)", "std::exchange(by.seen.failed, by.auth.asks() == client_auth::mode::none)"),
    ]),
    ("witness does not see what comes after its verification", [
        (WITNESS, "if (by->seen.held && result != X509_V_ERR_APPLICATION_VERIFICATION) fail(*by, result, verification);", ""),
        (ENDING, "result != X509_V_ERR_APPLICATION_VERIFICATION) {", "result == -1) {"),
    ]),
    ("witness blames the agent for a CRL that has run out", [
        (WITNESS, "if (refused.crl != nullptr || error == X509_V_ERR_UNABLE_TO_GET_CRL) return error != X509_V_ERR_CERT_REVOKED;", ""),
    ]),
    ("witness blames the agent for an expired anchor", [
        (WITNESS, "refused.failed != nullptr && trust.find(*refused.failed) != nullptr", "false"),
    ]),
    ("an agent gets the alert of its server's fault", [
        (WITNESS, "is_ours ? X509_V_ERR_UNSPECIFIED : by.seen.error", "by.seen.error + (is_ours ? 0 : 0)"),
    ]),
    ("a presented certificate is told of a verified agent", [
        ("lib/openssl/server/presented.cpp", ": finished ? nullptr : sk_X509_value", ": sk_X509_value"),
    ]),
    ("a presented certificate's key is always proven", [
        ("lib/openssl/server/presented.cpp", "what.key_proven = finished;", "what.key_proven = true;"),
    ]),
    ("witness takes a verification on other terms", [
        (WITNESS, "if (!under_terms_of(verification, ssl, trust)) return X509_V_ERR_APPLICATION_VERIFICATION;",
         "(void)under_terms_of(verification, ssl, trust);"),
    ]),
    ("witness takes a laxer security level", [
        (WITNESS, "X509_VERIFY_PARAM_get_auth_level(parameters) >= SSL_get_security_level(ssl) &&", ""),
    ]),
    ("witness takes another's verify function", [
        (WITNESS, "X509_STORE_CTX_get_verify(verification) == trust.verify &&", ""),
    ]),
    ("witness takes another's verify callback", [
        (WITNESS, "X509_STORE_CTX_get_verify(verification) == trust.verify && X509_STORE_CTX_get_verify_cb(verification) == witness;",
         "X509_STORE_CTX_get_verify(verification) == trust.verify;"),
    ]),
    ("witness leaves revocation to OpenSSL", [
        (WITNESS, "found != X509_V_OK)\n                return found;", "found == -1)\n                return found;"),
    ]),
    ("witness lets DANE decide", [
        (WITNESS, "return by.record.put_aside.has_dane() && verification != by.record.apart;",
         "return by.record.put_aside.has_dane() && verification == nullptr;"),
    ]),
    ("a CRL of another key of the CA is none", [
        (WITNESS, "return place > 0 && !unusable && !trust.crls_for_every_ca;", "return place > 0 && !trust.crls_for_every_ca;"),
        (WITNESS, "return found;\n        any_pinned", "return found == X509_V_ERR_CERT_REVOKED ? found : X509_V_OK;\n        any_pinned"),
    ]),
    ("verdict asks beside customers unasked", [
        ("lib/decide/policy.cpp", "if (now.customers_asked && !now.beside_customers) return ignored(now);", ""),
    ]),
    ("an agent's session resumes where customers are asked", [
        ("lib/decide/policy.cpp", "return now.agents_session && now.customers_asked ? decision::refuse : decision::ignore;",
         "return now.agents_session && now.offered && now.customers_asked ? decision::refuse : decision::ignore;"),
    ]),
    ("attach is silent where the flag is ignored", [
        (WARNINGS, "if (mode == SSL_VERIFY_NONE) return;", "if (mode >= SSL_VERIFY_NONE) return;"),
    ]),
    ("attach is silent where the system's CAs are the agents'", [
        (WARNINGS, "if (owners.size() > a_few_dozen)", "if (owners.size() > 100 * a_few_dozen)"),
    ]),
    ("attach is silent where a CRL has run out", [
        (WARNINGS, "if (when(one) == 0) continue;", "if (when(one) >= 0) continue;"),
    ]),
    ("a switch between SSL_CTXs with unequal extensions", [
        ("lib/openssl/server/attach.cpp", "if (first && *first != extensions)",
         "if (first && extensions.size() > 1000)"),
    ]),
    ("an SSL_CTX without a certificate for TLS 1.3 negotiates it once attached", [
        ("lib/openssl/server/attach.cpp", "if (negotiates_tls13(context)) return;", "if (negotiates_tls13(context) || true) return;"),
    ]),
    ("a server's info callback that calls the one it found is called by it", [
        ("lib/openssl/server/borrowed.cpp", "|| next == passed_to_ || passed_twice_) return;", ") return;"),
    ]),
    ("one key in two certificates is two anchors", [
        ("lib/openssl/trust/trust.cpp", "if (number == nullptr) return der;", "if (number == nullptr || !der.empty()) return der;"),
    ]),
    ("witness is not needed: a certificate is enough", [
        ("lib/decide/outcome.cpp", "    if (facts->witness.failed) return reason::invalid;\n    if (!now.certificate)",
         "    if (!now.certificate)"),
        ("lib/decide/outcome.cpp", "    if (!facts->witness.held || facts->witness.leaf != now.leaf) return reason::not_witnessed;\n", ""),
    ]),
    ("the verify result of an agent is OK", [
        (ENDING, "record.now.decided_by->policy->verify_result_ok;", "(record.now.decided_by->policy->verify_result_ok || accepted);"),
    ]),
    ("sessions keep the verify result that verify_result_ok shows", [
        (WITNESS, "//= SEC-8\n                X509_STORE_CTX_set_error(verification, X509_V_ERR_APPLICATION_VERIFICATION);",
         "X509_STORE_CTX_set_error(verification, by->record.now.decided_by->policy->verify_result_ok ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);"),
        (WITNESS, "if (by->seen.held && result != X509_V_ERR_APPLICATION_VERIFICATION) fail(*by, result, verification);",
         "if (by->seen.held && result != X509_V_ERR_APPLICATION_VERIFICATION && result != X509_V_OK) fail(*by, result, verification);"),
        (WITNESS, "if (result == X509_V_OK) SSL_set_verify_result(by->ssl, X509_V_ERR_APPLICATION_VERIFICATION);", ""),
        (ENDING, "result != X509_V_ERR_APPLICATION_VERIFICATION) {", "result != X509_V_ERR_APPLICATION_VERIFICATION && result != X509_V_OK) {"),
    ]),
    ("a client takes an acknowledgement that it did not ask for", [
        ("lib/wire/rules.cpp", "? violation::acknowledged_unoffered : violation::none", "? violation::none : violation::none"),
    ]),
    ("what an earlier ClientHello with the same Random had found counts", [
        (HELLO, "early->client_random == said.client_random &&\n                           early->octets == BIO_number_read(SSL_get_rbio(ssl)) && early->flags == flags &&\n"
                "                           early->server_name == name;",
         "early->client_random == said.client_random;"),
    ]),
    ("a client shows its identity to a request without the flag", [
        (CLIENT, "if (policy.when_unacknowledged == unacknowledged::empty) return present({nullptr, unmet::nothing});",
         "if (policy.when_unacknowledged == unacknowledged::empty) return present(presentable(ssl, credentials));"),
    ]),
    ("the SSL_CTX's own certificate goes out unacknowledged although it is the flag's", [
        (CLIENT, "return is_ours(*there->of, one.certificate.get(), one.key.get());",
         "return !is_ours(*there->of, one.certificate.get(), one.key.get()) && false;"),
    ]),
    ("what client_cert_cb gives goes out unacknowledged although it is the flag's", [
        (CLIENT, "return is_ours(*there->of, *certificate, *key) ? 0 : 1;",
         "return is_ours(*there->of, *certificate, *key) ? 1 : 1;"),
    ]),
    ("a client forgets the keys that it had", [
        ("lib/openssl/client/attach.cpp", "std::vector<sha256_digest> keys = keys_;", "std::vector<sha256_digest> keys;"),
    ]),
    ("a client compares certificates, not keys", [
        (CREDENTIAL, "loaded->key_digest = key_digest(*certified);", "loaded->key_digest = loaded->thumbprint;"),
        (CLIENT, "return side.had(key_digest(*shown));",
         "return certificate != nullptr ? side.had(sha256(*certificate)) : side.had(key_digest(*shown));"),
        (CLIENT, '#include "no_prompt.hpp"', '#include "no_prompt.hpp"\n#include "../base/pem.hpp"'),
    ]),
    ("a key is compared as it is encoded", [
        (CREDENTIAL, "if (EVP_PKEY_is_a(&key, \"EC\") == 1 || EVP_PKEY_is_a(&key, \"SM2\") == 1)",
         "if (EVP_PKEY_is_a(&key, \"SM2\") == 1)"),
    ]),
    ("of several own certificates a client looks at the current one", [
        (CERTIFICATES, "if (SSL_get_certificate(ssl) != current.leaf.get()) all.push_back(read_current(ssl));",
         "if (SSL_get_certificate(ssl) == nullptr) all.push_back(read_current(ssl));"),
    ]),
    ("another of a client's own certificates is the current one afterwards", [
        (CERTIFICATES, "SSL_select_current_cert(ssl, leaf.get());", "(void)0;"),
    ]),
    ("a client's own certificates come back without their chains", [
        (CERTIFICATES, "chain(rest != nullptr ? X509_chain_up_ref(rest) : nullptr)", "chain(nullptr)"),
    ]),
    ("a client's own certificates stay away after the handshake", [
        (CLIENT, "    record.credentials.reset();\n    record.own.give_back(ssl);\n}", "    record.credentials.reset();\n}"),
        (CLIENT, "    record.own.give_back(ssl);\n    record.credentials_digest", "    record.credentials_digest"),
        (CLIENT, "        record.own.give_back(ssl);\n        record.credentials.reset();\n", "        record.credentials.reset();\n"),
    ]),
    ("certificates that a client's application has set meanwhile are lost, or the flag's stays among them", [
        (CERTIFICATES, "std::erase_if(there, [&](const own_certificate& one) { return holds(put_, one); });", ""),
    ]),
    ("an idle connection keeps its client's earlier credentials", [
        (CLIENT, "    record.credentials.reset();\n    record.own.give_back(ssl);\n}", "    record.own.give_back(ssl);\n}"),
    ]),
    ("a request after the handshake gets another credential than the sessions are marked with", [
        (CLIENT, "if (after_handshake(ssl) && now->digest != record.credentials_digest) return none;", ""),
    ]),
    ("a client that goes over to another's SSL_CTX shows the first one's credential there", [
        (CLIENT, "return record.credentials->of == &side ? *record.credentials : none;", "return *record.credentials;"),
    ]),
    ("an info callback that calls the one it found is called by it", [
        (CLIENT, "if (passing_on == ssl) return;", ""),
        (CLIENT, "&& next != called_first(ssl)", ""),
        (CLIENT, "|| std::exchange(record.told_of_start, false)) return;", ") return;"),
    ]),
    ("an info callback that calls the one it found gets events twice", [
        (CLIENT, "&& next != called_first(ssl)", ""),
    ]),
    ("an info callback that calls the SSL_CTX's hides it", [
        (CLIENT, "|| std::exchange(record.told_of_start, false)) return;", ") return;"),
    ]),
    ("a client shows its identity to whoever acknowledges", [
        (CLIENT, "facts.presented = found.credential != nullptr && found.unmet == unmet::nothing;", "facts.presented = found.credential != nullptr;"),
    ]),
    ("an alert that a failed write has left is not read", [
        ("lib/openssl/client/outcome.cpp", "        find_alert(ssl, socket, record->facts);\n", ""),
    ]),
    ("looking for an alert waits", [
        ("lib/openssl/client/outcome.cpp", "fcntl(socket, F_SETFL, flags | O_NONBLOCK);", "static_cast<void>(socket);"),
    ]),
    ("a chain is proof enough of any name", [
        ("lib/openssl/client/proof.cpp", "return that_name ? unmet::nothing : unmet::other_name;",
         "return that_name || true ? unmet::nothing : unmet::other_name;"),
    ]),
    ("a client without memory for the address that it checks goes by the server_name", [
        ("lib/openssl/client/proof.cpp", "if (text == nullptr && !none) throw std::bad_alloc();", "(void)none;"),
    ]),
    ("a fatal alert that is not about certificates is no refusal", [
        ("lib/openssl/client/outcome.cpp", "facts.answered && facts.alert && !facts.after_data",
         "facts.answered && facts.alert && *facts.alert == SSL_AD_UNKNOWN_CA && !facts.after_data"),
    ]),
    ("an alert after application data is a refusal", [
        ("lib/openssl/client/outcome.cpp", "facts.alert && !facts.after_data", "facts.alert"),
    ]),
    ("a client does not look at the authorities of a request", [
        (CLIENT, "!any_authority && !loaded.named_by(ssl)", "!any_authority && ssl == nullptr"),
    ]),
    ("a client does not look at the signature algorithms of a request", [
        (CREDENTIAL, "if (schemes.empty()) return true;", "if (schemes.empty() || ssl != nullptr) return true;"),
    ]),
    ("the flag is offered with expired credentials", [
        ("lib/openssl/client/attach.cpp", "return one.holder()->valid(now); });",
         "return one.holder()->valid(now) || true; });"),
    ]),
    ("an expired certificate loads", [
        (CREDENTIAL, "    if (loaded.valid(now)) return;", "    if (loaded.valid(now) || now > 0) return;"),
    ]),
    ("a key of any provider loads", [
        (CREDENTIAL, "if (std::ranges::find(options.providers, name) != options.providers.end())", "if (!name.empty())"),
    ]),
    ("a key that cannot sign loads", [
        (CREDENTIAL, "    else if (!proven)", "    else if (!proven && false)"),
    ]),
    ("a key with its curve's parameters in full loads", [
        (CREDENTIAL, "!has_curve_in_full(certified) && proves(", "proves("),
    ]),
    ("replace takes what a security level forbids", [
        ("lib/openssl/client/attach.cpp",
         "check_usable_everywhere(*state_->side, credentials);", "check_usable_everywhere(*state_->side, {});"),
    ]),
    ("reload takes what a security level forbids", [
        ("lib/openssl/client/attach.cpp", "check_usable_everywhere(*state_->side, after->all);", ""),
    ]),
    ("a TRUSTED CERTIFICATE among anchors is passed over", [
        (PEM, "if (type == PEM_STRING_X509_TRUSTED && kinds == wanted::certificates_and_crls)", "if (place.empty())"),
    ]),
    ("a TRUSTED CERTIFICATE is an anchor, whatever its uses", [
        (PEM, "(name == PEM_STRING_X509_TRUSTED && kinds == wanted::own_certificates)", "name == PEM_STRING_X509_TRUSTED"),
        (PEM, "if (type == PEM_STRING_X509_TRUSTED && kinds == wanted::certificates_and_crls)", "if (place.empty())"),
    ]),
    ("of DER with more after it the first is taken", [
        (PEM, "        malformed(place, \"has octets after its end\");", "        ERR_clear_error();"),
    ]),
    ("one allowed name lets the others in", [
        (ADMITTED, "std::ranges::all_of(*names, [&](const name_of_leaf& name) { return any(false, name); });",
         "std::ranges::any_of(*names, [&](const name_of_leaf& name) { return any(false, name); });"),
    ]),
    ("a denied name comes in", [
        (ADMITTED, "if (names && std::ranges::any_of(*names,", "if (false && std::ranges::any_of(*names,"),
    ]),
    ("a name counts under any anchor", [
        (ADMITTED, "(rule.by.empty() || (anchor != nullptr && std::ranges::binary_search(rule.by, *anchor)));", "true;"),
    ]),
    ("names that cannot be compared pass where there are only denials", [
        (ADMITTED, "    if (!names) return false;\n", ""),
    ]),
    ("a name of a host ends at NUL", [
        (ADMITTED, "static_cast<std::size_t>(ASN1_STRING_length(text)));",
         "std::char_traits<char>::length(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text))));"),
    ]),
    ("a wildcard stands for several labels", [
        (ADMITTED, "only(name.substr(0, dot), \"-_\") && name.substr(dot) == after;", "name.ends_with(after);"),
    ]),
    ("the label of a URI's wildcard holds a path", [
        (ADMITTED, "only(name.substr(0, dot), \"-_\") && name.substr(dot) == after;", "name.substr(dot) == after;"),
    ]),
    ("a wildcard in a certificate is a label", [
        (ADMITTED, "if (!is_host(names.back().value)) return std::nullopt;", ""),
    ]),
    ("letter case of a certificate's DNS name counts", [
        (ADMITTED, "names.push_back({kind::dns, lower_case(octets)});", "names.push_back({kind::dns, std::string(octets)});"),
    ]),
    ("a SPIFFE ID beside another URI", [
        (ADMITTED, "    if (spiffe && uris != 1) return std::nullopt;\n", ""),
    ]),
    ("any path makes a SPIFFE ID", [
        (ADMITTED, "        if (!is_spiffe_id(octets)) return std::nullopt;\n", ""),
    ]),
    ("whom the rules do not admit comes in", [
        (WITNESS, "!admits(by->trust.admitted, *X509_STORE_CTX_get0_cert(verification), &under->thumbprint)", "false"),
    ]),
    ("whom the rules do not admit gets to the application", [
        (WITNESS, "    SSL_set_num_tickets(by.ssl, 1);\n", ""),
    ]),
    ("the ticket of whom the rules do not admit goes out", [
        (HANDSHAKE, "                return SSL_AD_ACCESS_DENIED;\n", ""),
    ]),
    ("rules are not in the scope of sessions", [
        ("lib/openssl/trust/trust_store.hpp", 'setting("admitted", &trust_settings::admitted)',
         'apart("admitted", &trust_settings::admitted)'),
    ]),
    ("a resumed session's anchor is the first", [
        (SESSION, "store()->anchor_at(found->anchor)", "store()->certificates.front().get()"),
    ]),
    ("a provider asks a person for its PIN", [
        ("lib/openssl/client/no_prompt.cpp", "bool refusing() noexcept { return depth > 0 || in_handshake; }",
         "bool refusing() noexcept { return depth > 1000; }"),
    ]),
    ("the session of another client goes out in the ClientHello", [
        (CLIENT, "\n    return SSL_AD_INTERNAL_ERROR;", "\n    return std::nullopt;"),
    ]),
    ("client::resume takes the session of another client", [
        ("lib/openssl/client/attach.cpp", "if (scope_in(session) != scope(ssl) || ", "if (!scope_in(session) || "),
    ]),
    ("a client's scope does not see the label", [
        (SETTINGS, 'setting("label", &client_policy::label)', 'apart("label", &client_policy::label)'),
    ]),
    ("a policy's digest does not see whom it asks, and in whom it trusts", [
        (SETTINGS, 'setting("when_offered", &server_policy::when_offered)',
         'apart("when_offered", &server_policy::when_offered)'),
    ]),
    ("a client's scope does not see the credentials", [
        (CLIENT_SCOPE, "all.add(there.of->digest).add(credentials);", "all.settings(there.of->policy);\n    (void)credentials;"),
    ]),
    ("a client's scope does not see what it trusts", [
        (CLIENT_SCOPE, "if (store != nullptr) all.add(digest_of_store(store));", ""),
    ]),
    ("a client's scope does not see the names that it checks", [
        (CLIENT_SCOPE, "all.add(X509_VERIFY_PARAM_get0_host(parameters, i));", "{}"),
    ]),
    ("a client's scope does not see the address that it checks", [
        (CLIENT_SCOPE, ".add(address_in(parameters));", ";\n    (void)address_in;"),
    ]),
    ("a client's scope does not see the parameters of the store", [
        (CLIENT_SCOPE, "        add_parameters(all, X509_STORE_get0_param(store));\n", ""),
    ]),
    ("a client's scope does not see chains", [
        (CLIENT_SCOPE, "        add_chain(own, one.chain.get());\n", ""),
    ]),
    ("a client's scope depends on the order of its certificates", [
        (CLIENT_SCOPE, "    std::ranges::sort(each);\n", ""),
    ]),
    ("a client's scope changes when a directory is looked up", [
        (CLIENT_SCOPE, "        if (const auto* before = seen::of(store)) return before->octets;\n    }", "    }"),
        (CLIENT_SCOPE, "if (const auto* before = seen::of(store)) return before->octets;\n    return seen::keep",
         "seen::drop(store);\n    return seen::keep"),
    ]),
    ("a client takes the end of its handshake for the server's yes", [
        ("lib/openssl/client/outcome.cpp", "return ticket_came(ssl) ? verdict::ticket", "return finished || ticket_came(ssl) ? verdict::ticket"),
    ]),
    ("a client is not told that it was refused", [
        ("lib/openssl/client/outcome.cpp", "if (facts.answered && facts.alert && !facts.after_data)", "if (facts.answered && facts.alert && facts.after_data)"),
    ]),
    ("a bound token is served with any certificate", [
        (BINDING, " && CRYPTO_memcmp(shown->data(), wanted->data(), wanted->size()) == 0;", ";"),
    ]),
    ("a bound token is served without a certificate", [
        (ANSWERS, "    if (!access::leaf(shown)) return cause::missing_certificate;\n", ""),
        (ANSWERS, "    if (!equal) return cause::mismatch;", "    if (!equal && access::leaf(shown)) return cause::mismatch;"),
    ]),
    ("a bound token is served by certificates of any outcome", [
        (ANSWERS, "if (!detail::serves(access::from(shown), how)) return", "if (!detail::serves(access::from(shown), how) && !equal) return"),
    ]),
    ("a bound token is served in early data", [
        (ANSWERS, "if (access::early(shown) || access::none_because", "if (access::none_because"),
    ]),
    ("a certificate that did not verify is the application's own", [
        (BINDING, "if (own == nullptr || SSL_get_verify_result(&ssl) != X509_V_OK) return", "if (own == nullptr) return"),
    ]),
    ("an agent's certificate is the application's own", [
        (BINDING, "SSL_is_init_finished(&ssl) != 1 || is_of_agent(ssl)) return",
         "SSL_is_init_finished(&ssl) != 1) return"),
    ]),
    ("any proxy of the CA is a trusted hop", [
        (BINDING, "if (!own || std::ranges::find(proxies, own->its) == proxies.end()) return", "if (!own || proxies.empty()) return"),
    ]),
    ("a client is authenticated by a certificate of any outcome", [
        (CLIENTS, "return detail::serves(access::from(shown), how) ? client_cause::authenticated : client_cause::wrong_outcome;",
         "return client_cause::authenticated;"),
    ]),
    ("a registered subject is compared by its last name alone", [
        ("lib/oauth/registered_name.cpp", "return X509_NAME_cmp(X509_get_subject_name(&certificate), &subject) == 0;",
         "return X509_NAME_entry_count(&subject) > 0;"),
    ]),
    ("a registered name is found in any kind of subjectAltName", [
        ("lib/oauth/registered_name.cpp", "if (type != name.type || name.octets.empty()) continue;",
         "if ((type != GEN_DNS && type != GEN_URI && type != GEN_EMAIL && type != GEN_IPADD) || name.octets.empty()) continue;"),
    ]),
    ("an unvouched client is one whatever is wrong with its certificate", [
        (WITNESS, "(first || was_unvouched) && is_for_want_of_issuer(error);", "(first || was_unvouched);"),
    ]),
    ("an unvouched client is one after the first error, whatever comes next", [
        (WITNESS, "(first || was_unvouched) && is_for_want_of_issuer(error);",
         "((first && is_for_want_of_issuer(error)) || was_unvouched);"),
    ]),
    ("an unvouched client can be of a CA that has its say here", [
        (WITNESS, "return sk_X509_num(anchors.get()) > 0 || sk_X509_CRL_num(lists.get()) > 0 ? X509_V_ERR_CERT_UNTRUSTED : X509_V_OK;",
         "return X509_V_OK;"),
    ]),
    ("unvouched clients are taken without the policy's word", [
        (WITNESS, "by.auth.takes_unvouched() && (first", "(first"),
    ]),
    ("an unvouched client is one after another certificate has come", [
        ("lib/decide/outcome.cpp", "facts->witness.unvouched &&\n           facts->witness.leaf == now.leaf;", "facts->witness.unvouched;"),
    ]),
    ("of several Client-Cert fields the first counts", [
        (BINDING, "if (client_cert.size() != 1) return none;", "if (client_cert.empty()) return none;"),
    ]),
    ("unknown members of cnf are ignored", [
        (ANSWERS, "if (others || (!x5t_s256 && !jkt)) {", "if (!others && !x5t_s256 && !jkt) {"),
    ]),
    ("a token with jkt is accepted without a word", [
        (ANSWERS, "return proof ? cause::proof_left : cause::bound;", "return proof ? cause::bound : cause::bound;"),
    ]),
    ("a cnf that is no object is none", [
        (ANSWERS, "else if (read.cnf == claims::confirmation::other)", "else if (false)"),
    ]),
    ("a member twice: the last one counts", [
        (CLAIMS, "if (open_.back().names.insert(name).second) return true;", "if (open_.back().names.insert(name).second || true) return true;"),
    ]),
    ("claims end at a NUL", [
        (CLAIMS, "else if (json.find('\\0') != std::string_view::npos)", "else if (false)"),
    ]),
    ("introspection: active is not looked at", [
        (ANSWERS, "if (read.active == claims::state::no || (introspection && read.active == claims::state::unsaid))", "if (false && introspection)"),
    ]),
    ("the realm ends its own string", [
        (ANSWERS, """            if (c == '"' || c == '\\\\') value += '\\\\';\n""", ""),
    ]),
    ("modules: an agent of another host passes where a customer is required", [
        (STANDING, "host.elsewhere && (host.requires_customer || host.misdirected_is_421)",
         "host.elsewhere && host.misdirected_is_421"),
    ]),
    ("modules: misdirected requests are never answered with 421", [
        (STANDING, "(host.requires_customer || host.misdirected_is_421)", "host.requires_customer"),
    ]),
    ("modules: a place that requires a customer is open to agents", [
        (STANDING, "if (host.place_requires_customer) return standing::refused;", ""),
    ]),
    ("modules: an agent is one at every host", [
        (STANDING, "if (host.elsewhere) return standing::stranger;", ""),
    ]),
    ("modules: whoever sent the flag comes in beside customers", [
        (STANDING, "!(host.agents_beside && who.verified)", "!host.agents_beside"),
    ]),
    ("modules: agents come in beside customers unasked", [
        (STANDING, "!(host.agents_beside && who.verified)", "!who.verified"),
    ]),
    ("a message of an error with line ends in it", [
        ("lib/error.cpp", "if (octet < 0x20 || octet == 0x7f)", "if (octet == 0x7f)"),
    ]),
    ("a PEM block gets lost whose two lines have another blank", [
        ("lib/openssl/base/pem.cpp", "if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')) letters += c;",
         "if (c != ' ') letters += c;"),
    ]),
    ("an extension type that OpenSSL handles and does not name", [
        ("lib/openssl/extension.cpp", "unnamed = {19, 20, 27, 50};", "unnamed = {19, 20, 27, 27};"),
    ]),
    ("spends anew on each PSK identity what a ClientHello costs once", [
        (HELLO, "known != nullptr && known->identities != nullptr && known->identities->next == identity)", "known != nullptr && identity == nullptr)"),
    ]),
    ("counters without the handshakes that were refused", [
        ("lib/openssl/server/events.cpp", "if (pending && failed)", "if (pending && failed && event == 0)"),
    ]),
    ("counters have a HelloRetryRequest as a handshake of its own", [
        (HELLO, "if (!retried) broken_off(ssl, earlier);", "broken_off(ssl, earlier);"),
    ]),
    ("counters take a resumed session for one that was asked for anew", [
        ("lib/openssl/server/ending.cpp", "how.resumed = !how.other && found.resumed;", ""),
    ]),
    ("spends on a server name that OpenSSL does not take", [
        (HELLO, "body.size() > before_name + TLSEXT_MAXLEN_host_name ||", ""),
    ]),
    ("spent: holds a handshake's policies until the connection closes", [
        ("lib/openssl/server/record.hpp", "now.decided_by.reset();\n        now.hello.reset();", "now.decided_by.reset();"),
    ]),
    ("spent: an info callback over ours keeps the end of the handshake from us", [
        ("lib/openssl/server/peer.cpp", "if (record->now.hello != nullptr && SSL_is_server(&ssl) == 1 && SSL_is_init_finished(&ssl) == 1)", "if (false)"),
        (HANDSHAKE, "if (client_has_finished(ssl)) handshake_done(ssl, *record);", ""),
    ]),
    ("without memory: alternative names that cannot be read are none", [
        ("lib/openssl/server/identity.cpp", "if (names == nullptr && found != none)", "if (names == nullptr && found == 1)"),
    ]),
    ("without memory: a chain that cannot be kept is the leaf alone", [
        ("lib/openssl/server/identity.cpp", "if (who->chain == nullptr) throw error(errc::openssl, \"a chain cannot be kept\" + drain_errors());", ""),
    ]),
    ("without memory: the application's verify parameters are gone", [
        ("lib/openssl/server/borrowed.cpp", "const bool all = X509_VERIFY_PARAM_set1(SSL_get0_param(ssl), was.parameters.get()) == 1 &&",
         "X509_VERIFY_PARAM_set1(SSL_get0_param(ssl), was.parameters.get());\n    const bool all ="),
    ]),
    ("without memory: one key is two", [
        ("lib/openssl/trust/trust.cpp", "must(!no_memory && (read == nullptr) == (key == nullptr) && (name == nullptr) == (number == nullptr));",
         "(void)no_memory;"),
    ]),
    ("without memory, and with it: verify parameters with policies come back with another flag", [
        ("lib/openssl/server/borrowed.cpp", "X509_VERIFY_PARAM_clear_flags(SSL_get0_param(ssl), ~was.verify_flags);", ""),
    ]),
    ("resumes what came of a request that was not acknowledged", [
        (CLIENT, "unmark_session(*SSL_get_session(ssl));", ""),
    ]),
    ("marks it again at the end", [
        (CLIENT, "record.scope.reset();\n            unmark_session", "unmark_session"),
    ]),
    ("presents a session again whose handshake failed", [
        (CLIENT, "if (found == record.scope && !spent) return;", "if (found == record.scope) return;"),
    ]),
    ("client::resume takes such a session", [
        ("lib/openssl/client/attach.cpp", " || there->of->is_spent(id_of(session))", ""),
    ]),
    ("presents the credential although the flag was left out for this server", [
        (CLIENT, "present && for_the_flag)", "present && (for_the_flag || true))"),
    ]),
    ("takes any end of a connection for one on the flag", [
        ("lib/openssl/client/outcome.cpp", "!names_another_cause(*facts.alert) : octets_read(&ssl) == facts.octets", "true : true"),
    ]),
    ("an agent's certificate opens the customers' door, too", [
        (WITNESS, "} else if (opens_customers_door(*by, verification)) {", "} else if (by->ssl == nullptr) {"),
    ]),
    ("a session from where no customers are asked is taken where they are", [
        (SESSION, "digest.front() ^= 1U;", "digest.front() ^= 0U;"),
    ]),
    ("a CA's own certificate hides the one that customers' CA has signed", [
        (WITNESS, "(X509_get_extension_flags(each) & EXFLAG_SS) == 0 &&", ""),
    ]),
    ("without memory: an agent's certificate opens the customers' door, too", [
        (WITNESS, "return verified != 0 || !without_errors || !is_for_want_of_issuer(X509_STORE_CTX_get_error(theirs.get()));", "return verified == 1 || before == 1;"),
    ]),
    ("QUIC: the certificate callback goes by the TLS object inside", [
        (CLIENT, "SSL* ssl = connection_of(handed);", "SSL* ssl = handed;"),
    ]),
    ("QUIC: a client's alert is told of with the TLS object inside", [
        (CLIENT, "if (event == SSL_CB_WRITE_ALERT) ssl = connection_of(ssl);", ""),
    ]),
    ("QUIC: a server's alert is told of with the TLS object inside", [
        ("lib/openssl/server/events.cpp", "if (event == SSL_CB_WRITE_ALERT) ssl = connection_of(ssl);", ""),
    ]),
    ("QUIC: is no TLS 1.3", [
        (QUIC, "return is_quic(ssl) || SSL_version(ssl) >= TLS1_3_VERSION;", "return SSL_version(ssl) >= TLS1_3_VERSION;"),
    ]),
    ("QUIC: the alert in a server's close is not found", [
        (QUIC, "(how.flags & SSL_CONN_CLOSE_FLAG_LOCAL) == 0 &&", "(how.flags & SSL_CONN_CLOSE_FLAG_LOCAL) != 0 &&"),
    ]),
    ("QUIC: what waits for the callback to end is called in it", [
        (SESSION, "is_quic(ssl) ? SSL_CTX_get_options(SSL_get_SSL_CTX(ssl)) : SSL_get_options(ssl)", "SSL_get_options(ssl)"),
    ]),
    ("QUIC: what waits for a client's callback to end is called in it", [
        (CLIENT, "if (is_quic(ssl)) return there.sends_extension;", ""),
    ]),
    ("QUIC: a client in threads of OpenSSL's is taken", [
        ("lib/openssl/extension.cpp", "if (is_quic(probe.get()) && quic_role_of(context) != quic_role::client)", "if (false)"),
    ]),
]
