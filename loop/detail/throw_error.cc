// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/throw_error.h>

#include <cerrno>
#include <string>

namespace eddy::detail {

void throw_error(std::error_code error, std::string_view doing) {
  if (doing.empty()) throw std::system_error(error);
  throw std::system_error(error, std::string(doing));
}

void throw_error(std::errc error, std::string_view doing) {
  throw_error(std::make_error_code(error), doing);
}

void throw_errno(std::string_view doing) {
  throw_error(std::error_code(errno, std::generic_category()), doing);
}

std::exception_ptr as_exception(std::error_code error, std::string_view doing) noexcept {
  try {
    throw_error(error, doing);
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace eddy::detail
