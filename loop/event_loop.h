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
#include <eddy/loop/detail/limit_node.h>
#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/optional_part.h>
#include <eddy/loop/detail/own_handler.h>
#include <eddy/loop/detail/signal_mask.h>
#include <eddy/loop/detail/timer_queue.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready.h>
#include <eddy/loop/remote.h>

struct ev_loop;

namespace eddy {

namespace detail {
class engine;
class file_watch_hub;
class loop_sockets;
class mailbox;
class observer;
class post_sheet;
class signal_hub;
struct task_values;
struct watch;
}  // namespace detail

class blocking_job;
class child;
class inspectable;

/// Runs callbacks on one thread: timers, descriptors that are ready, signals,
/// and whatever other threads post.
///
/// libev does the waiting. `native` gives its loop to C libraries that have an
/// adapter for libev. A libev loop that the program already runs can be adopted,
/// and may go on to be run by `ev_run`; eddy's work is then done from there.
///
/// The order of one turn:
///
/// 1. Wait, unless something is ready.
/// 2. Run, in this order: the timers that are due, by deadline and then by order
///    of starting; descriptors in the order the kernel reports them, file watches among
///    them, and then signals; posted functions in their order; the ready queue, first in
///    first out, which children that have ended and coroutines join.
///
/// A turn is bounded, so that no flood keeps timers and descriptors out. It ends
/// after `budget` operations, or after about half a millisecond, on the clock of
/// the system. What is left waits for the next turn, which looks at timers and
/// descriptors first. Where there is much of several kinds, they take turns: each
/// time `share` operations of one kind. An operation is a call of a handler, a
/// `co_await` that completes, or 2 KiB of bytes that are read or written.
///
/// The loop reads the clock after every 16 operations, or at the end of a handler or
/// coroutine that did more. If more than 100 us pass between two readings, it reads the
/// clock more often, soon after each operation. While a timer is set, it also reads the
/// kernel's coarse clock, which moves with each tick (4 ms at CONFIG_HZ=250), after each
/// handler. So a timer waits for the longest handler and a tick, or for the `share` of
/// one coroutine that computes between awaits which need not wait.
///
/// What a handler makes ready joins the end of the ready queue. No handler runs
/// inside the call that registered it, and a handler may destroy anything but
/// the loop, its own object too.
///
/// Memory: what the loop needs is asked for where something begins that needs it,
/// and a lack of it is told there. One table is an exception: it is libev's, and
/// grows when 64 descriptors are ready in one turn, and each time that twice as many
/// are. libev ends the program if it gets no memory for it then: 1.5 KiB, and each
/// time twice as much. If the kernel refuses to watch one of the loop's own descriptors,
/// for want of memory, the loop raises an error that says so, and tries again after
/// 100 ms; until then timers and posts may be that late.
///
/// Fork: the child may go on with its copy of the loop. The first turn it runs
/// there makes what the two processes must not share anew; until then neither
/// disturbs the other. Signals, timers and descriptors stay as they were.
///
/// Lifetime: outlives everything that is on it. Destroying it drops what is
/// detached, queued and posted without running it; one that still has timers set,
/// descriptors watched or tasks on it stops the program with a list of them.
/// Threads: while a loop runs, only the thread that runs it may use it and what is
/// on it, except `post` and `remote`. While it does not run, any one thread may, if
/// the program synchronises. An adopted loop belongs to the thread that adopted
/// it, because eddy can't see when `ev_run` begins: see `move_to_this_thread`.
/// Any other use stops the program. Each thread may have a loop of its own.
class event_loop {
public:
  /// How many operations a turn has.
  static constexpr int budget = 1024;
  /// How many of them a handler or a coroutine has, before it lets others run.
  static constexpr int share = 32;

  /// Errors: `std::system_error` if no descriptor is free, or the kernel's limit of
  /// watches is used up; `std::bad_alloc`.
  event_loop();

  /// On a clock that is moved by hand.
  explicit event_loop(manual_clock& clock);

  /// Adopts a loop that the program owns and that outlives this. A second
  /// event_loop on it, one on the `native` loop of another, and a null pointer, stop the
  /// program.
  /// Errors: as of others; `std::system_error` if it does not run on epoll.
  explicit event_loop(struct ev_loop* adopted);

  event_loop(const event_loop&) = delete;
  event_loop& operator=(const event_loop&) = delete;
  ~event_loop();

  /// Runs until nothing keeps the loop alive, or `stop`. What keeps it alive:
  /// ready and posted work, timers, watched descriptors, signals and children
  /// (unless put in the background), `keep_alive`, and on an adopted loop the
  /// program's own watchers.
  ///
  /// Errors: an exception that leaves a handler leaves `run`; the loop is whole
  /// and may be run again.
  void run();

