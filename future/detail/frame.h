// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <source_location>
#include <string>
#include <utility>

#include <eddy/future/outcome.h>
#include <eddy/loop/ready.h>

namespace eddy::detail {

class frame;

/// One wait in progress: it links the coroutine that waits to what it waits
/// for, in both directions. Every awaiter of eddy's is one.
class wait {
public:
  wait() noexcept = default;
  wait(const wait&) = delete;
  wait& operator=(const wait&) = delete;

  /// The coroutine that waits; null before and after, and where none does.
  [[nodiscard]] frame* waiter() const noexcept { return waiter_; }

  /// Tells in a few words what is waited for, and adds the lines below it. It
  /// may be asked at any time, also while what is below is being destroyed.
  virtual void describe(std::string& out, int depth) const = 0;

  /// The one coroutine that is waited for and owned here, if that is what this is.
  [[nodiscard]] virtual frame* child() const noexcept { return nullptr; }
  /// Destroys that coroutine, whose own children are gone already.
  virtual void destroy_child() noexcept {}

protected:
  ~wait();

  /// `by` waits here from now on.
  template <class Promise>
  void begin(std::coroutine_handle<Promise> by) noexcept;
  void begin(frame& by) noexcept;

  frame* waiter_ = nullptr;
};

/// A wait for the end of a coroutine, which leaves its result here.
class ending : public wait {
protected:
  friend class frame;

  /// Runs `child` until it waits or ends; true if it has ended.
  bool start(frame& child) noexcept;

  /// The child has ended, and not within `start`. The child is still on the stack.
  virtual void ended() noexcept = 0;

private:
  enum class state : std::uint8_t { starting, waiting, ended };
  state state_ = state::waiting;
};

/// The same, with the place for the result.
template <class T>
class ending_with : public ending {
public:
  std::optional<outcome<T>> result;
};

/// The owner of a coroutine that no other coroutine owns.
class root {
public:
  root() noexcept = default;
  root(const root&) = delete;
  root& operator=(const root&) = delete;

  /// Destroys the coroutine and everything under it; or, if it is running, as
  /// soon as it waits or ends. Then calls `gone`.
  void drop() noexcept;

protected:
  ~root() = default;

  /// Has the loop run `body`, which this owns from now on; `then` gets its result.
  void launch(event_loop& loop, frame& body, ending& then) noexcept;

  /// The same for a coroutine that ends, at its final suspension.
  void drop_ended() noexcept;

  /// Destroys the coroutine, which waits and whose own children are gone already.
  void destroy_body() noexcept;

  /// The coroutine has been destroyed; this may delete itself.
  virtual void gone() noexcept = 0;

  frame* body_ = nullptr;

private:
  friend class frame;
  void destroy() noexcept;

  root* next_dropped_ = nullptr;
};

/// What all coroutines of eddy's have in their promise: their place in the ready
/// queue, and their links to who waits for them and what they wait for.
class frame : public ready_node {
public:
  frame() noexcept : ready_node(&run) {}

  /// Resumes it, and whatever then follows from its end; returns when all of
  /// that waits. Only the loop calls this, with no user's code on the stack.
  static void resume(frame& first) noexcept;

  /// Destroys `top`, which waits, has ended or has not begun, and everything
  /// under it, innermost first.
  static void destroy(frame& top) noexcept;

  /// Resumes it when the running coroutine is off the stack.
  static void resume_next(frame& waiter) noexcept;

  /// Destroys the coroutine that has just ended when it is off the stack.
  static void retire(std::coroutine_handle<> ended) noexcept;

  /// Whether the running coroutine may complete one more operation without
  /// waiting; after `budget` of them it has to let others run.
  static bool may_go_on() noexcept;
  static constexpr unsigned budget = 128;

  /// The coroutines that exist on this thread.
  static std::size_t count() noexcept;

  static void* operator new(std::size_t size);
  static void operator delete(void* memory, std::size_t size) noexcept;

  /// Adds what it waits for, and where, to `out`. Of what is very deep only the
  /// last is told.
  void describe(std::string& out, int depth) const;

  [[nodiscard]] std::coroutine_handle<> handle() noexcept {
    return std::coroutine_handle<frame>::from_promise(*this);
  }
  [[nodiscard]] bool done() noexcept { return handle().done(); }

protected:
  /// At the final suspension.
  void finish() noexcept {
    waits_for_ = nullptr;
    if (then_->state_ == ending::state::starting) {
      then_->state_ = ending::state::ended;
    } else {
      then_->ended();
    }
  }

  void arrive_at(std::source_location where) noexcept {
    where_ = where;
    waits_for_ = nullptr;
  }

  template <class T>
  [[nodiscard]] std::optional<outcome<T>>& result_place() noexcept {
    return static_cast<ending_with<T>*>(then_)->result;
  }

private:
  friend class ending;
  friend class root;
  friend class wait;

  static void run(ready_node& node) { resume(static_cast<frame&>(node)); }
  void describe_place(std::string& out) const;
  [[nodiscard]] frame* child() const noexcept {
    return waits_for_ == nullptr ? nullptr : waits_for_->child();
  }

  ending* then_ = nullptr;      // who is told of the end; null before the start
  wait* waits_for_ = nullptr;   // null while it runs
  std::source_location where_;  // of the co_await
};

template <class Promise>
void wait::begin(std::coroutine_handle<Promise> by) noexcept {
  begin(static_cast<frame&>(by.promise()));
}

inline wait::~wait() {
  if (waiter_ != nullptr && waiter_->waits_for_ == this) waiter_->waits_for_ = nullptr;
}

inline void wait::begin(frame& by) noexcept {
  waiter_ = &by;
  by.waits_for_ = this;
}

/// Adds a line's indentation.
void indent(std::string& out, int depth);

/// Adds what `below` waits for, a level deeper; nothing if that is null.
void describe_below(std::string& out, int depth, const frame* below);
void describe_below(std::string& out, int depth, const wait& below);

}  // namespace eddy::detail
