// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/side_by_side.h>
#include <eddy/future/flow/detail/limited_wait.h>
#include <eddy/future/outcome.h>
#include <eddy/future/task.h>
#include <eddy/future/yield.h>

// The functions of <eddy/future/flow/concurrent.h> differ only in the class that collects the
// results.

namespace eddy::detail {

/// The type that the function is called with: a reference into the range if the element stays
/// there while later elements are read; otherwise an element that the call keeps.
template <class Range>
using element_for_call =
    std::conditional_t<std::is_lvalue_reference_v<decltype(*std::begin(std::declval<Range&>()))> &&
                           std::forward_iterator<decltype(std::begin(std::declval<Range&>()))>,
                       decltype(*std::begin(std::declval<Range&>())), element_of<Range>>;

/// The type that each awaitable gives, and the type in which a vector stores it.
template <class Range, class Function>
using result_for_each = await_result_t<std::invoke_result_t<Function&, element_for_call<Range>>>;
template <class Range, class Function>
using value_for_each = typename stored<result_for_each<Range, Function>>::type;

/// Aborts if the limit is 0.
void check_limit(std::size_t limit);

class no_results {
public:
  using type = void;
  using value = void;
  void take() && noexcept {}
};

template <class T>
class results_in_range_order {
public:
  using type = std::vector<typename stored<T>::type>;
  using value = T;

  void put(std::size_t index, T&& v) {
    if (values_.size() <= index) values_.resize(index + 1);
    values_[index].emplace(std::forward<T>(v));
  }
  type take() && {
    type all;
    all.reserve(values_.size());
    for (auto& v : values_) all.push_back(*std::move(v));
    return all;
  }

private:
  std::vector<std::optional<typename stored<T>::type>> values_;
};

template <class T>
class results_as_completed {
public:
  using type = std::vector<typename stored<T>::type>;
  using value = T;

  void put(std::size_t, T&& v) { values_.push_back(std::forward<T>(v)); }
  type take() && { return std::move(values_); }

private:
  type values_;
};

/// Keeps the element until the awaitable completes.
template <class T, class Function, class Element>
task<T> call_with(Function* function, Element element) {
  auto work = std::invoke(*function, std::move(element));
  co_return co_await std::move(work);
}

template <class Results, class Range, class Function>
task<typename Results::type> run_concurrently(Range range, std::size_t limit, Function function) {
  using value = typename Results::value;
  limited_wait<Results> running(limit);
  std::size_t index = 0;
  for (auto&& element : range) {
    // The wait for a turn comes before the call: a result that waited for a turn could be lost.
    if (!frame::may_go_on()) co_await yield();
    if constexpr (std::is_reference_v<element_for_call<Range>>) {
      running.add(index++, as_task(std::invoke(function, element)));
    } else {
      running.add(index++, call_with<value, Function, element_of<Range>>(
                               &function, std::forward<decltype(element)>(element)));
    }
    co_await running;
  }
  running.add_no_more();
  co_await running;
  co_return std::move(running.results).take();
}

}  // namespace eddy::detail