  /// Runs one turn, which waits if nothing is ready but something keeps the
  /// loop alive.
  void run_once();

  /// Runs what is ready without waiting. True if the loop did anything.
  bool run_ready();

  /// Has `run` return when the handler that is running does. What is queued
  /// stays queued. Where the program itself called `ev_run`, that returns. If
  /// nothing runs the loop, the next `run` returns at once, before any handler;
  /// `run_once` and `run_ready` take no notice.
  void stop() noexcept;

  /// Has the next turn begin when the handler that is running returns: for one
  /// that has taken its time.
  void end_turn() noexcept {
    check_thread();
    halt_ |= turn_ended;
  }

  /// Counts an operation of the handler or coroutine that runs. False if it has
  /// had its share and should let others run: a coroutine by `yield`, a handler by
  /// `defer`. Every `co_await` of eddy's own counts by itself. Neither this nor `charge`
  /// checks the thread: each operation calls them.
  [[nodiscard]] bool may_go_on() noexcept {
    if (left_ > -budget) --left_;
    return left_ > 0;
  }

  /// How many operations the handler or coroutine that runs may still do, of its share.
  [[nodiscard]] int operations_left() const noexcept { return left_; }

  /// Has what runs let others run at its next operation.
  void forbid_going_on() noexcept {
    check_thread();
    left_ = 0;
  }

  /// Gives the running handler or coroutine a whole `share` for work that must not be made
  /// to let others run. The answer is for `take_back`, which is to be called afterwards.
  [[nodiscard]] int lend() noexcept {
    check_thread();
    const int lent = share - std::min(left_, 0);
    left_ += lent;
    return lent;
  }
  void take_back(int lent) noexcept { left_ -= lent; }

  /// Counts bytes that were read or written.
  void charge(std::size_t bytes) noexcept {
    constexpr std::size_t most = budget;
    left_ = std::max(left_ - static_cast<int>(std::min(bytes >> 11, most)), -budget);
  }

  /// Whether the last run ended with `stop`.
  [[nodiscard]] bool stopped() const noexcept {
    check_thread();
    return (halt_ & stop_asked) != 0;
  }

  /// Has an adopted loop belong to the calling thread from now on. The program
  /// synchronises with the thread that it belonged to.
  void move_to_this_thread() noexcept;

  /// Stops the program if the loop is another thread's now.
  void check_thread() const noexcept {
    const void* const runner = thread_.load(std::memory_order_relaxed);
    if (runner != nullptr && runner != this_thread()) wrong_thread();
  }

  /// Calls `function` later, in order, with nothing of the user's on the stack.
  /// Errors: `std::bad_alloc`.
  void defer(handler<void()> function);

  /// Puts `node`, which is in no queue, at the end of the ready queue.
  void ready(ready_node& node) noexcept {
    check_thread();
    if (node.queued()) [[unlikely]]
      queued_twice();
    revive();
    queues_[others].push_back(node);
  }

  /// Calls `function` on the loop's thread: `remote::post`. Threads: any.
  void post(handler<void()> function) { static_cast<void>(remote_.post(std::move(function))); }

  /// A way to `post` that may outlive the loop. Threads: any.
  [[nodiscard]] const eddy::remote& remote() const noexcept { return remote_; }

  /// The time of this turn: it does not change while handlers run.
  [[nodiscard]] time_point now() noexcept {
    check_thread();
    if (!now_known_) look_at_clock();
    return now_;
  }

  /// The time that is `delay` from this moment, from a fresh look at the clock.
  /// A timer that is given the delay itself spares that: see `timer`.
  [[nodiscard]] time_point after(time_span delay) const noexcept;

  /// A descriptor that becomes readable when a descriptor, a signal, a child, a file
  /// or a post brings work, so that this loop can live inside another. It stays the
  /// loop's own.
  ///
  /// It knows nothing of timers, nor of what is queued already: wait no longer than
  /// `next_run` says, then call `run_ready`. Ask again for both before each wait. Both know what
  /// others have on the native loop. On an adopted loop they know libev's timers, but not what the
  /// program has started there since the last turn.
  ///
  /// Where libraries have prepare and check watchers on the native loop, the first
  /// call of either function calls the prepare callbacks, and `run_ready` the check
  /// callbacks: the wait is in between. Watchers that are started after that first
  /// call, and before `run_ready`, are looked at only from then on.
  ///
  /// `ev_async` and `ev_signal` watchers do not make the descriptor readable: libev
  /// wakes only a thread that waits inside `ev_run`. Their callbacks run in the next
  /// `run_ready`. `post` and `eddy::signal` do make it readable.
  [[nodiscard]] int descriptor();

