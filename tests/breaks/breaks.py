# SPDX-License-Identifier: Apache-2.0
"""Deliberate breaks of the library: what scripts/break-and-catch applies, one at a time.

A break is a name, which says what is wrong then, and its edits: a file, a text that stands in it once, however it is
laid out in lines, and what stands there in its place. Where the library changes, so must the text here: one that is
not found is an error.
"""

HANDSHAKE = "lib/openssl/server/handshake.cpp"
SCOPE = "lib/openssl/server/session.cpp"
WITNESS = "lib/openssl/server/witness.cpp"
MARK = "lib/decide/mark.cpp"
CLIENT = "lib/openssl/client/handshake.cpp"
CLIENT_SCOPE = "lib/openssl/client/session.cpp"
CERTIFICATES = "lib/openssl/client/certificates.cpp"
CREDENTIAL = "lib/openssl/client/credential.cpp"
ANSWERS = "lib/oauth/oauth.cpp"
CLAIMS = "lib/oauth/claims.cpp"
BINDING = "lib/oauth/binding.cpp"
STANDING = "modules/standing.hpp"

BREAKS = [
    ("decides when the ClientHello is parsed, before the host is settled", [
        (HANDSHAKE, "// Records what this ClientHello says,",
         "std::optional<alert> decide_now(SSL* ssl);\n\n// Records what this ClientHello says,"),
        (HANDSHAKE, "    kept.server.hello = hello;\n    return std::nullopt;",
         "    kept.server.hello = hello;\n    return decide_now(ssl);"),
        (HANDSHAKE, "    case message::encrypted_extensions: return decide_now(ssl);",
         "    case message::encrypted_extensions:\n"
         "        if (connection* kept = connection_of(ssl)) kept->server.server_random = server_random_of(ssl);\n"
         "        return std::nullopt;"),
    ]),
    ("policy and store of the first context", [
        (HANDSHAKE, "kept->snapshot->find(there->server.get()) : nullptr", "&kept->snapshot->entries.front() : nullptr"),
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
        (HANDSHAKE, "    if (kept == nullptr) return;\n    //= TLS-3",
         "    if (kept == nullptr) out.insert(request_client_auth);\n    if (kept == nullptr) return;\n    //= TLS-3"),
    ]),
    ("does not acknowledge", [
        (HANDSHAKE, "    out.insert(kept->of->options.flag);", ""),
    ]),
    ("no scope", [
        (SCOPE, ".number(server_name.has_value()).add(name).number(wanted)"
                ".add(arrived_at != nullptr ? arrived_at->digest : sha256_digest{}).add(now.digest)", ""),
    ]),
    ("scope without the server name", [
        (SCOPE, ".number(server_name.has_value()).add(name).number(wanted)", ".number(wanted)"),
    ]),
    ("scope without the SSL_CTX at which the ClientHello arrives", [
        (SCOPE, ".add(arrived_at != nullptr ? arrived_at->digest : sha256_digest{})", ""),
        (SCOPE, "const policies::entry* arrived_at = now.find(where);", "(void)where;"),
    ]),
    ("sessions outlive a reload: neither scope nor mark name the policies", [
        (SCOPE, ".add(arrived_at != nullptr ? arrived_at->digest : sha256_digest{}).add(now.digest)", ""),
        (MARK, " && found->policy == policy", ""),
        (MARK, "const sha256_digest& policy,", "const sha256_digest&,"),
    ]),
    ("no mark is written", [
        (HANDSHAKE, "if (SSL_SESSION_set1_ticket_appdata(session, octets.data(), octets.size()) != 1)",
         "if (octets.empty())"),
    ]),
    ("what is resumed is vouched for without a mark", [
        (HANDSHAKE, "if (!found || leaf == nullptr || kept.decided_by == nullptr) return;",
         "if (leaf == nullptr || kept.decided_by == nullptr) return;"),
        (HANDSHAKE, "    const heard& hello = *kept.server.hello;\n"
                    "    if (!vouches(found, hello.scope, kept.decided_by->digest, digest, hello.at)) return;\n", ""),
        (HANDSHAKE, "    kept.deadline = found->deadline;", "    kept.deadline = now() + 3600;"),
    ]),
    ("mark without the leaf", [
        (MARK, " && found->leaf == leaf", ""),
        (MARK, "const sha256_digest& leaf,", "const sha256_digest&,"),
    ]),
    ("mark without the deadline", [
        (MARK, " && now < found->deadline", ""),
        (MARK, "std::int64_t now) noexcept", "std::int64_t) noexcept"),
    ]),
    ("a session resumes though nobody vouched for it", [
        (HANDSHAKE, "if (SSL_session_reused(ssl) != 1) set_scope(ssl, unmatchable());",
         "if (SSL_session_reused(ssl) != 1) set_scope(ssl, hello.scope);"),
        (HANDSHAKE, "if (!exchange.vouched || left_until(kept->deadline) == 0) kept->put_aside.stop_tickets(ssl);\n"
                    "        else if", "if"),
    ]),
    ("timeout not kept: each renewed ticket begins its time anew", [
        (HANDSHAKE, "else if (!stateful(ssl)) SSL_SESSION_set_timeout(SSL_get_session(ssl), left_until(kept->deadline));",
         ""),
        (HANDSHAKE, "    SSL_SESSION_set_timeout(SSL_get_session(ssl), left_until(kept->deadline));\n}", "}"),
    ]),
    ("the age of a session has no bound", [
        (HANDSHAKE, "    const std::int64_t deadline = deadline_of(chain, now(), most);",
         "    const std::int64_t deadline = now() + 7 * 24 * 3600;\n    (void)chain;"),
    ]),
    ("no reset on HelloRetryRequest", [
        (HANDSHAKE, "        if (connection* kept = connection_of(ssl))\n            kept->server = {.hello = std::nullopt,",
         "        if (connection* kept = nullptr)\n            kept->server = {.hello = std::nullopt,"),
    ]),
    ("flags may differ around HelloRetryRequest", [
        (HANDSHAKE, "if (before && (same ? before->flags != flags : !before->started_anew)) {", "if (before && !same && !before->started_anew) {"),
    ]),
    ("no reset on SSL_clear: an earlier handshake's facts count", [
        ("lib/decide/outcome.cpp", "exchange->hello && exchange->server_random == now.server_random;",
         "exchange->hello && exchange->server_random;\n    (void)now;"),
    ]),
    ("what was put aside is not put back", [
        ("lib/openssl/server/borrowed.cpp", "if (!asking_) return true;\n    ERR_set_mark();", "asking_ = false;\n    return true;\n    ERR_set_mark();"),
    ]),
    ("witness forgets an error that somebody passes over", [
        (WITNESS, "by.seen.failed = true;", "by.seen.failed = by.auth.asks() == client_auth::mode::none;"),
    ]),
    ("witness does not see what comes after its verification", [
        (WITNESS, "if (by->seen.held && result != X509_V_ERR_APPLICATION_VERIFICATION) fail(*by, result);", ""),
        (HANDSHAKE, "result != X509_V_ERR_APPLICATION_VERIFICATION) {", "result == -1) {"),
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
    ("witness leaves validity to OpenSSL", [
        (WITNESS, "if (!in_force(*certificate, trust)) return X509_V_ERR_CERT_HAS_EXPIRED;", "(void)in_force;"),
    ]),
    ("witness leaves revocation to OpenSSL", [
        (WITNESS, "found != X509_V_OK)\n                return found;", "found == -1)\n                return found;"),
    ]),
    ("witness lets DANE decide", [
        (WITNESS, "return by.kept.put_aside.has_dane() && verification != by.kept.apart;",
         "return by.kept.put_aside.has_dane() && verification == nullptr;"),
    ]),
    ("a CRL of another key of the CA is none", [
        (WITNESS, "return place > 0 && !unusable && !trust.crls_for_every_ca;", "return place > 0 && !trust.crls_for_every_ca;"),
        (WITNESS, "return found;\n        any_pinned", "return found == X509_V_ERR_CERT_REVOKED ? found : X509_V_OK;\n        any_pinned"),
    ]),
    ("verdict asks beside customers unasked", [
        ("lib/decide/policy.cpp", "if (now.customers_asked && !now.beside_customers) return ignored(now);", ""),
    ]),
    ("an agent's session resumes where customers are asked", [
        ("lib/decide/policy.cpp", "return now.agents_session && now.customers_asked ? verdict::refuse : verdict::ignore;",
         "return now.agents_session && now.offered && now.customers_asked ? verdict::refuse : verdict::ignore;"),
    ]),
    ("attach is silent where the flag is ignored", [
        ("lib/openssl/server/attach.cpp", "if (auto why = ignored_here(context, policy))", "if (auto why = ignored_here(context, policy); why && why->empty())"),
    ]),
    ("a switch between SSL_CTXs with unequal extensions", [
        ("lib/openssl/server/attach.cpp", "if (listener_->extensions && *listener_->extensions != extensions)",
         "if (listener_->extensions && extensions.size() > 1000)"),
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
    ("a session of a ClientHello that was taken for another", [
        (HANDSHAKE, "if (!known && SSL_session_reused(ssl) == 1 && identities.unflagged) {",
         "if (!known && SSL_session_reused(ssl) == 1 && identities.unflagged && flags.empty()) {"),
    ]),
    ("witness is not needed: a certificate is enough", [
        ("lib/decide/outcome.cpp", "    if (exchange->witness.failed) return reason::invalid;\n    if (!now.certificate)",
         "    if (!now.certificate)"),
        ("lib/decide/outcome.cpp", "    if (!exchange->witness.held || exchange->witness.leaf != now.leaf) return reason::not_witnessed;\n", ""),
    ]),
    ("the verify result of an agent is OK", [
        (HANDSHAKE, "kept.decided_by != nullptr && kept.decided_by->policy->verify_result_ok;", "kept.decided_by != nullptr;"),
    ]),
    ("sessions keep the verify result that verify_result_ok shows", [
        (WITNESS, "//= SEC-8\n                X509_STORE_CTX_set_error(verification, X509_V_ERR_APPLICATION_VERIFICATION);",
         "X509_STORE_CTX_set_error(verification, by->kept.decided_by->policy->verify_result_ok ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);"),
        (WITNESS, "if (by->seen.held && result != X509_V_ERR_APPLICATION_VERIFICATION) fail(*by, result);",
         "if (by->seen.held && result != X509_V_ERR_APPLICATION_VERIFICATION && result != X509_V_OK) fail(*by, result);"),
        (WITNESS, "if (result == X509_V_OK) SSL_set_verify_result(by->ssl, X509_V_ERR_APPLICATION_VERIFICATION);", ""),
        (HANDSHAKE, "result != X509_V_ERR_APPLICATION_VERIFICATION) {", "result != X509_V_ERR_APPLICATION_VERIFICATION && result != X509_V_OK) {"),
    ]),
    ("a client takes an acknowledgement that it did not ask for", [
        ("lib/wire/rules.cpp", "? violation::acknowledged_unoffered : violation::none", "? violation::none : violation::none"),
    ]),
    ("what an earlier ClientHello with the same Random had found counts", [
        (HANDSHAKE, "early->client_random == hello.client_random && early->flags == flags && early->server_name == name;",
         "early->client_random == hello.client_random;"),
    ]),
    ("a client shows its identity to a request without the flag", [
        (CLIENT, "if (policy.when_unacknowledged == unacknowledged::empty) return present(nullptr);",
         "if (policy.when_unacknowledged == unacknowledged::empty) return present(presentable(ssl, credentials));"),
    ]),
    ("the SSL_CTX's own certificate goes out unacknowledged although it is the flag's", [
        (CLIENT, "return is_ours(*there->client, one.certificate.get(), one.key.get());",
         "return !is_ours(*there->client, one.certificate.get(), one.key.get()) && false;"),
    ]),
    ("what client_cert_cb gives goes out unacknowledged although it is the flag's", [
        (CLIENT, "return is_ours(*there->client, *certificate, *key) ? 0 : 1;",
         "return is_ours(*there->client, *certificate, *key) ? 1 : 1;"),
    ]),
    ("a client forgets the keys that it had", [
        ("lib/openssl/client/attach.cpp", "std::vector<sha256_digest> keys = keys_;", "std::vector<sha256_digest> keys;"),
    ]),
    ("a client compares certificates, not keys", [
        (CREDENTIAL, "loaded->key_digest = key_digest(*certified);", "loaded->key_digest = loaded->thumbprint;"),
        (CLIENT, "return side.had(key_digest(*shown));",
         "return certificate != nullptr ? side.had(sha256(*certificate)) : side.had(key_digest(*shown));"),
        (CLIENT, '#include "no_prompt.hpp"', '#include "no_prompt.hpp"\n#include "pem.hpp"'),
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
        (CERTIFICATES, "    one.chain = std::move(copy);\n", "    (void)copy;\n"),
    ]),
    ("a client's own certificates stay away after the handshake", [
        (CLIENT, "    kept.credentials.reset();\n    kept.own.give_back(ssl);\n}", "    kept.credentials.reset();\n}"),
        (CLIENT, "    kept.own.give_back(ssl);\n    kept.credentials_digest", "    kept.credentials_digest"),
        (CLIENT, "        kept.own.give_back(ssl);\n        kept.credentials.reset();\n", "        kept.credentials.reset();\n"),
    ]),
    ("certificates that a client's application has set meanwhile are lost, or the flag's stays among them", [
        (CERTIFICATES, "std::erase_if(there, [&](const own_certificate& one) { return holds(put_, one); });", ""),
    ]),
    ("an idle connection keeps its client's earlier credentials", [
        (CLIENT, "    kept.credentials.reset();\n    kept.own.give_back(ssl);\n}", "    kept.own.give_back(ssl);\n}"),
    ]),
    ("a request after the handshake gets another credential than the sessions are marked with", [
        (CLIENT, "if (after_handshake(ssl) && now->digest != kept.credentials_digest) return none;", ""),
    ]),
    ("a client that goes over to another's SSL_CTX shows the first one's credential there", [
        (CLIENT, "return kept.credentials->of == &side ? *kept.credentials : none;", "return *kept.credentials;"),
    ]),
    ("an info callback that calls the one it found is called by it", [
        (CLIENT, "if (passing_on == watched) return;", ""),
        (CLIENT, "&& next != called_first(ssl)", ""),
        (CLIENT, "|| std::exchange(kept.told_of_start, false)) return;", ") return;"),
    ]),
    ("an info callback that calls the one it found gets events twice", [
        (CLIENT, "&& next != called_first(ssl)", ""),
    ]),
    ("an info callback that calls the SSL_CTX's hides it", [
        (CLIENT, "|| std::exchange(kept.told_of_start, false)) return;", ") return;"),
    ]),
    ("a client does not look at the authorities of a request", [
        (CLIENT, "one.holder()->valid(now()) && one.holder()->named_by(ssl) &&", "one.holder()->valid(now()) &&"),
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
    ("a provider asks a person for its PIN", [
        ("lib/openssl/client/no_prompt.cpp", "bool refusing() noexcept { return depth > 0 || in_handshake; }",
         "bool refusing() noexcept { return depth > 1000; }"),
    ]),
    ("the session of another client goes out in the ClientHello", [
        (CLIENT, "\n    return no_alert;", "\n    (void)no_alert;\n    return std::nullopt;"),
    ]),
    ("client::resume takes the session of another client", [
        ("lib/openssl/client/attach.cpp", "if (scope_in(session) != scope(ssl)) return false;",
         "if (!scope_in(session)) return false;"),
    ]),
    ("a client's scope does not see the label", [
        (CLIENT_SCOPE, "all.add(policy.label).number(policy.flag)", "all.number(policy.flag)"),
    ]),
    ("a client's scope does not see the credentials", [
        (CLIENT_SCOPE, "return all.add(credentials).add(connection).end();",
         "(void)credentials;\n    return all.add(connection).end();"),
    ]),
    ("a client's scope does not see what it trusts", [
        (CLIENT_SCOPE, "if (store != nullptr) all.add(digest_of(store));", ""),
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
        (CLIENT_SCOPE, "        if (const sha256_digest* before = seen()) return *before;\n    }", "    }"),
        (CLIENT_SCOPE, "    if (const sha256_digest* before = seen()) return *before;\n    if (X509_STORE_set",
         "    delete seen();\n    if (X509_STORE_set"),
    ]),
    ("a client takes the end of its handshake for the server's yes", [
        ("lib/openssl/client/outcome.cpp", "return SSL_is_init_finished(&ssl) == 1 && ticket_came(ssl) ?",
         "return SSL_is_init_finished(&ssl) == 1 || ticket_came(ssl) ?"),
    ]),
    ("a client is not told that it was refused", [
        ("lib/openssl/client/outcome.cpp", "return std::ranges::find(all, alert) != all.end();",
         "return std::ranges::find(all, alert) == all.end();"),
    ]),
    ("a bound token is served with any certificate", [
        (BINDING, " && CRYPTO_memcmp(shown->data(), wanted->data(), wanted->size()) == 0;", ";"),
    ]),
    ("a bound token is served without a certificate", [
        (ANSWERS, "    if (!access::leaf(shown)) return cause::missing_certificate;\n", ""),
        (ANSWERS, "    if (!equal) return cause::mismatch;", "    if (!equal && access::leaf(shown)) return cause::mismatch;"),
    ]),
    ("a bound token is served by certificates of any outcome", [
        (ANSWERS, "if (!serves(access::from(shown), how)) return", "if (!serves(access::from(shown), how) && !equal) return"),
    ]),
    ("a bound token is served in early data", [
        (ANSWERS, "if (access::early(shown) || access::none_because", "if (access::none_because"),
    ]),
    ("a certificate that did not verify is the application's own", [
        (BINDING, "if (leaf == nullptr || SSL_get_verify_result(&ssl) != X509_V_OK) return", "if (leaf == nullptr) return"),
    ]),
    ("an agent's certificate is the application's own", [
        (BINDING, "SSL_is_init_finished(&ssl) != 1 || reqauth::detail::is_of_an_agent(ssl)) return",
         "SSL_is_init_finished(&ssl) != 1) return"),
    ]),
    ("any proxy of the CA is a trusted hop", [
        (BINDING, "if (!own || std::ranges::find(proxies, *own) == proxies.end()) return", "if (!own || proxies.empty()) return"),
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
        ("lib/openssl/context.cpp", "unnamed = {19, 20, 27, 50};", "unnamed = {19, 20, 27, 27};"),
    ]),
    ("spends anew on each PSK identity what a ClientHello costs once", [
        (HANDSHAKE, "known != nullptr && known->identities.next == identity)", "known != nullptr && identity == nullptr)"),
    ]),
    ("spends on a server name that OpenSSL does not take", [
        (HANDSHAKE, "body.size() > before_name + TLSEXT_MAXLEN_host_name ||", ""),
    ]),
    ("spent: holds a handshake's policies until the connection closes", [
        ("lib/openssl/connection.hpp", "decided_by = nullptr;\n        snapshot.reset();", "decided_by = nullptr;"),
    ]),
    ("spent: an info callback over ours keeps the end of the handshake from us", [
        ("lib/openssl/server/peer.cpp", "if (SSL_is_server(&ssl) == 1 && SSL_is_init_finished(&ssl) == 1)", "if (false)"),
        (HANDSHAKE, "if (client_has_finished(ssl)) handshake_done(ssl, *kept);", ""),
    ]),
    ("without memory: alternative names that cannot be read are none", [
        ("lib/openssl/server/identity.cpp", "if (names == nullptr && found != none)", "if (names == nullptr && found == 1)"),
    ]),
    ("without memory: a chain that cannot be kept is the leaf alone", [
        ("lib/openssl/server/identity.cpp", "if (who->chain == nullptr) throw error(errc::openssl, \"a chain cannot be kept\" + drain_errors());", ""),
    ]),
    ("without memory: the application's verify parameters are gone", [
        ("lib/openssl/server/borrowed.cpp", "const bool all = X509_VERIFY_PARAM_set1(SSL_get0_param(ssl), parameters_.get()) == 1 &&",
         "X509_VERIFY_PARAM_set1(SSL_get0_param(ssl), parameters_.get());\n    const bool all ="),
    ]),
    ("without memory: one key is two", [
        ("lib/openssl/trust/trust.cpp", "must(!no_memory && (read == nullptr) == (key == nullptr) && (name == nullptr) == (number == nullptr));",
         "(void)no_memory;"),
    ]),
    ("without memory, and with it: verify parameters with policies come back with another flag", [
        ("lib/openssl/server/borrowed.cpp", "X509_VERIFY_PARAM_clear_flags(SSL_get0_param(ssl), ~verify_flags_);", ""),
    ]),
]
