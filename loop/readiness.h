// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include <eddy/loop/handler.h>
#include <eddy/loop/ready_node.h>

namespace eddy {

class event_loop;

namespace detail {
struct watch;
}

/// Calls a handler when a descriptor can be read or written without waiting.
///
/// A wait calls its handler once. To be called again, wait again. An error or a hang-up counts as
/// ready: the next read or write reports that error. Files, directories and devices such as
/// /dev/null are always ready, as for `poll`. A read from one of these may still block: use
/// `run_blocking`.
///
/// A `readiness` does not own its descriptor: destroy the `readiness` first, then close the
/// descriptor. If the descriptor is closed during a wait, the wait ends with `bad_file_descriptor`.
/// The kernel does not report a close, so the wait may end only when another `readiness` or socket
/// uses the same number. In some cases the wait moves without an error to a new descriptor of the
/// same number. This happens if the wait began in the turn of the close, or if libev makes its
/// epoll set anew: after a fork, after `ev_loop_fork`, and when a copy of the closed descriptor
/// still reports events.
///
/// Lifetime: the loop must outlive the `readiness`. It may be moved during a wait.
/// Cancelling: after `stop` or the destructor no handler runs.
class readiness {
public:
  enum class direction : std::uint8_t { read, write };

  /// Makes a `readiness` of `descriptor`, and starts no wait.
  ///
  /// The kernel may refuse the descriptor later, because the kernel lacks memory or has reached its
  /// limit of epoll watches. The wait then ends with `not_enough_memory` or `no_space_on_device`;
  /// on an adopted loop, only when libev wakes next. The next wait asks the kernel again.
  /// Errors: `std::system_error` if `descriptor` is closed or negative, or is an epoll set that
  /// watches this loop; `std::bad_alloc`.
  readiness(event_loop& loop, int descriptor);
  readiness(readiness&& other) noexcept;
  readiness& operator=(readiness&& other) noexcept;
  ~readiness();

  /// Calls `on_ready` once, when the descriptor can be read. `on_ready` gets a zero code, or the
  /// error because of which the descriptor cannot be watched. Aborts with a message if a wait to
  /// read is pending, or `on_ready` is null.
  /// Errors: `std::bad_alloc`.
  void wait_readable(handler<void(std::error_code)> on_ready);
  /// Calls `on_ready` once, when the descriptor can be written. `on_ready` gets a zero code, or the
  /// error because of which the descriptor cannot be watched. Aborts with a message if a wait to
  /// write is pending, or `on_ready` is null.
  /// Errors: `std::bad_alloc`.
  void wait_writable(handler<void(std::error_code)> on_ready);

  /// Queues `node` once, when the descriptor is ready in the direction `which`. This is for an
  /// object that has a `ready_node` and no handler. When the node runs, call `error` to see whether
  /// the watch failed. Aborts with a message if a wait in that direction is pending, or `node` is
  /// in a queue.
  ///
  /// Cancelling: until the node is queued, call `stop`. From then on, withdraw or destroy the
  /// node.
  /// Lifetime: `node` must live until it is queued, or until `stop` or the destructor ends the
  /// wait.
  void wait(direction which, ready_node& node);

  /// Returns whether a wait in the direction `which` is pending.
  [[nodiscard]] bool waiting(direction which) const noexcept;

  /// Ends the wait in the direction `which` without calling its handler, and destroys the
  /// handler.
  void stop(direction which) noexcept;
  /// Ends the waits in both directions without calling their handlers, and destroys the
  /// handlers.
  void stop() noexcept;

  /// Decides whether the waits are in the background. A wait in the background does not keep its
  /// loop running.
  void background(bool on) noexcept;

  /// Returns the error because of which the descriptor cannot be watched; a zero code if there is
  /// none.
  [[nodiscard]] std::error_code error() const noexcept;
  [[nodiscard]] int descriptor() const noexcept;
  [[nodiscard]] event_loop& loop() const noexcept;

private:
  struct callback;

  void call_back(direction which, handler<void(std::error_code)>&& on_ready);
  std::unique_ptr<callback>& slot(direction which) noexcept;
  [[nodiscard]] handler<void(std::error_code)> take(direction which) noexcept;
  [[nodiscard]] detail::watch& watch() const noexcept;

  std::unique_ptr<detail::watch> watch_;
  std::unique_ptr<callback> on_readable_;  // made at the first use
  std::unique_ptr<callback> on_writable_;
};

}  // namespace eddy
