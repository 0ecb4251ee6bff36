// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/several_errors.h>

#include <utility>

#include <eddy/loop/detail/error_words.h>

namespace eddy {

several_errors::several_errors(std::vector<std::exception_ptr> errors)
    : std::runtime_error(detail::words_of("several errors", errors)),
      errors_(std::make_shared<const std::vector<std::exception_ptr>>(std::move(errors))) {}

}  // namespace eddy
