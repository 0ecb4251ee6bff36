// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/race_ok.h>

#include <eddy/loop/detail/error_words.h>

namespace eddy {

all_failed::all_failed(std::vector<std::exception_ptr> errors)
    : std::runtime_error(detail::words_of("none has succeeded", errors)),
      errors_(std::make_shared<const std::vector<std::exception_ptr>>(std::move(errors))) {}

}  // namespace eddy
