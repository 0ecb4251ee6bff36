// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bit>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <utility>

#include <eddy/future/detail/inherited.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready.h>

namespace eddy::detail {

class frame;
class future_core;

/// What holds for a coroutine because of those that await it.
struct ambient {
  std::optional<time_point> deadline;    // the earliest
  const local_values* locals = nullptr;  // the nearest

  void note(time_point t) noexcept {
    if (!deadline || t < *deadline) deadline = t;
  }
  void note(const local_values& l) noexcept {
    if (locals == nullptr) locals = &l;
  }
  [[nodiscard]] local_values values() const noexcept {
    return locals == nullptr ? local_values() : *locals;
  }
};

/// What a coroutine waits for, unless it is a task that it has awaited itself.
/// Every such awaiter of eddy's is one, and lies in the coroutine's frame, which
/// knows it until the loop resumes it.
class wait {
public:
  wait() noexcept = default;
  wait(const wait&) = delete;
  wait& operator=(const wait&) = delete;

  /// Tells in a few words what is waited for, and adds the lines below it. It
  /// may be asked at any time, also while what is below is being destroyed.
  virtual void describe(std::string& out, int depth) const = 0;

  /// Adds what it sets for all under it, if that is what this is for.
  virtual void add_to(ambient&) const noexcept {}

  /// The one coroutine that is waited for and owned here, if that is what this is.
  [[nodiscard]] virtual frame* child() const noexcept { return nullptr; }
  /// Destroys that coroutine, whose own children are gone already.
  virtual void destroy_child() noexcept {}

protected:
  ~wait() = default;
};

/// Owns a coroutine: an awaited task's. It lies in the frame that awaits it.
class child_owner {
public:
  child_owner(const child_owner&) = delete;
  child_owner& operator=(const child_owner&) = delete;

protected:
  explicit child_owner(frame& child) noexcept : child_(&child) {}
  ~child_owner();

  frame* child_;

private:
  friend class frame;
};

/// Is told of a coroutine's end, where that is not simply for the coroutine
/// that awaits it to go on.
class ending {
public:
  ending(const ending&) = delete;
  ending& operator=(const ending&) = delete;

protected:
  ending() noexcept = default;
  ~ending() = default;

  /// The coroutine has ended, and not within `frame::start`. It is on the stack.
  virtual void ended() noexcept = 0;

  frame* waiter_ = nullptr;

private:
  friend class frame;
  friend class future_core;
};

/// Tells a walk from coroutine to coroutine that it goes round in a ring of tasks that await
/// each other, once it has seen all of that (R. P. Brent, "An improved Monte Carlo
/// factorization algorithm", BIT 20, 1980).
class ring_finder {
public:
  [[nodiscard]] bool closed_by(const frame* next) noexcept {
    if (next == seen_) return true;
    if (++steps_ == most_) {
      seen_ = next;
      steps_ = 0;
      most_ *= 2;
    }
    return false;
  }

private:
  const frame* seen_ = nullptr;
  std::size_t steps_ = 0;
  std::size_t most_ = 64;
};

/// Stops the program.
[[noreturn, gnu::cold]] void stop_at_ring() noexcept;

/// What runs on this thread.
struct activation {
  frame* current = nullptr;        // which runs, or has come to its end; null if none does
  std::uintptr_t stack_end = 0;    // how far awaited coroutines may start on its stack:
                                   // not at all, when what runs was dropped
  frame* next = nullptr;           // goes on when it is off the stack
  bool chores = false;             // whether there is something of these:
  frame* retired = nullptr;        // has ended, and is to be destroyed when off the stack
  future_core* ended = nullptr;    // the task behind it has ended
  future_core* dropped = nullptr;  // those to destroy then
  activation* outer = nullptr;     // there is one if a handler runs another loop
};

/// The time in which something cancels the coroutines that `waiter` awaits, and leaves `waiter`
/// itself alone. If a destructor in these coroutines drops the task to which `waiter` belongs, the
/// task is destroyed when the cancellation ends, and so after them.
class cancellation {
public:
  /// A null `waiter` means that nobody awaits these coroutines: such a cancellation does nothing.
  explicit cancellation(frame* waiter) noexcept;
  cancellation(const cancellation&) = delete;
  cancellation& operator=(const cancellation&) = delete;
  ~cancellation();

private:
  friend class frame;
  friend class future_core;

  frame* waiter_;                   // null also once it is destroyed
  future_core* dropped_ = nullptr;  // the tasks to destroy at the end
  cancellation* outer_ = nullptr;
};

struct frames_of_thread {
  activation top;
  frame* dying = nullptr;                 // is being destroyed in its midst
  cancellation* cancellations = nullptr;  // that are under way
};

// One load finds it in every program, as it does the loop that runs.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local frames_of_thread frames_here;

/// What all coroutines of eddy's have in their promise: their place in the ready
/// queue, and their links to who waits for them and what they wait for.
class frame : public ready_node {
public:
  frame() noexcept : ready_node(&run), where_(nullptr) {}
  ~frame() {
    if (done() && error_ != nullptr) raise_error();
  }

