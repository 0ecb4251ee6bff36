// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/current_loop.h>
#include <eddy/future/detail/future_state.h>
#include <eddy/future/future.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

/// Has `loop` run `work`, beginning in its next turn, beside whatever else runs
/// there. The future stands for its result.
///
/// Errors: `std::bad_alloc`; an error of the work is the future's.
/// Cancelling: destroying the future cancels the work.
template <class Awaitable>
future<detail::work_result_t<Awaitable>> spawn(event_loop& loop, Awaitable&& work);

/// The same on the loop that is running.
template <class Awaitable>
future<detail::work_result_t<Awaitable>> spawn(Awaitable&& work);

/// Has the loop run the coroutine `function(arguments…)`. The function and the
/// arguments are moved into the task: a lambda that captures is safe here.
template <class Function, class... Arguments>
  requires std::invocable<Function&, Arguments...>
future<detail::called_result_t<Function, Arguments...>> spawn(event_loop& loop, Function function,
                                                              Arguments... arguments);

/// The same on the loop that is running.
template <class Function, class... Arguments>
  requires std::invocable<Function&, Arguments...>
future<detail::called_result_t<Function, Arguments...>> spawn(Function function,
                                                              Arguments... arguments);

// implementation

namespace detail {

template <class T>
class spawned : public future_state<T> {
public:
  spawned(event_loop& loop, task<T> work) : future_state<T>(loop, true) {
    this->inherit();
    this->launch(task_access::release(work).promise());
  }

  using future_core::describe;
  void describe(std::string& out, int depth) const override {
    out += "a spawned task\n";
    describe_below(out, depth, this->body());
  }

protected:
  void take_from(frame& body) noexcept override {
    try {
      this->set(static_cast<task_promise<T>&>(body).take());
    } catch (...) {  // by the value, which is moved
      this->set_error(std::current_exception());
    }
  }

private:
  void cancel() noexcept final { this->drop(); }
};

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
  return detail::future_access::make<value>(
      new detail::spawned<value>(loop, detail::as_task(std::forward<Awaitable>(work))));
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
