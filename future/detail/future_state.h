// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/inspectable.h>

namespace eddy {
class scope;
}

namespace eddy::detail {

/// What the two ends of a future share: the future, and whatever produces its
/// value. It goes when both have gone. A spawned task's is 56 bytes, and there
/// may be a million: think before you add a member.
class future_core : public inspectable, public recycled {
public:
  using inspectable::loop;

  /// Whether the result is there, or was.
  [[nodiscard]] bool ready() const noexcept { return stage_ != stage::under_way; }

  [[nodiscard]] bool failed() const noexcept { return stage_ == stage::error; }
  /// Whether nobody has to take the error.
  [[nodiscard]] bool seen() const noexcept { return seen_; }
  /// The coroutine that runs gets the error by its `co_await`, without waiting.
  [[gnu::cold]] void error_comes_now() const noexcept { frame::error_comes_now(error_); }

  /// Queues `node` when the result is there.
  void await(ready_node& node) noexcept { await(node, follower::node); }
  void await(frame& waiter) noexcept {
    // A coroutine in the ready queue awaits nobody.
    if (frame* const source = body(); source != nullptr && !source->queued())
      expect_no_ring(waiter);
    if (failed()) waiter.error_comes(error_);
    await(waiter, follower::frame);
  }
  /// The same for a `then_base` of this type.
  void await_as_then(ready_node& node) noexcept { await(node, follower::then); }
  [[nodiscard]] ready_node* then_waiter() const noexcept {
    return next_is_ == follower::then ? next_ : nullptr;
  }

  /// The future has gone.
  void drop_future() noexcept {
    loop().check_thread();
    next_ = nullptr;
    if (!ready()) drop_unready();
    release_reader();
  }

  /// The future has gone, and left the work to the loop.
  void detach() noexcept;

  /// Tells in a few words what is waited for, and adds the lines below it.
  virtual void describe(std::string& out, int depth) const = 0;
  void describe(std::string& out) const override;  // of one that is listed

  /// The coroutine that awaits the future, or the end of the scope it is in.
  [[nodiscard]] frame* waiter() const noexcept;
  [[nodiscard]] bool for_scope() const noexcept { return next_is_ == follower::scope; }
  /// The coroutine that produces the value, while it does.
  [[nodiscard]] frame* body() const noexcept { return ready() ? nullptr : body_; }

  /// Adds what holds for its coroutine because of where that was spawned.
  void add_to(ambient& all) const noexcept;

protected:
  /// `listed` for a dump.
  future_core(event_loop& loop, bool listed, std::uint8_t owners) noexcept
      : inspectable(loop, listed), owners_(owners) {}
  virtual ~future_core();

  /// The future was dropped before there was a value: produce none.
  virtual void cancel() noexcept = 0;

  /// The result has come.
  void complete() noexcept {
    if (next_ != nullptr) return loop().ready(*std::exchange(next_, nullptr));
    if (detached_) undetach();
  }

  void retain() noexcept { ++owners_; }
  void release() noexcept {
    if (--owners_ == 0) delete this;
  }

  /// False once the future was dropped before there was a value.
  [[nodiscard]] bool wanted() const noexcept { return wanted_; }

  [[gnu::cold]] void set_error(std::exception_ptr error) noexcept;
  /// The error need not be told if the future is dropped.
  void set_seen() noexcept { seen_ = true; }

  // For one that owns a coroutine:
  /// It is being spawned. Errors: `std::bad_alloc`.
  void inherit() {
    if (local_values::used()) inherits_ = task_values::inherit(*this);
  }
  void launch(frame& body) noexcept {
    body_ = &body;
    loop().check_thread();
    body.then_ = frame::to_uint(this) | frame::for_future;
    loop().ready(body);
  }
  /// What is in a scope follows none; null: it has left the scope.
  void set_scope(scope* s) noexcept {
    scope_ = s;
    next_is_ = follower::scope;
  }
  [[nodiscard]] scope* in_scope() const noexcept { return scope_; }
  /// Destroys the coroutine and everything under it; or, if some of that is running, as
  /// soon as it waits or ends; or, if some of it is being cancelled, as soon as that has gone.
  void drop() noexcept;
  /// Takes the result of the coroutine, which has ended.
  virtual void take_from(frame&) noexcept {}

  enum class stage : std::uint8_t { under_way, value, error, dropped };

private:
  friend class frame;
  friend class cancellation;
  enum class follower : std::uint8_t { node, frame, then, scope, dropped };
  /// Stops the program if the coroutine behind this one's future is `waiter`, or waits for
  /// it: neither could end, and each would own the other. It looks 64 coroutines far.
  void expect_no_ring(const frame& waiter) const noexcept;
  void await(ready_node& node, follower kind) noexcept {
    if (ready()) return loop().ready(node);
    next_ = &node;
    next_is_ = kind;
  }

  bool abandon() noexcept final;
  void undetach() noexcept;
  /// Nobody will look at the result any more.
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
  void drop_body() noexcept;     // and all under it
  void destroy_body() noexcept;  // whose own children are gone already
  void end_body() noexcept;      // which has ended

  union {
    ready_node* next_ = nullptr;  // to queue when the result is there
    scope* scope_;                // of what is in one
    future_core* next_dropped_;   // when nobody wants it any more
  };

protected:
  union {
    frame* body_ = nullptr;     // while it is under way; null if there is none
    std::exception_ptr error_;  // if it has ended with one
  };
  stage stage_ = stage::under_way;
  bool seen_ : 1 = false;  // somebody took the value, or nobody misses it

private:
  bool wanted_ : 1 = true;
  bool inherits_ : 1 = false;  // values of task_locals
  bool dropping_ : 1 = false;  // it is in a list of those to destroy
  bool detached_ : 1 = false;  // the loop is one of its owners
  follower next_is_ = follower::node;
  std::uint8_t owners_;
};

/// The same, with the place for the value.
template <class T>
class future_state : public future_core {
public:
  using value = typename stored<T>::type;

  void set(outcome<T>&& o) {
    if (o) {
      if constexpr (!std::is_void_v<T>) std::construct_at(&place_.held, *std::move(o));
      stage_ = stage::value;
    } else {
      set_error(std::move(o.error()));
    }
  }

  /// The future's value, or the exception; it counts as seen.
  [[nodiscard]] outcome<T> take() {
    seen_ = true;
    if (stage_ == stage::error) return outcome<T>(std::unexpect, std::move(error_));
    if constexpr (std::is_void_v<T>) {
      return {};
    } else {
      return outcome<T>(std::in_place, std::move(place_.held));
    }
  }

protected:
  explicit future_state(event_loop& loop, bool listed = false, std::uint8_t owners = 2) noexcept
      : future_core(loop, listed, owners) {}
  ~future_state() override { drop_value(); }

private:
  void drop_value() noexcept final {
    if constexpr (!std::is_void_v<T>) {
      if (stage_ != stage::value) return;
      stage_ = stage::dropped;
      std::destroy_at(&place_.held);
    }
  }
  struct nothing {};
  union room {
    room() noexcept {}
    ~room() {}
    std::conditional_t<std::is_void_v<T>, nothing, value> held;
  };
  [[no_unique_address]] room place_;
};

}  // namespace eddy::detail
