// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// libev, and what its functions do not tell. Private: no installed header sees
// <ev.h>.
//
// A probe is a watcher that is started and stopped at once. libev writes a
// watcher's index among its kind into `active`, which ev.h documents; from that
// a probe learns how many others there are, and which timer is the first.

#include <cstddef>
#include <optional>

#include <ev.h>

#include <eddy/loop/clock.h>

namespace eddy::detail {

/// A libev loop: one on epoll that is made here, or the program's own.
class libev_loop {
public:
  /// Adopts `adopted`, or makes a loop if that is null. Nothing of the process
  /// is changed. That a loop is adopted twice stops the program.
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

/// The epoll descriptor of a loop. It is a new one after each `ev_loop_fork`.
[[nodiscard]] int backend_descriptor(struct ev_loop* ev) noexcept;

/// The first of the I/O watchers on `descriptor`, whoever started it; `next`
/// leads to the others. Null if there is none.
[[nodiscard]] ev_io* first_watcher(struct ev_loop* ev, int descriptor) noexcept;

/// Whether libev watches `descriptor` for itself: it is the one by which a signal or another
/// thread wakes libev, its timer's, or inotify's for `ev_stat`.
[[nodiscard]] bool watches_itself(struct ev_loop* ev, int descriptor) noexcept;

/// Starts a watcher that has no share in libev's count of what keeps it running.
void start_uncounted(struct ev_loop* ev, ev_io& io) noexcept;
/// False if it was stopped.
bool stop_uncounted(struct ev_loop* ev, ev_io& io) noexcept;

/// Makes libev's tables long enough for `size` descriptors and as many changes, and
/// for the pending events of a round: libev ends the program when one of them
/// can't grow later. The tables of events remain: they grow when 64 or more come in
/// one round. False if the table of pending events is in use and stays as it is.
/// Errors: `std::bad_alloc`.
[[nodiscard]] bool grow_tables(struct ev_loop* ev, std::size_t size);

/// The same for the tables that `time_to_next` and `has_timers` need. On a loop without
/// EVFLAG_NOTIMERFD libev opens a descriptor for it, as it does for the first `ev_periodic`.
/// Errors: `std::bad_alloc`.
void grow_heaps(struct ev_loop* ev);

/// Tells libev that the kernel has no entry for `descriptor` any more: its next
/// round makes one if somebody watches the descriptor then.
void forgot_entry(struct ev_loop* ev, int descriptor) noexcept;

/// Whether any `ev_timer` or `ev_periodic` is active.
[[nodiscard]] bool has_timers(struct ev_loop* ev) noexcept;

/// How long the loop may wait for the first `ev_timer`, `ev_periodic` or
/// `ev_idle`: zero or more; empty if there is none.
[[nodiscard]] std::optional<duration> time_to_next(struct ev_loop* ev) noexcept;

/// Whether events are pending, but for those of check watchers: every round has them.
[[nodiscard]] bool has_pending(struct ev_loop* ev) noexcept;

/// Whether there are prepare or check watchers, besides one prepare watcher.
[[nodiscard]] bool has_pairs(struct ev_loop* ev) noexcept;

}  // namespace eddy::detail