  /// How long the loop may be left alone from now: zero if something is ready,
  /// empty if only its descriptor can bring work. Round it up to the unit of the
  /// program's wait: rounded down, the last part of it would be spent spinning.
  /// On an adopted loop that was made without EVFLAG_NOTIMERFD, the first call has
  /// libev open a timer descriptor, as the first `ev_periodic` does.
  [[nodiscard]] std::optional<duration> next_run();

  /// libev's loop, for C libraries that have an adapter for it. They may start
  /// and stop watchers at any time, from handlers too. Watchers that are active
  /// keep `run` going. Their callbacks run inside libev, before eddy's handlers of
  /// the same turn.
  ///
  /// Only `run`, `run_once` and `run_ready` run the native loop of a loop that was
  /// not adopted: `ev_run` on it stops the program. Callbacks of libev's are the
  /// exception. While such a callback runs the loop, eddy's own work waits until
  /// that `ev_run` returns. A descriptor that a library watches as well as eddy must
  /// not be closed in the turn in which the library stops to watch it, before eddy's
  /// wait has ended: libev would end the program. The same holds of a descriptor that
  /// only eddy watches, in the turn in which a wait on it began, where the program
  /// embeds the loop into another one by `ev_embed`. `ev_break` ends a round of libev's,
  /// but not `run`.
  [[nodiscard]] struct ev_loop* native() noexcept;

  /// The loop that is running on this thread; null if none is.
  [[nodiscard]] static event_loop* current() noexcept { return running_; }

  /// Takes the exceptions that leave handlers, instead of `run`; the loop goes
  /// on. A program that calls `ev_run` itself needs it: there such an exception
  /// has nowhere to go, and without this stops the program.
  void on_exception(handler<void(std::exception_ptr)> take) noexcept;

  /// Treats `error` as though a handler had thrown it, in the next turn: so
  /// that an error that nobody can be given does not vanish. Several leave `run`
  /// together, as `several_errors`. Of several for which there is no memory, only
  /// the first is told. What is not told when the loop is destroyed goes to
  /// `on_exception`, and is lost without one. A null pointer stops the program.
  void raise(std::exception_ptr error) noexcept;

  /// Gives what was raised and not told yet to `on_exception`; without one, throws
  /// it. `own`, if there is one, is thrown with it, as the first.
  void rethrow_raised(const std::exception_ptr& own = nullptr);

  /// What is alive on this loop.
  struct counts {
    std::size_t ready;   // queued to run: timers that are due and waits that have ended, too
    std::size_t timers;  // set, and not queued yet
    // Waits for descriptors, signals, children and files, but for those in the background.
    std::size_t waiting;
    std::size_t tasks;  // and whatever else is `inspectable`
  };
  [[nodiscard]] counts count() const noexcept;

  /// What is alive on this loop, in words: the counts, and what each task waits
  /// for and where, to a depth of 32.
  [[nodiscard, gnu::cold]] std::string dump() const;

  /// The same for programs: an object of the counts and of `tasks`, an array of
  /// trees. Of what waits it tells `function`, `file` and `line` of the co_await,
  /// if it is a coroutine; in words what it `waits_for`; and what is `below` that.
  [[nodiscard, gnu::cold]] std::string dump_json() const;

private:
  class at_work;
  class runs_here;
  friend class detail::engine;
  friend struct detail::watch;
  friend class detail::file_watch_hub;
  friend class detail::limit_node;
  friend class detail::loop_sockets;
  friend class detail::mailbox;
  friend class detail::post_sheet;
  friend class detail::observer;
  friend class detail::signal_hub;
  friend class inspectable;
  friend class blocking_job;
  friend class child;
  friend class keep_alive;
  friend class readiness;
  friend class signal;
  friend class timer_node;
  friend struct detail::task_values;
  friend class file_watch;

  event_loop(struct ev_loop* adopted, manual_clock* clock);

