// SPDX-License-Identifier: Apache-2.0

// reqauth-exec: runs a program that links OpenSSL, and has it offer or answer the flag. Whatever can be known to be
// wrong is said before the program runs; then this process becomes the program.

#include "hooks.hpp"
#include "keeper.hpp"
#include "log_file.hpp"
#include "program.hpp"
#include "settings.hpp"
#include "settings/command_line.hpp"

#include <reqauth/error.hpp>

#include <CLI/CLI.hpp>
#include <openssl/ssl.h>

#include <cerrno>
#include <map>
#include <memory>
#include <span>
#include <utility>

namespace fs = std::filesystem;
using reqauth_settings::row;

namespace {

constexpr int failed_here = 125; // as with env and timeout: no program ran

/// usage_error is a command line, or a file in it, that cannot be used.
struct usage_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct command {
    settings all;
    bool anyway = false;
    std::vector<char*> program; ///< and its arguments, and null
};

/// read_options gives nothing where --help was asked for.
std::optional<command> read_options(std::span<char*> arguments) {
    const auto end = std::ranges::find_if(arguments, [](const char* one) { return std::string_view(one) == "--"; });
    command told;
    settings& all = told.all;
    CLI::App app("Runs a program that links OpenSSL, and has it offer the TLS flag request_client_auth, or answer it.\n"
                 "reqauth-exec [OPTIONS] -- PROGRAM [ARGUMENTS]",
                 "reqauth-exec");
    const auto option = [&](std::size_t row) { return reqauth_settings::option(app, all.of, row); };
    auto* certificate = app.add_option("--cert", all.certificate, "certificate, with its chain, in PEM");
    auto* key = app.add_option("--key", all.key, "private key: PEM, or a provider's URI")->needs(certificate);
    certificate->needs(key);
    auto* provider =
        app.add_option("--key-provider", all.providers, "an OpenSSL provider whose keys never ask a person");
    auto* server = app.add_flag("--server", all.server, "the program is a server, and answers the flag");
    auto* agents = option(row("agents"));
    agents->needs(server)->excludes(certificate);
    server->needs(agents)->excludes(certificate)->excludes(provider);
    for (const std::size_t each : {row("crl"), row("purpose"), row("admitted")}) option(each)->needs(server);
    option(row("missing"))->needs(server);
    option(row("invalid"))->needs(server);
    option(row("beside_required"))->needs(server);
    option(row("cross_signed"))->needs(server);
    app.add_flag(
           "--visible", all.visible,
           "let the program see agents' certificates. Danger: one that takes any certificate that is there for a "
           "customer's, as PostgreSQL and Python's ssl do, then lets agents in as customers. Only for programs that "
           "look at the verify result")
        ->needs(server);
    option(row("ca_names"))->needs(server);
    option(row("session_age"))->needs(server);
    for (const std::size_t each : {row("label"), row("flag"), row("extension")}) option(each);
    app.add_flag(
           "--danger-unproven-servers", all.danger_unproven_servers,
           "show the certificate also to a server whose chain did not verify, or whose certificate is for another "
           "name, as with curl -k. Danger: whoever answers in its place learns who this is")
        ->excludes(server);
    app.add_option(
           "--on-unacknowledged", all.on_unacknowledged,
           "answer to a request without the flag; other: the program's own certificate, if it has one; flag: --cert "
           "even so, and shows it to servers that did not accept the flag")
        ->check(CLI::IsMember({"empty", "other", "flag"}))
        ->capture_default_str()
        ->excludes(server);
    app.add_flag("--retry-without-flag", all.retry_without_flag,
                 "where a server, or what stands before it, ends a connection on the flag, the next ones to it, of all "
                 "that this "
                 "starts, go without: then it does not know us. Whoever can cut connections can bring that about")
        ->excludes(server);
    app.add_flag("--verbose", all.verbose, "say on standard error what came of each connection");
    app.add_option("--log", all.log, "append that to a file, a JSON object a line");
    app.add_flag("--anyway", told.anyway, "run the program although it seems to use another TLS library");
    try {
        app.parse(static_cast<int>(end - arguments.begin()), arguments.data());
    } catch (const CLI::CallForHelp&) {
        std::fputs(app.help().c_str(), stdout);
        return std::nullopt;
    } catch (const CLI::ParseError& wrong) {
        throw usage_error(reqauth_settings::wrong_usage(app, wrong) +
                          "; see reqauth-exec --help, and put the program after --");
    }
    if (arguments.end() - end < 2)
        throw usage_error("no program is given: reqauth-exec --cert FILE --key FILE -- PROGRAM ARGUMENTS");
    if (!all.server && all.certificate.empty())
        throw usage_error("no certificate is given: name --cert and --key, or --server and --agents-ca for a server");
    told.program.assign(end + 1, arguments.end());
    told.program.push_back(nullptr);
    return told;
}

/// make_absolute, since the program may change its directory.
void make_absolute(settings& all) {
    for (std::string* path : {&all.certificate, &all.of.agents, &all.of.crl, &all.of.admitted, &all.log})
        if (!path->empty()) *path = fs::absolute(*path);
    if (is_uri(all.key)) {
        // The environment of a process is no place for it.
        if (all.key.find("pin-value") != std::string::npos)
            throw usage_error("--key has a PIN in it; name a file that has it: pin-source=file:/etc/agent.pin");
    } else if (!all.key.empty()) {
        all.key = fs::absolute(all.key);
    }
}

int complain(std::string what, int status) {
    std::ranges::replace(what, '\n', ' ');
    std::ranges::replace_if(
        what, [](unsigned char octet) { return octet < ' ' || octet == 0x7f; }, '?');
    std::fprintf(stderr, "reqauth-exec: %s\n", what.c_str());
    return status;
}

/// try_files loads what the program will load: whatever is wrong with it is said here.
void try_files(const settings& all) {
    try {
        const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(
            SSL_CTX_new(all.server ? TLS_server_method() : TLS_client_method()), SSL_CTX_free);
        if (context == nullptr) throw usage_error("OpenSSL has no memory, or a broken configuration");
        if (all.server)
            for (const std::string& warning :
                 reqauth::server(server_options_of(all)).attach(*context, server_policy_of(all)).warnings)
                complain("warning: " + reqauth_settings::in_words(warning, reqauth_settings::spelled), 0);
        else
            reqauth::client(client_policy_of(all)).attach(*context);
    } catch (const reqauth_settings::wrong& what) {
        throw usage_error(in_words(what));
    } catch (const reqauth::error& wrong) {
        // Within another reqauth-exec, that one has attached to this SSL_CTX first.
        if (wrong.code() != reqauth::errc::already_attached)
            throw usage_error(reqauth_settings::in_words(wrong, {{"--cert", all.certificate}, {"--key", all.key}}));
    }
    if (all.log.empty()) return;
    try {
        close(open_log(all.log, true).number);
    } catch (const cannot_log& why) {
        throw usage_error(std::string("--log ") + why.what());
    }
}

/// preload_library is beside this program, as it is built, or where it was installed.
fs::path preload_library() {
    const char* name = "libreqauth-preload.so";
    const fs::path beside = fs::read_symlink("/proc/self/exe").parent_path() / name;
    for (const fs::path& file : {beside, fs::path(REQAUTH_EXEC_LIBRARIES) / name})
        if (fs::exists(file)) {
            // LD_PRELOAD has no way to write these.
            if (file.string().find_first_of(" :") != std::string::npos)
                throw usage_error(file.string() + " has a space or a colon in its path, which LD_PRELOAD cannot have; "
                                                  "install it elsewhere");
            return file;
        }
    throw usage_error(std::string(name) + " is neither beside reqauth-exec nor in " REQAUTH_EXEC_LIBRARIES
                                          "; install it again");
}

void set(const char* variable, const std::string& value) {
    if (setenv(variable, value.c_str(), 1) != 0) throw usage_error("out of memory");
}

/// beside is what a keeper holds.
struct beside {
    tally* counts = nullptr; ///< null: there is none
    /// Files that can be read only once, as the program's processes find them, and as they were given.
    std::map<std::string, std::string> files = {};
};

/// keep_beside starts the keeper of such files.
beside keep_beside(settings& all, const std::string& program) {
    std::map<std::string, int> copies;
    std::vector<std::string*> once;
    for (std::string* path : {&all.certificate, &all.key, &all.of.agents, &all.of.crl, &all.of.admitted}) {
        if (path->empty() || (path == &all.key && is_uri(all.key)) || !is_read_once(*path)) continue;
        if (copies.count(*path) == 0) copies[*path] = copied(*path);
        once.push_back(path);
    }
    const int file = make_tally();
    beside kept{file >= 0 ? tally_in(file) : nullptr};
    std::vector<int> files{file};
    for (const auto& [path, copy] : copies) files.push_back(copy);
    const int keeper = kept.counts != nullptr ? start_keeper(*kept.counts, program, all.verbose, files) : -1;
    if (keeper < 0 && !once.empty())
        throw usage_error(*once.front() +
                          " can be read only once, and no process can be started that keeps it; give a regular file");
    if (keeper < 0) return {};
    set(tally_variable, std::to_string(getpid()) + ':' + std::to_string(keeper) + ':' + std::to_string(file));
    for (std::string* path : once) {
        const std::string there = "/proc/" + std::to_string(keeper) + "/fd/" + std::to_string(copies.at(*path));
        kept.files[there] = std::exchange(*path, there);
    }
    return kept;
}

/// as_given puts the files' own names into a message.
std::string as_given(std::string text, const beside& kept) {
    for (const auto& [there, given] : kept.files)
        for (auto at = text.find(there); at != std::string::npos; at = text.find(there, at + given.size()))
            text.replace(at, there.size(), given);
    return text;
}

void prepare_environment(const settings& all) {
    std::string preload = preload_library();
    if (const char* others = std::getenv("LD_PRELOAD"); others != nullptr && *others != '\0') {
        // Within another reqauth-exec it is there already.
        const std::string list = others;
        preload = list.starts_with(preload) ? list : preload + ":" + list;
    }
    set("LD_PRELOAD", preload);
    set(settings_variable, written(all));
}

} // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): only memory can be missing while it complains
int main(int argc, char** argv) {
    beside kept;
    try {
        auto told = read_options({argv, static_cast<std::size_t>(argc)});
        if (!told) return 0;
        make_absolute(told->all);
        const printable_name name(fs::path(told->program.front()).filename().c_str());
        kept = keep_beside(told->all, name.text);
        try_files(told->all);
        const fs::path program = found(told->program.front());
        const std::string known = check(program, !told->anyway, told->all.server);
        prepare_environment(told->all);
        if (told->all.verbose) complain("runs " + program.string() + known, 0);
        if (kept.counts != nullptr) kept.counts->runs = 1;
        execvp(program.c_str(), told->program.data());
        if (kept.counts != nullptr) kept.counts->runs = 0;
        return complain(program.string() + ": " + std::strerror(errno), 126);
    } catch (const not_possible& why) {
        return complain(why.what(), why.status);
    } catch (const std::exception& failed) {
        return complain(as_given(failed.what(), kept), failed_here);
    }
}
