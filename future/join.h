// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/side_by_side.h>
#include <eddy/future/outcome.h>

namespace eddy {

namespace detail {
struct join_rule;
}

/// `co_await join(a(), b())` runs awaitables concurrently until all complete, and gives a tuple of
/// their values.
///
/// A void value is a `std::monostate` in the `std::tuple`. If all values are void, the join gives
/// void too. The branches start in order, and each runs until it first suspends.
///
/// Errors: the first error cancels the other branches at once, and `co_await` throws it;
/// `join_settled` gives every error. If a cancelled branch awaited a future that had failed
/// already, the future's error is thrown from the loop's `run`.
/// Cancelling: cancels all branches, from the last to the first.
template <class... Awaitables>
detail::side_by_side_t<detail::join_rule, Awaitables...> join(Awaitables&&... awaitables) {
  return detail::side_by_side<detail::join_rule>(std::forward<Awaitables>(awaitables)...);
}

/// `co_await join(std::move(range))` runs all elements of a range concurrently, and gives a vector
/// of their values.
///
/// The `std::vector` is in the range's order. It stores references as `std::reference_wrapper`s. If
/// the elements give void, so does the join.
///
/// Errors: the first error cancels the other elements at once, and `co_await` throws it.
/// Cancelling: cancels all elements, from the last to the first.
template <detail::range_of_awaitables Range>
detail::range_side_by_side_t<detail::join_rule, Range> join(Range&& range) {
  return detail::range_side_by_side<detail::join_rule>(std::forward<Range>(range));
}

// implementation

namespace detail {

struct join_rule {
  static constexpr until ends = until::an_error;

  template <class... Ts>
  static auto few(std::tuple<branch<Ts>...>& all, branch_base* failed) {
    const auto rethrow = [&](auto& b) {
      if (&b == failed) std::rethrow_exception(std::move(b.result->error()));
    };
    if (failed != nullptr) std::apply([&](auto&... b) { (rethrow(b), ...); }, all);
    if constexpr (!(std::is_void_v<Ts> && ...)) {
      return std::apply([](auto&... b) { return std::tuple<nonvoid<Ts>...>(value_of(b)...); }, all);
    }
  }

  template <class T>
  static auto range(branch<T>* first, branch<T>* failed) {
    if (failed != nullptr) std::rethrow_exception(std::move(failed->result->error()));
    if constexpr (!std::is_void_v<T>) {
      std::vector<typename stored<T>::type> values;
      for (auto* b = first; b != nullptr; b = b->next()) values.push_back(value_of(*b));
      return values;
    }
  }
};

}  // namespace detail

}  // namespace eddy
