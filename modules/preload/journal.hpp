// SPDX-License-Identifier: Apache-2.0
#pragma once

// What reqauth-exec says from inside a program: to standard error, and to the file of --log. A line goes only where the
// number is still the file that it was. The log that a program has closed is opened again while its path still leads to
// that very file, and else is lost, which is said once.

#include "log_file.hpp"
#include "settings.hpp"

#include <reqauth/client.hpp>
#include <reqauth/peer.hpp>

#include <atomic>
#include <string>
#include <string_view>

class journal {
public:
    explicit journal(const settings& all);

    /// wanted says whether connections are to be noted at all.
    [[nodiscard]] bool wanted() const noexcept { return verbose_ || !path_.empty(); }

    /// say writes a line for a person, whatever the settings.
    void say(const std::string& text);

    /// say_refused tells of a refusal that the program does not read.
    void say_refused(const SSL& ssl);

    /// note writes what came of a connection, or what changed about it.
    void note(const SSL& ssl, const reqauth::client_outcome& outcome);
    void note(const SSL& ssl, const reqauth::server_outcome& outcome, std::string_view alert_sent,
              std::string_view alert_received);

private:
    void log(std::string_view json);
    void write(std::string_view json, const std::string& text);

    bool verbose_;
    std::string path_;
    file error_;
    file log_;                    ///< as it was opened
    std::atomic<int> number_{-1}; ///< of the log now
    std::atomic<bool> lost_{false};
    bool retries_without_flag_;
    std::atomic<bool> told_{false};           ///< of a certificate that was kept back
    std::atomic<bool> told_of_ending_{false}; ///< of a connection that ended on the flag
};
