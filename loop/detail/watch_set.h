// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no installed header sees <ev.h>.

#include <cstddef>
#include <vector>

#include <eddy/loop/detail/epoll_set.h>
#include <eddy/loop/detail/libev.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/watch.h>

namespace eddy::detail {

class readiness_source;

/// The watches of one event loop, on its libev loop.
///
/// libev ends the program when the kernel refuses a descriptor that was closed. So each changed
/// watch is checked before libev shows the change to the kernel.
class watch_set {
public:
  /// `loop`, `ev` and `kernel` outlive the watch_set.
  watch_set(event_loop& loop, struct ev_loop* ev, epoll_set& kernel) noexcept
      : loop_(&loop), ev_(ev), kernel_(kernel) {}
  watch_set(const watch_set&) = delete;
  watch_set& operator=(const watch_set&) = delete;

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }
  /// Whether libev has no watch of this set.
  [[nodiscard]] bool idle() const noexcept { return active_ == 0; }

  /// Adds a watch. `all` is the number of watches of the loop.
  /// Errors: `std::bad_alloc`.
  void attach(watch& w, std::size_t all);
  void detach(watch& w) noexcept;
  /// Makes libev watch in this direction from the next round on.
  void want(watch& w, watch::direction which) noexcept {
    if ((w.io.events & bit_of(which)) == 0) want_more(w, which);
  }

  /// Whether the kernel was told what a watch of `descriptor` wants.
  [[nodiscard]] bool shows(int descriptor) noexcept;
  /// Has `source` tell the readiness of the descriptors that it owns. False if there is a source.
  [[nodiscard]] bool set_source(readiness_source* source) noexcept;
  void forget_source() noexcept { source_ = nullptr; }

  /// Whether a node of another watch waits to read the same descriptor.
  [[nodiscard]] bool others_wait(const watch& w) noexcept;

  /// Asks the kernel about a descriptor, and fails the watches that the answer is against.
  /// Returns 0 or an `errno`.
  int check(int descriptor) noexcept;
  /// Asks the kernel about all watched descriptors, and fails the watches that the answers are
  /// against. True if any watch has failed.
  bool check_all() noexcept;

  /// Checks the watches that libev will show the kernel next. A watch whose descriptor was
  /// closed fails, which may queue nodes.
  void flush() noexcept {
    if (changed()) flush_changed();
  }
  [[nodiscard]] bool changed() const noexcept {
    return !changed_.empty() || unlisted_ || unlisted_checked_;
  }
  /// The kernel was shown the changes that `flush` has checked. Changes that libev's callbacks
  /// have made since are still to be shown.
  void applied() noexcept {
    if (changed()) changes_applied();
  }

  /// Decides whether libev goes on watching a direction that no node waits for.
  void keep_unwanted(bool on) noexcept { keeps_unwanted_ = on; }
  /// Returns the nodes whose descriptors have become ready.
  [[nodiscard]] list_node& arrived() noexcept { return arrived_; }

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
  void want_more(watch& w, watch::direction which) noexcept;
  void change(watch& w, int events) noexcept;
  void check_later(watch& w) noexcept;
  void check_now(const watch& w) noexcept;
  void flush_changed() noexcept;
  void changes_applied() noexcept;
  void fail(watch& w, int why) noexcept;

  event_loop* loop_;
  struct ev_loop* ev_;
  epoll_set& kernel_;
  readiness_source* source_ = nullptr;
  int highest_ = -1;          // the highest descriptor that was watched
  std::size_t active_ = 0;    // the number of watches that libev has
  std::size_t capacity_ = 0;  // the size of libev's tables
  std::vector<watch*> changed_;
  bool unlisted_ = false;          // a watch has changed, but `changed_` had no memory for it
  bool unlisted_checked_ = false;  // that watch was checked with all others
  list_node arrived_;
  bool keeps_unwanted_ = false;
};

}  // namespace eddy::detail
