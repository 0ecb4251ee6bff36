// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <new>
#include <optional>
#include <system_error>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/awaitable.h>
#include <eddy/future/future.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>

namespace eddy::detail {

/// Runs an operation with a handler as a coroutine: for streams that are no sockets.
///
/// The coroutine calls the handler in the step in which it gets the result, so nothing is taken and
/// not delivered. The frames come from the block pool, so the steady state does not allocate.
///
/// Lifetime: the slot keeps its address while an operation is pending.
class callback_task {
public:
  callback_task() noexcept = default;
  callback_task(const callback_task&) = delete;
  callback_task& operator=(const callback_task&) = delete;

  [[nodiscard]] bool active() const noexcept { return running_.has_value(); }

  /// Has the loop await `operation` and call `on_done` with its result.
  /// Errors: `std::bad_alloc`.
  template <class Awaitable, class T = await_result_t<Awaitable>>
  void start(event_loop& loop, Awaitable operation, handler<void(result<T>)> on_done) {
    running_.emplace(spawn(loop, deliver(*this, std::move(operation), std::move(on_done))));
  }

  /// Has the loop run `work`, which frees the slot itself.
  void start(event_loop& loop, task<>&& work) { running_.emplace(spawn(loop, std::move(work))); }

  /// Frees the slot. The running coroutine, which calls this, no longer belongs to the slot.
  void leave() noexcept {
    std::optional<future<>> ending = std::exchange(running_, std::nullopt);
    if (ending) std::move(*ending).detach();
  }

  /// Cancels the operation: its handler is destroyed and never called.
  void stop() noexcept {
    // The handler may own the owner of this slot.
    const std::optional<future<>> cancelled = std::exchange(running_, std::nullopt);
  }

private:
  template <class Awaitable, class T = await_result_t<Awaitable>>
  // The slot owns the coroutine.
  // NOLINTBEGIN(cppcoreguidelines-avoid-reference-coroutine-parameters)
  static task<> deliver(callback_task& slot, Awaitable operation,
                        handler<void(result<T>)> on_done) {
    result<T> r = std::unexpected(std::make_error_code(std::errc::not_enough_memory));
    try {
      r = co_await as_result(std::move(operation));
    } catch (const std::bad_alloc&) {
      r = std::unexpected(std::make_error_code(std::errc::not_enough_memory));
    } catch (...) {
      slot.leave();  // an error of a stream of the program's own leaves the loop's run
      throw;
    }
    slot.leave();
    on_done(std::move(r));
  }
  // NOLINTEND(cppcoreguidelines-avoid-reference-coroutine-parameters)

  std::optional<future<>> running_;
};

}  // namespace eddy::detail
