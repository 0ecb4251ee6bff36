// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>
#include <string_view>

namespace eddy::detail {

/// Makes a JSON array of lines that are trees by their indentation, two spaces
/// a level; the first line is a root. Of "f at x.cc:7: a task" it makes an object
/// with `function`, `file`, `line` and `waits_for`, of any other words one with
/// `waits_for` alone; what lies below is in `below`. Bytes that are no UTF-8 are told
/// as characters of their numbers.
[[nodiscard, gnu::cold]] std::string json_of_tree(std::string_view lines);

}  // namespace eddy::detail
