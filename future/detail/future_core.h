// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <exception>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/inspectable.h>

namespace eddy {
class scope;
}

namespace eddy::detail {

/// The state that a future shares with the producer of its value: a promise, a spawned task, or a
/// `then`. The last of its owners deletes it. That of a spawned task has 56 bytes, and a program
/// may have a million: think before you add a member.
class future_core : public inspectable, public recycled {
public:
  using inspectable::loop;

  /// Whether the result is there, or was there and has been taken.
  [[nodiscard]] bool ready() const noexcept { return stage_ != stage::under_way; }

  [[nodiscard]] bool failed() const noexcept { return stage_ == stage::error; }
  /// Whether nobody has to take the error.
  [[nodiscard]] bool seen() const noexcept { return seen_; }
  /// Notes for the await trace that the running coroutine's `co_await` throws the error next.
  [[gnu::cold]] void error_comes_now() const noexcept { frame::error_comes_now(error_); }

  /// Queues `node` when the result is there.
  void await(ready_node& node) noexcept { await(node, follower::node); }
  /// Queues `waiter` when the result is there. Stops the program if the two are in a ring.
  void await(frame& waiter) noexcept {
    // A coroutine in the ready queue awaits nobody.
    if (frame* const source = body(); source != nullptr && !source->queued())
      expect_no_ring(waiter);
    if (failed()) waiter.error_comes(error_);
    await(waiter, follower::frame);
  }
  /// Queues a `then_base` of this type when the result is there.
  void await_as_then(ready_node& node) noexcept { await(node, follower::then); }
  [[nodiscard]] ready_node* then_waiter() const noexcept {
    return next_is_ == follower::then ? next_ : nullptr;
  }

  /// The future is being destroyed: cancels the work, unless the result is there.
  void drop_future() noexcept {
    loop().check_thread();
    next_ = nullptr;
    if (!ready()) drop_unready();
    release_reader();
  }

  /// Makes the loop an owner in place of the future.
  void detach() noexcept;

  /// Adds a node that names the producer, and the nodes below it.
  virtual void describe_awaited(description& to) const = 0;
  /// Adds the tree of a listed one for a dump of the loop, unless a waiter describes it.
  void describe(description& to) const override;

  /// The coroutine that awaits the future, or joins the scope that owns the task.
  [[nodiscard]] frame* waiter() const noexcept;
  [[nodiscard]] bool for_scope() const noexcept { return next_is_ == follower::scope; }
  /// The coroutine that produces the value, until it completes.
  [[nodiscard]] frame* body() const noexcept { return ready() ? nullptr : body_; }

  /// Adds the deadline and the task_locals that its coroutine has from where it was spawned.
  void add_to(ambient& all) const noexcept;

protected:
  /// `listed`: a dump of the loop describes this.
  future_core(event_loop& loop, bool listed, std::uint8_t owners) noexcept
      : inspectable(loop, listed), owners_(owners) {}
  virtual ~future_core();

  /// Cancels the work. The future was dropped before the result was there.
  virtual void cancel() noexcept = 0;

  /// Queues the waiter, now that the result is there.
  void complete() noexcept {
    if (next_ != nullptr) return loop().ready(*std::exchange(next_, nullptr));
    if (detached_) undetach();
  }

  void retain() noexcept { ++owners_; }
  void release() noexcept {
    if (--owners_ == 0) delete this;
  }

  /// False once the future was dropped before the result was there.
  [[nodiscard]] bool wanted() const noexcept { return wanted_; }

  [[gnu::cold]] void set_error(std::exception_ptr error) noexcept;
  /// Marks the error as taken: it does not leave `run` if the future is dropped.
  void set_seen() noexcept { seen_ = true; }

  // For a producer that owns a coroutine:
  /// Takes over the task_locals of the running coroutine. Errors: `std::bad_alloc`.
  void inherit() {
    if (local_values::used()) inherits_ = task_values::inherit(*this);
  }
  void launch(frame& body) noexcept {
    body_ = &body;
    loop().check_thread();
    body.then_ = frame::to_uint(this) | frame::for_future;
    loop().ready(body);
  }
  /// Sets the owning scope, which takes the place of a waiter. Null: the task has left the scope.
  void set_scope(scope* s) noexcept {
    scope_ = s;
    next_is_ = follower::scope;
  }
  [[nodiscard]] scope* in_scope() const noexcept { return scope_; }
  /// Destroys the coroutine and everything under it. If one of these coroutines runs, this happens
  /// at its next suspension; if one is being cancelled, when that cancellation ends.
  void drop() noexcept;
  /// Takes the result of the coroutine, which has completed.
  virtual void take_from(frame&) noexcept {}

  enum class stage : std::uint8_t { under_way, value, error, dropped };

private:
  friend class frame;
  friend class cancellation;
  enum class follower : std::uint8_t { node, frame, then, scope, dropped };
  /// Stops the program if this task's coroutine is `waiter`, or awaits `waiter` through others:
  /// neither could complete. The search ends after 64 coroutines.
  void expect_no_ring(const frame& waiter) const noexcept;
  void await(ready_node& node, follower kind) noexcept {
    if (ready()) return loop().ready(node);
    next_ = &node;
    next_is_ = kind;
  }

  bool abandon() noexcept final;
  void undetach() noexcept;
  /// Ends the future's ownership.
  void release_reader() noexcept {
    if (failed()) {
      raise_unseen();
    } else if (owners_ > 1 && !seen_ && ready()) {
      drop_value();
    }
    release();
  }
  virtual void drop_value() noexcept {}
  [[gnu::cold]] void raise_unseen() noexcept;

  void drop_unready() noexcept;
  void drop_body() noexcept;     // destroys it, and all under it
  void destroy_body() noexcept;  // whose own children are destroyed already
  void end_body() noexcept;      // which has completed

  union {
    ready_node* next_ = nullptr;  // the waiter
    scope* scope_;                // if next_is_ is follower::scope
    future_core* next_dropped_;   // if next_is_ is follower::dropped
  };

protected:
  union {
    frame* body_ = nullptr;     // while the stage is under_way; null if there is no coroutine
    std::exception_ptr error_;  // if the stage is error
  };
  stage stage_ = stage::under_way;
  bool seen_ : 1 = false;  // the result was taken, or need not be

private:
  bool wanted_ : 1 = true;
  bool inherits_ : 1 = false;  // there are task_locals in the loop's table
  bool dropping_ : 1 = false;  // this is in a list of tasks to destroy
  bool detached_ : 1 = false;  // the loop is one of its owners
  follower next_is_ = follower::node;
  std::uint8_t owners_;
};

}  // namespace eddy::detail
