// SPDX-License-Identifier: Apache-2.0
// libFuzzer over a token's claims. Beside the sanitizers, an oracle: what is accepted is what a parser that builds the whole
// tree finds there too.

#include <reqauth/oauth.hpp>

#include <nlohmann/json.hpp>

#include <cstdlib>

namespace oauth = reqauth::oauth;
using oauth::cause;

namespace {

void must(bool holds) {
    if (!holds) std::abort();
}

void judge(std::string_view text, bool introspection) {
    const auto claims =
        introspection ? oauth::token_claims::from_introspection(text) : oauth::token_claims::from_jwt(text);
    const auto made = check_binding(reqauth::other_peer{}, claims, oauth::policy(oauth::unbound_tokens::accept));
    const bool read = made.accepted() || made.why == cause::missing_certificate || made.why == cause::proof_left;
    must(made.accepted() ? made.www_authenticate.empty() : made.status == 401 && !made.www_authenticate.empty());
    if (!read) return;
    const auto tree = nlohmann::json::parse(text, nullptr, false);
    must(tree.is_object());
    must(introspection ? tree.value("active", nlohmann::json()) == true
                       : tree.value("active", nlohmann::json()) != false);
    must(tree.contains("cnf") == !made.accepted());
    if (made.accepted()) return;
    const auto& cnf = tree["cnf"];
    must(cnf.is_object() && cnf.contains("x5t#S256") == (made.why == cause::missing_certificate));
    must(cnf.contains("jkt") == !made.jkt.empty() && cnf.size() == cnf.contains("x5t#S256") + cnf.contains("jkt"));
    for (const auto& member : cnf) must(member.is_string() && member.get_ref<const std::string&>().size() == 43);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(octets), size);
    judge(text, false);
    judge(text, true);
    return 0;
}
