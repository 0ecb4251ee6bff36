// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/race_ok.h>

#include <eddy/loop/detail/deep_stack.h>
#include <eddy/loop/detail/error_words.h>

namespace eddy {

namespace {

using errors = const std::vector<std::exception_ptr>;

// An error may be another all_failed, and so on, a million deep.
void destroy(errors* all) noexcept {
  detail::without_overflow([all] { delete all; });
}

}  // namespace

all_failed::all_failed(std::vector<std::exception_ptr> errors)
    : std::runtime_error(detail::words_of("none has succeeded", errors)),
      errors_(new std::vector<std::exception_ptr>(std::move(errors)), &destroy) {}

}  // namespace eddy
