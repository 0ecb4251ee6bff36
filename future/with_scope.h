// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <functional>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/outcome.h>
#include <eddy/future/scope.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/throw_error.h>

namespace eddy {

/// `co_await with_scope(body, arguments…)` runs the coroutine `body(scope&, arguments…)` with a new
/// scope.
///
///     auto fetch_both = [](eddy::scope& s, std::string a, std::string b) -> eddy::task<> {
///       s.spawn(fetch(a));
///       co_await fetch(b);
///     };
///     co_await eddy::with_scope(fetch_both, here, there);
///
/// The `co_await` completes when the body and all tasks in the scope have completed, and gives the
/// value of the body. The function and the arguments are moved into the returned task.
///
/// Errors: the first error of the body or of a spawned task, which cancels all others;
/// `std::system_error` with `operation_canceled` if the scope was cancelled before its body ended.
/// Cancelling: cancels the body and all spawned tasks. An error not delivered yet leaves `run`.
template <class Function, class... Arguments>
  requires awaitable<std::invoke_result_t<Function&, scope&, Arguments...>>
auto with_scope(Function body, Arguments... arguments)
    -> task<await_result_t<std::invoke_result_t<Function&, scope&, Arguments...>>>;

// implementation

namespace detail {

/// Stores the result of `work` in `place`.
template <class T>
task<> give_to(std::optional<outcome<T>>* place, task<T> work) {
  if constexpr (std::is_void_v<T>) {
    co_await std::move(work);
    place->emplace();
  } else {
    decltype(auto) value = co_await std::move(work);
    place->emplace(std::in_place, std::forward<decltype(value)>(value));
  }
}

template <class T, class Function, class... Arguments>
task<T> run_in_own_scope(Function body, Arguments... arguments) {
  std::optional<outcome<T>> end;
  scope all;
  all.spawn(give_to<T>(&end, as_task(std::invoke(body, all, std::move(arguments)...))));
  co_await all.join();
  if (!end)
    throw_error(std::errc::operation_canceled,
                "with_scope: the scope was cancelled before its body completed");
  co_return get<T>(*std::move(end));
}

}  // namespace detail

template <class Function, class... Arguments>
  requires awaitable<std::invoke_result_t<Function&, scope&, Arguments...>>
auto with_scope(Function body, Arguments... arguments)
    -> task<await_result_t<std::invoke_result_t<Function&, scope&, Arguments...>>> {
  using value = await_result_t<std::invoke_result_t<Function&, scope&, Arguments...>>;
  return detail::run_in_own_scope<value>(std::move(body), std::move(arguments)...);
}

}  // namespace eddy
