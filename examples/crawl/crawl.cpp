// SPDX-License-Identifier: Apache-2.0
#include "crawl.hpp"

#include "command_line.hpp"
#include "load_credential.hpp"
#include "why.hpp"

#include <reqauth/error.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

namespace {

constexpr auto first_pause = 500ms;  // before the second try; each further pause is twice as long,
constexpr auto longest_pause = 30s;  // up to this one
constexpr auto longest_asked = 5min; // the longest Retry-After that is waited for
constexpr auto grace = 3s;           // for what runs when it is to stop
constexpr auto longest_nap = 200ms;  // so that signals and the progress bar have their turn

int connection_slot() {
    static const int slot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr,
                                                     [](void*, void* kept, CRYPTO_EX_DATA*, int, long, void*) {
                                                         delete static_cast<std::shared_ptr<connection>*>(kept);
                                                     });
    return slot;
}

std::shared_ptr<connection> connection_of(const SSL& ssl) {
    const auto* kept =
        static_cast<std::shared_ptr<connection>*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(&ssl), connection_slot()));
    return kept != nullptr ? *kept : nullptr;
}

/// note keeps what the library tells of a connection: after its handshake, and again with a ticket or an alert.
void note(const SSL& ssl, const reqauth::client_outcome& outcome) {
    const auto over = connection_of(ssl);
    if (!over) return;
    if (outcome.resumed && !over->outcome.resumed) ++over->to->resumed;
    over->outcome = outcome;
    over->why.reset();
    if (is_unmet(outcome) || outcome.hello_unanswered)
        over->why = in_words(ssl, "the URL's host", "--retry-without-flag");
    if (is_unmet(outcome)) over->to->unmet = over->why;
    if (outcome.judged == reqauth::client_outcome::verdict::refused && outcome.alert_received)
        over->to->refused = reqauth::alert_name(*outcome.alert_received);
}

reqauth::client_policy policy_of(const crawl_options& options) {
    reqauth::client_policy policy;
    for (std::size_t i = 0; i < options.certificates.size(); ++i)
        policy.further_credentials.push_back(
            load_credential(options.certificates[i], options.keys[i], options.key_providers));
    policy.offer = options.offer == "always"  ? reqauth::offer::always
                   : options.offer == "never" ? reqauth::offer::never
                                              : reqauth::offer::when_available;
    policy.when_unacknowledged =
        options.on_unacknowledged == "flag" ? reqauth::unacknowledged::present : reqauth::unacknowledged::empty;
    policy.flag = options.flag;
    policy.extension = options.extension;
    policy.offers_to = [](const SSL& ssl) {
        const auto over = connection_of(ssl);
        return over == nullptr || !over->to->without_flag;
    };
    policy.observe = note;
    return policy;
}

/// trust_of loads the servers' anchors, once for all connections.
store_ptr trust_of(const std::string& ca) {
    store_ptr store(X509_STORE_new());
    if (!store) throw std::bad_alloc();
    const char* file = curl_version_info(CURLVERSION_NOW)->cainfo;
    if (!ca.empty())
        load_anchors(*store, {"--ca", ca});
    else if ((file != nullptr ? X509_STORE_load_file(store.get(), file) : X509_STORE_set_default_paths(store.get())) !=
             1)
        throw usage_error("the system's trust anchors cannot be loaded: " + openssl_error() + "; give --ca");
    return store;
}

template <class Value> void set(CURL* easy, CURLoption option, Value value) {
    const CURLcode code = curl_easy_setopt(easy, option, value);
    if (code != CURLE_OK) throw std::runtime_error(std::string("libcurl: ") + curl_easy_strerror(code));
}

template <class Value> Value get(CURL* easy, CURLINFO info) {
    Value value{};
    curl_easy_getinfo(easy, info, &value);
    return value;
}

/// ssl_of is that of the connection that a transfer is on; null: none.
SSL* ssl_of(CURL* easy) {
    const auto* tls = get<curl_tlssessioninfo*>(easy, CURLINFO_TLS_SSL_PTR);
    return tls != nullptr && tls->backend == CURLSSLBACKEND_OPENSSL ? static_cast<SSL*>(tls->internals) : nullptr;
}

