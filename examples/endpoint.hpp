// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

/// endpoint is HOST:PORT as the command line has it: a name, an IPv4 address, or an IPv6 address in brackets.
struct endpoint {
    std::string host; ///< without brackets
    std::string port; ///< digits, 0 to 65535
};

/// read_endpoint reads what `option` says. Throws usage_error.
endpoint read_endpoint(const std::string& option, std::string_view text);

/// ascii_host is a host's name as DNS and TLS have it: bücher.example is xn--bcher-kva.example. Throws usage_error naming
/// `option`.
std::string ascii_host(const std::string& option, const std::string& host);

/// to_string puts the brackets back around an IPv6 address.
std::string to_string(const endpoint& where);

/// is_ip_address tells an IPv4 or IPv6 address from a name.
bool is_ip_address(const std::string& host);
