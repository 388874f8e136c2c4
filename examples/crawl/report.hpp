// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "crawl.hpp"
#include "json.hpp"

#include <string>
#include <vector>

/// totals is the sum over all hosts.
struct totals {
    std::size_t all = 0;
    std::size_t done = 0;
    std::size_t failed = 0;
    std::size_t running = 0;
};
totals sum_up(const crawl& of, const crawl_options& options);

/// to_json is the line of one URL that has ended; summary_json the line at the end.
json to_json(const fetch& what);
json summary_json(const crawl& of, const totals& sum, bool interrupted);

/// any_unmet says whether a host asked for a certificate and was not shown it.
bool any_unmet(const crawl& of);

/// to_table is the same for people: lines of printable ASCII, at most `width` long but for hosts that are longer, and for
/// why one was not shown a certificate.
std::vector<std::string> to_table(const crawl& of, const totals& sum, std::size_t width);

/// progress_bar is one line on standard error that changes in place; nothing where that is not a terminal.
class progress_bar {
public:
    progress_bar();
    ~progress_bar() { clear(); }
    progress_bar(const progress_bar&) = delete;
    progress_bar& operator=(const progress_bar&) = delete;
    void show(const totals& sum, bool stopping);
    void clear();

private:
    bool terminal_;
    std::string shown_;
};
