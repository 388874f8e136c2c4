// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

namespace bench {

/// arguments are NAME=VALUE.
struct arguments {
    std::map<std::string, std::string> given;
    [[nodiscard]] std::string text(const std::string& name) const {
        const auto found = given.find(name);
        return found == given.end() ? std::string() : found->second;
    }
    [[nodiscard]] int number(const std::string& name) const { return std::stoi(given.at(name)); }
};

void handshakes(const arguments& how);
void calls(const arguments& how);
void scale(const arguments& how);
void alternatives(const arguments& how);

} // namespace bench
