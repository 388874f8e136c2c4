// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "visit.hpp"

#include <string>
#include <string_view>

/// welcome_page tells a visitor how they were seen: one sentence, then the details.
std::string welcome_page(const visit& seen);

/// plain_page is a small page with a title and a sentence, for everything else.
std::string plain_page(std::string_view title, std::string_view sentence);

/// content_security_policy lets a page have its own style, known by its hash, and nothing else.
std::string content_security_policy();
