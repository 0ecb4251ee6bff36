// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no installed header sees <ev.h>.

#include <cstddef>
#include <vector>

#include <eddy/loop/detail/epoll_set.h>
#include <eddy/loop/detail/libev.h>
#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/watch.h>

namespace eddy::detail {

/// The watches of one event loop, on its libev loop.
///
/// libev ends the program when the kernel refuses a descriptor that was closed:
/// each watch that changed is checked before libev shows the change to the kernel.
class watch_set {
public:
  /// All three outlive it.
  watch_set(event_loop& loop, struct ev_loop* ev, epoll_set& kernel) noexcept
      : loop_(&loop), ev_(ev), kernel_(kernel) {}
  watch_set(const watch_set&) = delete;
  watch_set& operator=(const watch_set&) = delete;

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }
  /// Whether libev watches none.
  [[nodiscard]] bool idle() const noexcept { return active_ == 0; }

  /// `all` is how many watches the loop has.
  /// Errors: `std::bad_alloc`.
  void attach(watch& w, std::size_t all);
  void detach(watch& w) noexcept;
  /// Has libev watch in this direction from the next round on.
  void want(watch& w, watch::direction which) noexcept {
    if (const int bit = bit_of(which); (w.io.events & bit) == 0) change(w, w.io.events | bit);
  }

  /// Whether a node of another watch waits to read the same descriptor.
  [[nodiscard]] bool others_wait(const watch& w) noexcept;

  /// Asks the kernel of a number, and fails the watches that it is against: 0, or
  /// an `errno`.
  int check(int descriptor) noexcept;
  /// The same of all numbers. Whether any watch has failed.
  bool check_all() noexcept;

  /// Checks the watches that libev will show the kernel next: one whose
  /// descriptor was closed fails, which may queue nodes.
  void flush() noexcept {
    if (changed()) flush_changed();
  }
  [[nodiscard]] bool changed() const noexcept {
    return !changed_.empty() || unlisted_ || unlisted_checked_;
  }
  /// The kernel was shown what `flush` has checked; what libev's callbacks have changed
  /// since is still to come.
  void applied() noexcept {
    if (changed()) changes_applied();
  }

  /// Whether libev goes on to watch a direction that nobody waits for.
  void keep_unwanted(bool on) noexcept { keeps_unwanted_ = on; }
  /// The nodes whose descriptors have become ready.
  [[nodiscard]] link& arrived() noexcept { return arrived_; }

private:
  static constexpr int bit_of(watch::direction which) noexcept {
    return which == watch::direction::read ? EV_READ : EV_WRITE;
  }
  static ev_io* io_of(watch& w) noexcept { return reinterpret_cast<ev_io*>(&w.io); }
  static watch* own_from(ev_io* io) noexcept;
  template <class Function>
  void for_each_on(int descriptor, Function function) noexcept;

  static void on_event(struct ev_loop*, ev_io* io, int events) noexcept;
  void stop(watch& w) noexcept;
  void change(watch& w, int events) noexcept;
  void check_later(watch& w) noexcept;
  void check_now(const watch& w) noexcept;
  void flush_changed() noexcept;
  void changes_applied() noexcept;
  void fail(watch& w, int why) noexcept;

  event_loop* loop_;
  struct ev_loop* ev_;
  epoll_set& kernel_;
  int highest_ = -1;        // of the descriptors that were watched
  std::size_t active_ = 0;  // watches that libev has
  std::size_t room_ = 0;    // in libev's tables
  std::vector<watch*> changed_;
  bool unlisted_ = false;          // a watch has changed for which that has no memory,
  bool unlisted_checked_ = false;  // and it was checked with all others
  link arrived_;
  bool keeps_unwanted_ = false;
};

}  // namespace eddy::detail
