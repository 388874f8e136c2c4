// SPDX-License-Identifier: Apache-2.0
#include "claims.hpp"

#include <nlohmann/json.hpp>

#include <set>
#include <vector>

namespace reqauth::detail {

namespace {

/// reader hears of each value as nlohmann's parser comes to it, and stops it by `false`. Nothing is kept but names
/// and what concerns the binding: no tree is built, and nothing here recurses.
class reader {
public:
    using json = nlohmann::json;

    bool null() { return value(std::nullopt); }
    bool boolean(bool given) {
        if (at_top("active")) found.active = given ? claims::state::yes : claims::state::no;
        return value(std::nullopt, true);
    }
    bool number_integer(json::number_integer_t) { return value(std::nullopt); }
    bool number_unsigned(json::number_unsigned_t) { return value(std::nullopt); }
    bool number_float(json::number_float_t, const std::string&) { return value(std::nullopt); }
    bool string(std::string& text) { return value(text); }
    bool binary(json::binary_t&) { return malformed(); }

    bool start_object(std::size_t) {
        if (at_top("cnf")) {
            found.cnf = claims::confirmation::object;
            return open(true);
        }
        return (open_.empty() || value(std::nullopt)) && open(true);
    }
    bool start_array(std::size_t) { return value(std::nullopt) && open(false); }
    bool end_object() { return close(); }
    bool end_array() { return close(); }

    bool key(std::string& name) {
        open_.back().last = name;
        if (open_.back().names.insert(name).second) return true;
        found.broken = claims::fault::repeated_member;
        return false;
    }
    bool parse_error(std::size_t, const std::string&, const json::exception&) { return malformed(); }

    claims found;

private:
    struct level {
        bool object;
        std::string last; ///< the name of the member at hand
        std::set<std::string> names;
    };

    bool malformed() {
        found.broken = claims::fault::malformed;
        return false;
    }

    bool open(bool object) {
        if (open_.size() == claims_depth) return malformed();
        open_.push_back({object, {}, {}});
        return true;
    }

    bool close() {
        open_.pop_back();
        return true;
    }

    [[nodiscard]] bool at_top(std::string_view name) const { return open_.size() == 1 && open_.back().last == name; }
    [[nodiscard]] bool in_confirmation() const {
        return open_.size() == 2 && open_.front().last == "cnf" && open_.back().object;
    }

    /// value is one that stands at this place; `text`, if it is a string.
    bool value(const claim& text, bool boolean = false) {
        if (open_.empty()) return malformed(); // the whole text has to be an object
        if (at_top("cnf")) found.cnf = claims::confirmation::other;
        if (at_top("active") && !boolean) found.active = claims::state::no;
        if (!in_confirmation()) return true;
        if (open_.back().last == "x5t#S256")
            found.x5t_s256 = text;
        else if (open_.back().last == "jkt")
            found.jkt = text;
        else
            found.others = true;
        return true;
    }

    std::vector<level> open_;
};

} // namespace

claims read_claims(std::string_view json) {
    reader heard;
    if (json.size() > claims_octets)
        heard.found.broken = claims::fault::too_large;
    else if (json.find('\0') != std::string_view::npos) // where nlohmann would take the text to end
        heard.found.broken = claims::fault::malformed;
    else
        nlohmann::json::sax_parse(json.begin(), json.end(), &heard);
    return heard.found;
}

} // namespace reqauth::detail
