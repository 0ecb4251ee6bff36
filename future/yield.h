// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>

#include <eddy/future/detail/current_loop.h>
#include <eddy/future/detail/foreign_wait.h>

namespace eddy {

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

/// `co_await yield()` lets every task and deferred function run first that is in the ready
/// queue now. Timers, descriptors and posts have queues of their own, which take turns
/// with the ready queue.
inline detail::yield_operation yield() noexcept { return {}; }

}  // namespace eddy
