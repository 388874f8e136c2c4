// SPDX-License-Identifier: Apache-2.0
#include "rules.hpp"

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
    switch (broken) {
    case violation::none: return "nothing is wrong";
    case violation::unsolicited_flag: return "a flag that was never proposed (FLAG-7)";
    case violation::acknowledged_unoffered: return "request_client_auth acknowledged, but it was never offered (RCA-9)";
    case violation::flag_in_other_message: return "request_client_auth in a message that never has it (RCA-10, RCA-11)";
    }
    return "";
}

std::string_view text_of(malformed why) noexcept {
    switch (why) {
    case malformed::no: return "well formed";
    case malformed::empty: return "no flags at all (FLAG-5)";
    case malformed::length: return "a length octet that does not match the data (FLAG-5)";
    case malformed::trailing_zero: return "a trailing zero octet (FLAG-5)";
    }
    return "";
}

std::string_view name_of(message which) noexcept {
    switch (which) {
    case message::client_hello: return "ClientHello";
    case message::hello_retry_request: return "HelloRetryRequest";
    case message::server_hello: return "ServerHello";
    case message::encrypted_extensions: return "EncryptedExtensions";
    case message::certificate_request: return "CertificateRequest";
    case message::certificate: return "Certificate";
    case message::new_session_ticket: return "NewSessionTicket";
    }
    return "";
}

} // namespace reqauth::detail
