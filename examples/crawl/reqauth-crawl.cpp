// SPDX-License-Identifier: Apache-2.0

// reqauth-crawl: fetches a list of URLs, and offers its certificate by the flag.
// What concerns the library stands in crawl.cpp: policy_of(), attach(), note() and take_outcome().

#include "command_line.hpp"
#include "crawl.hpp"
#include "crawl_options.hpp"
#include "report.hpp"
#include "settings/command_line.hpp"

#include <reqauth/error.hpp>

#include <clocale>
#include <csignal>

namespace {

constexpr std::string_view program = "reqauth-crawl";

volatile std::sig_atomic_t stop_signal = 0;
volatile std::sig_atomic_t reload_wanted = 0;

void watch_signals() {
    std::signal(SIGPIPE, SIG_IGN);
    struct sigaction once {};
    once.sa_handler = [](int number) { stop_signal = number; };
    once.sa_flags = static_cast<int>(SA_RESETHAND); // the second ends the process
    sigaction(SIGINT, &once, nullptr);
    sigaction(SIGTERM, &once, nullptr);
    struct sigaction each {};
    each.sa_handler = [](int) { reload_wanted = 1; };
    sigaction(SIGHUP, &each, nullptr);
}

void reload(crawl& running, bool as_json) {
    std::optional<std::string> error;
    bool changed = false;
    try {
        changed = running.reload();
    } catch (const reqauth::error& failed) {
        error = reqauth_settings::in_words(failed);
    }
    if (as_json)
        print_line(stdout,
                   dump({{"event", "reload"}, {"ok", !error}, {"changed", changed}, {"error", or_null(error)}}));
    complain(program,
             error     ? "the credentials stay as they were: " + *error
             : changed ? "SIGHUP: the credentials are new"
                       : "SIGHUP: the credentials are the same as before",
             0);
}

int run(const crawl_options& options) {
    progress_bar bar;
    crawl running(options, [&](const fetch& what) {
        if (!options.json) return;
        bar.clear();
        print_line(stdout, dump(to_json(what)));
    });
    watch_signals();
    bool stopping = false;
    do {
        if (stop_signal != 0 && !stopping) {
            stopping = true;
            running.stop();
        }
        if (reload_wanted != 0) {
            reload_wanted = 0;
            bar.clear();
            reload(running, options.json);
        }
        bar.show(sum_up(running, options), stopping);
    } while (running.step());
    bar.clear();

    const totals sum = sum_up(running, options);
    if (options.json)
        print_line(stdout, dump(summary_json(running, sum, stopping)));
    else
        for (const std::string& line : to_table(running, sum, 80)) print_line(stdout, line);
    if (stopping) return 128 + static_cast<int>(stop_signal);
    return any_unmet(running) ? 3 : sum.failed == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    std::setlocale(LC_CTYPE, "C.UTF-8"); // in which libcurl reads the names of hosts
    try {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        const auto read = read_crawl_options(argc, argv);
        if (const int* status = std::get_if<int>(&read)) return *status;
        return run(std::get<crawl_options>(read));
    } catch (const usage_error& error) {
        return complain(program, error.what(), 2);
    } catch (const reqauth::error& error) {
        return complain(program, reqauth_settings::in_words(error), 2);
    } catch (const std::exception& error) {
        return complain(program, error.what(), 1);
    }
}
