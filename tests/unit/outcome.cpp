// SPDX-License-Identifier: Apache-2.0
// What a server's connection turned out to be, fact by fact: take any one away and there is no peer.

#include "catch.hpp"

#include "../../lib/decide/outcome.hpp"

using namespace reqauth::detail;
using reqauth::reason;
using answer = reqauth::server_outcome::answer;

namespace {

hello_random random_of(std::uint8_t fill) {
    hello_random octets{};
    octets.fill(fill);
    return octets;
}

struct story {
    server_facts facts;
    findings now;

    story() {
        facts.hello =
            heard{.client_random = random_of(1), .flags = reqauth::flag_set{80}, .offered = true, .wanted = true};
        facts.server_random = random_of(2);
        facts.decided = decision::accept;
        facts.witness = {.held = true, .failed = false, .error = 0, .leaf = random_of(3)};
        now = {.server = true,
               .finished = true,
               .resumed = false,
               .client_random = random_of(1),
               .server_random = random_of(2),
               .certificate = true,
               .leaf = random_of(3)};
    }
    [[nodiscard]] std::optional<reason> end() const { return conclude(&facts, now); }
    [[nodiscard]] reqauth::server_outcome so_far() const { return progress(&facts, now); }
};

} // namespace

TEST_CASE("outcome / conclude / every fact there -> a flagged peer", "[unit][SEC-1]") {
    const story good;
    CHECK_FALSE(good.end());
    CHECK(good.so_far().certificate == answer::verified);
    CHECK(good.so_far().accepted);
}

TEST_CASE("outcome / conclude / any one fact missing -> no peer, and its reason", "[unit][SEC-1][SEC-2]") {
    CHECK(conclude(nullptr, story().now) == reason::not_offered);
    const auto without = [](auto&& change) {
        story one;
        change(one);
        return one.end();
    };
    CHECK(without([](story& s) { s.now.server = false; }) == reason::not_offered);
    CHECK(without([](story& s) { s.now.finished = false; }) == reason::handshake_unfinished);
    CHECK(without([](story& s) { s.facts.hello.reset(); }) == reason::not_offered);
    CHECK(without([](story& s) { s.facts.hello->offered = false; }) == reason::not_offered);
    CHECK(without([](story& s) { s.facts.decided = decision::ignore; }) == reason::ignored);
    CHECK(without([](story& s) { s.facts.decided = decision::refuse; }) == reason::ignored);
    CHECK(without([](story& s) { s.now.resumed = true; }) == reason::not_vouched);
    CHECK(without([](story& s) { s.facts.witness.failed = true; }) == reason::invalid);
    CHECK(without([](story& s) { s.now.certificate = false; }) == reason::empty);
    CHECK(without([](story& s) { s.facts.witness.held = false; }) == reason::not_witnessed);
    CHECK(without([](story& s) { s.now.leaf = random_of(9); }) == reason::not_witnessed);
}

TEST_CASE("outcome / conclude / resumed -> a flagged peer only if vouched for, with every other fact there",
          "[unit][SEC-1][RCA-16][TLS-2]") {
    const auto resumed = [](auto&& change) {
        story one;
        one.now.resumed = true;
        one.facts.vouched = true;
        one.facts.agents_session = true;
        change(one);
        return one;
    };
    const story good = resumed([](story&) {});
    CHECK_FALSE(good.end());
    CHECK(good.so_far().certificate == answer::verified);
    CHECK(good.so_far().accepted);

    const story unvouched = resumed([](story& s) { s.facts.vouched = false; });
    CHECK(unvouched.end() == reason::not_vouched);
    CHECK(unvouched.so_far().accepted);
    CHECK(unvouched.so_far().certificate == answer::not_asked);
    CHECK(resumed([](story& s) { s.now.finished = false; }).end() == reason::handshake_unfinished);
    CHECK(resumed([](story& s) { s.now.finished = false; }).so_far().certificate == answer::awaited);
    CHECK(resumed([](story& s) { s.facts.decided = decision::ignore; }).end() == reason::ignored);
    CHECK(resumed([](story& s) { s.facts.decided = decision::refuse; }).end() == reason::ignored);
    CHECK(resumed([](story& s) { s.now.leaf = random_of(9); }).end() == reason::not_witnessed);
    CHECK(resumed([](story& s) { s.now.certificate = false; }).end() == reason::empty);
    CHECK(resumed([](story& s) { s.facts.witness.held = false; }).end() == reason::not_witnessed);
    CHECK(resumed([](story& s) { s.now.server_random = random_of(8); }).end() == reason::not_offered);
    // What was vouched for is of no use where nothing was resumed.
    const story full = resumed([](story& s) {
        s.now.resumed = false;
        s.facts.witness.held = false;
    });
    CHECK(full.end() == reason::not_witnessed);
}

TEST_CASE("outcome / conclude / facts of an earlier handshake of the SSL -> nobody's", "[unit][SEC-1][TLS-5]") {
    story next;
    next.now.client_random = random_of(7);
    next.now.server_random = random_of(8);
    CHECK(next.end() == reason::not_offered);
    CHECK_FALSE(next.so_far().offered);
    // A client can repeat another's Random, but not the server's.
    next.now.client_random = random_of(1);
    CHECK(next.end() == reason::not_offered);
    CHECK_FALSE(next.so_far().offered);
}

TEST_CASE("outcome / conclude / heard, but the SSL_CTX changed to one where nothing is decided -> ignored",
          "[unit][SEC-5]") {
    story switched;
    switched.facts.server_random.reset();
    CHECK(switched.end() == reason::ignored);
    CHECK(switched.so_far().offered);
    CHECK_FALSE(switched.so_far().accepted);
}

TEST_CASE("outcome / progress / before the end, and after a failure -> how far it went", "[unit]") {
    story under_way;
    under_way.now.finished = false;
    under_way.facts.witness = {};
    CHECK(under_way.so_far().certificate == answer::awaited);
    under_way.facts.witness = {.held = false, .failed = true, .error = 20, .leaf = {}};
    CHECK(under_way.so_far().certificate == answer::invalid);
    CHECK(under_way.so_far().verify_error == 20);
    story empty;
    empty.now.certificate = false;
    CHECK(empty.so_far().certificate == answer::empty);
    story ignored;
    ignored.facts.decided = decision::ignore;
    CHECK(ignored.so_far().offered);
    CHECK_FALSE(ignored.so_far().accepted);
    CHECK(ignored.so_far().certificate == answer::not_asked);
    CHECK(ignored.so_far().flags == reqauth::flag_set{80});
    CHECK_FALSE(progress(nullptr, ignored.now).offered);
}

TEST_CASE("outcome / to_string / every reason -> its own name", "[unit]") {
    CHECK(to_string(reason::not_offered) == "not_offered");
    CHECK(to_string(reason::ignored) == "ignored");
    CHECK(to_string(reason::empty) == "empty");
    CHECK(to_string(reason::invalid) == "invalid");
    CHECK(to_string(reason::not_witnessed) == "not_witnessed");
    CHECK(to_string(reason::not_vouched) == "not_vouched");
    CHECK(to_string(reason::handshake_unfinished) == "handshake_unfinished");
}
