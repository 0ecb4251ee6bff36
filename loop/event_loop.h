// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>

#include <eddy/loop/clock.h>
#include <eddy/loop/detail/before_wait_list.h>
#include <eddy/loop/detail/handler_slot.h>
#include <eddy/loop/detail/limit_node.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/optional_part.h>
#include <eddy/loop/detail/signal_mask.h>
#include <eddy/loop/detail/timer_queue.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/loop_handle.h>
#include <eddy/loop/ready_node.h>

struct ev_loop;

namespace eddy {

namespace detail {
class engine;
class loop_access;
class loop_probe;
class post_queue;
}  // namespace detail

class description;

/// Runs handlers on one thread: for timers, descriptors, signals, child processes, files and
/// posted functions.
///
/// libev does the waiting. `native` returns libev's loop, for C libraries that have a libev
/// adapter. An event_loop can also adopt a libev loop of the program. Then either `run` or the
/// program's own `ev_run` runs the work of both.
///
/// Each turn of the loop has three steps:
///
/// 1. Wait, unless something is ready to run.
/// 2. Run four kinds of work in this order: due timers, by deadline and then by order of
///    starting; ready descriptors and changed files, in the kernel's order, then signals, by
///    number; posted functions, in order of posting; and the ready queue, first in, first out.
///    Deferred functions, coroutines that can continue, and ended child processes are in the
///    ready queue.
/// 3. Call the handlers of `before_wait` objects.
///
/// A turn is bounded, so that no flood of work delays timers and descriptors for long. It ends
/// after `budget` operations or about half a millisecond, whichever comes first. On a
/// `manual_clock` only `budget` counts. The next turn looks at timers and descriptors before it
/// runs the remaining work. Within a turn the four kinds alternate, `share` operations of each, and
/// every turn runs at least one entry of each kind. An operation is a call of a handler, a
/// `co_await` that completes, or 2 KiB of bytes read or written.
///
/// The loop reads the clock after every 16 operations. If a handler or coroutine makes more than 16
/// operations before it returns to the loop, the loop reads the clock then. If more than 100 us
/// pass between two readings, the loop reads the clock more often, down to after each operation.
/// While a timer is set, the loop also reads the kernel's coarse clock after each handler. That
/// clock moves every 4 ms at CONFIG_HZ=250. So a due timer waits at most for the longest handler
/// and one such tick, or for `share` operations of a coroutine that computes between awaits that
/// complete without waiting.
///
/// Work that a handler makes ready goes to the end of the ready queue. No handler runs inside
/// the call that registered it. A handler may destroy any object except the loop, including the
/// object that owns the handler.
///
/// Memory: a call that starts something also allocates what the loop needs for it later, and
/// reports a lack of memory. One table of libev's is an exception. It grows when 64 descriptors are
/// ready in one turn, and whenever that number doubles. libev ends the program if it gets no memory
/// for this table: 1.5 KiB at first, and twice as much each time. If the kernel has no memory to
/// watch the loop's own descriptors, the loop raises an error that says so, and tries again after
/// 100 ms. So timers and posted functions may be 100 ms late.
///
/// Fork: the child process may continue to use its copy of the loop. The first turn in the child
/// replaces everything that the two processes must not share. Before that turn, too, neither
/// process disturbs the other. Signal watchers, timers and watched descriptors stay as they were.
/// If the child gets no descriptor for its `descriptor_watch`es or `file_watch`es, the loop raises
/// an error that says so, and tries again every 100 ms.
///
/// Lifetime: the loop must outlive every object on it. The destructor destroys detached tasks and
/// deferred and posted functions without running them. If timers, watchers, tasks or `work_guard`s
/// are left, the destructor aborts with a list of them.
/// Threads: while a loop runs, only the thread that runs it may use the loop and the objects on
/// it, except `post` and `loop_handle`. While the loop does not run, any one thread may use
/// them, if the program synchronises. An adopted loop belongs to the thread that adopted it,
/// because eddy cannot see when `ev_run` begins: see `move_to_this_thread`. Any other use aborts
/// with a message. Each thread may have a loop of its own.
class event_loop {
public:
  /// The number of operations after which a turn ends.
  static constexpr int budget = 1024;
  /// The number of operations after which a handler or coroutine should let other work run.
  static constexpr int share = 32;

  /// Makes a loop that runs on the monotonic clock.
  /// Errors: `std::system_error` if no descriptor is free, or the kernel's limit of epoll watches
  /// is reached; `std::bad_alloc`.
  event_loop();