  /// Resumes it, and whatever then follows from its end; returns when all of
  /// that waits. Only the loop calls this, with no user's code on the stack.
  static void resume(frame& first) noexcept;

  /// Runs it, which `parent` awaits, until it waits or ends; true if it has
  /// ended. When it ends later, `parent` goes on.
  bool start(frame& parent) noexcept { return start(to_uint(&parent)); }
  /// The same; `then` is told of a later end.
  bool start(ending& then) noexcept { return start(to_uint(&then) | for_ending); }
  /// The same from the ready queue.
  void start_later(ending& then) noexcept {
    then_ = to_uint(&then) | for_ending;
    start_later();
  }

  /// Destroys `top`, which waits, has ended or has not begun, and everything
  /// under it, innermost first.
  static void destroy(frame& top) noexcept {
    if (top.done()) return top.handle().destroy();
    destroy_all(top);
  }
  /// Destroys this, whose own children are gone already.
  void end() noexcept;
  /// The same as `destroy`, from the loop, where the locals of `top` may destroy its waiter: that
  /// is not looked at any more.
  static void destroy_and_leave(frame& top) noexcept;

  /// An error that nobody was left to take leaves the `run` of the loop that this
  /// runs on.
  [[gnu::cold]] void raise(std::exception_ptr error) const noexcept;

  /// Resumes it when the running coroutine is off the stack.
  static void resume_next(frame& waiter) noexcept;

  /// Destroys the coroutine that has just ended when it is off the stack.
  static void retire(frame& ended) noexcept {
    frames_here.top.retired = &ended;
    frames_here.top.chores = true;
  }

  /// Whether the running coroutine may complete one more operation without
  /// waiting; if not, it waits in the ready queue. Never, once it was dropped.
  static bool may_go_on() noexcept { return event_loop::current()->may_go_on(); }
  /// Whether the running coroutine was dropped: it goes as soon as it waits.
  static bool dropped() noexcept { return frames_here.top.dropped != nullptr; }

  /// What holds for the one that runs.
  [[nodiscard]] static ambient ambient_here() noexcept;
  /// The nearest values alone: it looks no farther than it has to.
  [[nodiscard]] static local_values locals_here() noexcept;
  template <class Enough>
  static void look_up(ambient& all, Enough enough) noexcept;

  /// The coroutines that exist in this process.
  static std::size_t count() noexcept { return frames_of_process(); }

  static void* operator new(std::size_t size) {
    void* const memory = allocate(size);
    count_frame(1);
    return memory;
  }
  static void operator delete(void* memory, std::size_t size) noexcept {
    count_frame(-1);
    deallocate(memory, size);
  }

  /// Where its last co_await is; of no line if it has come to none.
  [[nodiscard, gnu::cold]] std::source_location place() const noexcept;
  /// The same; of a coroutine that eddy itself makes, that of whoever awaits it. Of
  /// no line if nobody does, or if it is a scope's.
  [[nodiscard, gnu::cold]] std::source_location users_place() const noexcept;

  /// Adds what it waits for, and where, to `out`. Of what is very deep only the
  /// last is told.
  [[gnu::cold]] void describe(std::string& out, int depth) const;

  [[nodiscard]] std::coroutine_handle<frame> handle() const noexcept {
    return std::coroutine_handle<frame>::from_promise(const_cast<frame&>(*this));
  }
  [[nodiscard]] bool done() const noexcept { return handle().done(); }

  /// What it has ended with; null if that is a value.
  [[nodiscard]] std::exception_ptr& error() noexcept { return error_; }

  /// The error, which nobody awaited till now, comes out of its co_await next.
  [[gnu::cold]] void error_comes(const std::exception_ptr& error) const noexcept;
  /// The same for the coroutine that runs.
  [[gnu::cold]] static void error_comes_now(const std::exception_ptr& error) noexcept;
  /// A promise was given the error.
  [[gnu::cold]] static void error_is_given(const std::exception_ptr& error) noexcept;
  /// The coroutine that runs throws an error that was kept: by itself, over other
  /// awaits, or for several.
  [[gnu::cold]] static void error_comes_again(const std::exception_ptr& error) noexcept;

  /// From now on it waits for this; it has to say so when it does no more,
  /// unless the loop resumes it.
  void waits_for(wait& w) noexcept { waits_for_ = to_uint(&w); }
  void waits_for(child_owner& c) noexcept { waits_for_ = to_uint(&c) | for_child; }
  void waits_no_more() noexcept { waits_for_ = 0; }

