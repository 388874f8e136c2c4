// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the parts of libreqauth-preload.so share.

struct reqauth_exec_hooks;

/// hooks_there gives the second half's, where it works: null before the program's first SSL_CTX, and where it does not.
const reqauth_exec_hooks* hooks_there();

/// say writes a line for a person.
__attribute__((format(printf, 1, 2))) void say(const char* format, ...);

/// file_name is what comes after a path's last slash.
const char* file_name(const char* path);

/// base_of is where the library that has an address begins: null where there is none.
const void* base_of(const void* address);

/// The libssl that this was built for, as "libssl.so.3".
extern const char known_libssl[]; // NOLINT(bugprone-dynamic-static-initializers): the compiler makes it

/// learn_functions finds those of that libssl, and says whether it is loaded.
bool learn_functions();

/// base_of_known_libssl is where it begins, once they are found.
const void* base_of_known_libssl();

/// The libraries whose calls are libreqauth's.
void set_bases_of_reqauth(const void* library, const void* second_half);

/// stand_in has whoever looks up by himself, by dlsym, what hidden.cpp has in that libssl find hidden.cpp's.
void stand_in();
