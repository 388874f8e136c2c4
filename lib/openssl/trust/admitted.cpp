// SPDX-License-Identifier: Apache-2.0
#include "admitted.hpp"

#include "../base/pem.hpp"

#include <reqauth/error.hpp>

#include <openssl/err.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

namespace reqauth::detail {

namespace {

using kind = admission::kind;

std::string lower_case(std::string_view text) {
    std::string small(text);
    for (char& c : small)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return small;
}

bool only(std::string_view text, std::string_view also) {
    return std::ranges::all_of(text, [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || also.find(c) != std::string_view::npos;
    });
}

// A host's name in small letters, as certificates have it: no wildcard, no dot at its end, no octet but these.
bool is_host(std::string_view name) {
    constexpr std::size_t longest = 253;
    return !name.empty() && name.size() <= longest && only(name, "-_.") && name.front() != '.' && name.back() != '.' &&
           name.find("..") == std::string_view::npos;
}

// A URI with scheme and host in small letters; nothing: it is none that can be compared.
std::optional<std::string> comparable_uri(std::string_view uri) {
    if (!std::ranges::all_of(uri, [](char c) { return c > ' ' && c < 0x7f; })) return std::nullopt;
    const auto colon = uri.find(':');
    if (colon == std::string_view::npos || colon == 0) return std::nullopt;
    std::string made = lower_case(uri.substr(0, colon));
    const std::string_view rest = uri.substr(colon);
    if (!rest.starts_with("://")) return made.append(rest);
    const std::size_t end = std::min(rest.find_first_of("/?#", 3), rest.size());
    const std::string authority = lower_case(rest.substr(3, end - 3));
    const std::size_t port = std::min(authority.find(':'), authority.size());
    const std::string_view host = std::string_view(authority).substr(0, port);
    if (!is_host(host.substr(host.starts_with("*.") ? 2 : 0)) ||
        (port < authority.size() && !only(authority.substr(port + 1), "")))
        return std::nullopt;
    return made.append("://").append(authority).append(rest.substr(end));
}

// That of a rule, or of a certificate, where nobody is meant by it.
bool has_wild_host(std::string_view uri) {
    return uri.substr(std::min(uri.find(':'), uri.size())).starts_with("://*.");
}

// https://spiffe.io: spiffe://TRUST-DOMAIN/SEGMENT/..., in the one way in which it can be written.
bool is_spiffe_id(std::string_view uri) {
    constexpr std::string_view scheme = "spiffe://";
    constexpr std::size_t longest = 2048;
    if (uri.size() > longest || !uri.starts_with(scheme)) return false;
    const auto slash = uri.find('/', scheme.size());
    if (slash == std::string_view::npos || !only(uri.substr(scheme.size(), slash - scheme.size()), "-_.")) return false;
    for (std::size_t at = slash; at < uri.size();) {
        const std::size_t end = std::min(uri.find('/', at + 1), uri.size());
        const std::string_view segment = uri.substr(at + 1, end - at - 1);
        if (segment.empty() || segment == "." || segment == ".." || !only(lower_case(segment), "-_.")) return false;
        at = end;
    }
    return true;
}

struct name_of_leaf {
    kind type;
    std::string value;
};

// The DNS and URI names of a leaf; nothing: one of them cannot be compared, so that no rule can say that it is not meant.
std::optional<std::vector<name_of_leaf>> names_of(const X509& leaf) {
    int found = 0;
    ERR_set_mark();
    const std::unique_ptr<GENERAL_NAMES, freed_by<GENERAL_NAMES_free>> all(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&leaf, NID_subject_alt_name, &found, nullptr)));
    ERR_pop_to_mark();
    constexpr int none = -1;
    if (all == nullptr && found != none) return std::nullopt;
    std::vector<name_of_leaf> names;
    std::size_t uris = 0;
    bool spiffe = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(all.get()); ++i) {
        int type = 0;
        const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all.get(), i), &type);
        if (type != GEN_DNS && type != GEN_URI) continue;
        const auto* text = static_cast<const ASN1_STRING*>(value);
        const std::string_view octets(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                                      static_cast<std::size_t>(ASN1_STRING_length(text)));
        if (type == GEN_DNS) {
            names.push_back({kind::dns, lower_case(octets)});
            if (!is_host(names.back().value)) return std::nullopt;
            continue;
        }
        const auto uri = comparable_uri(octets);
        if (!uri || has_wild_host(*uri)) return std::nullopt;
        names.push_back({kind::uri, *uri});
        ++uris;
        if (!uri->starts_with("spiffe:")) continue;
        spiffe = true;
        if (!is_spiffe_id(octets)) return std::nullopt;
    }
    // Such a certificate has exactly one URI.
    if (spiffe && uris != 1) return std::nullopt;
    return names;
}

// Of one label, and no more.
bool matches_wild(std::string_view value, std::string_view before, std::string_view name) {
    if (!name.starts_with(before)) return false;
    const std::string_view after = value.substr(before.size() + 1); // of the asterisk
    name.remove_prefix(before.size());
    const auto dot = name.find('.');
    return dot != std::string_view::npos && dot > 0 && only(name.substr(0, dot), "-_") && name.substr(dot) == after;
}

bool matches(const admission& rule, const name_of_leaf& name) {
    if (rule.type == kind::spiffe)
        return name.type == kind::uri && name.value.starts_with("spiffe://" + rule.value + "/");
    if (rule.type != name.type) return false;
    if (rule.type == kind::dns && rule.value.starts_with("*.")) return matches_wild(rule.value, "", name.value);
    if (rule.type == kind::uri && has_wild_host(rule.value))
        return matches_wild(rule.value, std::string_view(rule.value).substr(0, rule.value.find('*')), name.value);
    return rule.value == name.value;
}

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    constexpr std::string_view blanks = " \t\r";
    for (auto at = line.find_first_not_of(blanks); at != std::string_view::npos;
         at = line.find_first_not_of(blanks, at)) {
        const auto end = std::min(line.find_first_of(blanks, at), line.size());
        words.push_back(line.substr(at, end - at));
        at = end;
    }
    return words;
}