  /// What it waits for has ended without waiting. True if it has to wait all the
  /// same, in the ready queue, because it has had its share or was dropped.
  bool waits_its_turn() noexcept {
    if (!may_go_on()) return wait_its_turn();
    waits_no_more();
    return false;
  }

  /// It waits for this, which has work to do first: when it is queued, the loop
  /// calls `work` with it. That finds this by `waiting_for` and at the end calls
  /// `resume_after`. So a wait needs no place of its own in the ready queue.
  void waits_for(wait& w, function work) noexcept {
    waits_for(w);
    set_function(work);
  }
  [[nodiscard]] wait& waiting_for() const noexcept { return *pointer_in<wait>(waits_for_); }
  static void resume_after(frame& waiter) noexcept {
    waiter.set_function(&run);
    resume(waiter);
  }

protected:
  /// At the final suspension.
  void finish() noexcept {
    if ((then_ & starting) == 0) tell_end();
  }

  void end_with_value() noexcept { std::construct_at(&error_); }
  [[nodiscard]] bool failed() const noexcept { return (waits_for_ & ended_with_error) != 0; }
  [[noreturn, gnu::cold]] static void ended_without_value(std::source_location where) noexcept;
  /// As long as it has not ended.
  [[nodiscard]] std::source_location place_before_end() const noexcept {
    return std::bit_cast<std::source_location>(where_);
  }
  /// With the exception that is being handled.
  [[gnu::cold]] void end_with_error() noexcept;

  /// `where` is what a `std::source_location` holds. As an argument, an object
  /// of that class would take 8 bytes of the frame at each co_await: g++ 12 keeps
  /// it.
  void arrive_at(const void* where) noexcept { where_ = where; }

private:
  friend class future_core;

  // Who is told of the end, and what is waited for, are pointers to what is
  // aligned by eight; the kind is in the low bits.
  static constexpr std::uintptr_t starting = 1;  // of then_: `start` is on the stack
  static constexpr std::uintptr_t for_ending = 2;
  static constexpr std::uintptr_t for_future = 4;
  static constexpr std::uintptr_t for_child = 1;  // of waits_for_
  static constexpr std::uintptr_t ended_with_error = 2;
  static constexpr std::uintptr_t in_no_ring = 4;  // and is being destroyed
  static constexpr std::uintptr_t kinds = 7;

  template <class Pointee>
  static std::uintptr_t to_uint(Pointee* p) noexcept {
    static_assert(alignof(Pointee) == 8);
    return reinterpret_cast<std::uintptr_t>(p);
  }
  template <class Pointee>
  static Pointee* pointer_in(std::uintptr_t tagged) noexcept {
    return reinterpret_cast<Pointee*>(tagged & ~kinds);  // NOLINT(performance-no-int-to-ptr)
  }

  static void run(ready_node& node) { resume(static_cast<frame&>(node)); }
  static void destroy_all(frame& top) noexcept;
  static frame& innermost_below(frame& top) noexcept;
  static void destroy_upwards(frame& innermost, frame& top) noexcept;
  [[nodiscard]] bool is_below(const frame& awaiter) const noexcept;
  [[gnu::noinline]] static void resume_nested(frame& first) noexcept;
  static void do_chores() noexcept;
  bool start(std::uintptr_t then) noexcept;
  bool start_later() noexcept;
  bool wait_its_turn() noexcept;
  void tell_end() noexcept;
  /// Nobody has taken it.
  [[gnu::cold]] void raise_error() noexcept;
  [[gnu::cold]] void describe_place(std::string& out) const;
  [[nodiscard]] frame* above() const noexcept;
  [[nodiscard]] frame* child() const noexcept;
  [[nodiscard]] event_loop* loop() const noexcept;

  std::uintptr_t then_ = 0;
  std::uintptr_t waits_for_ = 0;  // 0 while it runs
  union {
    const void* where_;         // the co_await; null before the first
    std::exception_ptr error_;  // when it is done
  };
};

inline child_owner::~child_owner() {
  if (child_ != nullptr) frame::destroy(*child_);
}

inline bool frame::start(std::uintptr_t then) noexcept {
  then_ = then;
  if (reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) < frames_here.top.stack_end) {
    return start_later();
  }
  then_ |= starting;
  frame* const outer = std::exchange(frames_here.top.current, this);
  handle().resume();
  frames_here.top.current = outer;
  if (done()) return true;
  then_ &= ~starting;
  return false;
}

/// Adds a line's indentation.
void indent(std::string& out, int depth);

/// Adds what `below` waits for, a level deeper; nothing if that is null.
void describe_below(std::string& out, int depth, const frame* below);
void describe_below(std::string& out, int depth, const future_core& below);

}  // namespace eddy::detail
