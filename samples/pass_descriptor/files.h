// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>
#include <string_view>

#include <eddy/net/unique_descriptor.h>

/// Opens a file that only the opener knows: a `greeting` in memory. Gives an empty
/// `unique_descriptor` for any other name.
eddy::unique_descriptor open_file(std::string_view name);

/// The contents of an open file.
std::string contents(const eddy::unique_descriptor& file);
