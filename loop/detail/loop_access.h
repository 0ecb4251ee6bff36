// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <memory>

#include <eddy/loop/detail/before_wait_list.h>
#include <eddy/loop/detail/limit_node.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/optional_part.h>
#include <eddy/loop/detail/signal_mask.h>
#include <eddy/loop/detail/timer_queue.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready_node.h>

namespace eddy::detail {

/// Does with a loop what only eddy's own code may do. It is the one friend that `event_loop` has:
/// watchers, the engine and the rooms above use the loop's inside through this class alone.
///
/// No function checks the thread: the caller does.
class loop_access {
public:
  explicit loop_access(event_loop& loop) noexcept : loop_(loop) {}

  // ---- Queueing nodes that are in no queue

  /// Puts `node` before the others of `list`.
  static void put_first(list_node& list, ready_node& node) noexcept { list.push_front(node); }
  /// Puts `node` behind the descriptors that are ready.
  void arrive(ready_node& node) const noexcept {
    loop_.queues_[event_loop::arrivals].push_back(node);
  }
  /// Puts `node` before the timers that are due.
  void come_first(ready_node& node) const noexcept {
    put_first(loop_.queues_[event_loop::timers], node);
  }
  /// Puts `chunk`, which is a post_chunk, before the other posts.
  void come_first_of_posts(ready_node& chunk) const noexcept {
    put_first(loop_.queues_[event_loop::posts], chunk);
  }
  /// Puts `limit` among the limits whose time has come.
  void give_way(limit_node& limit) const noexcept {
    loop_.limits_.add(limit, loop_.read_clock(), holds_clock(), loop_.looks_, loop_.watches_);
  }

  // ---- Counting what is on the loop

  void add_watch() const noexcept { ++loop_.watches_; }
  void remove_watch() const noexcept { --loop_.watches_; }
  [[nodiscard]] std::size_t watches() const noexcept { return loop_.watches_; }

  /// A wait of a watch keeps the loop alive from now on. Call `revive`, too, where it begins.
  void begin_wait() const noexcept { ++loop_.waits_; }
  void end_wait() const noexcept { --loop_.waits_; }
  /// A wait that has begun goes to the background, which does not keep the loop alive, or
  /// comes back from it.
  void move_to_background(bool on) const noexcept {
    if (on) return end_wait();
    begin_wait();
    revive();
  }

  void add_keeper() const noexcept { ++loop_.keepers_; }
  void remove_keeper() const noexcept { --loop_.keepers_; }

  void add_inspectable() const noexcept { ++loop_.inspectables_; }
  void remove_inspectable() const noexcept { --loop_.inspectables_; }
  /// The list of those that `event_loop::dump` asks.
  [[nodiscard]] list_node& inspected() const noexcept { return loop_.inspected_; }

  /// Something keeps the loop alive from now on: a program's `ev_run` that is about to
  /// end goes on.
  void revive() const noexcept { loop_.revive(); }

  /// Has the objects that only the loop owns destroy themselves, as the loop's destructor does.
  void abandon_all() const noexcept { loop_.abandon_all(); }

  // ---- Reaching the parts of the loop

  [[nodiscard]] class engine& engine() const noexcept { return *loop_.engine_; }
  [[nodiscard]] timer_queue& timers() const noexcept { return loop_.timers_; }
  [[nodiscard]] before_wait_list& before_waits() const noexcept { return loop_.before_waits_; }
  [[nodiscard]] post_queue& posts() const noexcept { return *loop_.posts_; }
  [[nodiscard]] const signal_mask& program_mask() const noexcept { return loop_.program_mask_; }

  // Each is null until whoever needs it makes it.
  using part = std::unique_ptr<optional_part>;
  [[nodiscard]] part& signals() const noexcept { return loop_.signals_; }
  [[nodiscard]] part& files() const noexcept { return loop_.files_; }
  [[nodiscard]] part& task_values() const noexcept { return loop_.task_values_; }
  [[nodiscard]] part& sockets() const noexcept { return loop_.sockets_; }

  /// Whether a probe looks on.
  [[nodiscard]] bool probed() const noexcept { return loop_.probe_ != nullptr; }
  /// Has `probe` look on, or nobody.
  void look_on(loop_probe* probe) const noexcept { loop_.probe_ = probe; }

  // ---- Telling the time

  /// Whether the loop's clock is moved by hand.
  [[nodiscard]] bool holds_clock() const noexcept { return loop_.clock_ != nullptr; }
  /// Has the delays that wait for a look at the clock count from now.
  void settle_delays() const noexcept { loop_.settle_delays(); }

  // ---- Taking part in turns: for the engine

  /// How many turns may run what has arrived before others on libev's loop are seen to.
  static constexpr int turns_without_look = event_loop::turns_without_look;

  [[nodiscard]] bool alive() const noexcept { return loop_.alive(); }
  [[nodiscard]] bool has_work() const noexcept { return loop_.has_work(); }
  /// Whether descriptors that were ready earlier still wait for their turn.
  [[nodiscard]] bool has_arrivals() const noexcept {
    return loop_.queues_[event_loop::arrivals].linked();
  }
  /// Whether a turn runs.
  [[nodiscard]] bool in_turn() const noexcept { return loop_.in_turn_; }

  /// Counts a look at the descriptors.
  void count_look() const noexcept { ++loop_.looks_; }
  /// Gives the loop the nodes of `arrived`, for its next turn.
  void hand_over(list_node& arrived) const noexcept { loop_.arrived_.splice_back(arrived); }
  /// Says whether the program's ev_run has to be told when work turns up.
  void park(bool on) const noexcept { loop_.parked_ = on; }
  /// Runs eddy's turns under the program's ev_run.
  void run_adopted_turn() const { loop_.adopted_turn(); }
  /// The program's ev_run ends: no more of the queues is to run.
  void halt_for_ev_run() const noexcept { loop_.halt_ |= event_loop::ev_run_ended; }

private:
  event_loop& loop_;
};

}  // namespace eddy::detail
