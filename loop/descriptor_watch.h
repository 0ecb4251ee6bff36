// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

#include <eddy/loop/detail/handler_slot.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready_node.h>
#include <eddy/loop/result.h>

namespace eddy {

class event_loop;

namespace detail {
class descriptor_watch_hub;
}

/// A set of conditions of a descriptor: what a `descriptor_watch` waits for, and what it reports.
enum class descriptor_events : std::uint8_t {
  none = 0,
  /// A read would not wait (EPOLLIN).
  readable = 1,
  /// A write would not wait (EPOLLOUT).
  writable = 2,
  /// Priority data, such as a change of a file in /proc or sysfs, a PSI trigger, a GPIO edge, or
  /// urgent data of TCP (EPOLLPRI).
  priority = 4,
  /// The peer has ended its sending side, or the connection has ended; unread bytes may be left
  /// (EPOLLRDHUP, EPOLLHUP).
  hang_up = 8,
  /// An error that the next operation will report, or entries in the error queue, which are no
  /// error (EPOLLERR). Always reported.
  error = 16,
};
[[nodiscard]] constexpr descriptor_events operator|(descriptor_events a,
                                                    descriptor_events b) noexcept {
  return static_cast<descriptor_events>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
/// Returns whether `set` contains one of the conditions of `some`.
[[nodiscard]] constexpr bool contains(descriptor_events set, descriptor_events some) noexcept {
  return (static_cast<unsigned>(set) & static_cast<unsigned>(some)) != 0;
}

/// Calls a handler in each turn while a descriptor is in one of some conditions.
///
/// `readiness` calls once, and knows reads and writes alone; a descriptor_watch repeats its calls
/// until `stop`, and also knows priority data and hang-ups. Starting and stopping it costs one
/// system call each, and each turn with events costs one for up to 64 descriptors. Several watches
/// may watch one descriptor.
///
/// The kernel reports `error` and `hang_up` also to a watch that does not wait for them. Then the
/// handler is called once or twice, and not again until something happens at the descriptor, even
/// if other watches of the descriptor are called in each turn, start or stop. So an error queue
/// that nobody reads does not keep the loop busy.
///
/// A descriptor_watch does not own its descriptor: stop it first, then close the descriptor. If the
/// descriptor is closed during a watch, and another watch uses its number, the earlier one ends
/// with `bad_file_descriptor`.
///
/// Lifetime: the loop must outlive the descriptor_watch. The handler may destroy, stop or restart
/// it. An active one may be moved.
/// Cancelling: after `stop` or the destructor the handler does not run.
class descriptor_watch : private ready_node {
public:
  using events = descriptor_events;

  /// Makes a watch of `descriptor`, and does not start it.
  descriptor_watch(event_loop& loop, int descriptor) noexcept
      : ready_node(&run), loop_(&loop), descriptor_(descriptor), entry_(this) {}
  descriptor_watch(descriptor_watch&& other) noexcept;
  descriptor_watch& operator=(descriptor_watch&&) = delete;
  ~descriptor_watch();

  /// Calls `on_events` with the conditions that hold, in each turn in which one does.
  ///
  /// An active watch gets the new conditions and the new handler. Aborts with a message if
  /// `on_events` is null, or `wanted` is empty.
  /// Errors: `std::system_error` if the descriptor is closed or negative, is the loop's own
  /// (`invalid_argument`), is an epoll set that watches this loop, directly or through other sets
  /// (`too_many_symbolic_link_levels`), or is always ready, such as a file, a directory, a memfd,
  /// /dev/null, /dev/zero and /dev/urandom (`operation_not_permitted`); if the kernel lacks memory
  /// or descriptors, or has reached its limit of epoll watches; `std::bad_alloc`. The watch is
  /// stopped then.
  void start(events wanted, handler<void(result<events>)> on_events);
  /// Calls `on_events` once, when one of the conditions holds, also for `error` or `hang_up`.
  /// Otherwise as `start`.
  void start_once(events wanted, handler<void(result<events>)> on_events);

  /// Stops the calls and destroys the handler. Does nothing if the watch is not active.
  void stop() noexcept;

  /// Returns whether the loop may call the handler.
  [[nodiscard]] bool active() const noexcept;
  /// Decides whether the watch is in the background. A watch in the background does not keep its
  /// loop running.
  void background(bool on) noexcept;
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

private:
  friend class detail::descriptor_watch_hub;

  struct entry : detail::list_node {
    explicit entry(descriptor_watch* w) noexcept : owner(w) {}
    descriptor_watch* owner;
  };

  static void run(ready_node& node);
  void begin(events wanted, handler<void(result<events>)>& on_events, bool once);

  event_loop* loop_;
  int descriptor_;
  events wanted_ = events::none;
  events seen_ = events::none;  // to be told
  int failure_ = 0;             // an errno to be told
  bool once_ = false;
  bool quiet_ = false;  // has had an unwanted condition: only further ones are told
  bool background_ = false;
  entry entry_;  // in the hub's list of the descriptor
  detail::handler_slot<result<events>> on_events_;
};

}  // namespace eddy
