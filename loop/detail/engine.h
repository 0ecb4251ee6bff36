// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <sys/epoll.h>

#include <eddy/loop/clock.h>
#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/watch.h>

struct ev_loop;

namespace eddy::detail {

class libev_host;

/// What the kernel answers to a watch of `descriptor` in the epoll set `set`: 0,
/// EEXIST if it is watched there already, or why it refuses.
[[nodiscard]] int try_watch(int set, int descriptor) noexcept;

/// What an event loop waits with: an epoll set, which holds the descriptors
/// that are watched, the loop's wake-up descriptor, and one for fine timers.
///
/// The loop waits for the set itself, as long as nobody else uses its libev
/// loop; a `libev_host` waits for it as for one descriptor among others. (To
/// wait through libev always, with a watcher of libev's for each descriptor, is
/// what this did first: on a lone connection a message took 1.08 of the
/// processor time of epoll by hand, then 1.05; a watch 144 bytes, now 40.)
class engine {
public:
  /// Adopts `adopted`, unless that is null.
  engine(event_loop& loop, struct ev_loop* adopted);
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;
  ~engine();

  /// Asks whether the kernel would watch `descriptor`. Watches of that number
  /// which it does not know any more have failed then: theirs was closed.
  /// Errors: `std::system_error`.
  void check(int descriptor);

  /// Shows the kernel what has changed since the last wait.
  void flush() noexcept {
    if (changed()) flush_changed();
  }

  /// One look at the set, or a wait: what is ready joins the loop's `arrived_`.
  /// Errors: what a callback of the program's own on libev's loop throws.
  void poll(bool may_wait);

  /// Whether `flush` has something to do.
  [[nodiscard]] bool changed() const noexcept { return !dirty_.empty(); }

  /// A descriptor that is readable when `poll` finds something.
  [[nodiscard]] int descriptor();

  /// Whether this process is the child of a fork that made nothing anew yet.
  [[nodiscard]] bool forked() const noexcept {
    return forks_ != fork_count_.load(std::memory_order_relaxed);
  }

  /// Makes anew what a fork shares, if there was one, and a set that has become
  /// useless.
  /// Errors: `std::system_error`; it is tried again in the next turn.
  void renew() {
    if (forked() || stale_) renew_now();
  }

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

  /// Null unless libev waits.
  [[nodiscard]] libev_host* host() const noexcept { return host_.get(); }
  /// Has libev wait from now on, with a loop of its own.
  /// Errors: `std::system_error`, `std::bad_alloc`.
  libev_host& make_host();

private:
  friend struct watch;
  friend class libev_host;

  /// What is known of one descriptor, by its number.
  struct slot {
    watch* first = nullptr;
    std::uint32_t generation = 0;  // goes with the kernel's entry: an older one is not meant
    std::uint8_t asked = 0;        // of the kernel: EPOLLIN, EPOLLOUT
    std::uint8_t wanted = 0;       // what it is to be asked
    bool dirty = false;            // among `dirty_`
  };

  // How often this process is the child of a fork: a loop that remembers another
  // number shares its kernel state with a parent.
  static inline constinit std::atomic<unsigned> fork_count_{0};

  void renew_now();
  void flush_changed() noexcept;
  void attach(watch& w);
  void detach(watch& w) noexcept;
  void want(int descriptor, watch::direction which) noexcept;
  void mark(int descriptor, slot& s) noexcept;
  void show(int descriptor, slot& s) noexcept;
  void set_asked(slot& s, std::uint8_t asked) noexcept {
    asked_ += static_cast<std::size_t>(asked != 0) - static_cast<std::size_t>(s.asked != 0);
    s.asked = asked;
  }
  void fail(slot& s, int why) noexcept;
  [[nodiscard]] slot& slot_of(int descriptor) noexcept {
    return slots_[static_cast<std::size_t>(descriptor)];
  }

  /// Looks at the set, for so many milliseconds at the most; forever if negative.
  void collect(int timeout) noexcept;
  /// Ends the wait, if there is one.
  bool arrive(watch& w, watch::direction which) noexcept;
  void deliver(const epoll_event& event) noexcept;
  /// Of an event that no watch is meant by.
  void remove_stray(int descriptor) noexcept;
  /// Errors: `std::system_error`.
  void make_set_anew();
  void add_own(int descriptor, std::uint64_t name);

  /// How long to wait for the next timer, in milliseconds; negative: no limit.
  [[nodiscard]] int wait_for_timers() noexcept;
  /// Sets the timer descriptor; false if there is none.
  bool arm_fine(time_point next) noexcept;

  event_loop* loop_;
  detail::descriptor set_;
  unsigned forks_;
  bool stale_ = false;     // the set has to be made anew
  bool observed_ = false;  // somebody else waits for the set
  std::size_t asked_ = 0;  // slots of which the kernel is asked something
  int timer_descriptor_ = -1;
  bool fine_armed_ = false;
  time_point armed_for_{};
  std::vector<slot> slots_;
  std::vector<int> dirty_;  // has room for all
  std::unique_ptr<libev_host> host_;
  std::array<epoll_event, 256> events_;  // as many as the loop runs in a turn
};

}  // namespace eddy::detail
