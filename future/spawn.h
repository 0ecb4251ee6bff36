// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/spawned.h>
#include <eddy/future/future.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

/// Starts `work` on `loop`, concurrently with other work, and returns a future for its value.
///
/// The loop starts the work later, from its ready queue, never inside this call.
/// Errors: an error of the work goes to the future.
/// Cancelling: destroying the future cancels the work.
template <class Awaitable>
future<detail::work_result_t<Awaitable>> spawn(event_loop& loop, Awaitable&& work);

/// Starts `work` on the running loop, and returns a future for its value. Aborts if no loop runs.
template <class Awaitable>
future<detail::work_result_t<Awaitable>> spawn(Awaitable&& work);

/// Starts the coroutine `function(arguments…)` on `loop`, and returns a future for its value.
///
/// The task keeps the function and the arguments, so that a coroutine lambda may have captures.
/// Cancelling: destroying the future cancels the coroutine.
template <class Function, class... Arguments>
  requires std::invocable<Function&, Arguments...>
future<detail::called_result_t<Function, Arguments...>> spawn(event_loop& loop, Function function,
                                                              Arguments... arguments);

/// Starts the coroutine `function(arguments…)` on the running loop, and returns a future for its
/// value. The task keeps the function and the arguments. Aborts if no loop runs.
template <class Function, class... Arguments>
  requires std::invocable<Function&, Arguments...>
future<detail::called_result_t<Function, Arguments...>> spawn(Function function,
                                                              Arguments... arguments);

// implementation

namespace detail {

template <class Function, class... Arguments>
task<called_result_t<Function, Arguments...>> invoke_as_task(Function function,
                                                             Arguments... arguments) {
  auto work = std::invoke(function, std::move(arguments)...);
  co_return co_await std::move(work);
}

}  // namespace detail

template <class Awaitable>
future<detail::work_result_t<Awaitable>> spawn(event_loop& loop, Awaitable&& work) {
  using value = detail::owned_result_t<Awaitable>;
  return detail::spawn_task<value>(loop, detail::as_task(std::forward<Awaitable>(work)));
}

template <class Awaitable>
future<detail::work_result_t<Awaitable>> spawn(Awaitable&& work) {
  return spawn(detail::current_loop("spawn"), std::forward<Awaitable>(work));
}

template <class Function, class... Arguments>
  requires std::invocable<Function&, Arguments...>
future<detail::called_result_t<Function, Arguments...>> spawn(event_loop& loop, Function function,
                                                              Arguments... arguments) {
  return spawn(loop, detail::invoke_as_task(std::move(function), std::move(arguments)...));
}

template <class Function, class... Arguments>
  requires std::invocable<Function&, Arguments...>
future<detail::called_result_t<Function, Arguments...>> spawn(Function function,
                                                              Arguments... arguments) {
  return spawn(detail::current_loop("spawn"), std::move(function), std::move(arguments)...);
}

}  // namespace eddy
