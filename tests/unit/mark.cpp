// SPDX-License-Identifier: Apache-2.0
// What vouches for a session, octet by octet.

#include "catch.hpp"

#include "../../lib/decide/mark.hpp"

#include <limits>
#include <vector>

using namespace reqauth::detail;

namespace {

sha256_digest filled(std::uint8_t with) {
    sha256_digest digest{};
    digest.fill(with);
    return digest;
}

mark example() { return {filled(1), filled(2), filled(3), 4, 1'900'000'000}; }

bool good(const std::optional<mark>& found, std::int64_t now = 1'899'999'999) {
    return vouches(found, filled(1), filled(2), filled(3), now);
}

} // namespace

TEST_CASE("mark / write and read -> the same", "[unit][SEC-1]") {
    CHECK(read_mark(write(example())) == example());
    for (const std::int64_t deadline : {std::int64_t{0}, std::int64_t{1}, std::int64_t{255}, std::int64_t{256},
                                        std::int64_t{1} << 31, (std::int64_t{1} << 32) - 1}) {
        mark one = example();
        one.deadline = deadline;
        const auto found = read_mark(write(one));
        REQUIRE(found);
        CHECK(found->deadline == deadline);
        CHECK(*found == one);
    }
}

TEST_CASE("mark / vouches / everything equal, before the deadline -> yes; each part other -> no",
          "[unit][SEC-1][TLS-2]") {
    const auto found = read_mark(write(example()));
    CHECK(vouches(found, filled(1), filled(2), filled(3), 0));
    CHECK_FALSE(vouches(found, filled(9), filled(2), filled(3), 0));
    CHECK_FALSE(vouches(found, filled(1), filled(9), filled(3), 0));
    CHECK_FALSE(vouches(found, filled(1), filled(2), filled(9), 0));
    CHECK_FALSE(vouches(std::nullopt, filled(1), filled(2), filled(3), 0));
}

TEST_CASE("mark / vouches / at the deadline's edge -> the second before it is the last", "[unit][TLS-2]") {
    CHECK(good(example(), 1'899'999'999));
    CHECK_FALSE(good(example(), 1'900'000'000));
    CHECK_FALSE(good(example(), 1'900'000'001));
    CHECK_FALSE(good(example(), std::numeric_limits<std::int64_t>::max()));
    mark never = example();
    never.deadline = 0;
    CHECK_FALSE(good(never, 0));
}

TEST_CASE("mark / a deadline after 2106 -> has passed", "[unit][TLS-2]") {
    mark late = example();
    late.deadline = (std::int64_t{1} << 32) + 100;
    CHECK_FALSE(good(read_mark(write(late)), (std::int64_t{1} << 32)));
}

TEST_CASE("mark / scope and policy in each other's place, or both the same -> another mark, unless they are equal",
          "[unit][SEC-1][TLS-2]") {
    // Digests of lists with different tags never are equal: neither can be taken for the other.
    CHECK(mark(filled(1), filled(2), filled(3), 4, 0).under == mark(filled(2), filled(1), filled(3), 4, 0).under);
    CHECK_FALSE(good(mark(filled(2), filled(2), filled(3), 4, example().deadline)));
}

TEST_CASE("mark / read / any length but its own -> nothing", "[unit][SEC-1]") {
    const auto octets = write(example());
    std::vector<std::uint8_t> longer(octets.begin(), octets.end());
    longer.resize(octets.size() + 40);
    for (std::size_t size = 0; size <= longer.size(); ++size) {
        CAPTURE(size);
        CHECK(read_mark({longer.data(), size}).has_value() == (size == octets.size()));
    }
    CHECK_FALSE(read_mark({}));
}

TEST_CASE("mark / any octet changed in any way -> vouches for nothing, for another time, or under no anchor",
          "[unit][SEC-1]") {
    const auto original = write(example());
    int vouched = 0;
    for (std::size_t place = 0; place < original.size(); ++place)
        for (unsigned other = 0; other < 256; ++other) {
            auto octets = original;
            if (octets[place] == other) continue;
            octets[place] = static_cast<std::uint8_t>(other);
            const auto found = read_mark(octets);
            CHECK(found != example());
            if (!found || !good(found)) continue;
            // The ticket is authenticated: a deadline cannot be moved, nor an anchor named. What it says is what counts.
            if (found->anchor != example().anchor) continue; // of which the trust has none
            REQUIRE(place >= original.size() - 4);
            CHECK(found->deadline > example().deadline);
            ++vouched;
        }
    CHECK(vouched > 0);
}
