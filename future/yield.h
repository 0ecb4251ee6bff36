// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <string>

#include <eddy/future/detail/frame.h>
#include <eddy/future/spawn.h>

namespace eddy {

namespace detail {

class yield_wait final : public wait {
public:
  yield_wait() noexcept = default;

  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    this->begin(by);
    current_loop("yield").ready(*this->waiter_);
  }

  void await_resume() const noexcept {}

  void describe(std::string& out, int) const override { out += "its turn\n"; }
};

class [[nodiscard]] yield_operation {
public:
  yield_wait operator co_await() const noexcept { return {}; }
};

}  // namespace detail

/// `co_await yield()` goes on when everything that is ready now has had its turn.
[[nodiscard]] inline detail::yield_operation yield() noexcept { return {}; }

}  // namespace eddy
