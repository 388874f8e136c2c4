// SPDX-License-Identifier: Apache-2.0
// What the library calls the values of its public enums, against what the compiler calls them.

#include "catch.hpp"

#include <reqauth/client.hpp>
#include <reqauth/error.hpp>
#include <reqauth/peer.hpp>
#include <reqauth/server.hpp>

#include <string>
#include <string_view>

using namespace reqauth;

namespace {

/// written is the name of an enumerator as g++ and clang write it in this function's own; "(Enum)7" where there is none.
template <auto Value> constexpr std::string_view written() {
    std::string_view text = __PRETTY_FUNCTION__;
    text = text.substr(text.find("Value = ") + 8);
    text = text.substr(0, text.find_first_of(";]"));
    return text.front() == '(' ? text : text.substr(text.rfind(':') + 1);
}

template <class Enum, int At = 0> int named_from_here() {
    if constexpr (At == 32) {
        return 0;
    } else {
        constexpr auto value = static_cast<Enum>(At);
        CAPTURE(At, written<value>());
        const bool is_one = written<value>().front() != '(';
        CHECK(to_string(value) == (is_one ? written<value>() : ""));
        return (is_one ? 1 : 0) + named_from_here<Enum, At + 1>();
    }
}

} // namespace

TEST_CASE("names / to_string / every value of every public enum -> what the header calls it", "[unit]") {
    CHECK(named_from_here<errc>() == 19);
    CHECK(named_from_here<malformed>() == 4);
    CHECK(named_from_here<purpose>() == 3);
    CHECK(named_from_here<client_auth::mode>() == 3);
    CHECK(named_from_here<subject_alt_name::kind>() == 5);
    CHECK(named_from_here<reason>() == 7);
    CHECK(std::size(server_counters().reasons) == 7); // one for each
    CHECK(named_from_here<server_outcome::answer>() == 5);
    CHECK(named_from_here<offer>() == 3);
    CHECK(named_from_here<unacknowledged>() == 3);
    CHECK(named_from_here<unsatisfiable>() == 3);
    CHECK(named_from_here<withheld>() == 5);
    CHECK(named_from_here<unmet>() == 8);
    CHECK(named_from_here<client_outcome::answer>() == 4);
    CHECK(named_from_here<client_outcome::verdict>() == 6);
}

TEST_CASE("names / alert_name / any number -> RFC 9846's name, or the number", "[unit]") {
    CHECK(alert_name(116) == "certificate_required");
    CHECK(alert_name(117) == "general_error");
    CHECK(alert_name(48) == "unknown_ca");
    CHECK(alert_name(0) == "close_notify");
    CHECK(alert_name(200) == "alert_200");
    CHECK(alert_name(-1) == "alert_-1");
}

TEST_CASE("names / error / cause, rule and remedy -> what() is made of them, in one line", "[unit]") {
    const error all(errc::provider, "a.key\n: is here", "put it there", "RCA-7");
    CHECK(all.code() == errc::provider);
    CHECK(all.cause() == "a.key\\0A: is here");
    CHECK(all.remedy() == "put it there");
    CHECK(all.rule() == "RCA-7");
    CHECK(all.what() == std::string("a.key\\0A: is here (RCA-7); put it there"));
    const error copy = all;
    CHECK(copy.remedy() == "put it there");
    CHECK(error(errc::openssl, "no memory").what() == std::string("no memory"));
    CHECK(error(errc::openssl, "no memory", "add some").what() == std::string("no memory; add some"));
}
