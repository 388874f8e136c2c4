// SPDX-License-Identifier: Apache-2.0
#include "rules.hpp"

#include "../names.hpp"

namespace reqauth::detail {

violation judge(const arrival& arrived) noexcept {
    const bool ours = arrived.flags.contains(arrived.ours);
    switch (arrived.in) {
    //= FLAG-6
    case message::client_hello: return violation::none;
    case message::certificate_request:
        //= RCA-9
        return ours && !arrived.proposed.contains(arrived.ours) ? violation::acknowledged_unoffered : violation::none;
    case message::new_session_ticket:
        //= RCA-10
        return ours ? violation::flag_in_other_message : violation::none;
    case message::hello_retry_request:
    case message::server_hello:
    case message::encrypted_extensions:
    case message::certificate:
        //= RCA-10
        //= RCA-11
        if (ours) return violation::flag_in_other_message;
        //= FLAG-7
        return (arrived.flags - arrived.proposed).empty() ? violation::none : violation::unsolicited_flag;
    }
    return violation::flag_in_other_message;
}

std::string_view text_of(violation broken) noexcept {
    return name_in({"nothing is wrong", "a flag that was never proposed (FLAG-7)",
                    "request_client_auth acknowledged, but it was never offered (RCA-9)",
                    "request_client_auth in a message that never has it (RCA-10, RCA-11)"},
                   broken);
}

std::string_view text_of(malformed why) noexcept {
    return name_in({"well formed", "no flags at all (FLAG-5)", "a length octet that does not match the data (FLAG-5)",
                    "a trailing zero octet (FLAG-5)"},
                   why);
}

std::string_view name_of(message which) noexcept {
    return name_in({"ClientHello", "HelloRetryRequest", "ServerHello", "EncryptedExtensions", "CertificateRequest",
                    "Certificate", "NewSessionTicket"},
                   which);
}

} // namespace reqauth::detail
