// SPDX-License-Identifier: Apache-2.0
#include <reqauth/error.hpp>

namespace reqauth {

error::~error() = default;

} // namespace reqauth
