// SPDX-License-Identifier: Apache-2.0
#pragma once

// The table as options of a command line, for CLI11: the programs all spell it so.

#include "settings.hpp"

#include <CLI/CLI.hpp>

namespace reqauth_settings {

/// spelled gives the option of a row.
inline const char* spelled(std::size_t of) {
    constexpr std::pair<const char*, std::size_t> options[] = {{"--agents-ca", row("agents")},
                                                               {"--crl", row("crl")},
                                                               {"--on-missing", row("missing")},
                                                               {"--on-invalid", row("invalid")},
                                                               {"--beside-required", row("beside_required")},
                                                               {"--ca-names", row("ca_names")},
                                                               {"--session-age", row("session_age")},
                                                               {"--label", row("label")},
                                                               {"--flag", row("flag")},
                                                               {"--extension", row("extension")}};
    const auto* found = std::ranges::find(options, of, &std::pair<const char*, std::size_t>::second);
    return found != std::end(options) ? found->first : "";
}

/// option adds one that sets a row: with a value, or, where it is for what is off by default, without.
inline CLI::Option* option(CLI::App& app, settings& all, std::size_t row) {
    const setting& what = table[row];
    if (const auto* of = std::get_if<choice>(&what.kind); of != nullptr && of->yes == std::string_view("on"))
        if (!(all.*of->field)) return app.add_flag(spelled(row), all.*of->field, what.help);
    const auto take = [&all, row](const std::string& words) {
        try {
            set(all, row, words);
        } catch (const wrong& failed) {
            throw CLI::ValidationError(spelled(row), failed.what());
        }
    };
    const bool is_path = std::holds_alternative<path>(what.kind);
    return app.add_option_function<std::string>(spelled(row), take, what.help)
        ->default_str(said(all, row))
        ->type_name(is_path                                   ? "PATH"
                    : std::holds_alternative<text>(what.kind) ? "TEXT"
                                                              : "{" + takes(row) + "}");
}

/// in_words is an error about a setting, with its option.
inline std::string in_words(const wrong& what) { return spelled(what.setting) + std::string(": ") + what.what(); }

} // namespace reqauth_settings
