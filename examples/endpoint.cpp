// SPDX-License-Identifier: Apache-2.0
#include "endpoint.hpp"

#include "command_line.hpp"

#include "printable.hpp"

#include <arpa/inet.h>
#include <idn2.h>

#include <algorithm>
#include <charconv>

endpoint read_endpoint(const std::string& option, std::string_view text) {
    const auto wrong = [&](const std::string& why) {
        return usage_error(option + " " + std::string(text) + ": " + why);
    };
    const auto colon = text.rfind(':');
    if (colon == text.npos || text.ends_with(']')) throw wrong("has no port: write " + std::string(text) + ":PORT");
    std::string_view host = text.substr(0, colon);
    const std::string_view port = text.substr(colon + 1);
    if (host.find("//") != host.npos) throw wrong("is a URL: write HOST:PORT");

    unsigned number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc{} || end != port.data() + port.size() || number > 65535)
        throw wrong("\"" + std::string(port) + "\" is no port, which is a number from 0 to 65535");

    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed)
        host = host.substr(1, host.size() - 2);
    else if (is_ip_address(std::string(host)) && host.find(':') != host.npos)
        throw wrong("an IPv6 address stands in brackets: write [" + std::string(host) + "]:" + std::string(port));
    else if (host.find(':') != host.npos)
        throw wrong("has no port, and an IPv6 address stands in brackets: write [" + std::string(text) + "]:PORT");
    if (host.empty()) throw wrong("has no host: write HOST:" + std::string(port));
    return endpoint{ascii_host(option, std::string(host)), std::to_string(number)};
}

std::string ascii_host(const std::string& option, const std::string& host) {
    if (std::ranges::all_of(host, [](unsigned char each) { return each < 0x80; })) return host;
    char* found = nullptr;
    const int status = idn2_lookup_u8(reinterpret_cast<const unsigned char*>(host.c_str()),
                                      reinterpret_cast<unsigned char**>(&found), IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (status != IDN2_OK)
        throw usage_error(option + " " + printable(host) + " is no name of a host: " + idn2_strerror(status) +
                          "; write it in UTF-8, or as xn--...");
    const std::string name = found;
    idn2_free(found);
    return name;
}

std::string to_string(const endpoint& where) {
    const bool v6 = where.host.find(':') != std::string::npos;
    return (v6 ? "[" + where.host + "]" : where.host) + ":" + where.port;
}

bool is_ip_address(const std::string& host) {
    in6_addr address{};
    return inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
}
