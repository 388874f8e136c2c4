// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

/// json keeps the members of an object in the order in which they were written.
using json = nlohmann::ordered_json;

/// or_null is a JSON value, null where there is none.
template <class T> json or_null(const std::optional<T>& value) { return value ? json(*value) : json(nullptr); }

/// dump writes one line of valid JSON, in ASCII, whatever `value` holds.
inline std::string dump(const json& value) { return value.dump(-1, ' ', true, json::error_handler_t::replace); }
