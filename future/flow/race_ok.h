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
#include <eddy/future/detail/side_by_side.h>
#include <eddy/future/flow/detail/awaitable_of.h>

namespace eddy {

namespace detail {
struct race_ok_rule;
}

/// The error of a `race_ok` in which every awaitable failed. `what()` lists all messages.
class all_failed : public std::runtime_error {
public:
  explicit all_failed(std::vector<std::exception_ptr> errors);

  /// The error of each awaitable, in the order of the arguments or of the range.
  /// Lifetime: valid as long as any copy of this exception exists.
  [[nodiscard]] std::span<const std::exception_ptr> errors() const noexcept { return *errors_; }

private:
  std::shared_ptr<const std::vector<std::exception_ptr>> errors_;
};

/// `co_await race_ok(a(), b())` awaits both concurrently, and gives the value of the first that
/// succeeds.
///
/// `race_ok` takes any number of awaitables, all of one result type. The awaitables start in order,
/// and each runs until it first suspends. If an awaitable succeeds without suspending, later
/// awaitables never start. All others are cancelled and destroyed before the `co_await` completes.
///
/// Errors: `all_failed`, with every error, if all fail. If one succeeds, the errors of those that
/// failed before it are ignored.
/// Cancelling: cancels the awaitables, the last one first.
template <class First, class... Others>
  requires(std::is_same_v<detail::owned_result_t<First>, detail::owned_result_t<Others>> && ...)
detail::awaitable_of<detail::given_t<First>> auto race_ok(First&& first, Others&&... others) {
  return detail::side_by_side<detail::race_ok_rule>(std::forward<First>(first),
                                                    std::forward<Others>(others)...);
}

/// `co_await race_ok(std::move(range))` awaits the elements of a range concurrently, and gives the
/// value of the first that succeeds.
///
/// The elements are moved from. The elements start in order, and each runs until it first suspends.
/// If an element succeeds without suspending, later elements never start. All others are cancelled
/// and destroyed before the `co_await` completes.
///
/// Errors: `all_failed`, with every error, if all fail or the range is empty. If one succeeds, the
/// errors of those that failed before it are ignored.
/// Cancelling: cancels the elements, the last one first.
template <detail::range_of_awaitables Range>
detail::awaitable_of<await_result_t<detail::element_of<Range>>> auto race_ok(Range&& range) {
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
