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
#include <utility>

#include <eddy/future/detail/activation.h>
#include <eddy/future/detail/ambient.h>
#include <eddy/future/detail/suspension.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready_node.h>

namespace eddy {
class description;
}  // namespace eddy

namespace eddy::detail {

class frame;
class future_core;

/// Owns the coroutine of an awaited task: the base class of `task_wait`. A `suspension` would do
/// the same, but its pointer to a virtual table costs 8 bytes at every `co_await` of a task.
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

/// Is called when a coroutine completes, where more is to be done than to resume its waiter: a
/// branch of `join` or `select`.
class completion {
public:
  completion(const completion&) = delete;
  completion& operator=(const completion&) = delete;

protected:
  completion() noexcept = default;
  ~completion() = default;

  /// The coroutine has completed, but not within `frame::start`. The coroutine is still on the
  /// stack.
  virtual void ended() noexcept = 0;

  frame* waiter_ = nullptr;

private:
  friend class frame;
  friend class future_core;
};

/// The base class of every coroutine's promise: a node of the ready queue, a link to the waiter of
/// this coroutine, and a link to the reason of its suspension. These links make the await tree.
class frame : public ready_node {
public:
  frame() noexcept : ready_node(&run), where_(nullptr) {}
  ~frame() {
    if (done() && error_ != nullptr) raise_error();
  }

  /// Resumes `first`; if it completes, then its waiter, and so on. Returns when the last of these
  /// coroutines has suspended. Only the loop calls this, with no user code on the stack.
  static void resume(frame& first) noexcept;

  /// Runs this coroutine, which `parent` awaits, to its first suspension. True if it has completed.
  /// Otherwise its later completion resumes `parent`. If `parent` has had its share of operations,
  /// the loop runs this coroutine later: a result that waited for a turn could be lost meanwhile.
  bool start(frame& parent) noexcept { return start(to_uint(&parent), !may_go_on()); }
  /// Runs this coroutine to its first suspension, or has the loop run it if `later` is true. True
  /// if it has completed. Otherwise its later completion calls `then`.
  bool start(completion& then, bool later) noexcept {
    return start(to_uint(&then) | for_completion, later);
  }

  /// Destroys `top`, which does not run, and every coroutine under it, the innermost first.
  static void destroy(frame& top) noexcept {
    if (top.done()) return top.handle().destroy();
    destroy_all(top);
  }
  /// Destroys this coroutine, whose own children are destroyed already.
  void end() noexcept;
  /// Does the same as `destroy`, where a destructor in `top` may destroy the waiter of `top`: the
  /// waiter is not used afterwards. Only the loop calls this.
  static void destroy_and_leave(frame& top) noexcept;

  /// Reports an error that nobody is left to take: it leaves the `run` of this coroutine's loop.
  [[gnu::cold]] void raise(std::exception_ptr error) const noexcept;

  /// Resumes `waiter` when the running coroutine is off the stack.
  static void resume_next(frame& waiter) noexcept;

  /// Destroys `ended`, the coroutine that has just completed, when it is off the stack.
  static void retire(frame& ended) noexcept {
    frames_here.top.retired = &ended;
    frames_here.top.chores = true;
  }

  /// Whether the running coroutine may complete one more operation without suspending. If not, it
  /// must suspend, in the ready queue. Always false once the coroutine was dropped.
  static bool may_go_on() noexcept { return event_loop::current()->may_go_on(); }
  /// Whether the running coroutine was dropped: it is destroyed at its next suspension.
  static bool dropped() noexcept { return frames_here.top.dropped != nullptr; }

  /// The deadline and the task_locals of the running coroutine.
  [[nodiscard]] static ambient ambient_here() noexcept;
  /// The task_locals alone. The walk ends at the nearest.
  [[nodiscard]] static local_values locals_here() noexcept;
  template <class Enough>
  static void look_up(ambient& all, Enough enough) noexcept;

  /// How many coroutines exist in this process.
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

  /// The location of this coroutine's last `co_await`. Line 0: it has reached none.
  [[nodiscard, gnu::cold]] std::source_location place() const noexcept;
  /// The location of the last `co_await` in a coroutine that the user wrote: of this one, or of the
  /// nearest that awaits it. Line 0: there is none, or a scope owns the coroutine.
  [[nodiscard, gnu::cold]] std::source_location users_place() const noexcept;

  /// Adds a node that says what this coroutine waits for, and where, and the nodes below it. A very
  /// deep chain of tasks adds only its innermost task.
  [[gnu::cold]] void describe(description& to) const;

  [[nodiscard]] std::coroutine_handle<frame> handle() const noexcept {
    return std::coroutine_handle<frame>::from_promise(const_cast<frame&>(*this));
  }
  [[nodiscard]] bool done() const noexcept { return handle().done(); }

  /// The error with which the coroutine completed; null if it has a value.
  [[nodiscard]] std::exception_ptr& error() noexcept { return error_; }

  // Notes for the await trace of an error:
  /// The error was stored while nobody awaited it. This coroutine's co_await throws it next.
  [[gnu::cold]] void error_comes(const std::exception_ptr& error) const noexcept;
  /// The error was stored while nobody awaited it. The running coroutine's co_await throws it next.
  [[gnu::cold]] static void error_comes_now(const std::exception_ptr& error) noexcept;
  /// The error was given to a promise.
  [[gnu::cold]] static void error_is_given(const std::exception_ptr& error) noexcept;
  /// The running coroutine throws an error that was stored, maybe for several waiters.
  [[gnu::cold]] static void error_comes_again(const std::exception_ptr& error) noexcept;

