// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no installed header sees <ev.h>.

#include <memory>
#include <optional>

#include <eddy/loop/clock.h>
#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/epoll_set.h>
#include <eddy/loop/detail/libev.h>
#include <eddy/loop/detail/watch_set.h>

namespace eddy::detail {

class reaped_children;

/// The libev loop that an event loop lives in, and eddy's watchers on it.
///
/// libev does all the waiting. Its callbacks note what has come and run nothing
/// of the user's: the event loop does that when `poll` has returned, or, under
/// the program's own `ev_run`, from a check watcher.
///
/// Deadlines are one timerfd and not an `ev_timer`: with a timer libev waits for
/// a finite time, for which the kernel sets a timer of its own in each wait.
/// That is 5 % of a message on a lone connection. The timerfd is set only when
/// the earliest deadline moves nearer; an idle timeout that is pushed back with
/// each message costs no system call.
class engine {
public:
  /// Adopts `adopted`, or makes a loop if that is null.
  /// Errors: `std::system_error`, `std::bad_alloc`.
  engine(event_loop& loop, struct ev_loop* adopted);
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;
  ~engine();

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

  /// libev's loop, which others may use from now on.
  [[nodiscard]] struct ev_loop* native() noexcept;

  // ---- Watches

  [[nodiscard]] watch_set& watches() noexcept { return watches_; }

  /// Asks whether `descriptor` can be watched. Earlier watches of that number
  /// fail if the kernel does not know it any more: their descriptor was closed.
  /// Errors: `std::system_error`.
  void check(int descriptor);

  // ---- Turns

  /// Makes anew what a fork shares with the parent, if there was one.
  /// Errors: `std::system_error`; it is tried again in the next turn.
  void renew() {
    if (forked()) renew_now();
  }
  [[nodiscard]] bool forked() const noexcept { return kernel_.forked(); }

  /// Decides whether this turn looks at libev, and if so checks the watches
  /// that changed. Renews first.
  /// Errors: as of `renew`.
  void begin_turn();
  /// One round of libev, which waits if there is nothing: what is ready joins
  /// the loop's `arrived_`. Does nothing in a turn that does not look.
  /// Errors: what a callback of somebody else on libev's loop throws.
  void poll(bool may_wait);

  /// Whether somebody else may have watchers on the loop.
  [[nodiscard]] bool shared() const noexcept { return shared_; }
  /// Whether somebody else had watchers that keep the loop running when `poll`
  /// returned.
  [[nodiscard]] bool others() const noexcept { return others_; }

  /// Whether the time has come that the last wait was set to.
  [[nodiscard]] bool due() const noexcept { return due_; }

  // ---- Embedding

  /// A descriptor that is readable when `poll` would find something.
  [[nodiscard]] int descriptor();
  /// How long `poll` may be left alone, but for the loop's own timers: zero if
  /// it has something to do; empty if only the descriptor can bring work.
  /// Errors: as for `poll`.
  [[nodiscard]] std::optional<duration> time_to_next();

  /// Before eddy's turns, and after them: then whoever brings work has to wake
  /// the program's ev_run.
  void begin() noexcept;
  void rest(bool nothing_posted) noexcept;
  /// Has ev_run neither wait nor end.
  void unpark() noexcept;
  /// Ends the program's own ev_run. False if that does not run.
  bool stop() noexcept;

  /// The children that libev has reaped; null if it reaps none.
  [[nodiscard]] reaped_children* reaped() const noexcept { return reaped_.get(); }

private:
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
  /// The kernel does not watch it.
  void refused_own() noexcept;
  void start_sharing() noexcept;
  void start_prepare() noexcept;
  void stop_prepare() noexcept;

  void renew_now();
  /// Whether what came in earlier rounds is not run yet.
  bool note_backlog() noexcept;
  void settle();
  static void before_sleep(struct ev_loop* ev) noexcept;
  static void call_nobody(struct ev_loop*) noexcept;
  /// libev has shown the kernel what it knows.
  void applied() noexcept;
  void reflect_alive() noexcept;
  /// Sets the timer for a wait. False if there must be none.
  bool arm(bool may_wait) noexcept;
  void set_timer(time_point at) noexcept;
  void set_endless(bool on) noexcept;

  event_loop* loop_;
  libev_loop ev_;
  epoll_set kernel_;
  watch_set watches_;
  bool shared_;                   // others may have watchers on it
  bool in_poll_ = false;          // ev_run was called by `poll`, not by the program
  bool may_wait_ = false;         // in this round
  bool others_ = false;           // others had watchers at the end of the last round
  bool opening_ = false;          // ev_run was called to begin a round that `poll` ends
  bool open_ = false;             // such a round has begun
  bool in_adopted_turn_ = false;  // under the program's ev_run
  bool holds_ref_ = false;        // libev's count says that eddy's side is alive
  bool own_unseen_ = false;       // the kernel may yet refuse eddy's own descriptors
  bool observed_ = false;         // somebody else waits for the descriptor
  bool endless_ = false;          // libev waits without a limit
  bool looks_ = false;            // this turn, at libev
  bool due_ = false;              // the timer's descriptor is readable
  bool heaps_grown_ = false;      // what asks for libev's timers has its memory
  int unlooked_ = 0;              // turns since the last look, with a backlog
  std::optional<time_point> armed_for_;
  unsigned depth_ = 0;  // of the ev_run that `poll` called
  detail::descriptor timer_descriptor_;
  ev_io wake_;
  ev_io time_;
  ev_timer again_;  // shows the kernel those of the two that it has refused
  ev_fork fork_;
  ev_prepare prepare_;
  ev_check check_;
  ev_idle idle_;
  std::unique_ptr<reaped_children> reaped_;
};

}  // namespace eddy::detail
