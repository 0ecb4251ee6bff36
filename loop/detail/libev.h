// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// libev, and facts about it that its functions do not return. Private: no installed header sees
// <ev.h>.
//
// A probe is a watcher that is started and stopped at once. libev writes the index of a watcher
// among its kind into `active`, as ev.h documents. The index shows how many other watchers there
// are, and which timer is the first.

#include <cstddef>
#include <optional>

#include <ev.h>

#include <eddy/loop/clock.h>

namespace eddy::detail {

/// A libev loop on epoll: a new one, or the program's own.
class libev_loop {
public:
  /// Adopts `adopted`, or makes a loop if `adopted` is null. Changes nothing process-wide.
  /// Adopting a loop twice aborts with a message.
  /// Errors: `std::system_error`, `std::bad_alloc`.
  explicit libev_loop(struct ev_loop* adopted);
  libev_loop(const libev_loop&) = delete;
  libev_loop& operator=(const libev_loop&) = delete;
  ~libev_loop();

  [[nodiscard]] operator struct ev_loop *() const noexcept { return ev_; }
  [[nodiscard]] bool owned() const noexcept { return owned_; }

private:
  struct ev_loop* ev_;
  bool owned_;
};

/// Returns the epoll descriptor of a loop. Each `ev_loop_fork` makes a new one.
[[nodiscard]] int backend_descriptor(struct ev_loop* ev) noexcept;

/// Returns the first of the I/O watchers on `descriptor`, of whatever owner, or null. `next`
/// leads to the others.
[[nodiscard]] ev_io* first_watcher(struct ev_loop* ev, int descriptor) noexcept;

/// Whether libev watches `descriptor` for itself: the descriptor by which a signal or another
/// thread wakes libev, libev's timer, or the inotify of `ev_stat`.
[[nodiscard]] bool watches_itself(struct ev_loop* ev, int descriptor) noexcept;

/// Starts a watcher that does not count among the watchers that keep libev running.
void start_uncounted(struct ev_loop* ev, ev_io& io) noexcept;
/// Stops a watcher that `start_uncounted` started. False if it was stopped already.
bool stop_uncounted(struct ev_loop* ev, ev_io& io) noexcept;

/// Grows libev's tables for `size` descriptors, as many changes, and the pending events of a
/// round, because libev ends the program if it cannot grow them later.
///
/// The tables of events are not included: they grow when 64 or more events come in one round.
/// False if the table of pending events is in use and stays as it is.
/// Errors: `std::bad_alloc`.
[[nodiscard]] bool grow_tables(struct ev_loop* ev, std::size_t size);

/// Grows the tables that `time_to_next` and `has_timers` need. On a loop without
/// EVFLAG_NOTIMERFD libev opens a timer descriptor for this, as for the first `ev_periodic`.
/// Errors: `std::bad_alloc`.
void grow_heaps(struct ev_loop* ev);

/// Tells libev that the kernel's set has no entry for `descriptor` any more. libev's next round
/// adds the entry if the descriptor is watched then.
void forgot_entry(struct ev_loop* ev, int descriptor) noexcept;

/// Whether any `ev_timer` or `ev_periodic` is active.
[[nodiscard]] bool has_timers(struct ev_loop* ev) noexcept;

/// Returns how long the loop may wait for the first `ev_timer`, `ev_periodic` or `ev_idle`: zero
/// or more, or empty if there is none.
[[nodiscard]] std::optional<duration> time_to_next(struct ev_loop* ev) noexcept;

/// Whether events are pending, apart from those of check watchers, which every round has.
[[nodiscard]] bool has_pending(struct ev_loop* ev) noexcept;

/// Whether there are prepare or check watchers besides one prepare watcher, which is eddy's.
[[nodiscard]] bool has_pairs(struct ev_loop* ev) noexcept;

}  // namespace eddy::detail
