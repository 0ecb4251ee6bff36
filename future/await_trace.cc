// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/await_trace.h>

#include <eddy/future/detail/await_trail.h>
#include <eddy/future/detail/frame.h>
#include <eddy/loop/detail/location.h>

namespace eddy {

std::vector<std::source_location> await_trace(const std::exception_ptr& error) {
  return error == nullptr ? std::vector<std::source_location>() : detail::trail_of(error);
}

std::string await_trace_text(const std::exception_ptr& error) {
  std::string text;
  for (const std::source_location& where : await_trace(error)) {
    text += "  ";
    detail::add_place(text, where);
    text += '\n';
  }
  return text;
}

}  // namespace eddy
