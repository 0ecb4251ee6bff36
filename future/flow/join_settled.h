// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <tuple>
#include <utility>
#include <vector>

#include <eddy/future/detail/branches.h>
#include <eddy/future/outcome.h>

namespace eddy {

namespace detail {
struct join_settled_rule;
}

/// `co_await join_settled(a(), b())` runs them side by side until all have
/// ended, and gives how each did: a tuple of `outcome`.
///
///     auto [page, picture] = co_await join_settled(get(a), get(b));
///     if (page) show(*page);
///
/// They begin in order, each running until it first waits.
///
/// Errors: none comes out, and none is lost: each is in its outcome. Those that have come
/// when it is dropped leave the loop's `run`.
/// Cancelling: cancels all, the last one first.
template <class... Awaitables>
auto join_settled(Awaitables&&... awaitables) {
  return detail::side_by_side<detail::join_settled_rule>(std::forward<Awaitables>(awaitables)...);
}

/// The same for all elements of a range, which are moved from; the outcomes are
/// a `std::vector` in the range's order.
template <detail::range_of_awaitables Range>
auto join_settled(Range&& range) {
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