std::string thumbprint_in(std::string_view word) {
    std::string digits = lower_case(word);
    std::erase(digits, ':');
    const bool is_one = digits.size() == 64 && std::ranges::all_of(digits, [](char c) {
                            return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                        });
    return is_one ? digits : "";
}

/// line_of_rules is one line, for what is wrong with it.
struct line_of_rules {
    std::string place;
    [[noreturn]] void wrong(const std::string& what, const std::string& cure) const {
        throw error(errc::malformed, place + ": " + what, cure);
    }
};

admission rule_in(const line_of_rules& line, const std::vector<std::string_view>& words,
                  const std::vector<anchor>& anchors) {
    constexpr std::pair<std::string_view, kind> kinds[] = {
        {"dns", kind::dns}, {"uri", kind::uri}, {"spiffe", kind::spiffe}, {"sha256", kind::sha256}};
    if (words.size() < 3 || (words[0] != "allow" && words[0] != "deny"))
        line.wrong("is no rule", "write: allow or deny, then dns, uri, spiffe or sha256, then the name");
    const auto* const type = std::ranges::find(kinds, words[1], &std::pair<std::string_view, kind>::first);
    if (type == std::end(kinds))
        line.wrong("\"" + std::string(words[1]) + "\" is no kind of name", "write dns, uri, spiffe or sha256");
    admission rule{.denies = words[0] == "deny", .type = type->second, .value = lower_case(words[2]), .by = {}};
    switch (rule.type) {
    case kind::dns:
        if (!is_host(std::string_view(rule.value).substr(rule.value.starts_with("*.") ? 2 : 0))) rule.value.clear();
        break;
    case kind::uri: rule.value = comparable_uri(words[2]).value_or(""); break;
    case kind::spiffe:
        if (rule.value.starts_with("spiffe://")) rule.value.erase(0, 9);
        if (!only(rule.value, "-_.")) rule.value.clear();
        break;
    case kind::sha256: rule.value = thumbprint_in(words[2]); break;
    }
    if (rule.value.empty())
        line.wrong("\"" + std::string(words[2]) + "\" is none of " + std::string(words[1]),
                   "write a host as crawler.example, *.crawl.example or xn--..., a trust domain without a path, a "
                   "thumbprint in 64 hexadecimal digits");
    if (words.size() > 3 && (words[3] != "by" || words.size() == 4))
        line.wrong("\"" + std::string(words[3]) + "\" is not expected", "write by, and the CAs under which it holds");
    for (std::size_t at = 4; at < words.size(); ++at) {
        const std::string digits = thumbprint_in(words[at]);
        const std::size_t before = rule.by.size();
        for (const anchor& each : anchors)
            if (digits.empty() ? each.from == words[at] || std::filesystem::path(each.from).filename() == words[at]
                               : hex(each.thumbprint) == digits)
                rule.by.push_back(each.thumbprint);
        if (rule.by.size() == before)
            line.wrong("no anchor here is of " + std::string(words[at]),
                       "name the file of its CA, or the SHA-256 of the CA's certificate");
    }
    if (rule.type == kind::spiffe && rule.by.empty() && anchors.size() > 1)
        line.wrong("a trust domain has CAs of its own, and there are several here", "write by, and its CAs");
    std::ranges::sort(rule.by);
    rule.by.erase(std::unique(rule.by.begin(), rule.by.end()), rule.by.end());
    return rule;
}

} // namespace

std::vector<admission> admissions_in(std::string_view text, std::string_view name, const std::vector<anchor>& anchors) {
    std::vector<admission> rules;
    std::size_t number = 0;
    constexpr std::string_view mark = "\xef\xbb\xbf"; // of byte order
    if (text.starts_with(mark)) text.remove_prefix(mark.size());
    for (std::size_t at = 0, end = 0; at < text.size(); at = end + 1) {
        end = std::min(text.find('\n', at), text.size());
        const auto words = words_of(text.substr(at, end - at));
        const line_of_rules line{std::string(name) + ":" + std::to_string(++number)};
        if (!words.empty() && !words.front().starts_with('#')) rules.push_back(rule_in(line, words, anchors));
    }
    if (rules.empty())
        throw error(errc::holds_nothing, std::string(name) + ": holds no rule", "give one, or leave it out");
    return rules;
}

bool admits(const std::vector<admission>& rules, const X509& leaf, const sha256_digest* anchor) {
    if (rules.empty()) return true;
    const auto any = [&](bool denies, const name_of_leaf& name) {
        return std::ranges::any_of(rules, [&](const admission& rule) {
            return rule.denies == denies && matches(rule, name) &&
                   (rule.by.empty() || (anchor != nullptr && std::ranges::binary_search(rule.by, *anchor)));
        });
    };
    const name_of_leaf itself{kind::sha256, hex(sha256(leaf))};
    const auto names = names_of(leaf);
    if (any(true, itself)) return false;
    if (names && std::ranges::any_of(*names, [&](const name_of_leaf& name) { return any(true, name); })) return false;
    if (any(false, itself)) return true;
    if (!names) return false;
    if (std::ranges::all_of(rules, &admission::denies)) return true;
    return anchor != nullptr && !names->empty() &&
           std::ranges::all_of(*names, [&](const name_of_leaf& name) { return any(false, name); });
}

} // namespace reqauth::detail
