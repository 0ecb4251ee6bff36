// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <tuple>
#include <utility>
#include <vector>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/side_by_side.h>
#include <eddy/future/flow/detail/awaitable_of.h>
#include <eddy/future/outcome.h>

namespace eddy {

namespace detail {
struct join_settled_rule;
}

/// `co_await join_settled(a(), b())` awaits both concurrently until both complete, and gives a
/// tuple of their `outcome`s.
///
///     auto [page, picture] = co_await join_settled(get(a), get(b));
///     if (page) show(*page);
///
/// `join_settled` takes any number of awaitables. The awaitables start in order, and each runs
/// until it first suspends.
///
/// Errors: the `co_await` throws no error of an awaitable: each `outcome` holds a value or an
/// error. If the `co_await` is cancelled, the loop's `run` throws the errors of the awaitables that
/// had completed.
/// Cancelling: cancels the awaitables, the last one first.
template <class... Awaitables>
detail::awaitable_of<std::tuple<outcome<detail::given_t<Awaitables>>...>> auto join_settled(
    Awaitables&&... awaitables) {
  return detail::side_by_side<detail::join_settled_rule>(std::forward<Awaitables>(awaitables)...);
}

/// `co_await join_settled(std::move(range))` awaits the elements of a range concurrently until all
/// complete, and gives a `std::vector` of their `outcome`s in the range's order.
///
/// The elements are moved from. The elements start in order, and each runs until it first suspends.
///
/// Errors: the `co_await` throws no error of an element: each `outcome` holds a value or an error.
/// If the `co_await` is cancelled, the loop's `run` throws the errors of the elements that had
/// completed.
/// Cancelling: cancels the elements, the last one first.
template <detail::range_of_awaitables Range>
detail::awaitable_of<std::vector<outcome<await_result_t<detail::element_of<Range>>>>> auto
join_settled(Range&& range) {
  return detail::range_side_by_side<detail::join_settled_rule>(std::forward<Range>(range));
}

// implementation

namespace detail {

struct join_settled_rule {
  static constexpr until ends = until::all_ended;

  template <class... Ts>
  static auto few(std::tuple<branch<Ts>...>& all, branch_base*) {
    return std::apply(
        [](auto&... b) { return std::tuple<outcome<Ts>...>(std::move(*b.result)...); }, all);
  }

  template <class T>
  static auto range(branch<T>* first, branch<T>*) {
    std::vector<outcome<T>> outcomes;
    for (auto* b = first; b != nullptr; b = b->next()) outcomes.push_back(std::move(*b->result));
    return outcomes;
  }
};

}  // namespace detail

}  // namespace eddy
