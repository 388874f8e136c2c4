// SPDX-License-Identifier: Apache-2.0
#include "side.hpp"

#include "../../decide/settings.hpp"
#include "../base/hash.hpp"

#include <algorithm>

namespace reqauth::detail {

static void add_to(hash& all, const trust& agents) { all.add(agents.digest()); }
static void add_to(hash& all, const client_auth& auth) { all.settings(auth.all()); }

policies::entry::entry(const std::shared_ptr<attached_server>& there, server_policy what)
    : number(there->number), where(there), policy(std::make_shared<const server_policy>(std::move(what))),
      digest(hash("libreqauth policy 2").settings(*policy).end()) {}

policies::policies(const server_options& options, std::vector<entry> all) : entries(std::move(all)) {
    std::erase_if(entries, [](const entry& one) { return one.where.expired(); });
    std::vector<sha256_digest> digests;
    for (const entry& one : entries) {
        digests.push_back(one.digest);
        if (one.policy->refuse_early_data) refuse_early_data = true;
    }
    std::ranges::sort(digests);
    hash over("libreqauth policies 2");
    detail::add_to(over.settings(options), digests);
    digest = over.end();
}

const policies::entry* policies::find(std::uint64_t number) const noexcept {
    const auto found = std::ranges::lower_bound(entries, number, {}, &entry::number);
    return found != entries.end() && found->number == number ? &*found : nullptr;
}

std::shared_ptr<const policies> server_side::current() {
    const std::lock_guard lock(reading_);
    if (made_ == nullptr) made_ = std::make_shared<const policies>(options, entries_);
    return made_;
}

void server_side::make_room() {
    const std::lock_guard lock(reading_);
    if (entries_.size() < entries_.capacity()) return;
    std::erase_if(entries_, [](const policies::entry& one) { return one.where.expired(); });
    entries_.reserve(entries_.size() * 2 + 1);
}

void server_side::add(policies::entry entry) noexcept {
    const std::lock_guard lock(reading_);
    entries_.push_back(std::move(entry));
    made_.reset();
}

void server_side::set(std::vector<policies::entry> entries) {
    auto made = std::make_shared<const policies>(options, entries);
    const std::lock_guard lock(reading_);
    entries_.swap(entries);
    made_.swap(made);
}

} // namespace reqauth::detail
