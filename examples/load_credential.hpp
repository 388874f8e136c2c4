// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <reqauth/client.hpp>

#include <string>
#include <vector>

/// load_credential reads --cert and --key, which is a file or a provider's URI; --key-provider vouches for `providers`.
/// Throws usage_error.
reqauth::credential load_credential(const std::string& certificate, const std::string& key,
                                    const std::vector<std::string>& providers);
