// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no installed header sees <ev.h>.

#include <memory>
#include <optional>

#include <eddy/loop/clock.h>
#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/epoll_set.h>
#include <eddy/loop/detail/libev.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/optional_part.h>
#include <eddy/loop/detail/watch_set.h>

namespace eddy::detail {

class reaped_children;

/// The libev loop that an event loop runs on, and eddy's watchers on it.
///
/// libev does all the waiting. Its callbacks only note events, and call no user code. The event
/// loop calls the handlers when `poll` has returned or, under the program's own `ev_run`, from a
/// check watcher.
///
/// Deadlines use one timerfd and not an `ev_timer`. With an `ev_timer`, libev waits for a finite
/// time, and the kernel sets a timer of its own in each wait: 5 % of the cost of a message on a
/// single connection. The timerfd is set only when the earliest deadline moves nearer. An idle
/// timeout that each message moves later costs no system call.
class engine {
public:
  /// Adopts `adopted`, or makes a libev loop if `adopted` is null.
  /// Errors: `std::system_error`, `std::bad_alloc`.
  engine(event_loop& loop, struct ev_loop* adopted);
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;
  ~engine();

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

  /// Returns libev's loop, which others may use from now on.
  [[nodiscard]] struct ev_loop* native() noexcept;

  // ---- Watches

  [[nodiscard]] watch_set& watches() noexcept { return watches_; }

  /// Checks whether `descriptor` can be watched. If the kernel no longer knows earlier watches
  /// of that number, because their descriptor was closed, these watches fail. A refusal for want of
  /// memory or space is left to the wait, which reports it and may be tried again.
  /// Errors: `std::system_error`.
  void check(int descriptor);

  /// Whether `descriptor` is an epoll set, eventfd or timerfd of the loop's.
  [[nodiscard]] bool owns(int descriptor) noexcept;

  /// Makes the kernel watch `set`, an epoll set of which a `readiness` was made, from now on. From
  /// then on the kernel refuses to add to `set` what watches this loop. Returns 0 or an `errno`.
  [[nodiscard]] int enter(int set) noexcept;

  // ---- Turns

  /// After a fork: replaces what the child shares with the parent.
  /// Errors: `std::system_error`. The next turn tries again.
  void renew() {
    if (forked()) renew_now();
  }
  [[nodiscard]] bool forked() const noexcept { return kernel_.forked(); }

  /// Renews after a fork, and decides whether this turn looks at libev. If it does, checks the
  /// watches that changed.
  /// Errors: `std::system_error`, as `renew`.
  void begin_turn();
  /// Runs one round of libev, which waits if nothing is ready and `may_wait` is true. Ready
  /// nodes join the loop's `arrived_`. Does nothing in a turn that does not look at libev.
  /// Errors: an exception that a callback of others on libev's loop throws.
  void poll(bool may_wait);

  /// Whether others may have watchers on libev's loop.
  [[nodiscard]] bool shared() const noexcept { return shared_; }
  /// Whether others had watchers that keep the loop running when `poll` returned.
  [[nodiscard]] bool others() const noexcept { return others_; }

  /// Whether the time that the last wait was set to has passed.
  [[nodiscard]] bool due() const noexcept { return due_; }

  // ---- Embedding

  /// Returns a descriptor that is readable when `poll` would find an event.
  [[nodiscard]] int descriptor();
  /// Returns how long `poll` may be left alone, apart from the loop's own timers. Zero if `poll`
  /// has something to do; empty if only the descriptor can bring work.
  /// Errors: an exception that a callback of others on libev's loop throws.
  [[nodiscard]] std::optional<duration> time_to_next();

  /// `begin` is called before eddy's turns, and `rest` after them. Between `rest` and `begin`,
  /// new work has to wake the program's ev_run.
  void begin() noexcept;
  void rest(bool nothing_posted) noexcept;
  /// Makes ev_run neither wait nor end.
  void unpark() noexcept;
  /// Ends the program's own ev_run. False if that does not run.
  bool stop() noexcept;

  /// Returns the children that libev has reaped; null if libev reaps none.
  [[nodiscard]] reaped_children* reaped() const noexcept { return reaped_.get(); }

  /// The set of the `descriptor_watch`es; null until the first one starts.
  [[nodiscard]] std::unique_ptr<optional_part>& descriptor_watches() noexcept {
    return descriptor_watches_;
  }

private:
  [[nodiscard]] loop_access inside() const noexcept { return loop_access(*loop_); }

  // libev's callbacks.
  static void on_wake(struct ev_loop*, ev_io* io, int events) noexcept;
  static void on_time(struct ev_loop*, ev_io* io, int events) noexcept;
  static void on_again(struct ev_loop* ev, ev_timer* timer, int events) noexcept;
  void before_wait() noexcept;
  void after_wait() noexcept;
  void before_rebuild() noexcept;
  /// Checks the watches that libev is about to show the kernel.
  void check_for_round() noexcept;

  void start_own(ev_io& io, int descriptor) noexcept;
  /// The kernel has refused to watch one of eddy's own descriptors.
  void refused_own() noexcept;
  void start_sharing() noexcept;
  void start_prepare() noexcept;
  void stop_prepare() noexcept;

  void renew_now();
  /// Whether arrivals of earlier rounds have not run yet.
  bool note_backlog() noexcept;
  void settle();
  static void before_sleep(struct ev_loop* ev) noexcept;
  static void call_nobody(struct ev_loop*) noexcept;
  /// libev has shown the kernel all that it knows.
  void applied() noexcept;
  void reflect_alive() noexcept;
  /// Sets the timer for a wait. False if there must be no wait.
  bool arm(bool may_wait) noexcept;
  void set_timer(time_point at) noexcept;
  void set_endless(bool on) noexcept;

  event_loop* loop_;
  libev_loop ev_;
  epoll_set kernel_;
  watch_set watches_;
  bool shared_;                   // others may have watchers on libev's loop
  bool in_poll_ = false;          // ev_run was called by `poll`, not by the program
  bool may_wait_ = false;         // this round may wait
  bool others_ = false;           // others had watchers at the end of the last round
  bool opening_ = false;          // ev_run was called to begin a round that `poll` ends
  bool open_ = false;             // such a round has begun
  bool in_adopted_turn_ = false;  // under the program's ev_run
  bool holds_ref_ = false;        // libev's count says that eddy's side is alive
  bool own_unseen_ = false;       // the kernel may yet refuse eddy's own descriptors
  bool observed_ = false;         // somebody else waits for the descriptor
  bool endless_ = false;          // libev waits without a time limit
  bool looks_ = false;            // this turn looks at libev
  bool due_ = false;              // the timer's descriptor is readable
  bool heaps_grown_ = false;      // `time_to_next` has the memory that it needs
  int unlooked_ = 0;              // turns since the last look, with a backlog
  std::optional<time_point> armed_for_;
  unsigned depth_ = 0;  // ev_depth inside the ev_run that `poll` called
  detail::descriptor timer_descriptor_;
  ev_io wake_;
  ev_io time_;
  ev_timer again_;  // starts `wake_` and `time_` again after the kernel refused them
  ev_fork fork_;
  ev_prepare prepare_;
  ev_check check_;
  ev_idle idle_;
  std::unique_ptr<reaped_children> reaped_;
  std::unique_ptr<optional_part> descriptor_watches_;
};

}  // namespace eddy::detail