/// why says of a try that failed what libcurl knows, and what to do.
std::string why(CURL* easy, CURLcode code, std::string_view words) {
    const std::string name = curl_easy_strerror(code);
    const long system = get<long>(easy, CURLINFO_OS_ERRNO);
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION: // why it does not verify
        return (words.empty() ? name : std::string(words)) +
               (words.find("issuer") != words.npos || words.find("self") != words.npos ? "; give its CA with --ca"
                                                                                       : "");
    case CURLE_COULDNT_CONNECT:
        return name + (system != 0 ? std::string(": ") + std::strerror(static_cast<int>(system)) : "");
    case CURLE_SSL_CONNECT_ERROR:
        if (words.find("wrong version number") != words.npos)
            return "no TLS on this port, but plain HTTP or something else";
        return name;
    default: return name;
    }
}

/// may_pass says whether another try may go better. An alert is the server's decision, and so is what it answered,
/// but for 429 and 5xx; a certificate of its own that does not verify stays as it is.
bool may_pass(CURLcode code, const fetch& what) {
    if (what.over && what.over->outcome.alert_received) return false;
    switch (code) {
    case CURLE_OK: return what.status == 429 || what.status >= 500;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
    }
}

} // namespace

crawl::crawl(const crawl_options& options, std::function<void(const fetch&)> ended)
    : options_(options), ended_(std::move(ended)), client_(policy_of(options)), trust_(trust_of(options.ca)),
      multi_(curl_multi_init()) {
    if (!multi_) throw std::bad_alloc();
    std::unordered_map<std::string, host*> known;
    for (const page& each : options.pages) {
        host*& of = known[each.host];
        if (of == nullptr) {
            of = &hosts_.emplace_back();
            of->name = each.host;
            of->sessions.reset(curl_share_init());
            curl_share_setopt(of->sessions.get(), CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
        }
        of->waiting.push_back(&fetches_.emplace_back(fetch{fetches_.size() + 1, each.url, of}));
    }
    for (const std::string& each : options.resolve) {
        curl_slist* longer = curl_slist_append(addresses_.get(), each.c_str());
        if (longer == nullptr) throw std::bad_alloc();
        static_cast<void>(addresses_.release());
        addresses_.reset(longer);
    }
    // Those of hosts that pause are kept, too.
    curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(2 * options.parallel));
}

crawl::~crawl() {
    for (const auto& [easy, each] : transfers_) curl_multi_remove_handle(multi_.get(), easy);
}

bool crawl::step() {
    if (!stopping_) begin_what_may();
    int count = 0;
    curl_multi_perform(multi_.get(), &count);
    bool any = false;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &count))
        if (message->msg == CURLMSG_DONE) {
            try_ended(message->easy_handle, message->data.result);
            any = true;
        }
    const bool over = stopping_ ? transfers_.empty() || steady::now() >= *stopping_ + grace : first_ == hosts_.size();
    if (over || any) return !over;
    curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(std::chrono::milliseconds(longest_nap).count()),
                    nullptr);
    return true;
}

void crawl::stop() { stopping_ = steady::now(); }

// One host after the other, so that the URLs of each follow each other on its connections. Of one that is slow, or
// pauses, only its own URLs wait.
void crawl::begin_what_may() {
    while (first_ < hosts_.size() && hosts_[first_].waiting.empty() && hosts_[first_].running == 0) ++first_;
    const auto now = steady::now();
    for (std::size_t i = first_; i < hosts_.size() && transfers_.size() < options_.parallel; ++i) {
        host& each = hosts_[i];
        if (each.refused && !each.left) leave(each);
        if (each.not_before > now) continue;
        while (!each.waiting.empty() && each.running < options_.per_host && transfers_.size() < options_.parallel) {
            fetch& next = *each.waiting.front();
            each.waiting.pop_front();
            begin(next);
        }
    }
}

