// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/branches.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

namespace detail {
struct select_rule;
}

/// `co_await select(a(), b())` runs them side by side until the first has ended,
/// and gives its value as a `std::variant` whose index is the winner's. What
/// gives void is a `std::monostate` in it, and a reference a
/// `std::reference_wrapper`.
///
///     auto first = co_await select(stream.read(buffer), until_signal(SIGTERM));
///     if (first.index() == 1) co_return;
///
/// A limit in time is `timeout`'s: a `sleep` here wins over bytes that came in time
/// where the process was stopped for a while.
///
/// What has a name is moved in, or copied: `stop_token(stop)`.
///
/// They begin in order, each running until it first waits. One that ends at
/// once has won, and those after it never begin; so of several that are ready
/// the first in order wins. Branches that do more than half of `event_loop::share`
/// operations before one waits may have to let others run, and wait then. Among branches
/// that become ready later, the first to become ready wins: the ready queue's order.
/// Timers, `sleep` among them, come before everything else that the loop finds in the
/// same turn.
///
/// The losers are gone when the `co_await` goes on: their locals are destroyed,
/// what they waited for is cancelled. Nothing is taken before it is delivered,
/// so a loser that was about to receive bytes, or a message, leaves them. But a spawned
/// task runs by itself: its value, once it has one, goes with its future if that loses. So
/// give `select` the task, and not its future. A loser that has received something, and
/// has gone on to wait for more, takes that with it.
///
/// Errors: the winner's comes out. Where a loser is a future, or awaits one,
/// whose own error has come already, that leaves the loop's `run`, as the error
/// of any dropped future does.
/// Cancelling: cancels all. Those that are dropped go one by one, the last one first.
template <class... Awaitables>
auto select(Awaitables&&... awaitables) {
  return detail::side_by_side<detail::select_rule>(std::forward<Awaitables>(awaitables)...);
}

/// What `select` gives for a range: which element has won, and its value.
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

/// The same for all elements of a range, which are moved from: it gives a
/// `selected`. There has to be one.
template <detail::range_of_awaitables Range>
auto select(Range&& range) {
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
    if (winner == nullptr) misuse("select was given a range without an element");
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
