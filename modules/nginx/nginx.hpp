// SPDX-License-Identifier: Apache-2.0
#pragma once

// nginx's headers are C. What they include of the standard library has to be known as C++ before.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>

extern "C" {
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
}

#ifndef NGX_HTTP_SSL
#error "this nginx is built without its SSL module, so reqauth has nothing to attach to"
#endif

extern "C" ngx_module_t ngx_http_reqauth_module;
