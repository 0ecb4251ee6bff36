// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/error_words.h>

#include <cstddef>
#include <string_view>

namespace eddy::detail {

std::string words_of(std::string heading, std::span<const std::exception_ptr> errors) {
  // An error may consist of other errors, and these of others again.
  constexpr std::size_t most = 4096;
  std::string_view before = ": ";
  for (const std::exception_ptr& error : errors) {
    if (heading.size() >= most) break;
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
  if (heading.size() > most) {
    heading.resize(most);
    heading += " ...";
  }
  return heading;
}

}  // namespace eddy::detail
