// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>

#include <eddy/future/adapt.h>
#include <eddy/loop/descriptor_watch.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/result.h>

namespace eddy {

namespace detail {
template <descriptor_events Wanted>
struct until_event;
using until_priority_operation = adaptation<void, until_event<descriptor_events::priority>>;
using until_hang_up_operation = adaptation<void, until_event<descriptor_events::hang_up>>;
}  // namespace detail

/// `co_await until_priority(fd)` suspends the coroutine until `fd` has priority data.
///
/// That is a change of a file in /proc or sysfs, a PSI trigger, a GPIO edge, or urgent data of TCP.
/// An error or a hang-up of the descriptor ends the wait, too. Read what is there after each wait:
/// until then, the next wait ends at once.
/// Errors: `std::system_error` if `fd` is negative or closed, has no events (a file or directory),
/// or is an epoll descriptor that watches this loop, or if the kernel refuses the watch.
/// Cancelling: eddy reads nothing.
inline detail::until_priority_operation until_priority(int fd);

/// `co_await until_hang_up(fd)` suspends the coroutine until the peer of `fd` has ended its sending
/// side, even if unread bytes are left.
///
/// An error of the descriptor, or an entry in its error queue, ends the wait, too.
/// Errors: `std::system_error` if `fd` is negative or closed, has no events (a file or directory),
/// or is an epoll descriptor that watches this loop, or if the kernel refuses the watch.
/// Cancelling: eddy reads nothing, so no bytes are lost.
inline detail::until_hang_up_operation until_hang_up(int fd);

// implementation

namespace detail {

template <descriptor_events Wanted>
struct until_event {
  static constexpr bool priority = Wanted == descriptor_events::priority;

  descriptor_watch operator()(completer<> done) const {
    descriptor_watch watch(current_loop(priority ? "until_priority" : "until_hang_up"), descriptor);
    watch.start_once(Wanted, [done, d = descriptor](const result<descriptor_events>& r) {
      r ? done() : done.fail(r.error(), text({"waiting for events of descriptor ", d}));
    });
    return watch;
  }
  std::string describe() const {
    return text({"descriptor ", descriptor, priority ? " to have priority data" : " to hang up"});
  }

  int descriptor;
};

}  // namespace detail

inline detail::until_priority_operation until_priority(int fd) {
  return adapt(detail::until_event<descriptor_events::priority>{fd});
}

inline detail::until_hang_up_operation until_hang_up(int fd) {
  return adapt(detail::until_event<descriptor_events::hang_up>{fd});
}

}  // namespace eddy
