// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Where libev's structs meet C++. Private: no other header sees <ev.h>.

#include <ev.h>

#include <eddy/loop/clock.h>

namespace eddy {
class event_loop;
}

namespace eddy::detail {

class engine;

/// A libev loop that an event loop lives in: the program's own, or one that was
/// made for C libraries with an adapter for libev.
class libev_host {
public:
  /// Adopts `adopted`, or makes a loop if that is null.
  /// Errors: `std::system_error`.
  libev_host(event_loop& loop, engine& e, struct ev_loop* adopted);
  libev_host(const libev_host&) = delete;
  libev_host& operator=(const libev_host&) = delete;
  ~libev_host();

  /// One round of libev.
  void poll(bool may_wait);

  /// Whether the program had watchers of its own in the last poll.
  [[nodiscard]] bool foreign() const noexcept { return foreign_; }
  [[nodiscard]] struct ev_loop* native() const noexcept { return ev_; }

  /// libev's epoll descriptor.
  [[nodiscard]] int backend() noexcept;
  /// Why that would not watch `descriptor`; 0 if it would. What the engine's set
  /// takes may still be a ring of sets by way of libev's.
  [[nodiscard]] int refusal(int descriptor) noexcept;
  /// Whether libev's set has the engine's.
  [[nodiscard]] bool shown() const noexcept { return shown_; }

  /// Before eddy's turns, and after them: then whoever brings work has to wake
  /// the program's ev_run.
  void begin() noexcept;
  void rest(bool nothing_posted) noexcept;

  /// Has the program's ev_run neither wait nor end, or ends that.
  void unpark() noexcept;

  /// Ends the program's own ev_run, unless it is eddy's `run` that runs.
  void stop() noexcept;

  /// The engine's set was made anew, under the same number.
  void set_is_new() noexcept;
  void renew_after_fork() noexcept;

private:
  void arm() noexcept;
  void disarm() noexcept;
  void reflect_alive() noexcept;
  void before_wait() noexcept;
  void after_wait() noexcept;
  void waited() noexcept;

  event_loop* loop_;
  engine* engine_;
  struct ev_loop* ev_;
  bool owned_;
  bool foreign_ = false;
  bool holds_ref_ = false;  // libev's count says that eddy's side is alive
  bool renewing_ = false;   // after fork, until libev has made its new epoll set
  bool shown_ = false;
  bool in_poll_ = false;  // ev_run was called by `poll`, not by the program
  bool in_adopted_turn_ = false;
  bool timer_armed_ = false;
  time_point armed_for_{};
  int backend_ = -1;
  ev_io set_;
  ev_timer timer_;
  ev_prepare prepare_;
  ev_check check_;
  ev_idle idle_;
};

}  // namespace eddy::detail
