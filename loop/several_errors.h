// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// Several errors that leave `event_loop::run`, or `block_on`, together; `what`
/// tells each one's words.
///
/// Where `event_loop::on_exception` is set it gets each error by itself.
class several_errors : public std::runtime_error {
public:
  explicit several_errors(std::vector<std::exception_ptr> errors);

  /// In the order in which the loop was told of them. None is a `several_errors`, unless
  /// the program raised it. They live as long as a copy of this does.
  [[nodiscard]] std::span<const std::exception_ptr> errors() const noexcept { return *errors_; }

private:
  std::shared_ptr<const std::vector<std::exception_ptr>> errors_;
};

}  // namespace eddy