  /// Makes a loop for tests, which runs on `clock`.
  /// Errors: `std::system_error` if no descriptor is free, or the kernel's limit of epoll watches
  /// is reached; `std::bad_alloc`.
  /// Lifetime: `clock` must outlive the loop.
  explicit event_loop(manual_clock& clock);

  /// Adopts a libev loop that the program owns.
  ///
  /// Aborts with a message if `adopted` is null, or is the libev loop of another event_loop.
  /// Errors: `std::system_error` if `adopted` does not run on epoll, no descriptor is free, or the
  /// kernel's limit of epoll watches is reached; `std::bad_alloc`.
  /// Lifetime: `adopted` must outlive this event_loop.
  explicit event_loop(struct ev_loop* adopted);

  event_loop(const event_loop&) = delete;
  event_loop& operator=(const event_loop&) = delete;
  ~event_loop();

  /// Runs turns until nothing keeps the loop alive, or until `stop` is called.
  ///
  /// The loop is kept alive by ready and posted work, set timers, waits for descriptors,
  /// signals, child processes and files (all of these unless put in the background),
  /// `work_guard`s, and active libev watchers that the program or a library started on `native`
  /// or on an adopted loop.
  ///
  /// Errors: an exception that leaves a handler leaves `run`, unless `on_exception` is set. The
  /// loop is intact then, and may be run again.
  void run();

  /// Runs one turn, which waits if nothing is ready but something keeps the loop alive: see
  /// `run`.
  /// Errors: an exception that leaves a handler leaves `run_once`, unless `on_exception` is set.
  void run_once();

  /// Runs one turn without waiting. Returns true if the turn ran anything, or if a due time
  /// limit still needs turns.
  /// Errors: an exception that leaves a handler leaves `run_ready`, unless `on_exception` is
  /// set.
  bool run_ready();

  /// Makes `run` return when the running handler returns. Queued work stays queued.
  ///
  /// If the program's own `ev_run` runs the loop, that `ev_run` returns instead. If nothing runs
  /// the loop, the next `run` returns at once, before any handler; `run_once` and `run_ready`
  /// ignore the call.
  void stop() noexcept;

  /// Ends the current turn when the running handler returns: for a handler that took long. The
  /// next turn looks at timers and descriptors before it runs the queued work.
  void end_turn() noexcept;

  /// Counts one operation of the running handler or coroutine. Returns false when its `share` is
  /// used up.
  ///
  /// When it returns false, let other work run: a coroutine by `yield`, a handler by `defer`.
  /// eddy's own `co_await`s count themselves.
  /// Threads: the loop's. Neither this function nor `charge` checks the thread, because every
  /// operation calls them.
  [[nodiscard]] bool may_go_on() noexcept;

  /// Returns how many operations of its `share` the running handler or coroutine has left.
  [[nodiscard]] int operations_left() const noexcept { return left_; }

  /// Uses up the `share` of the running handler or coroutine, so that its next `co_await` lets
  /// other work run.
  void forbid_going_on() noexcept;

  /// Lets the running handler or coroutine make at least `share` more operations, for work that
  /// must not be interrupted. Returns the number of added operations: pass it to `take_back` after
  /// the work.
  [[nodiscard]] int lend() noexcept;
  /// Takes back the `lent` operations that `lend` added. `lent` is the number that `lend` returned.
  void take_back(int lent) noexcept { left_ -= lent; }

  /// Counts bytes that were read or written, as one operation per 2 KiB.
  void charge(std::size_t bytes) noexcept;

  /// Returns whether `stop` ended the last run of the loop, or is about to end the current run.
  [[nodiscard]] bool stopped() const noexcept;

  /// Makes an adopted loop belong to the calling thread from now on. The program must synchronise
  /// the calling thread with the thread that the loop belonged to. On a loop that eddy made, the
  /// call does nothing.
  void move_to_this_thread() noexcept;

  /// Aborts with a message if the loop belongs to another thread now, which runs or has adopted
  /// it.
  void check_thread() const noexcept;

  /// Queues `function` at the end of the ready queue. The loop calls `function` in a turn, never
  /// inside the call of `defer` or inside another handler.
  /// Errors: `std::bad_alloc`.
  void defer(handler<void()> function);

  /// Puts `node` at the end of the ready queue. Aborts with a message if `node` is in a
  /// queue already.
  void ready(ready_node& node) noexcept;

