// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/future_state.h>
#include <eddy/future/outcome.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

/// Thrown by `block_on` when nothing on the loop can complete the work.
///
/// `what()` holds the loop's `dump`, which says what each task waits for, and at which location.
class deadlock : public std::logic_error {
public:
  using std::logic_error::logic_error;
};

/// Runs `loop` until `work` completes, and returns the value of `work`: the usual call in `main`.
///
/// Other tasks on the loop run meanwhile, and stay on the loop afterwards. A call inside a handler
/// or a coroutine of that loop aborts the program.
///
/// Errors: what `work` throws; what a handler throws; an error that nobody took, such as that of a
/// destroyed future; `several_errors` for more than one of these; `deadlock`; `std::system_error`
/// with `operation_canceled` if the loop was stopped. The work is destroyed before the throw.
template <class Awaitable>
detail::owned_result_t<Awaitable> block_on(event_loop& loop, Awaitable&& work);

/// Runs `work` until it completes, on a new loop, and returns the value of `work`.
///
/// The loop is destroyed before the call returns, and detached tasks with it. Other tasks that are
/// left abort the program, as does a call inside a handler or a coroutine of any loop.
///
/// Errors: what `work` or a handler throws; `deadlock`. `block_on(loop, work)` lists all of them.
template <class Awaitable>
detail::owned_result_t<Awaitable> block_on(Awaitable&& work);

// implementation

namespace detail {

/// Runs the loop until the work has stopped it, or throws.
void run_until_ready(const future_core& work);
void forbid_nested_block_on() noexcept;

template <class T>
class blocked_on final : public spawned<T> {
public:
  using spawned<T>::spawned;

private:
  void take_from(frame& body) noexcept override {
    spawned<T>::take_from(body);
    this->loop().stop();
  }
};

template <class Awaitable>
outcome<owned_result_t<Awaitable>> run_to_end(event_loop& loop, Awaitable&& work) {
  using value = owned_result_t<Awaitable>;
  auto work_ended = future_access::make<value>(
      new blocked_on<value>(loop, as_task(std::forward<Awaitable>(work))));
  try {
    run_until_ready(future_access::state(work_ended));
  } catch (...) {
    // Errors that the work leaves behind when it is dropped come out with this one.
    work_ended = {};
    loop.rethrow_raised(std::current_exception());
  }
  outcome<value> end = std::move(work_ended).take();
  loop.rethrow_raised(end ? nullptr : end.error());
  return end;
}

// The library has this one, so that not every program compiles it.
extern template outcome<void> run_to_end<task<>>(event_loop& loop, task<>&& work);

}  // namespace detail

template <class Awaitable>
detail::owned_result_t<Awaitable> block_on(event_loop& loop, Awaitable&& work) {
  return detail::get<detail::owned_result_t<Awaitable>>(
      detail::run_to_end(loop, std::forward<Awaitable>(work)));
}

template <class Awaitable>
detail::owned_result_t<Awaitable> block_on(Awaitable&& work) {
  detail::forbid_nested_block_on();
  event_loop loop;
  return block_on(loop, std::forward<Awaitable>(work));
}

}  // namespace eddy
