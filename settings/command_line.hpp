// SPDX-License-Identifier: Apache-2.0
#pragma once

// The table as options of a command line, for CLI11: the programs all spell it so.

#include "spelling.hpp"

#include <CLI/CLI.hpp>

namespace reqauth_settings {

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

/// wrong_usage says what CLI11 found wrong with a command line, in our words where its own do not help.
inline std::string wrong_usage(const CLI::App& app, const CLI::ParseError& error) {
    // One that is misspelled can be the one that is required.
    for (const std::string& word : app.remaining())
        if (word.front() == '-' && word != "--") return word + " is not expected";
    if (!app.remaining().empty()) return app.remaining().front() + " is not expected";
    const std::string what = error.what();
    if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) == nullptr) return what;
    return what.substr(0, what.find(':')) + " has no value, or one too many";
}

} // namespace reqauth_settings