  /// Queues `function` from any thread; the loop calls it on its own thread. See
  /// `loop_handle::post`.
  /// Errors: `std::bad_alloc`.
  /// Threads: any, as long as the loop exists.
  void post(handler<void()> function) { static_cast<void>(handle_.post(std::move(function))); }

  /// Returns a handle to post functions with. Copies of the handle may outlive the loop.
  /// Threads: any, as long as the loop exists.
  [[nodiscard]] const eddy::loop_handle& handle() const noexcept { return handle_; }

  /// Returns the time of the current turn, which does not change while handlers run. Outside of
  /// a turn it may be the time of the last turn: call `after` for a fresh time.
  [[nodiscard]] time_point now() noexcept;

  /// Returns the time at `delay` from now, by a new reading of the clock. A negative `delay`
  /// counts as zero. To start a timer after a delay, give the delay to `timer::start`, which
  /// usually needs no reading.
  [[nodiscard]] time_point after(time_span delay) const noexcept;

  /// Returns a descriptor that becomes readable when this loop has work from outside, so that
  /// this loop can live inside another loop.
  ///
  /// The work is a ready descriptor, a signal, an ended child process, a changed file or a
  /// posted function. The descriptor does not report timers or work that is already queued. So
  /// call `descriptor` and `next_run` before each wait, wait no longer than `next_run` says, and
  /// then call `run_ready`. The loop owns the descriptor: do not close it.
  ///
  /// `descriptor` and `next_run` also take into account the libev watchers of the program and of
  /// libraries. On an adopted loop, these functions know libev's timers, but not the watchers that
  /// the program has started since the last turn.
  ///
  /// Libraries may have prepare and check watchers on the native loop. The first call of
  /// `descriptor` or `next_run` after a turn calls the prepare callbacks, and `run_ready` calls the
  /// check callbacks, so that the wait lies in between. If a watcher is started after that first
  /// call, libev ignores it until after `run_ready`.
  ///
  /// `ev_async` and `ev_signal` watchers do not make the descriptor readable, because libev
  /// wakes only a thread that waits inside `ev_run`. The next `run_ready` calls their callbacks.
  /// `post` and `eddy::signal` do make the descriptor readable.
  /// Errors: `std::system_error` if the child of a fork finds no descriptors for the loop.
  [[nodiscard]] int descriptor();

  /// Returns how long the loop may be left alone from now. A program that runs this loop inside
  /// another loop needs this time: see `descriptor`.
  ///
  /// The time is zero if something is ready, and empty if only `descriptor` can bring work.
  /// Round the time up to the unit of the program's wait: if it is rounded down, the program
  /// spins for the last fraction. On an adopted loop that was made without EVFLAG_NOTIMERFD, the
  /// first call makes libev open a timer descriptor, as the first `ev_periodic` does.
  /// Errors: `std::bad_alloc`.
  [[nodiscard]] std::optional<duration> next_run();

  /// Returns libev's loop, for C libraries that have a libev adapter.
  ///
  /// Libraries may start and stop watchers on that loop at any time, also in handlers. Active
  /// watchers keep `run` going. Their callbacks run inside libev, before eddy's handlers of the
  /// same turn.
  ///
  /// If eddy made the libev loop, only `run`, `run_once` and `run_ready` may run it. A call of
  /// `ev_run` aborts with a message, except inside a callback of a libev watcher. While that
  /// `ev_run` runs, eddy does no work of its own. `ev_break` does not end `run`.
  ///
  /// libev ends the program if a descriptor is closed at the wrong time. When a library stops
  /// watching a descriptor that eddy watches as well, do not close the descriptor in the same turn
  /// before eddy's wait for the descriptor has ended. If the program embeds this loop into another
  /// by `ev_embed`, the same is true of a descriptor that only eddy watches: do not close it in the
  /// turn in which a wait for it began.
  [[nodiscard]] struct ev_loop* native() noexcept;

  /// Returns the loop that this thread is running, or null if it runs none.
  [[nodiscard]] static event_loop* current() noexcept { return running_; }

  /// Sets the function that receives the exceptions of handlers. These exceptions then do not
  /// leave `run`, and the loop goes on.
  ///
  /// A null `take` removes the function. An exception that `take` throws leaves `run`. A program
  /// that calls `ev_run` itself needs `on_exception`: no exception can pass through `ev_run`,
  /// and an exception that nobody receives there aborts the program.
  void on_exception(handler<void(std::exception_ptr)> take) noexcept;