  bool turn(bool may_wait);
  void adopted_turn();
  void gather();
  void take_due_timers() noexcept;
  static void put_first(detail::link& list, ready_node& node) noexcept { list.push_front(node); }
  /// Puts `node` behind the descriptors that are ready.
  void arrive(ready_node& node) noexcept { queues_[arrivals].push_back(node); }
  /// Puts `node` before the timers that are due.
  void come_first(ready_node& node) noexcept { queues_[timers].push_front(node); }
  /// Nothing else is to run: has the first due limit end. False if it does not end yet.
  bool end_limit() noexcept;
  bool run_queues();
  template <bool Observed>
  bool run_queues_as();
  template <bool Observed>
  int run_some(detail::link& queue, int most);
  [[nodiscard]] bool time_is_over() noexcept;
  /// From the time since the last look at the clock: after how much the next one comes.
  void learn_pace(time_point now) noexcept;
  [[nodiscard]] bool alive() noexcept;
  [[nodiscard]] bool has_work() const noexcept;
  /// Whether a turn may wait: also for what somebody else has on libev's loop.
  [[nodiscard]] bool may_wait() noexcept;
  [[nodiscard]] time_point read_clock() const noexcept;
  void look_at_clock() noexcept;
  /// Has the delays that wait for a look at the clock count from now.
  void settle_delays() noexcept;
  void unpark() noexcept;
  /// Something keeps the loop alive from now on: a program's `ev_run` that is about to
  /// end goes on.
  void revive() noexcept {
    if (parked_) unpark();
  }
  bool abandon_all() noexcept;
  void drop_queue() noexcept;
  void drop_raised() noexcept;
  [[nodiscard, gnu::cold]] std::string describe_tasks() const;
  static const void* this_thread() noexcept { return static_cast<const void*>(&running_); }

  // What is to run, by its kind: timers; descriptors, signals, files and children;
  // posted functions; and all else.
  enum kind : std::uint8_t { timers, arrivals, posts, others };
  [[nodiscard]] bool queued() const noexcept {
    return queues_[timers].linked() || queues_[arrivals].linked() || queues_[posts].linked() ||
           queues_[others].linked();
  }

  // How many turns may run what has arrived before others on libev's loop are seen to.
  static constexpr int turns_without_look = 16;
  static constexpr int most_unlooked = 16;
  static constexpr std::uint8_t stop_asked = 1;
  static constexpr std::uint8_t turn_ended = 2;
  static constexpr std::uint8_t ev_run_ended = 4;  // the program's, which goes on to its end
  [[noreturn]] static void wrong_thread() noexcept;
  [[noreturn]] static void queued_twice() noexcept;

  // Of this thread. One load finds it in every program; where the library is loaded
  // later, it takes space that the C library keeps for such.
  [[gnu::tls_model("initial-exec")]] static thread_local constinit event_loop* running_;

  /// The errors that were raised and not told yet.
  struct raised : ready_node {
    struct one;

    explicit raised(event_loop& l) noexcept : ready_node(&run), loop(l) {}
    static void run(ready_node& node);
    std::exception_ptr take_first() noexcept;
    [[nodiscard]] bool empty() const noexcept { return first == nullptr && spare == nullptr; }

    event_loop& loop;
    one* first = nullptr;
    one** end = &first;
    std::exception_ptr spare;  // one for which there was no memory
  };

  std::array<detail::link, 4> queues_;
  raised raised_{*this};
  bool parked_ = false;      // the program's ev_run has to be told when work turns up
  bool now_known_ = false;   // until the next wait
  std::uint8_t halt_ = 0;    // why no more of the queue is to run
  std::uint16_t looks_ = 0;  // at descriptors; it wraps
  bool in_turn_ = false;
  bool stops_at_once_ = false;  // the next run
  bool going_ = false;          // it is being destroyed
  const bool adopted_;
  bool more_due_ = false;  // timers, than are in the queue
  int left_ = 0;           // operations of what runs
  int unlooked_ = 0;       // that may be done before the next look at the clock
  int unlooked_most_ = most_unlooked;
  std::optional<time_point> turn_began_;  // as far as the clock was looked at
  time_point looked_at_{};
  std::int64_t tick_ = 0;  // of the kernel, at that time
  time_point now_{};
  detail::link arrived_;  // from the engine, before it joins the arrivals
  detail::timer_queue timers_;
  detail::due_limits limits_{*this};
  std::size_t waits_ = 0;    // that keep the loop alive
  std::size_t watches_ = 0;  // all
  std::size_t keepers_ = 0;  // `keep_alive` objects
  std::size_t inspectables_ = 0;
  detail::link inspected_;
  manual_clock* clock_;
  detail::signal_mask program_mask_ = detail::signal_mask::current();  // the maker's
  detail::observer* observer_ = nullptr;
  std::atomic<const void*> thread_{nullptr};  // that runs the loop; null while none does
  std::shared_ptr<detail::mailbox> mailbox_;
  eddy::remote remote_;
  detail::own_handler<std::exception_ptr> on_exception_;
  std::unique_ptr<detail::engine> engine_;
  std::unique_ptr<detail::optional_part> signals_;
  std::unique_ptr<detail::optional_part> files_;
  std::unique_ptr<detail::optional_part> task_values_;  // of task_locals
  std::unique_ptr<detail::optional_part> sockets_;
};

}  // namespace eddy
