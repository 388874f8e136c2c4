// SPDX-License-Identifier: Apache-2.0
#include "fence.hpp"

namespace reqauth::detail {

namespace {

int library_number() noexcept {
    static const int number = [] {
        const int next = ERR_get_next_error_library();
        static ERR_STRING_DATA strings[] = {{0, "libreqauth"}, {0, nullptr}};
        strings[0].error = ERR_PACK(next, 0, 0);
        ERR_load_strings(next, strings);
        return next;
    }();
    return number;
}

} // namespace

void raise(std::string_view text) noexcept {
    ERR_raise_data(library_number(), ERR_R_OPERATION_FAIL, "%.*s", static_cast<int>(text.size()), text.data());
}

std::string drain_errors() {
    std::string lines;
    const char* data = nullptr;
    int flags = 0;
    while (const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
        const char* reason = ERR_reason_error_string(code);
        lines += lines.empty() ? ": " : "; ";
        lines += reason != nullptr ? reason : "error " + std::to_string(code);
        if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != '\0') lines += std::string(" (") + data + ")";
    }
    return lines;
}

} // namespace reqauth::detail
