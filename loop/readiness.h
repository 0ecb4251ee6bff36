// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include <eddy/loop/handler.h>
#include <eddy/loop/ready.h>

namespace eddy {

class event_loop;

namespace detail {
struct watch;
}

/// Tells when a descriptor can be read or written without waiting.
///
/// A wait calls its handler once; to be told again, wait again. An error or a
/// hang-up counts as ready: the next read or write reports it. Files, directories
/// and devices such as /dev/null are always ready, as for `poll`; reading them may
/// still block, and `run_blocking` is the way to avoid that.
///
/// It does not own the descriptor: destroy the readiness first, then close. If
/// the descriptor is closed under it, its waits end with `bad_file_descriptor`, but
/// perhaps only when another readiness or socket is made with the same number: the
/// kernel does not tell of a close. A wait that began in the same turn
/// is not told so if the number is another descriptor's by the end of that turn: it
/// waits for that one. So does a wait whose number is another's when libev makes the
/// kernel's set anew: after a fork, after `ev_loop_fork`, and when a copy of a closed
/// descriptor still reports events.
///
/// Lifetime: the loop outlives it. It may be moved while somebody waits.
/// Cancelling: once `stop` or the destructor has returned, no handler runs.
class readiness {
public:
  enum class direction : std::uint8_t { read, write };

  /// Errors: `std::system_error` if `descriptor` is closed or negative, or an
  /// epoll set that watches this loop; `std::bad_alloc`. If the kernel refuses
  /// later, because its memory or its limit of watches is used up, the wait ends
  /// with `not_enough_memory` or `no_space_on_device`: on an adopted loop only when libev
  /// wakes next, which may be late. The wait after that asks the kernel again.
  readiness(event_loop& loop, int descriptor);
  readiness(readiness&& other) noexcept;
  readiness& operator=(readiness&& other) noexcept;
  ~readiness();

  /// Calls `on_ready` once, when there is something to read, or with what is
  /// wrong with the watch. One waits at a time.
  void wait_readable(handler<void(std::error_code)> on_ready);
  /// The same for writing.
  void wait_writable(handler<void(std::error_code)> on_ready);

  /// The same without a handler: queues `node`, and `error` tells. Until it is
  /// queued, only `stop` lets the node go; from then on, its own `withdraw` or
  /// destructor.
  void wait(direction which, ready_node& node);

  /// Whether somebody waits.
  [[nodiscard]] bool waiting(direction which) const noexcept;

  /// Ends the wait in one direction, or in both, without a call.
  void stop(direction which) noexcept;
  void stop() noexcept;

  /// A wait in the background does not keep its loop running.
  void background(bool on) noexcept;

  /// What is wrong with the watch; nothing, usually.
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
