// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/promise.h>

#include <eddy/future/detail/await_place.h>

namespace eddy::detail {

std::exception_ptr broken_promise_error() noexcept {
  try {
    throw broken_promise();
  } catch (...) {
    return std::current_exception();
  }
}

void describe_promise(std::string& out, const std::source_location& made) {
  out += "a promise that nobody has set";
  if (is_the_users(made)) {
    out += ", made by ";
    add_place(out, made);
  }
  out += '\n';
}

}  // namespace eddy::detail
