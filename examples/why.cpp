// SPDX-License-Identifier: Apache-2.0
#include "why.hpp"

namespace {

/// cure is what to do in the options of the programs; empty: what the library says.
std::string cure(const reqauth::client_outcome& outcome, const std::string& name, const std::string& without) {
    if (outcome.hello_unanswered) return "it, or something before it, may not take the flag: try " + without;
    switch (outcome.unmet) {
    case reqauth::unmet::authorities:
        return "put the intermediate into --cert, or give a certificate of one of the CAs that it names";
    case reqauth::unmet::algorithms: return "give --cert and --key of another kind, as P-256 or RSA";
    case reqauth::unmet::outside_validity: return "renew --cert, or look at this machine's clock";
    case reqauth::unmet::untrusted: return "give its CA as --ca, if it is the right server";
    case reqauth::unmet::other_name:
    case reqauth::unmet::unknown_name: return "use a name that its certificate has as " + name;
    case reqauth::unmet::no_credential:
    case reqauth::unmet::nothing: break;
    }
    return {};
}

} // namespace

std::string in_words(const SSL& ssl, const std::string& name, const std::string& without) {
    const reqauth::explanation why = reqauth::explain(ssl);
    const reqauth::client_outcome outcome = reqauth::client_outcome_of(ssl);
    // Not to offer was wanted, but for a certificate that has expired.
    const bool wanted = outcome.offered || outcome.withheld == reqauth::withheld::outside_validity;
    if (why.cause.empty() || !wanted) return {};
    const std::string ours = cure(outcome, name, without);
    return why.cause + "; " + (ours.empty() ? why.remedy : ours);
}

bool is_unmet(const reqauth::client_outcome& outcome) {
    return outcome.unmet != reqauth::unmet::nothing && outcome.unmet != reqauth::unmet::no_credential;
}
