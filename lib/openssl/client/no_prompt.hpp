// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace reqauth::detail {

/// no_prompt keeps providers that ask on their own, by OpenSSL's default UI_METHOD, from asking in this thread
/// while it lives: to them it is as if nobody sat there. The passphrase callback that OSSL_STORE and PEM are
/// given does not keep them from it. Other threads' prompts are the application's, and work as before.
class no_prompt {
public:
    no_prompt();
    ~no_prompt();
    no_prompt(const no_prompt&) = delete;
    no_prompt& operator=(const no_prompt&) = delete;

    /// refused says whether a prompt was wanted, in this thread, since it was made.
    [[nodiscard]] bool refused() const noexcept;
};

/// no_prompt_in_handshake does the same, from a client's info callback: on at each SSL_CB_LOOP once the flag's
/// credential is to be presented, since its signature is made between two of them, and off at SSL_CB_EXIT.
void no_prompt_in_handshake(bool on) noexcept;

} // namespace reqauth::detail
