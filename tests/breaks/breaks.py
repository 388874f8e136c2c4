# SPDX-License-Identifier: Apache-2.0
"""Deliberate breaks of the library: what scripts/break-and-catch applies, one at a time.

A break is a name, which says what is wrong then, and its edits: a file, a text that stands in it once, however it is
laid out in lines, and what stands there in its place. Where the library changes, so must the text here: one that is
not found is an error.
"""

HANDSHAKE = "lib/openssl/server_handshake.cpp"
SCOPE = "lib/openssl/scope.cpp"
WITNESS = "lib/openssl/witness.cpp"
MARK = "lib/mark.cpp"

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
        ("lib/policy.cpp", "if (!now.same_server || !now.wanted) return", "if (!now.same_server) return"),
    ]),
    ("verdict asks beside a context that requires a certificate of everyone", [
        ("lib/policy.cpp", "if (now.everyone_required && !now.beside_required) return ignored(now);", ""),
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
        (HANDSHAKE, "if (before && before->client_random == hello.client_random && before->flags != flags) {",
         "if (before && before->flags.empty()) {"),
    ]),
    ("no reset on SSL_clear: an earlier handshake's facts count", [
        ("lib/outcome.cpp", "exchange->hello && exchange->server_random == now.server_random;",
         "exchange->hello && exchange->server_random;\n    (void)now;"),
    ]),
    ("what was put aside is not put back", [
        ("lib/openssl/overrides.cpp", "    if (!asking_) return;\n    asking_ = false;", "    asking_ = false;\n    return;"),
    ]),
    ("witness ignores a later error", [
        (WITNESS, "if (ok == 0 || found != X509_V_OK) {", "if (!seen.held && (ok == 0 || found != X509_V_OK)) {"),
    ]),
    ("witness is not needed: a certificate is enough", [
        ("lib/outcome.cpp", "    if (exchange->witness.failed) return reason::invalid;\n    if (!now.certificate)",
         "    if (!now.certificate)"),
        ("lib/outcome.cpp", "    if (!exchange->witness.held || exchange->witness.leaf != now.leaf) return reason::not_witnessed;\n", ""),
    ]),
    ("the verify result of an agent is OK", [
        (WITNESS, "else if (seen.held && !policy.verify_result_ok)", "else if (false)"),
        (HANDSHAKE, "SSL_set_verify_result(ssl, X509_V_ERR_APPLICATION_VERIFICATION);", "(void)0;"),
    ]),
    ("a client takes an acknowledgement that it did not ask for", [
        ("lib/rules.cpp", "? violation::acknowledged_unoffered : violation::none", "? violation::none : violation::none"),
    ]),
]
