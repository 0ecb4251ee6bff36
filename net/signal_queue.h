// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include <sys/types.h>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/stream_socket.h>

namespace eddy {

/// A signal that was sent to this process, and its sender.
struct signal_info {
  int number = 0;
  /// The way in which it was sent: SI_USER for `kill`, SI_QUEUE for `sigqueue`, for example.
  int code = 0;
  ::pid_t sender = 0;       // the sending process; for SIGCHLD, the child
  ::uid_t user = 0;         // the real user of the sender
  int value = 0;            // the value of `sigqueue`, as a number
  void* pointer = nullptr;  // the value of `sigqueue`, as a pointer
};

namespace detail {
/// Receives one signal.
class signal_call {
public:
  using value = signal_info;
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "receive from";
  static constexpr const char* busy = "a receive is already pending on this signal_queue";
  static constexpr bool tries = true;

  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return info_; }
  [[nodiscard]] std::string doing(const open_socket&) const {
    return "receive from a signal_queue";
  }

private:
  signal_info info_;
};
}  // namespace detail

/// Receives signals one by one, with their senders and values.
///
///     signal_queue queue(loop, {SIGRTMIN, SIGRTMIN + 1});
///     const signal_info next = co_await queue.receive();
///
/// `signal` merges signals that arrive close together. A `signal_queue` does not: each real-time
/// signal is received, in order, up to the kernel's limit of pending signals (RLIMIT_SIGPENDING),
/// at which `sigqueue` fails with EAGAIN. The kernel itself merges a signal below SIGRTMIN with one
/// of the same number that is still pending.
///
/// The kernel queues only blocked signals. So the program must block them in all its threads, by
/// `pthread_sigmask` before it starts the first thread; eddy changes no thread's mask. Programs
/// that `process` starts have no blocked signals. The handler of a `signal` for
/// the same number is not called.
///
/// Each operation has the forms that `tcp_stream` has: with a handler, for `co_await`, and `try_`.
/// At most one may be pending.
///
/// Errors: a handler gets a `std::error_code`; `co_await` throws `std::system_error`.
/// Lifetime: the loop must outlive the object. It may be moved while an operation is pending.
/// Cancelling: no signal is lost; it stays pending in the kernel. Closing or destroying the object
/// cancels its operation: a handler is destroyed and never called; an awaiting coroutine is resumed
/// with `operation_canceled`.
class signal_queue {
public:
  /// An object that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  signal_queue() noexcept = default;

  /// Receives the signals `numbers` from now on, and those that are pending.
  ///
  /// Aborts the program if the calling thread does not block one of them: its action would run, or
  /// it would end the program. SIGKILL and SIGSTOP abort, too, because they cannot be blocked.
  /// Errors: `std::system_error` if no descriptor is free; `std::bad_alloc`.
  signal_queue(event_loop& loop, std::initializer_list<int> numbers);

  /// Waits until a signal is pending, takes it from the kernel, and returns it.
  /// Errors: `std::system_error`.
  /// Cancelling: no signal is lost; the next receive returns it.
  detail::operation_awaitable<detail::signal_call> receive() { return {socket(), {}}; }
  /// Waits until a signal is pending, takes it from the kernel, and calls `on_signal` with it.
  void receive(handler<void(result<signal_info>)> on_signal);
  /// Takes a signal without waiting; `std::nullopt` means that none is pending.
  [[nodiscard]] std::optional<result<signal_info>> try_receive();

  /// Cancels the pending receive. A handler is destroyed; an awaiting coroutine is resumed with
  /// `operation_canceled`. No signal is lost.
  void stop_receiving() noexcept { socket().stop(readiness::direction::read); }

  /// Closes the queue and cancels the pending receive. Signals stay pending, and blocked. Does
  /// nothing if the queue is not open.
  void close() noexcept { socket_.close(); }
  /// Whether this owns an open queue: it was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return socket_.open(); }

  [[nodiscard]] event_loop& loop() const noexcept { return socket().loop(); }

private:
  [[nodiscard]] detail::open_socket& socket() const noexcept {
    return socket_.checked(
        "a signal_queue was used that is not open: it was closed, or moved from");
  }

  detail::stream_socket socket_;
};

}  // namespace eddy
