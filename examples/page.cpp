// SPDX-License-Identifier: Apache-2.0
#include "page.hpp"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <array>

namespace {

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #dfe4ea; --paper: #fff; --ground: #f3f5f8;
  --known: #0b7a4b; --guest: #3a62b5; --doubt: #b4530a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #9aa6b5; --line: #2e3743; --paper: #1a212b; --ground: #11161d;
    --known: #4cc38a; --guest: #8cb0ff; --doubt: #f0a45d; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 3rem 1rem; background: var(--ground); color: var(--ink);
  font: 1.0625rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 44rem; margin: 0 auto; padding: 2.25rem; background: var(--paper);
  border: 1px solid var(--line); border-top: .3rem solid var(--tone, var(--guest)); border-radius: .6rem; }
.known { --tone: var(--known); } .guest { --tone: var(--guest); } .doubt { --tone: var(--doubt); }
.kind { margin: 0 0 .35rem; color: var(--tone, var(--guest)); font-weight: 600; }
h1 { margin: 0 0 1rem; font-size: 1.6rem; line-height: 1.3; overflow-wrap: anywhere; text-wrap: balance; }
p { margin: 0 0 1.5rem; }
table { width: 100%; border-collapse: collapse; margin: 0 0 1.5rem; }
th, td { padding: .55rem 0; border-top: 1px solid var(--line); text-align: left; vertical-align: top; }
th { width: 34%; padding-right: 1rem; color: var(--soft); font-weight: 400; }
td { overflow-wrap: anywhere; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
a { color: var(--guest); }
footer { color: var(--soft); font-size: .94rem; }
@media (max-width: 34rem) {
  body { padding: 0; background: var(--paper); }
  main { padding: 1.5rem 1.15rem 2rem; border-width: .3rem 0 0; border-radius: 0; }
  h1 { font-size: 1.35rem; }
  th, td { display: block; width: auto; }
  th { padding-bottom: 0; font-size: .9rem; } td { padding-top: 0; border-top: 0; } }
)";

std::string escape(std::string_view text) {
    std::string out;
    for (const char each : text) {
        switch (each) {
        case '&': out += "&amp;"; break;
        case '<': out += "&lt;"; break;
        case '>': out += "&gt;"; break;
        case '"': out += "&quot;"; break;
        case '\'': out += "&#39;"; break;
        default: out += each;
        }
    }
    return out;
}

std::string document(std::string_view title, const std::string& main) {
    return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
           escape(title) + "</title>\n<style>" + std::string(style) + "</style>\n</head>\n<body>\n" + main +
           "</body>\n</html>\n";
}

/// greeting is how a visitor was seen.
struct greeting {
    std::string_view tone; ///< a class of the style: known, guest, doubt
    std::string_view kind;
    std::string sentence;
};

greeting greet(const visit& seen) {
    if (seen.resumed && seen.trust)
        return {"known", seen.trust == "agents" ? "A verified agent" : "A known customer",
                "You resumed an earlier connection, on which your certificate verified: you are " + *seen.subject +
                    "."};
    if (seen.trust == "agents")
        return {"known", "A verified agent",
                "You offered a certificate, were asked for it, and it verified: you are " + *seen.subject + "."};
    if (seen.trust == "customers")
        return {"known", "A known customer",
                "This server asks its visitors for a certificate, and yours verified: you are " + *seen.subject + "."};
    if (seen.presented && seen.presented->server_at_fault)
        return {
            "doubt", "A guest",
            "This server could not judge your certificate, since a list or a CA of its own cannot be used: you are a "
            "guest like anybody else. Tell its operator; another certificate would not help."};
    if (seen.presented)
        return {"doubt", "A guest",
                std::string("Your certificate did not verify (") +
                    X509_verify_cert_error_string(seen.presented->verify_error) +
                    "), so you are a guest like anybody else."};
    if (seen.certificate == "invalid")
        return {"doubt", "A guest", "Your certificate did not verify, so you are a guest like anybody else."};
    if (seen.outcome == "accepted")
        return {
            "doubt", "A guest",
            "You offered a certificate and were asked for it, but sent none: you are a guest like anybody else. If you "
            "have one, this server names other CAs than its issuer, the CA between is missing in your file, or your "
            "program could not verify this server: it can tell you which."};
    if (seen.certificate == "empty")
        return {"guest", "A guest",
                "This server asks its visitors for a certificate; you sent none, and are welcome as a guest."};
    if (seen.outcome == "ignored")
        return {"guest", "A guest",
                "You offered a certificate, and this server does not ask for it because of that: welcome, guest."};
    return {"guest", "A guest", "You were never asked for a certificate: welcome, guest."};
}

