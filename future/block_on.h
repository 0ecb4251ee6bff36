// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/inspectable.h>

namespace eddy {

/// What `block_on` throws when nothing is left that could end its work; `what`
/// tells what every task of the loop waits for, and where.
class deadlock : public std::logic_error {
public:
  using std::logic_error::logic_error;
};

/// Runs `loop` until `work` has ended, and gives its value: the top of `main`.
///
/// Other tasks of the loop run meanwhile, and stay when it returns.
///
/// Errors: what the work throws; what leaves a handler; `deadlock` if nothing
/// keeps the loop alive and the work has not ended; `std::system_error` with
/// `operation_canceled` if the loop was stopped. In each case the work is gone.
template <awaitable Awaitable>
  requires(!std::is_lvalue_reference_v<Awaitable>)
await_result_t<Awaitable> block_on(event_loop& loop, Awaitable&& work);

/// The same on a loop that is made for this call.
template <awaitable Awaitable>
  requires(!std::is_lvalue_reference_v<Awaitable>)
await_result_t<Awaitable> block_on(Awaitable&& work);

// implementation

namespace detail {

/// Runs the loop until `done`, or throws.
void run_until(event_loop& loop, const bool& done);
void forbid_nested_block_on() noexcept;

template <class T>
class blocked final : public ending_with<T>, public root, public inspectable {
public:
  blocked(event_loop& loop, task<T> work) : inspectable(loop) {
    launch(loop, task_access::release(work).promise(), *this);
  }
  ~blocked() {
    if (body_ != nullptr) drop();
  }

  outcome<T> run() {
    run_until(loop(), done_);
    return std::move(*this->result);
  }

  void describe(std::string& out, int) const override { describe(out); }
  void describe(std::string& out) const override { describe_below(out, 0, body_); }

private:
  void ended() noexcept override {
    drop_ended();
    loop().stop();
  }
  void gone() noexcept override { done_ = true; }

  bool done_ = false;
};

}  // namespace detail

template <awaitable Awaitable>
  requires(!std::is_lvalue_reference_v<Awaitable>)
await_result_t<Awaitable> block_on(event_loop& loop, Awaitable&& work) {
  outcome<await_result_t<Awaitable>> o = detail::blocked<await_result_t<Awaitable>>(
                                             loop, detail::as_task(std::forward<Awaitable>(work)))
                                             .run();
  return detail::get<await_result_t<Awaitable>>(std::move(o));
}

template <awaitable Awaitable>
  requires(!std::is_lvalue_reference_v<Awaitable>)
await_result_t<Awaitable> block_on(Awaitable&& work) {
  detail::forbid_nested_block_on();
  event_loop loop;
  return block_on(loop, std::forward<Awaitable>(work));
}

}  // namespace eddy
