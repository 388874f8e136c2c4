// SPDX-License-Identifier: Apache-2.0
#pragma once

// The table in the options of the programs, and what they say of it.

#include "settings.hpp"

#include <algorithm>
#include <initializer_list>

namespace reqauth_settings {

/// spelled gives the option of a row.
inline const char* spelled(std::size_t of) {
    constexpr std::pair<const char*, std::size_t> options[] = {{"--agents-ca", row("agents")},
                                                               {"--crl", row("crl")},
                                                               {"--purpose", row("purpose")},
                                                               {"--admitted", row("admitted")},
                                                               {"--on-missing", row("missing")},
                                                               {"--on-invalid", row("invalid")},
                                                               {"--unvouched", row("unvouched")},
                                                               {"--beside-required", row("beside_required")},
                                                               {"--cross-signed", row("cross_signed")},
                                                               {"--ca-names", row("ca_names")},
                                                               {"--session-age", row("session_age")},
                                                               {"--label", row("label")},
                                                               {"--flag", row("flag")},
                                                               {"--extension", row("extension")}};
    const auto* found = std::ranges::find(options, of, &std::pair<const char*, std::size_t>::second);
    return found != std::end(options) ? found->first : "";
}

/// in_words is an error with its option: that of its setting, or those that name the file that it is about.
inline std::string in_words(const wrong& what) {
    return spelled(what.setting) + std::string(": ") + in_words(what, spelled);
}
inline std::string in_words(const reqauth::error& what,
                            std::initializer_list<std::pair<std::string, std::string>> files = {}) {
    constexpr std::pair<reqauth::errc, const char*> about[] = {{reqauth::errc::extension_taken, "--extension: "},
                                                               {reqauth::errc::names_too_long, "--agents-ca: "},
                                                               {reqauth::errc::shared_anchor, "--agents-ca: "}};
    const auto* of = std::ranges::find(about, what.code(), &std::pair<reqauth::errc, const char*>::first);
    if (of != std::end(about)) return of->second + in_words(what, spelled);
    std::string options;
    for (const auto& [option, file] : files)
        if (what.cause().starts_with(file + ": ")) options += (options.empty() ? "" : " and ") + option;
    return options + (options.empty() ? "" : " ") + in_words(what, spelled);
}

} // namespace reqauth_settings
