// SPDX-License-Identifier: Apache-2.0
#include "crawl_options.hpp"

#include "command_line.hpp"
#include "endpoint.hpp"
#include "printable.hpp"
#include "tls.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>

namespace {

using url_ptr = std::unique_ptr<CURLU, free_with<curl_url_cleanup>>;
using text_ptr = std::unique_ptr<char, free_with<curl_free>>;

std::string part_of(CURLU& url, CURLUPart part) {
    char* text = nullptr;
    const CURLUcode code = curl_url_get(&url, part, &text, CURLU_DEFAULT_PORT);
    const text_ptr kept(text);
    return code == CURLUE_OK ? std::string(text) : std::string();
}

/// read_page reads one URL; `where` says where it stands.
page read_page(const std::string& text, const std::string& where) {
    const url_ptr url(curl_url());
    if (!url) throw std::bad_alloc();
    if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK ||
        part_of(*url, CURLUPART_SCHEME) != "https" || part_of(*url, CURLUPART_HOST).empty())
        throw usage_error(where + printable(text) + " is not an https:// URL" +
                          (text.find("://") == text.npos ? ": write https://" + printable(text) : ""));
    std::string host = ascii_host(where + "the host", part_of(*url, CURLUPART_HOST));
    std::ranges::transform(host, host.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const std::string port = part_of(*url, CURLUPART_PORT);
    return {text, port == "443" ? host : host + ":" + port};
}

/// read_list reads a URL a line, without empty lines and those that begin with #.
void read_list(const std::string& file, std::vector<page>& pages) {
    std::ifstream opened;
    if (file != "-") {
        require_readable({"--urls", file});
        opened.open(file);
    }
    std::istream& in = file == "-" ? std::cin : opened;
    std::string line;
    for (unsigned number = 1; std::getline(in, line); ++number) {
        constexpr std::string_view mark = "\xef\xbb\xbf"; // of byte order, as Windows writes it before UTF-8
        if (number == 1 && line.starts_with(mark)) line.erase(0, mark.size());
        const auto first = line.find_first_not_of(" \t\r");
        if (first == std::string::npos || line[first] == '#') continue;
        line = line.substr(first, line.find_last_not_of(" \t\r") + 1 - first);
        pages.push_back(read_page(line, file + ":" + std::to_string(number) + ": "));
    }
    if (in.bad()) throw usage_error("--urls " + file + ": cannot be read to its end");
}

} // namespace

std::variant<crawl_options, int> read_crawl_options(int argc, char** argv) {
    crawl_options chosen;
    std::vector<std::string> urls;
    std::string list;
    CLI::App app(
        "Fetches a list of https:// URLs. It offers its certificate by the TLS flag request_client_auth, presents\n"
        "it where a server asks because of that flag, and ends with a table of how each host took it. An answer\n"
        "below 400 is a success; redirects are not followed. SIGHUP reads the certificates again; Ctrl-C ends in\n"
        "good order, a second one at once. Exit status: 0 all fetched; 1 some failed; 2 usage, or a file that cannot "
        "be\n"
        "used; 3 a server asked for --cert, and was not shown it: the table says why.",
        "reqauth-crawl");
    app.option_defaults()->always_capture_default();
    app.get_formatter()->column_width(34);
    const auto many = [](CLI::Option* option) { return option->take_all()->allow_extra_args(false)->default_str(""); };

    app.add_option("URL", urls, "what to fetch")->default_str("");
    app.add_option("--urls", list, "a list of URLs, one a line; - for standard input")->type_name("FILE");
    many(app.add_option("--cert", chosen.certificates,
                        "certificate presented when the flag is acknowledged; repeatable, "
                        "with its --key: the first that a server can take is presented"))
        ->type_name("FILE");
    many(app.add_option("--key", chosen.keys, "its private key: a file, or a provider's URI (pkcs11:..., handle:...)"))
        ->type_name("FILE|URI");
    many(app.add_option("--key-provider", chosen.key_providers,
                        "vouch that using the keys of this OpenSSL provider never asks a person"))
        ->type_name("NAME");
    app.add_option("--ca", chosen.ca, "trust anchors for the servers; default: the system's")->type_name("FILE");
    app.add_option("--offer", chosen.offer, "auto offers when a certificate is directly available")
        ->check(CLI::IsMember({"auto", "always", "never"}));
    app.add_option("--on-unacknowledged", chosen.on_unacknowledged,
                   "answer to a request without the flag; flag presents --cert even so, and shows it to servers that "
                   "did not accept the flag")
        ->check(CLI::IsMember({"empty", "flag"}));
    app.add_option("--flag", chosen.flag, "flag number")->type_name("N");
    app.add_option("--extension", chosen.extension, "extension type")->type_name("N");
    app.add_option("--parallel", chosen.parallel, "transfers at once")->type_name("N")->check(CLI::Range(1, 1000));
    app.add_option("--per-host", chosen.per_host, "of these with one host")->type_name("N")->check(CLI::Range(1, 1000));
    app.add_option("--timeout", chosen.timeout, "longest time of one try")
        ->type_name("SECONDS")
        ->check(CLI::Range(1, 24 * 3600));
    app.add_option("--retries", chosen.retries,
                   "further tries after a reset, a timeout, 429 or 5xx; never after a refused certificate")
        ->type_name("N")
        ->check(CLI::Range(0, 100));
    app.add_flag("--retry-without-flag", chosen.retry_without_flag,
                 "where a server, or what stands before it, ends a connection on the flag, go on without: its URLs are "
                 "then fetched, and it does not know us. Whoever can cut connections can bring that about");
    app.add_option("--give-up", chosen.give_up, "leave a host after N URLs in a row without an answer; 0: never")
        ->type_name("N")
        ->check(CLI::Range(0, 1000000));
    many(app.add_option("--resolve", chosen.resolve, "an address to use for a host, as curl has it; repeatable"))
        ->type_name("HOST:PORT:ADDR");
    app.add_option("--user-agent", chosen.user_agent, "what to call itself")->type_name("TEXT");
    app.add_option("--output", chosen.output,
                   "keep what was fetched, in a file for each URL, by its number in the list")
        ->type_name("DIR");
    app.add_flag("--json", chosen.json, "one JSON object a line: for each URL as it ends, and a summary");
    if (const auto status = parse(app, argc, argv)) return *status;

    if (chosen.certificates.size() != chosen.keys.size())
        throw usage_error("each --cert needs its --key, and each --key its --cert, in the same order");
    if (chosen.on_unacknowledged == "flag" && chosen.certificates.empty())
        throw usage_error("--on-unacknowledged flag needs --cert and --key");
    for (const std::string& each : chosen.resolve)
        if (std::ranges::count(each, ':') < 2) throw usage_error("--resolve " + each + " is not HOST:PORT:ADDR");
    for (const std::string& each : urls) chosen.pages.push_back(read_page(each, ""));
    if (!list.empty()) read_list(list, chosen.pages);
    if (chosen.pages.empty()) throw usage_error("nothing to fetch: give URLs, or a list with --urls");
    if (!chosen.output.empty()) {
        std::error_code failed;
        std::filesystem::create_directories(chosen.output, failed);
        if (failed) throw usage_error("--output " + chosen.output + " cannot be made: " + failed.message());
    }
    return chosen;
}
