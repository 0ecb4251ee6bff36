// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <memory>
#include <span>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/branches.h>

namespace eddy {

namespace detail {
struct race_ok_rule;
}

/// What `race_ok` throws when none has succeeded; `what` tells each one's words.
class all_failed : public std::runtime_error {
public:
  explicit all_failed(std::vector<std::exception_ptr> errors);

  /// In the order of those that ran. They live as long as a copy of this does.
  [[nodiscard]] std::span<const std::exception_ptr> errors() const noexcept { return *errors_; }

private:
  std::shared_ptr<const std::vector<std::exception_ptr>> errors_;
};

/// `co_await race_ok(a(), b())` runs them side by side until the first has
/// succeeded, and gives its value. They all give the same type.
///
/// They begin in order, each running until it first waits; those after one that
/// succeeds at once never begin. The others are gone when the `co_await` goes
/// on, as with `select`.
///
/// Errors: `all_failed`, with the error of each, when none has succeeded. When
/// one has, the errors of those that failed before are dropped: that they may
/// fail is what this is for.
/// Cancelling: cancels all, the last one first.
template <class First, class... Others>
  requires(std::is_same_v<detail::owned_result_t<First>, detail::owned_result_t<Others>> && ...)
auto race_ok(First&& first, Others&&... others) {
  return detail::side_by_side<detail::race_ok_rule>(std::forward<First>(first),
                                                    std::forward<Others>(others)...);
}

/// The same for all elements of a range, which are moved from. Of none, none has
/// succeeded.
template <detail::range_of_awaitables Range>
auto race_ok(Range&& range) {
  return detail::range_side_by_side<detail::race_ok_rule>(std::forward<Range>(range));
}

// implementation

namespace detail {

struct race_ok_rule {
  static constexpr until ends = until::a_value;

  template <class T, class... Ts>
  static T few(std::tuple<branch<T>, branch<Ts>...>& all, branch_base* winner) {
    return range(&std::get<0>(all), static_cast<branch<T>*>(winner));
  }

  template <class T>
  static T range(branch<T>* first, branch<T>* winner) {
    if (winner != nullptr) return get<T>(*std::move(winner->result));
    std::vector<std::exception_ptr> errors;
    for (auto* b = first; b != nullptr; b = b->next()) {
      errors.push_back(std::move(b->result->error()));
    }
    throw all_failed(std::move(errors));
  }
};

}  // namespace detail

}  // namespace eddy
