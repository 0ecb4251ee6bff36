// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// Several errors that leave `event_loop::run` or `block_on` together. `what()` lists their
/// messages.
///
/// If `event_loop::on_exception` is set, it gets each error separately, and no `several_errors`
/// is thrown.
class several_errors : public std::runtime_error {
public:
  /// Makes one error of `errors`, with all their messages.
  explicit several_errors(std::vector<std::exception_ptr> errors);

  /// Returns the errors, in the order in which the loop received them. None of them is a
  /// `several_errors`, unless the program raised it. The errors live as long as any copy of this
  /// object.
  [[nodiscard]] std::span<const std::exception_ptr> errors() const noexcept { return *errors_; }

private:
  std::shared_ptr<const std::vector<std::exception_ptr>> errors_;
};

}  // namespace eddy
