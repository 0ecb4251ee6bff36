// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/error_words.h>

#include <string_view>

namespace eddy::detail {

std::string words_of(std::string heading, std::span<const std::exception_ptr> errors) {
  std::string_view before = ": ";
  for (const std::exception_ptr& error : errors) {
    heading += before;
    before = "; ";
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      heading += e.what();
    } catch (...) {
      heading += "not a std::exception";
    }
  }
  return heading;
}

}  // namespace eddy::detail