std::string row(std::string_view name, const std::string& cell) {
    return "<tr><th scope=\"row\">" + std::string(name) + "</th><td>" + cell + "</td></tr>\n";
}

std::string code(std::string_view text) { return "<code>" + escape(text) + "</code>"; }

/// in_words explains the values of the log line.
std::string in_words(const std::string& value, bool resumed = false) {
    if (resumed && value == "accepted") return "offered and accepted";
    if (resumed && value == "verified") return "verified on the connection that this one resumes";
    if (resumed && value == "not_requested") return "not asked for: this connection resumes an earlier one";
    if (value == "not_offered") return "not offered: an ordinary visitor";
    if (value == "ignored") return "offered, and ignored by this server";
    if (value == "accepted") return "offered and accepted: the request for a certificate said so";
    if (value == "not_requested") return "not asked for";
    if (value == "empty") return "asked for; none was sent";
    if (value == "verified") return "asked for, sent, and verified";
    if (value == "invalid") return "asked for and sent, but it does not verify";
    if (value == "agents") return "the trust for agents";
    if (value == "customers") return "the trust for customers";
    return value;
}

} // namespace

std::string welcome_page(const visit& seen) {
    const greeting hello = greet(seen);
    std::string details = row("The flag", in_words(seen.outcome, seen.resumed)) +
                          row("A certificate", in_words(seen.certificate, seen.resumed));
    if (seen.trust) details += row("Verified by", in_words(*seen.trust));
    if (seen.subject) details += row("Subject", code(*seen.subject));
    if (!seen.alt_names.empty()) {
        std::string names;
        for (const std::string& name : seen.alt_names) names += (names.empty() ? "" : "<br>") + code(name);
        details += row("Alternative names", names);
    }
    if (seen.thumbprint) details += row("SHA-256 thumbprint", code(*seen.thumbprint));
    if (!seen.flags.empty()) {
        std::string numbers;
        for (const auto flag : seen.flags) numbers += (numbers.empty() ? "" : ", ") + std::to_string(flag);
        details += row("Flags sent", code(numbers));
    }
    if (seen.server_name) details += row("Server name", code(*seen.server_name));
    if (seen.early_data) details += row("Early data", "came, and was taken: this page may be the answer to a replay");
    if (seen.version) details += row("Connection", code(*seen.version) + (seen.resumed ? ", resumed" : ", new"));

    return document(hello.kind,
                    "<main class=\"" + std::string(hello.tone) + "\">\n<p class=\"kind\">" + std::string(hello.kind) +
                        "</p>\n<h1>" + escape(hello.sentence) + "</h1>\n<table>\n" + details +
                        "</table>\n<footer>A program that has a certificate can say so with the TLS flag "
                        "<code>request_client_auth</code> and is asked for it then; a person is left in "
                        "peace. Programs read all this at <a href=\"/debug\">/debug</a>.</footer>\n</main>\n");
}

std::string plain_page(std::string_view title, std::string_view sentence) {
    return document(title, "<main>\n<h1>" + escape(title) + "</h1>\n<p>" + escape(sentence) +
                               "</p>\n<footer><a href=\"/\">How you were seen</a></footer>\n</main>\n");
}

std::string content_security_policy() {
    std::array<unsigned char, 32> hash{};
    EVP_Digest(style.data(), style.size(), hash.data(), nullptr, EVP_sha256(), nullptr);
    std::array<char, 45> text{}; // 44 characters and a NUL
    EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), hash.data(), static_cast<int>(hash.size()));
    return "default-src 'none'; style-src 'sha256-" + std::string(text.data()) +
           "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
}
