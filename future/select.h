// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/side_by_side.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

namespace detail {
struct select_rule;
}

/// `co_await select(a(), b())` runs awaitables concurrently until the first completes, and cancels
/// the others.
///
///     auto first = co_await select(stream.read(buffer), until_signal(SIGTERM));
///     if (first.index() == 1) co_return;
///
/// The result is a `std::variant` with the winner's index and value. A void value is a
/// `std::monostate`, a reference a `std::reference_wrapper`. Use `timeout`, not `sleep`, for a time
/// limit: after a SIGSTOP of the process, a `sleep` wins over bytes that came in time.
///
/// The branches start in order, and each runs until it first suspends. A branch that completes
/// without suspending wins, and later branches never start. A branch that needs more than half of
/// `event_loop::share` operations to complete may have to suspend first, and may lose to a later
/// branch. Among branches that complete later, the first in the ready queue wins. A timer comes
/// before the other events of its turn.
///
/// The losers are destroyed before the coroutine resumes. A loser that was about to receive bytes
/// or a message leaves them to the next reader. A loser that has received something, and waits for
/// more, loses what it received. Give `select` a task, not the future of a spawned task: the task
/// would run on, and its value would be lost with the future.
///
/// Errors: the winner's error. If a loser awaited a future that had failed already, the future's
/// error is thrown from the loop's `run`.
/// Cancelling: cancels all branches, from the last to the first.
template <class... Awaitables>
detail::side_by_side_t<detail::select_rule, Awaitables...> select(Awaitables&&... awaitables) {
  return detail::side_by_side<detail::select_rule>(std::forward<Awaitables>(awaitables)...);
}

/// The result of `select` on a range: the index of the element that won, and its value.
template <class T>
struct selected {
  selected(std::size_t i, T&& v) : index(i), value(std::forward<T>(v)) {}

  std::size_t index;
  T value;
};
template <>
struct selected<void> {
  explicit selected(std::size_t i) noexcept : index(i) {}

  std::size_t index;
};

/// `co_await select(std::move(range))` runs all elements of a range until the first completes, and
/// cancels the others.
///
/// The result is a `selected` with the winner's index and value. The elements start in order. An
/// element that completes without suspending wins, and later elements never start. An empty range
/// aborts the program.
///
/// Errors: the winner's error.
/// Cancelling: cancels all elements, from the last to the first.
template <detail::range_of_awaitables Range>
detail::range_side_by_side_t<detail::select_rule, Range> select(Range&& range) {
  return detail::range_side_by_side<detail::select_rule>(std::forward<Range>(range));
}

// implementation

namespace detail {

struct select_rule {
  static constexpr until ends = until::one_ended;

  template <class... Ts>
  static auto few(std::tuple<branch<Ts>...>& all, branch_base* winner) {
    return value_in(all, winner, std::index_sequence_for<Ts...>());
  }

  template <class T>
  static selected<T> range(branch<T>* first, branch<T>* winner) {
    if (winner == nullptr) misuse("select was given an empty range");
    std::size_t index = 0;
    for (auto* b = first; b != winner; b = b->next()) ++index;
    if constexpr (std::is_void_v<T>) {
      value_of(*winner);
      return selected<T>(index);
    } else {
      return selected<T>(index, value_of(*winner));
    }
  }

private:
  template <class... Ts, std::size_t... I>
  static auto value_in(std::tuple<branch<Ts>...>& all, branch_base* winner,
                       std::index_sequence<I...>) {
    std::optional<std::variant<nonvoid<typename stored<Ts>::type>...>> value;
    const auto take = [&]<std::size_t J>(auto& b, std::in_place_index_t<J> which) {
      if (&b == winner) value.emplace(which, value_of(b));
    };
    (take(std::get<I>(all), std::in_place_index<I>), ...);
    return *std::move(value);
  }
};

}  // namespace detail

}  // namespace eddy
