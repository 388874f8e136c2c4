// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apache.hpp"

#include <string>
#include <string_view>

// Header fields in which an identity goes to the application behind. This module owns their names: Client-Cert and
// Client-Cert-Chain always, and those of each ReqAuthHeader, wherever it stands, in every virtual host. What a client
// sends under such a name, in any spelling, is gone before anything else looks at the request:
//
// | where a client can write it                              | what is done                                           |
// | a field of that name, or one that CGI folds into it      | taken out, with is_spelling_of                         |
// | a trailer field of the body                              | taken out as it is read, before MergeTrailers counts   |
// | a word of Connection, upon which mod_proxy takes out the | the word is taken out                                  |
// |   field that bears that name                             |                                                        |
//
// ReqAuthDangerTrustInboundFields leaves all of that as it came.

namespace reqauth_apache {

/// field is what one ReqAuthHeader says.
struct field {
    std::string name;
    const char* variable = nullptr; ///< its value is that of REQAUTH_...; null: others set it
};

/// field_of makes one of a directive's arguments. Throws std::runtime_error where no such field can be owned.
field field_of(std::string_view name, const char* variable);

/// own_fields makes the list of all names that this configuration owns.
void own_fields(const server_rec* main);

/// clean_fields takes the owned ones out of a request, and sees to its trailers.
void clean_fields(request_rec* r);

/// set_fields sets those of the request's virtual host, once its notes have REQAUTH_...
void set_fields(request_rec* r);

/// register_trailers_filter registers what clean_fields puts on requests that may have trailers.
void register_trailers_filter();

} // namespace reqauth_apache