void crawl::begin(fetch& what) {
    CURL* easy = curl_easy_init();
    if (easy == nullptr) throw std::bad_alloc();
    transfer& made = transfers_[easy];
    made.self = this;
    made.what = &what;
    made.easy.reset(easy);
    ++what.tries;
    ++what.of->running;
    what.status = 0;
    what.octets = 0;
    what.over.reset();

    if (curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, attach) != CURLE_OK)
        throw std::runtime_error("this libcurl uses " + std::string(curl_version_info(CURLVERSION_NOW)->ssl_version) +
                                 ": install one that is built with OpenSSL (libcurl4-openssl-dev)");
    set(easy, CURLOPT_SSL_CTX_DATA, &made);
    set(easy, CURLOPT_SHARE, what.of->sessions.get());
    set(easy, CURLOPT_URL, what.url.c_str());
    set(easy, CURLOPT_PROTOCOLS_STR, "https");
    set(easy, CURLOPT_NOSIGNAL, 1L);
    set(easy, CURLOPT_USERAGENT, options_.user_agent.c_str());
    set(easy, CURLOPT_TIMEOUT, static_cast<long>(options_.timeout));
    set(easy, CURLOPT_RESOLVE, addresses_.get());
    set(easy, CURLOPT_ERRORBUFFER, made.words.data());
    set(easy, CURLOPT_HEADERFUNCTION, see_header);
    set(easy, CURLOPT_HEADERDATA, &made);
    set(easy, CURLOPT_WRITEFUNCTION, see_body);
    set(easy, CURLOPT_WRITEDATA, &made);
    // The anchors come with attach(): libcurl before 8.4 adds its own after the ClientHello, which is too late for the
    // library to see to it that a session is resumed only where the trust is the same.
    set(easy, CURLOPT_CAINFO, static_cast<const char*>(nullptr));
    set(easy, CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    set(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    set(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    set(easy, CURLOPT_OPENSOCKETDATA, &made);
    set(easy, CURLOPT_XFERINFOFUNCTION, look_for_alert);
    set(easy, CURLOPT_XFERINFODATA, &made);
    set(easy, CURLOPT_NOPROGRESS, 0L);
    if (curl_multi_add_handle(multi_.get(), easy) != CURLM_OK) throw std::runtime_error("libcurl takes no transfer");
}

// What the library adds: libcurl makes an SSL_CTX for each connection, and hands it out before the ClientHello.
CURLcode crawl::attach(CURL*, void* context, void* of_transfer) {
    transfer& made = *static_cast<transfer*>(of_transfer);
    try {
        SSL_CTX& ours = *static_cast<SSL_CTX*>(context);
        auto kept = std::make_unique<std::shared_ptr<connection>>(std::make_shared<connection>());
        (*kept)->to = made.what->of;
        (*kept)->outcome.offered = made.self->client_.offers(); // until the library tells: a handshake may be cut short
        made.what->over = *kept;
        if (SSL_CTX_set_ex_data(&ours, connection_slot(), kept.get()) != 1) throw std::bad_alloc();
        static_cast<void>(kept.release());
        SSL_CTX_set1_cert_store(&ours, made.self->trust_.get());
        made.self->client_.attach(ours);
        return CURLE_OK;
    } catch (const std::exception& error) {
        made.complaint = error.what();
        return CURLE_ABORTED_BY_CALLBACK;
    }
}

// An answer comes: this tells which connection it is on, where that was there before. Later libcurl no longer says.
std::size_t crawl::see_header(char*, std::size_t, std::size_t size, void* of_transfer) {
    const transfer& made = *static_cast<transfer*>(of_transfer);
    if (const SSL* ssl = ssl_of(made.easy.get())) made.what->over = connection_of(*ssl);
    return size;
}

curl_socket_t crawl::open_socket(void* of_transfer, curlsocktype, curl_sockaddr* where) {
    return static_cast<transfer*>(of_transfer)->socket =
               ::socket(where->family, where->socktype | SOCK_CLOEXEC, where->protocol);
}

// libcurl calls it now and then, and before it leaves a connection that has failed. The server may have refused, and
// gone, before the request was sent: then libcurl reads no more, and the alert is still there. note() is told of it.
int crawl::look_for_alert(void* of_transfer, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    const transfer& made = *static_cast<transfer*>(of_transfer);
    SSL* ssl = ssl_of(made.easy.get());
    sockaddr_in own{}; // the port of an IPv6 address is at the same place
    socklen_t size = sizeof own;
    if (ssl != nullptr && getsockname(made.socket, reinterpret_cast<sockaddr*>(&own), &size) == 0 &&
        ntohs(own.sin_port) == get<long>(made.easy.get(), CURLINFO_LOCAL_PORT))
        static_cast<void>(reqauth::last_outcome_of(*ssl, made.socket));
    return 0;
}

std::size_t crawl::see_body(char* data, std::size_t, std::size_t size, void* of_transfer) {
    transfer& made = *static_cast<transfer*>(of_transfer);
    const crawl_options& options = made.self->options_;
    made.what->octets += size;
    if (options.output.empty() || get<long>(made.easy.get(), CURLINFO_RESPONSE_CODE) >= 400) return size;
    if (!made.file) {
        std::string number = std::to_string(made.what->number);
        number.insert(0, 6 - std::min<std::size_t>(number.size(), 6), '0');
        made.what->file = (std::filesystem::path(options.output) / number).string();
        made.file.reset(std::fopen(made.what->file.c_str(), "wb"));
    }
    if (made.file && std::fwrite(data, 1, size, made.file.get()) == size) return size;
    made.complaint = made.what->file + " cannot be written: " + std::strerror(errno);
    return 0;
}

void crawl::try_ended(CURL* easy, CURLcode code) {
    auto node = transfers_.extract(easy);
    transfer& made = node.mapped();
    fetch& what = *made.what;
    host& of = *what.of;
    curl_multi_remove_handle(multi_.get(), easy);
    --of.running;
    if (code == CURLE_OK && made.file && std::fclose(made.file.release()) != 0) {
        code = CURLE_WRITE_ERROR;
        made.complaint = what.file + " cannot be written: " + std::strerror(errno);
    }
    what.status = get<long>(easy, CURLINFO_RESPONSE_CODE);
    take_outcome(what, code);

    const bool on_the_flag = code != CURLE_OK && what.over && what.over->outcome.hello_unanswered;
    what.error.reset();
    if (on_the_flag && what.over->why)
        what.error = what.over->why;
    else if (what.refused)
        what.error = "refused: " + *what.refused;
    else if (what.over && what.over->outcome.alert_received && code != CURLE_OK)
        what.error = "the server sent the alert " + reqauth::alert_name(*what.over->outcome.alert_received);
    else if (code == CURLE_OK && what.status >= 400)
        what.error = "HTTP " + std::to_string(what.status);
    else if (!made.complaint.empty())
        what.error = made.complaint;
    else if (code != CURLE_OK)
        what.error = why(easy, code, made.words.data());
    if (what.error && !what.file.empty()) {
        std::error_code ignored;
        std::filesystem::remove(std::exchange(what.file, ""), ignored);
    }

    if (on_the_flag && options_.retry_without_flag && !stopping_ && !of.left) {
        of.without_flag = what.fell_back = true;
        of.waiting.push_front(&what);
        return;
    }
    if (what.error && !stopping_ && !of.left && what.tries <= options_.retries + (what.fell_back ? 1 : 0) &&
        may_pass(code, what)) {
        const std::chrono::seconds asked(get<curl_off_t>(easy, CURLINFO_RETRY_AFTER));
        if (asked <= longest_asked) {
            const auto pause = std::min<std::chrono::milliseconds>(first_pause * (1LL << std::min(what.tries - 1, 10U)),
                                                                   longest_pause);
            of.not_before = std::max(of.not_before, steady::now() + std::max<std::chrono::milliseconds>(pause, asked));
            of.waiting.push_front(&what);
            return;
        }
        *what.error += ", and not before " + std::to_string(asked.count()) + " seconds are over";
    }

    of.unanswered = what.status != 0 ? 0 : of.unanswered + 1;
    end(what);
    if (options_.give_up != 0 && of.unanswered >= options_.give_up) leave(of);
}

void crawl::take_outcome(fetch& what, CURLcode code) {
    if (!what.over) return;
    host& of = *what.of;
    const reqauth::client_outcome& how = what.over->outcome;
    const bool answered = code == CURLE_OK;
    using verdict = reqauth::client_outcome::verdict;
    const bool presented = how.sent == reqauth::client_outcome::answer::flag;
    what.authenticated = (presented && answered) || (how.resumed && of.authenticated);
    if (!answered && how.judged == verdict::refused) what.refused = of.refused;
    of.offered |= how.offered;
    of.acknowledged |= how.acknowledged;
    of.authenticated |= what.authenticated;
    if (!how.offered) of.withheld = to_string(how.withheld);
}

void crawl::end(fetch& what) {
    host& of = *what.of;
    if (what.error) {
        ++of.failed;
        ++of.failures[*what.error];
    } else {
        ++of.done;
    }
    ended_(what);
}

// A refusal holds for the credential, and so for all that this host has.
void crawl::leave(host& which) {
    which.left = true;
    for (fetch* each : std::exchange(which.waiting, {})) {
        each->refused = which.refused;
        each->error = which.refused ? "refused: " + *which.refused
                                    : "not tried: the " + std::to_string(which.unanswered) + " before had no answer";
        end(*each);
    }
}
