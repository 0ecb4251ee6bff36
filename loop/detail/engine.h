// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Where libev's structs meet C++. Private, as watch.h is: no other header sees <ev.h>.

#include <array>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <vector>

#include <ev.h>
#include <sys/types.h>

#include <eddy/loop/clock.h>
#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/watch.h>

namespace eddy::detail {

/// The event loop's libev side.
class engine {
public:
  /// Adopts `adopted`, or makes a loop if that is null.
  engine(event_loop& loop, struct ev_loop* adopted);
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;
  ~engine();

  /// Lets no closed descriptor come before libev, which would abort.
  void verify() noexcept;

  /// One round of libev: what is ready joins the loop's `arrived_`.
  void poll(bool may_wait);

  /// Whether the program had watchers of its own in the last poll.
  [[nodiscard]] bool foreign() const noexcept { return foreign_; }
  [[nodiscard]] event_loop* loop() const noexcept { return loop_; }
  [[nodiscard]] bool owned() const noexcept { return owned_; }
  [[nodiscard]] struct ev_loop* native() const noexcept { return ev_; }
  [[nodiscard]] bool changed() const noexcept { return changed_.linked(); }

  /// libev's epoll descriptor.
  [[nodiscard]] int backend() noexcept;

  /// Whether this process is the child of a fork that made nothing anew yet.
  [[nodiscard]] bool forked() const noexcept;

  /// Makes what a fork shares anew, if there was one.
  /// Errors: `std::system_error`; it is tried again in the next turn.
  void renew_after_fork();

  /// Before eddy's turns, and after them: then whoever brings work has to wake
  /// the loop, or the program's ev_run.
  void begin() noexcept;
  void rest() noexcept;

  /// Has the program's ev_run neither wait nor end, or ends that.
  void unpark() noexcept;

  /// Ends the program's own ev_run, unless it is eddy's `run` that runs.
  void stop() noexcept;

private:
  friend struct watch;

  /// Whether the kernel state may still be a parent's, too.
  [[nodiscard]] bool shared() const noexcept;
  void renewed() noexcept;
  void arm() noexcept;
  void disarm() noexcept;
  void make_timer_descriptor() noexcept;
  void reflect_alive() noexcept;
  void before_wait() noexcept;
  void after_wait() noexcept;
  void before_rebuild() noexcept;

  static void on_event(struct ev_loop*, ev_io* io, int events);
  static void on_wake(struct ev_loop*, ev_io* io, int events);
  static void on_timer_descriptor(struct ev_loop*, ev_io* io, int events);

  event_loop* loop_;
  struct ev_loop* ev_;
  bool owned_;
  bool foreign_ = false;
  bool holds_ref_ = false;  // libev's count says that eddy's side is alive
  bool renewing_ = false;   // after fork, until libev has made its new epoll set
  bool in_poll_ = false;    // ev_run was called by `poll`, not by the program
  bool in_adopted_turn_ = false;
  bool timer_armed_ = false;
  bool fine_armed_ = false;
  time_point armed_for_{};
  unsigned forks_;
  int backend_ = -1;
  int timer_descriptor_ = -1;
  ev_io wake_;
  ev_io fine_;
  ev_timer timer_;
  ev_prepare prepare_;
  ev_check check_;
  ev_idle idle_;
  ev_fork rebuild_;
  link changed_;  // watches that libev has not shown to the kernel yet
  std::vector<watch*> by_descriptor_;
};

}  // namespace eddy::detail
