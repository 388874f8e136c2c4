// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include "printable.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace {

std::string yes_or_no(bool value) { return value ? "yes" : "no"; }

std::string cut(std::string text, std::size_t width) {
    if (text.size() <= width) return text;
    text.resize(width - 3);
    return text + "...";
}

/// A row: the host, and seven columns.
using row = std::array<std::string, 8>;

row row_of(const host& each) {
    return {printable(each.name),         std::to_string(each.done),          std::to_string(each.failed),
            yes_or_no(each.offered),      yes_or_no(each.acknowledged),       yes_or_no(each.authenticated),
            std::to_string(each.resumed), yes_or_no(each.refused.has_value())};
}

/// line_of puts the host to the left, on a line of its own where it is too long, and the others to the right.
std::string line_of(const row& cells, const std::array<std::size_t, 8>& widths) {
    std::string line = cells[0] + (cells[0].size() > widths[0] ? "\n" + std::string(widths[0], ' ')
                                                               : std::string(widths[0] - cells[0].size(), ' '));
    for (std::size_t i = 1; i < cells.size(); ++i)
        line += " " + std::string(widths[i] - cells[i].size(), ' ') + cells[i];
    return line;
}

} // namespace

totals sum_up(const crawl& of, const crawl_options& options) {
    totals sum{.all = options.pages.size(), .running = of.running()};
    for (const host& each : of.hosts()) {
        sum.done += each.done;
        sum.failed += each.failed;
    }
    return sum;
}

json to_json(const fetch& what) {
    const reqauth::client_outcome how = what.over ? what.over->outcome : reqauth::client_outcome{};
    return {{"event", "url"},
            {"url", what.url},
            {"host", what.of->name},
            {"ok", !what.error},
            {"status", what.status != 0 ? json(what.status) : json(nullptr)},
            {"tries", what.tries},
            {"octets", what.octets},
            {"offered", how.offered},
            {"requested", how.requested},
            {"acknowledged", how.acknowledged},
            {"sent", to_string(how.sent)},
            {"unmet", how.unmet == reqauth::unmet::nothing ? json() : json(to_string(how.unmet))},
            {"why", what.over ? or_null(what.over->why) : json()},
            {"authenticated", what.authenticated},
            {"resumed", how.resumed},
            {"refused", or_null(what.refused)},
            {"error", or_null(what.error)},
            {"file", what.file.empty() ? json(nullptr) : json(what.file)}};
}

json summary_json(const crawl& of, const totals& sum, bool interrupted) {
    json hosts = json::array();
    for (const host& each : of.hosts())
        hosts.push_back({{"host", each.name},
                         {"done", each.done},
                         {"failed", each.failed},
                         {"offered", each.offered},
                         {"withheld", or_null(each.withheld)},
                         {"acknowledged", each.acknowledged},
                         {"authenticated", each.authenticated},
                         {"resumed", each.resumed},
                         {"refused", or_null(each.refused)},
                         {"unmet", or_null(each.unmet)},
                         {"failures", each.failures}});
    return {{"event", "summary"},
            {"urls", sum.all},
            {"done", sum.done},
            {"failed", sum.failed},
            {"not_fetched", sum.all - sum.done - sum.failed},
            {"interrupted", interrupted},
            {"hosts", std::move(hosts)}};
}

std::vector<std::string> to_table(const crawl& of, const totals& sum, std::size_t width) {
    const row head = {"host", "done", "failed", "offered", "acked", "authed", "resumed", "refused"};
    std::array<std::size_t, 8> widths{};
    std::vector<row> rows = {head};
    for (const host& each : of.hosts()) rows.push_back(row_of(each));
    for (const row& each : rows)
        for (std::size_t i = 0; i < each.size(); ++i) widths[i] = std::max(widths[i], each[i].size());
    std::size_t others = 7; // the spaces between them
    for (std::size_t i = 1; i < widths.size(); ++i) others += widths[i];
    widths[0] = std::min(widths[0], width > others + 12 ? width - others : 12);

    std::vector<std::string> lines = {line_of(head, widths)};
    for (std::size_t i = 0; i < of.hosts().size(); ++i) {
        const host& each = of.hosts()[i];
        lines.push_back(line_of(rows[i + 1], widths));
        if (each.without_flag)
            lines.push_back("    the flag was left out: the server, or something before it, ended a connection on it");
        else if (each.withheld)
            lines.push_back("    the flag was withheld: " + *each.withheld);
        if (each.unmet) lines.push_back("    not shown --cert: " + *each.unmet);
        for (const auto& [why, count] : each.failures)
            lines.push_back(cut("    " + std::to_string(count) + " failed: " + printable(why), width));
    }
    const auto with = [&](auto... member) {
        return std::to_string(
            std::ranges::count_if(of.hosts(), [&](const host& each) { return (bool(each.*member) && ...); }));
    };
    lines.push_back("");
    lines.push_back(std::to_string(sum.all) + " URLs: " + std::to_string(sum.done) + " fetched, " +
                    std::to_string(sum.failed) + " failed, " + std::to_string(sum.all - sum.done - sum.failed) +
                    " not fetched");
    lines.push_back(std::to_string(of.hosts().size()) + " hosts: " + with(&host::acknowledged) +
                    " acknowledged the flag, " + with(&host::authenticated) + " authenticated us, " +
                    with(&host::refused) + " refused the certificate" +
                    (any_unmet(of) ? ", " + with(&host::unmet) + " were not shown it" : ""));
    return lines;
}

bool any_unmet(const crawl& of) {
    return std::ranges::any_of(of.hosts(), [](const host& each) { return each.unmet.has_value(); });
}

progress_bar::progress_bar() : terminal_(isatty(STDERR_FILENO) == 1) {}

void progress_bar::show(const totals& sum, bool stopping) {
    if (!terminal_) return;
    const std::size_t ended = sum.done + sum.failed;
    std::string text = std::to_string(ended) + "/" + std::to_string(sum.all) + "  " + std::to_string(sum.failed) +
                       " failed  " + std::to_string(sum.running) + " running";
    if (stopping) text += "  stopping (Ctrl-C: at once)";
    winsize size{};
    const std::size_t width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    if (width > text.size() + 14) {
        const std::size_t room = std::min<std::size_t>(width - text.size() - 5, 40);
        const std::size_t full = ended * room / sum.all;
        text = "[" + std::string(full, '#') + std::string(room - full, '.') + "] " + text;
    }
    text.resize(std::min(text.size(), width - 1));
    if (text == shown_) return;
    shown_ = text;
    std::fputs(("\r\033[K" + text).c_str(), stderr);
    std::fflush(stderr);
}

void progress_bar::clear() {
    if (shown_.empty()) return;
    shown_.clear();
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
}
