// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <optional>
#include <string>

#include <eddy/future/detail/frame.h>
#include <eddy/loop/child_process.h>
#include <eddy/loop/result.h>

namespace eddy::detail {

class process_state;

/// The awaiter of `process::wait`.
class [[nodiscard]] process_wait final : public suspension {
public:
  explicit process_wait(process_state& state) noexcept : state_(&state) {}
  ~process_wait();

  [[nodiscard]] bool await_ready();
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& waiter = by.promise();
    waiter.waits_for(*this);
    begin(waiter);
  }
  result<exit_status> await_result();
  exit_status await_resume();

  void describe(description& to) const override;

private:
  friend class process_state;

  void begin(frame& waiter) noexcept;

  process_state* state_;  // null once the wait has its result
  frame* waiter_ = nullptr;
  std::optional<result<exit_status>> end_;
  std::string doing_;  // words for an error, because the process may be gone
};

/// A wait that is not started yet: the result of `process::wait`, for `co_await`.
///
/// Lifetime: the process must outlive this object.
class [[nodiscard("this does nothing without co_await or a handler")]] process_wait_operation {
public:
  explicit process_wait_operation(process_state& state) noexcept : state_(&state) {}
  process_wait operator co_await() && noexcept { return process_wait(*state_); }

private:
  process_state* state_;
};

}  // namespace eddy::detail
