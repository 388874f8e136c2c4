// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

/// printable shows any octet that is not printable ASCII as \HH: what a peer has sent moves no cursor.
std::string printable(std::string_view text);
