// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <iterator>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/branch.h>
#include <eddy/future/detail/join_state.h>
#include <eddy/future/outcome.h>

namespace eddy::detail {

template <class T>
using nonvoid = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// Returns the value of a branch, or throws its exception.
template <class T>
nonvoid<T> value_of(branch<T>& b) {
  if constexpr (std::is_void_v<T>) {
    get<T>(std::move(*b.result));
    return {};
  } else {
    return get<T>(std::move(*b.result));
  }
}

// A `Rule` is the class of one combinator. Its `ends` tells what ends the wait early. Its `few` and
// `range` make the result of the branches, and get the decider, which is null if there was none.

template <class Rule, class... Ts>
class few_wait final : public all_branches {
public:
  explicit few_wait(std::tuple<task<Ts>...>&& tasks) noexcept : all_branches(Rule::ends) {
    take(std::move(tasks), std::index_sequence_for<Ts...>());
  }
  ~few_wait() { drop_all(); }

  decltype(auto) await_resume() {
    told_ = true;
    return Rule::few(branches_, decider());
  }

private:
  template <std::size_t... I>
  void take(std::tuple<task<Ts>...>&& tasks, std::index_sequence<I...>) noexcept {
    (std::get<I>(branches_).take(std::move(std::get<I>(tasks))), ...);
    (add(std::get<I>(branches_)), ...);
  }

  std::tuple<branch<Ts>...> branches_;
};

template <class Rule, class T>
class range_wait final : public all_branches {
public:
  explicit range_wait(branch_list<T>&& all) noexcept
      : all_branches(Rule::ends), branches_(std::move(all)) {
    for (branch<T>* b = branches_.first(); b != nullptr; b = b->next()) add(*b);
  }
  ~range_wait() { drop_all(); }

  decltype(auto) await_resume() {
    told_ = true;
    return Rule::range(branches_.first(), static_cast<branch<T>*>(decider()));
  }

private:
  branch_list<T> branches_;
};

template <class Rule, class... Ts>
class [[nodiscard("this does nothing without co_await")]] few_operation {
public:
  explicit few_operation(task<Ts>&&... tasks) noexcept : tasks_(std::move(tasks)...) {}
  few_wait<Rule, Ts...> operator co_await() && noexcept {
    return few_wait<Rule, Ts...>(std::move(tasks_));
  }

private:
  std::tuple<task<Ts>...> tasks_;
};

template <class Rule, class T>
class [[nodiscard("this does nothing without co_await")]] range_operation {
public:
  explicit range_operation(branch_list<T>&& all) noexcept : branches_(std::move(all)) {}
  range_wait<Rule, T> operator co_await() && noexcept {
    return range_wait<Rule, T>(std::move(branches_));
  }

private:
  branch_list<T> branches_;
};

template <class Range>
using element_of = std::remove_cvref_t<decltype(*std::begin(std::declval<Range&>()))>;

template <class Range>
concept range_of_awaitables = requires(Range& r) {
  std::begin(r);
  std::end(r);
  requires awaitable<element_of<Range>>;
};

/// The type that `side_by_side` returns, for functions with an overload of their own for ranges.
template <class Rule, class... Awaitables>
struct side_by_side_result
    : std::type_identity<few_operation<Rule, owned_result_t<Awaitables>...>> {};
template <class... Awaitables>
inline constexpr bool is_range =
    sizeof...(Awaitables) == 1 && (range_of_awaitables<Awaitables> && ...);
template <class Rule, class... Awaitables>
using side_by_side_t = typename std::enable_if_t<!is_range<Awaitables...>,
                                                 side_by_side_result<Rule, Awaitables...>>::type;
/// The type that `range_side_by_side` returns.
template <class Rule, class Range>
using range_side_by_side_t = range_operation<Rule, await_result_t<element_of<Range>>>;

template <class Rule, class... Awaitables>
few_operation<Rule, owned_result_t<Awaitables>...> side_by_side(Awaitables&&... awaitables) {
  static_assert(sizeof...(Awaitables) > 0, "there is nothing to await");
  return few_operation<Rule, owned_result_t<Awaitables>...>(
      as_task(std::forward<Awaitables>(awaitables))...);
}

template <class Rule, class Range>
range_operation<Rule, await_result_t<element_of<Range>>> range_side_by_side(Range&& range) {
  static_assert(!std::is_lvalue_reference_v<Range>,
                "a range that has a name must be moved: std::move(x)");
  branch_list<await_result_t<element_of<Range>>> all;
  for (auto&& element : range) all.push_back(as_task(std::move(element)));
  return range_operation<Rule, await_result_t<element_of<Range>>>(std::move(all));
}

}  // namespace eddy::detail
