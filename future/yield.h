// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>

#include <eddy/future/detail/external_awaiter.h>
#include <eddy/loop/detail/current_loop.h>

namespace eddy {

namespace detail {
class yield_operation;
}

/// `co_await yield()` moves the coroutine to the end of the loop's ready queue.
///
/// Everything that is in the ready queue already runs first. Timers, descriptors and posted
/// functions are not in that queue: `yield` does not wait for them.
inline detail::yield_operation yield() noexcept;

// implementation

namespace detail {

/// It is ready to run, rather than a `wait` for something.
class yield_wait {
public:
  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) const noexcept {
    current_loop("yield").ready(by.promise());
  }

  void await_resume() const noexcept {}
};

template <>
inline constexpr bool is_own_awaiter<yield_wait> = true;

class [[nodiscard("this does nothing without co_await")]] yield_operation {
public:
  yield_wait operator co_await() const noexcept { return {}; }
};

}  // namespace detail

inline detail::yield_operation yield() noexcept { return {}; }

}  // namespace eddy
