// SPDX-License-Identifier: Apache-2.0
#include "command_line.hpp"

#include "settings/command_line.hpp"

#include <algorithm>

std::optional<int> parse(CLI::App& app, int argc, char** argv) {
    try {
        app.parse(argc, argv);
        return std::nullopt;
    } catch (const CLI::CallForHelp&) {
        std::fputs(app.help().c_str(), stdout);
        return 0;
    } catch (const CLI::ParseError& error) {
        throw usage_error(reqauth_settings::wrong_usage(app, error) + " (--help lists the options)");
    }
}

void print_line(std::FILE* out, std::string line) {
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), out);
    std::fflush(out);
}

int complain(std::string_view program, std::string what, int status) {
    std::replace(what.begin(), what.end(), '\n', ' ');
    print_line(stderr, std::string(program) + ": " + what);
    return status;
}
