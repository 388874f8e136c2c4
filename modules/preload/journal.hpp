// SPDX-License-Identifier: Apache-2.0
#pragma once

// What reqauth-exec says from inside a program: to standard error, and to the file of --log. Programs close files that
// are not theirs, and then use the numbers again: a line goes only where the number is still the file that it was.

#include "settings.hpp"

#include <reqauth/client.hpp>
#include <reqauth/peer.hpp>

#include <sys/types.h>

#include <string>
#include <string_view>

class journal {
public:
    explicit journal(const settings& all);

    /// wanted says whether connections are to be noted at all.
    [[nodiscard]] bool wanted() const noexcept { return verbose_ || !path_.empty(); }

    /// say writes a line for a person, whatever the settings.
    void say(const std::string& text);

    /// note writes what came of a connection, or what changed about it.
    void note(const SSL& ssl, const reqauth::client_outcome& outcome);
    void note(const SSL& ssl, const reqauth::server_outcome& outcome, std::string_view alert_sent,
              std::string_view alert_received);

private:
    struct file {
        int number = -1;
        dev_t device = 0;
        ino_t inode = 0;
        [[nodiscard]] static file of(int number) noexcept;
        [[nodiscard]] bool still() const noexcept;
    };
    void open_log();
    void write(std::string_view json, const std::string& text);

    bool verbose_;
    std::string path_;
    file error_;
    file log_;
};
