// SPDX-License-Identifier: Apache-2.0
#include "no_prompt.hpp"

#include "../base/fence.hpp"
#include "../base/handle.hpp"

#include <reqauth/error.hpp>

#include <openssl/ui.h>

#include <atomic>
#include <memory>
#include <mutex>

namespace reqauth::detail {

namespace {

thread_local int depth = 0;
thread_local bool in_handshake = false;
thread_local bool wanted = false;
std::atomic<const UI_METHOD*> before = nullptr; // whose place ours has taken

bool refusing() noexcept { return depth > 0 || in_handshake; }

// Fails in a thread with a no_prompt. In any other the UI goes on with the method that was there before.
int open(UI* ui) {
    if (refusing()) {
        wanted = true;
        return 0;
    }
    const UI_METHOD* original = before;
    UI_set_method(ui, original);
    const auto opener = UI_method_get_opener(original);
    return opener == nullptr ? 1 : opener(ui);
}

// A prompt's text is made before the UI is opened: in words that are not ours.
char* text(UI* ui, const char* object, const char* name) {
    if (refusing()) return UI_construct_prompt(nullptr, object, name);
    UI_set_method(ui, before);
    return UI_construct_prompt(ui, object, name);
}

UI_METHOD* make() {
    std::unique_ptr<UI_METHOD, freed_by<UI_destroy_method>> made(UI_create_method("no prompt by libreqauth"));
    if (made == nullptr || UI_method_set_opener(made.get(), open) != 0 ||
        UI_method_set_prompt_constructor(made.get(), text) != 0)
        throw error(errc::openssl, "OpenSSL's prompts cannot be kept away" + drain_errors());
    return made.release();
}

} // namespace

//= RCA-7
no_prompt::no_prompt() {
    static UI_METHOD* const ours = make(); // OpenSSL may refer to it for as long as the process lives
    static std::mutex mutex;
    {
        // Once for a process, unless the application sets a method of its own later.
        const std::lock_guard lock(mutex);
        const UI_METHOD* current = UI_get_default_method();
        if (current != ours) {
            before = current;
            UI_set_default_method(ours);
        }
    }
    if (depth++ == 0) wanted = false;
}

no_prompt::~no_prompt() { --depth; }

bool no_prompt::refused() const noexcept { return wanted; }

//= RCA-7
void no_prompt_in_handshake(bool on) noexcept { in_handshake = on; }

} // namespace reqauth::detail
