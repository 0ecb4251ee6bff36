// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include <eddy/future/flow/detail/run_concurrently.h>
#include <eddy/future/task.h>

namespace eddy {

/// `co_await for_each_concurrent(hosts, 8, ping)` calls `ping` with each host and awaits up to 8 of
/// the results at a time.
///
/// `function` returns an awaitable that gives void. The calls are made in the range's order,
/// each as soon as fewer than `limit` awaitables run. A `limit` of 0 aborts.
///
/// The range is read one element at a time, so it may be long, or make its elements on demand. An
/// lvalue range is held by reference and must outlive the operation; any other range is moved in.
/// The function is moved in too, so a lambda that captures is safe. The function gets a reference
/// to the element in the range. If the range makes its elements on demand, the function gets an
/// rvalue instead, which lives until the awaitable completes.
///
/// Errors: the first error of an awaitable, of the function or of the range. Before `co_await`
/// throws that error, it cancels the awaitables that still run. No further call is made.
/// Cancelling: cancels the awaitables that run, the last started first.
template <class Range, class Function>
  requires std::is_void_v<detail::result_for_each<Range, Function>>
task<> for_each_concurrent(Range&& range, std::size_t limit, Function function) {
  detail::check_limit(limit);
  return detail::run_concurrently<detail::no_results, Range>(std::forward<Range>(range), limit,
                                                             std::move(function));
}

/// `co_await map_concurrent(hosts, 8, ping)` calls `ping` with each host, and gives a `std::vector`
/// of the values in the range's order.
///
/// `function` returns an awaitable that gives a value. The calls are made in the range's order,
/// each as soon as fewer than `limit` awaitables run. A `limit` of 0 aborts. If the awaitables give
/// references, the vector holds `std::reference_wrapper`s.
///
/// Errors: the first error of an awaitable, of the function or of the range. Before `co_await`
/// throws that error, it cancels the awaitables that still run. No further call is made.
/// Lifetime: an lvalue range is held by reference and must outlive the operation. Any other range
/// is moved in, and so is the function.
/// Cancelling: cancels the awaitables that run, the last started first.
template <class Range, class Function>
  requires(!std::is_void_v<detail::result_for_each<Range, Function>>)
task<std::vector<detail::value_for_each<Range, Function>>> map_concurrent(Range&& range,
                                                                          std::size_t limit,
                                                                          Function function) {
  using results = detail::results_in_range_order<detail::result_for_each<Range, Function>>;
  detail::check_limit(limit);
  return detail::run_concurrently<results, Range>(std::forward<Range>(range), limit,
                                                  std::move(function));
}

/// `co_await map_unordered(hosts, 8, ping)` calls `ping` with each host, and gives a `std::vector`
/// of the values in the order of completion.
///
/// `function` returns an awaitable that gives a value. The calls are made in the range's order,
/// each as soon as fewer than `limit` awaitables run. A `limit` of 0 aborts. If the awaitables give
/// references, the vector holds `std::reference_wrapper`s.
///
/// Errors: the first error of an awaitable, of the function or of the range. Before `co_await`
/// throws that error, it cancels the awaitables that still run. No further call is made.
/// Lifetime: an lvalue range is held by reference and must outlive the operation. Any other range
/// is moved in, and so is the function.
/// Cancelling: cancels the awaitables that run, the last started first.
template <class Range, class Function>
  requires(!std::is_void_v<detail::result_for_each<Range, Function>>)
task<std::vector<detail::value_for_each<Range, Function>>> map_unordered(Range&& range,
                                                                         std::size_t limit,
                                                                         Function function) {
  using results = detail::results_as_completed<detail::result_for_each<Range, Function>>;
  detail::check_limit(limit);
  return detail::run_concurrently<results, Range>(std::forward<Range>(range), limit,
                                                  std::move(function));
}

}  // namespace eddy