  /// Sets the reason of the suspension. The loop clears it when it resumes the coroutine; if the
  /// coroutine goes on without the loop, the awaiter calls `waits_no_more`.
  void waits_for(suspension& w) noexcept { waits_for_ = to_uint(&w); }
  void waits_for(child_owner& c) noexcept { waits_for_ = to_uint(&c) | for_child; }
  void waits_no_more() noexcept { waits_for_ = 0; }

  /// The awaited work has completed at once. True if this coroutine must suspend all the same, in
  /// the ready queue, because it has had its share of operations or was dropped.
  bool waits_its_turn() noexcept {
    if (!may_go_on()) return wait_its_turn();
    waits_no_more();
    return false;
  }
  /// The same, if `start` has counted the operation: true only if this coroutine was dropped.
  bool stops_here() noexcept {
    if (dropped()) return wait_its_turn();
    waits_no_more();
    return false;
  }

  /// Sets the reason of the suspension, and work that the loop does before it resumes the
  /// coroutine: when the coroutine is queued, the loop calls `work` with it. `work` finds `w` by
  /// `waiting_for`, and calls `resume_after` at the end. So the awaiter needs no node of its own.
  void waits_for(suspension& w, function work) noexcept {
    waits_for(w);
    set_function(work);
  }
  [[nodiscard]] suspension& waiting_for() const noexcept {
    return *pointer_in<suspension>(waits_for_);
  }
  static void resume_after(frame& waiter) noexcept {
    waiter.set_function(&run);
    resume(waiter);
  }

  /// Stores the location of a `co_await`. `where` is the pointer that a `std::source_location`
  /// holds: g++ 12 would keep an argument of that class in the frame, 8 bytes at each `co_await`.
  void arrive_at(const void* where) noexcept { where_ = where; }

protected:
  /// The coroutine has reached its final suspension.
  void finish() noexcept {
    if ((then_ & starting) == 0) tell_end();
  }

  void end_with_value() noexcept { std::construct_at(&error_); }
  [[nodiscard]] bool failed() const noexcept { return (waits_for_ & ended_with_error) != 0; }
  [[noreturn, gnu::cold]] static void ended_without_value(std::source_location where) noexcept;
  /// `place`, for a coroutine that has not completed.
  [[nodiscard]] std::source_location place_before_end() const noexcept {
    return std::bit_cast<std::source_location>(where_);
  }
  /// Completes with the exception that is being handled.
  [[gnu::cold]] void end_with_error() noexcept;

private:
  friend class future_core;

  // then_ and waits_for_ point to objects that are aligned by eight. The low bits tell the kind.
  static constexpr std::uintptr_t starting = 1;  // in then_: `start` is on the stack
  static constexpr std::uintptr_t for_completion = 2;
  static constexpr std::uintptr_t for_future = 4;
  static constexpr std::uintptr_t for_child = 1;  // in waits_for_
  static constexpr std::uintptr_t ended_with_error = 2;
  static constexpr std::uintptr_t in_no_ring = 4;  // being destroyed, and in no ring
  static constexpr std::uintptr_t kinds = 7;
  static constexpr std::uintptr_t more_stack = 8192;  // for a task that is to start at once

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
  /// The outermost activation whose coroutine runs and is below `awaiter`; null if there is none.
  [[nodiscard]] static activation* activation_below(const frame& awaiter) noexcept;
  [[gnu::noinline]] static void resume_nested(frame& first) noexcept;
  static void do_chores() noexcept;
  bool start(std::uintptr_t then, bool later) noexcept;
  bool start_later() noexcept;
  bool wait_its_turn() noexcept;
  void tell_end() noexcept;
  [[gnu::cold]] void raise_error() noexcept;  // which nobody has taken
  [[nodiscard]] frame* above() const noexcept;
  [[nodiscard]] frame* child() const noexcept;
  [[nodiscard]] event_loop* loop() const noexcept;

  std::uintptr_t then_ = 0;       // the waiting frame, a completion, or a future_core
  std::uintptr_t waits_for_ = 0;  // a suspension or a child_owner; 0 while the coroutine runs
  union {
    const void* where_;         // the location of the last co_await; null before the first
    std::exception_ptr error_;  // once the coroutine is done
  };
};

inline child_owner::~child_owner() {
  if (child_ != nullptr) frame::destroy(*child_);
}

inline bool frame::start(std::uintptr_t then, bool later) noexcept {
  then_ = then;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const std::uintptr_t end = frames_here.top.stack_end;
  // `task_access::start_at_once` has set a location.
  if ((later || here < end) && (where_ == nullptr || here + more_stack < end)) return start_later();
  then_ |= starting;
  frame* const outer = frames_here.top.current;
  frames_here.top.current = this;
  handle().resume();
  frames_here.top.current = outer;
  if (done()) return true;
  then_ &= ~starting;
  return false;
}

/// Adds what `child` waits for, a level deeper. A null `child` adds nothing.
void describe_below(description& to, const frame* child);
void describe_below(description& to, const future_core& source);

}  // namespace eddy::detail
