// SPDX-License-Identifier: Apache-2.0
// The tls_flags extension on the wire. Expected octets are written out from the draft, not computed.

#include "catch.hpp"

#include <reqauth/flags.hpp>
#include <reqauth/format.hpp>

#include <fmt/format.h>

#include <vector>

using reqauth::decode;
using reqauth::encode;
using reqauth::flag_set;
using reqauth::malformed;
using octets = std::vector<std::uint8_t>;

namespace {

octets body_of(const flag_set& flags) {
    const auto encoded = encode(flags);
    return {encoded.body().begin(), encoded.body().end()};
}

// Draft, section 2: flags 3, 5 and 23. Checked by the compiler.
constexpr bool compiles_to_the_drafts_example() {
    const auto encoded = encode({3, 5, 23});
    constexpr std::array<std::uint8_t, 4> expected{3, 0b00101000, 0, 0b10000000};
    return std::ranges::equal(encoded.body(), expected) && decode(expected).flags == flag_set{3, 5, 23};
}
static_assert(compiles_to_the_drafts_example());
static_assert(encode({}).body().empty());

} // namespace

TEST_CASE("wire / encode / the draft's examples -> the draft's octets", "[unit][FLAG-2][FLAG-3]") {
    CHECK(body_of({0}) == octets{1, 0b00000001});
    CHECK(body_of({1, 5}) == octets{1, 0b00100010});
    CHECK(body_of({3, 5, 23}) == octets{3, 0b00101000, 0, 0b10000000});
}

TEST_CASE("wire / encode and decode / each of the 2040 flags alone -> one bit at its place, and back",
          "[unit][FLAG-1][FLAG-2][FLAG-3]") {
    for (unsigned flag = 0; flag < 2040; ++flag) {
        octets expected(2 + flag / 8, 0);
        expected.front() = static_cast<std::uint8_t>(flag / 8 + 1);
        expected.back() = static_cast<std::uint8_t>(1U << flag % 8);
        const flag_set one{static_cast<reqauth::flag_number>(flag)};
        REQUIRE(body_of(one) == expected);
        REQUIRE(decode(expected));
        REQUIRE(decode(expected).flags == one);
    }
}

TEST_CASE("wire / encode / all flags -> 255 octets after a length of 255", "[unit][FLAG-1]") {
    flag_set all;
    for (reqauth::flag_number flag = 0; flag < 2040; ++flag) all.insert(flag);
    octets expected(256, 0xff);
    CHECK(body_of(all) == expected);
    CHECK(decode(expected).flags == all);
}

TEST_CASE("wire / insert / flag 2040 -> out_of_range, and nothing is changed", "[unit][FLAG-1]") {
    flag_set flags{7};
    CHECK_THROWS_AS(flags.insert(2040), std::out_of_range);
    CHECK_THROWS_AS(flags.insert(65535), std::out_of_range);
    CHECK(flags == flag_set{7});
    CHECK_FALSE(flags.contains(2040));
    CHECK_FALSE(flags.contains(65535));
}

TEST_CASE("wire / encode / no flag -> nothing to send", "[unit][FLAG-4]") {
    CHECK(body_of({}).empty());
    flag_set emptied{80};
    emptied.erase(80);
    CHECK(body_of(emptied).empty());
}

TEST_CASE("wire / decode / a malformed body -> no flags and the reason", "[unit][FLAG-5]") {
    const auto why = [](const octets& body) {
        const auto found = decode(body);
        CHECK_FALSE(found);
        CHECK(found.flags.empty());
        return found.why;
    };
    CHECK(why({}) == malformed::empty);
    CHECK(why({0}) == malformed::empty);
    CHECK(why({0, 1}) == malformed::length);
    CHECK(why({1}) == malformed::length);
    CHECK(why({2, 1}) == malformed::length);
    CHECK(why({1, 1, 1}) == malformed::length);
    CHECK(why({255, 1}) == malformed::length);
    CHECK(why({1, 0}) == malformed::trailing_zero);
    CHECK(why({2, 0, 0}) == malformed::trailing_zero);
    CHECK(why({2, 1, 0}) == malformed::trailing_zero);
    octets too_long(257, 1);
    too_long.front() = 255;
    CHECK(why(too_long) == malformed::length);
}

TEST_CASE("wire / decode / every body of up to two octets -> accepted exactly where encode gives it back",
          "[unit][FLAG-3][FLAG-5]") {
    for (unsigned a = 0; a < 256; ++a) {
        CHECK_FALSE(decode(octets{static_cast<std::uint8_t>(a)}));
        for (unsigned b = 0; b < 256; ++b) {
            const octets body{static_cast<std::uint8_t>(a), static_cast<std::uint8_t>(b)};
            const auto found = decode(body);
            REQUIRE(static_cast<bool>(found) == (a == 1 && b != 0));
            if (found) REQUIRE(body_of(found.flags) == body);
        }
    }
}

TEST_CASE("wire / decode / the extension as the recorded client sent it -> flag 80, and back byte for byte",
          "[unit][FLAG-2][RCA-1]") {
    // fe01 000c 0b 00*10 01: type 65025, twelve octets.
    const octets recorded{0x0b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01};
    const auto found = decode(recorded);
    REQUIRE(found);
    CHECK(found.flags == flag_set{reqauth::request_client_auth});
    CHECK(body_of(found.flags) == recorded);
}

TEST_CASE("flag_set / operators -> union and difference", "[unit]") {
    const flag_set a{1, 80};
    const flag_set b{80, 2039};
    CHECK((a | b) == flag_set{1, 80, 2039});
    CHECK((a - b) == flag_set{1});
    CHECK((a - a).empty());
}

TEST_CASE("format / the library's types -> one readable line", "[unit]") {
    CHECK(fmt::format("{}", flag_set{8, 80}) == "{8, 80}");
    CHECK(fmt::format("{}", flag_set{}) == "{}");
    CHECK(fmt::format("{}", reqauth::reason::not_witnessed) == "not_witnessed");
    CHECK(fmt::format("{}", reqauth::client_outcome::answer::flag) == "flag");
    CHECK(fmt::format("{}", reqauth::other_peer{reqauth::reason::invalid, 20}) ==
          "other_peer (invalid, verify error 20)");
    CHECK(fmt::format("{}", reqauth::other_peer{reqauth::reason::empty, 0}) == "other_peer (empty)");
    CHECK(fmt::format("{}", reqauth::subject_alt_name{reqauth::subject_alt_name::kind::uri, "https://a.example/b"}) ==
          "URI:https://a.example/b");
}
