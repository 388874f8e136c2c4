// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

/// alert_name is a TLS alert's name as RFC 8446 spells it, "unknown_ca"; "alert_N" for a number it does not know.
std::string alert_name(int description);
