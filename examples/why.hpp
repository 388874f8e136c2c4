// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/client.hpp>

#include <string>

/// in_words says in one line why the server of `ssl` was not shown --cert, or refused it, and what to do; empty: there is
/// nothing to say. `name` is where the server's name stands: an option, or the URL. `without` has it tried without the flag.
std::string in_words(const SSL& ssl, const std::string& name, const std::string& without);

/// is_unmet says whether --cert was wanted, and stayed here. Where there is none that is what was asked for.
bool is_unmet(const reqauth::client_outcome& outcome);
