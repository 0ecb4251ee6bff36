// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/branches.h>
#include <eddy/future/outcome.h>

namespace eddy {

namespace detail {
struct join_rule;
}

/// `co_await join(a(), b())` runs them side by side until all have ended, and
/// gives their values as a tuple; what gives void is a `std::monostate` in it,
/// and if all do, so does the join.
///
/// They begin in order, each running until it first waits.
///
/// Errors: the first error comes out as soon as it occurs; the others are
/// cancelled by then, the last one first. Where one of these is a future, or awaits one, whose own
/// error has come already, that leaves the loop's `run`, as the error of any
/// dropped future does. `join_settled` keeps every error.
/// Cancelling: cancels all, the last one first.
template <class... Awaitables>
auto join(Awaitables&&... awaitables) {
  return detail::side_by_side<detail::join_rule>(std::forward<Awaitables>(awaitables)...);
}

/// The same for all elements of a range, which are moved from; the values are a
/// `std::vector` in the range's order.
template <detail::range_of_awaitables Range>
auto join(Range&& range) {
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
