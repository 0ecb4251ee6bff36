// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/promise.h>

#include <string>

#include <eddy/loop/description.h>
#include <eddy/loop/detail/location.h>

namespace eddy::detail {

std::exception_ptr broken_promise_error() noexcept {
  try {
    throw broken_promise();
  } catch (...) {
    return std::current_exception();
  }
}

void describe_promise(description& to, const std::source_location& made) {
  std::string words = "a promise that nobody has set";
  if (is_the_users(made)) {
    words += ", made by ";
    add_place(words, made);
  }
  to.add(words);
}

}  // namespace eddy::detail