  /// Queues `error`, and the loop then treats it as an exception of a handler: for errors that
  /// have no receiver.
  ///
  /// Several raised errors leave `run` together, as `several_errors`. If there is no memory to
  /// queue errors, the loop keeps only the first error that it could not queue. When the loop is
  /// destroyed, `on_exception` receives the errors that are still queued; without `on_exception`
  /// they are lost. Aborts with a message if `error` is null.
  void raise(std::exception_ptr error) noexcept;

  /// Throws the errors that `raise` has queued. If `on_exception` is set, its function gets these
  /// errors instead. If `own` is not null, `own` is thrown in both cases, as the first error.
  void rethrow_raised(const std::exception_ptr& own = nullptr);

  /// The number of objects that are alive on a loop, by kind.
  struct counts {
    std::size_t ready;   // entries queued to run, including due timers and completed waits
    std::size_t timers;  // timers that are set and not queued yet
    // waits for descriptors, signals, child processes and files, except in the background
    std::size_t waiting;
    std::size_t tasks;  // tasks and other `inspectable` objects
  };
  /// Counts the objects that are alive on this loop.
  [[nodiscard]] counts count() const noexcept;

  /// Describes the objects that are alive on this loop, as text: their counts, and what each
  /// task waits for and at which location, to a depth of 32.
  [[nodiscard, gnu::cold]] std::string dump() const;

  /// Describes the objects that are alive on this loop, as JSON: an object of their counts and
  /// of `tasks`, an array of trees.
  ///
  /// `ready`, `timers` and `waiting` are those of `counts`. `watched` is the number of
  /// descriptors, signals, files and children that are watched, waited for or not, and
  /// `work_guard` is the number of `work_guard`s. `tasks` here is not the number in `counts`.
  ///
  /// Each node of a tree has `waits_for`, a text. A node of a coroutine also has `function`,
  /// `file` and `line` of its `co_await`. The nodes below a node are in its `below`.
  [[nodiscard, gnu::cold]] std::string dump_json() const;

private:
  class at_work;
  class runs_here;
  struct deferred;
  friend class detail::loop_access;

  event_loop(struct ev_loop* adopted, manual_clock* clock);

  bool turn(bool may_wait);
  void adopted_turn();
  void gather();
  void take_due_timers() noexcept;
  /// Expires the first due limit when nothing else is to run. False if the limit must still
  /// wait.
  bool end_limit() noexcept;
  bool run_queues();
  template <bool Observed>
  bool run_queues_as();
  /// Calls the `before_wait` objects, for a turn that has run its queues.
  void call_before_waits();
  void call_before_wait();
  template <bool Observed>
  int run_some(detail::list_node& queue, int most);
  [[nodiscard]] bool time_is_over() noexcept;
  /// Decides how many operations may run before the next reading of the clock, by the time since
  /// the last one.
  void learn_pace(time_point now) noexcept;
  [[nodiscard]] bool alive() noexcept;
  [[nodiscard]] bool has_work() const noexcept;
  /// Whether a turn may wait, also for libev watchers of others.
  [[nodiscard]] bool may_wait() noexcept;
  [[nodiscard]] time_point read_clock() const noexcept;
  void look_at_clock() noexcept;
  /// Makes the delays that wait for a reading of the clock count from now.
  void settle_delays() noexcept;
  void unpark() noexcept;
  /// Lets the program's `ev_run` continue if it is about to return: something keeps the loop alive
  /// now.
  void revive() noexcept {
    if (parked_) unpark();
  }
  bool abandon_all() noexcept;
  void drop_queue() noexcept;
  void drop_raised() noexcept;
  [[gnu::cold]] void describe_tasks(description& to) const;
  static const void* this_thread() noexcept { return static_cast<const void*>(&running_); }

  // The queues, by kind of work: timers; descriptors, signals and files; posted functions; all
  // other work.
  enum kind : std::uint8_t { timers, arrivals, posts, others };
  [[nodiscard]] bool queued() const noexcept {
    return queues_[timers].linked() || queues_[arrivals].linked() || queues_[posts].linked() ||
           queues_[others].linked();
  }

  // The number of turns that may run earlier arrivals before libev looks for others' watchers.
  static constexpr int turns_without_look = 16;
  static constexpr int most_unlooked = 16;
  static constexpr std::uint8_t stop_asked = 1;
  static constexpr std::uint8_t turn_ended = 2;
  static constexpr std::uint8_t ev_run_ended = 4;  // the program's ev_run has been told to end
  [[noreturn]] static void wrong_thread() noexcept;
  [[noreturn]] static void queued_twice() noexcept;

  // The loop that this thread runs. Every program finds it with one load. If the library is
  // loaded later, it takes space that the C library reserves for such variables.
  [[gnu::tls_model("initial-exec")]] static thread_local constinit event_loop* running_;

  /// The errors that were raised and not reported yet.
  struct raised : ready_node {
    struct one;

    explicit raised(event_loop& l) noexcept : ready_node(&run), loop(l) {}
    static void run(ready_node& node);
    std::exception_ptr take_first() noexcept;
    [[nodiscard]] bool empty() const noexcept { return first == nullptr && spare == nullptr; }

    event_loop& loop;
    one* first = nullptr;
    one** end = &first;
    std::exception_ptr spare;  // the first error for which there was no memory
  };

  std::array<detail::list_node, 4> queues_;
  raised raised_{*this};
  bool parked_ = false;      // the program's ev_run must be woken when work appears
  bool now_known_ = false;   // until the next wait
  std::uint8_t halt_ = 0;    // why the queues must not run further
  std::uint16_t looks_ = 0;  // looks at descriptors so far; wraps around
  bool in_turn_ = false;
  bool stops_at_once_ = false;  // the next run does
  bool going_ = false;          // the loop is being destroyed
  const bool adopted_;
  bool more_due_ = false;  // more timers are due than are queued
  int left_ = 0;           // operations left to the running handler or coroutine
  int unlooked_ = 0;       // operations until the next reading of the clock
  int unlooked_most_ = most_unlooked;
  std::optional<time_point> turn_began_;  // the first reading of the clock in this turn
  time_point looked_at_{};
  std::int64_t tick_ = 0;  // the kernel's coarse clock at `looked_at_`
  time_point now_{};
  detail::list_node arrived_;  // nodes from the engine, before they join the arrivals
  detail::timer_queue timers_;
  detail::due_limits limits_{*this};
  detail::before_wait_list before_waits_;
  std::size_t waits_ = 0;    // waits that keep the loop alive
  std::size_t watches_ = 0;  // all watches, also those in the background or without a wait
  std::size_t keepers_ = 0;  // `work_guard` objects
  std::size_t inspectables_ = 0;
  detail::list_node inspected_;
  manual_clock* clock_;
  detail::signal_mask program_mask_ = detail::signal_mask::current();  // of the maker's thread
  detail::loop_probe* probe_ = nullptr;
  std::atomic<const void*> thread_{nullptr};  // the thread that runs the loop, or null
  std::shared_ptr<detail::post_queue> posts_;
  eddy::loop_handle handle_;
  detail::handler_slot<std::exception_ptr> on_exception_;
  std::unique_ptr<detail::engine> engine_;
  std::unique_ptr<detail::optional_part> signals_;
  std::unique_ptr<detail::optional_part> files_;
  std::unique_ptr<detail::optional_part> task_values_;  // the values of task_locals
  std::unique_ptr<detail::optional_part> sockets_;
};

// implementation

inline void event_loop::check_thread() const noexcept {
  const void* const runner = thread_.load(std::memory_order_relaxed);
  if (runner != nullptr && runner != this_thread()) wrong_thread();
}

inline void event_loop::ready(ready_node& node) noexcept {
  check_thread();
  if (node.queued()) [[unlikely]]
    queued_twice();
  revive();
  queues_[others].push_back(node);
}

inline time_point event_loop::now() noexcept {
  check_thread();
  if (!now_known_) look_at_clock();
  return now_;
}

inline void event_loop::end_turn() noexcept {
  check_thread();
  halt_ |= turn_ended;
}

inline bool event_loop::may_go_on() noexcept {
  if (left_ > -budget) --left_;
  return left_ > 0;
}

inline void event_loop::forbid_going_on() noexcept {
  check_thread();
  left_ = 0;
}

inline int event_loop::lend() noexcept {
  check_thread();
  const int lent = share - std::min(left_, 0);
  left_ += lent;
  return lent;
}

inline void event_loop::charge(std::size_t bytes) noexcept {
  constexpr std::size_t most = budget;
  left_ = std::max(left_ - static_cast<int>(std::min(bytes >> 11, most)), -budget);
}

inline bool event_loop::stopped() const noexcept {
  check_thread();
  return (halt_ & stop_asked) != 0;
}

}  // namespace eddy
