// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/future.h>
#include <eddy/future/outcome.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready.h>
#include <eddy/loop/remote.h>

namespace eddy {

template <class T>
class shared;

namespace detail {
template <class T>
class shared_state;
template <class T>
class shared_wait;

template <class A>
inline constexpr bool is_shared = false;
template <class T>
inline constexpr bool is_shared<shared<T>> = true;
}  // namespace detail

/// One result for many: a handle that can be copied, and awaited by any number
/// of coroutines, as often as they like.
///
///     const eddy::shared page(fetch(address));
///     const std::string& text = co_await page;
///
/// `shared` of a task begins it when the first one waits; of a future, such as
/// `spawn` gives, is of what is under way already. Each `co_await` gives a
/// `const T&`, which is good as long as a handle is; of a T& it gives that, and
/// of void nothing. Those who wait go on in the order in which they came.
///
/// Errors: each who waits gets the exception. One that nobody got when the last
/// handle goes leaves the loop's `run`, but for the `broken_promise` that a dropped future
/// does not tell either. That holds too if the work itself has dropped the last handle.
/// Lifetime: the loop on which it is first awaited outlives the work. Handles of a result
/// that somebody has taken may outlive the loop.
/// Cancelling: dropping the last handle, where a coroutine that waits counts as
/// one, cancels the work.
template <class T = void>
class [[nodiscard("a shared does nothing until a copy of it is awaited")]] shared {
public:
  using value_type = T;

  /// Errors: `std::bad_alloc`.
  template <awaitable Awaitable>
    requires(!std::is_lvalue_reference_v<Awaitable> && !detail::is_shared<Awaitable> &&
             std::same_as<await_result_t<Awaitable>, T>)
  explicit shared(Awaitable&& work) {
    if constexpr (std::same_as<Awaitable, future<T>>) {
      state_ = new detail::shared_state<T>(std::forward<Awaitable>(work));
    } else {
      state_ = new detail::shared_state<T>(detail::as_task(std::forward<Awaitable>(work)));
    }
  }

  shared(const shared& other) noexcept : state_(other.state_) {
    if (state_ != nullptr) state_->retain();
  }
  shared(shared&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  shared& operator=(shared other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~shared() {
    if (state_ != nullptr) state_->release();
  }

  /// Whether the value, or the error, is there.
  [[nodiscard]] bool ready() const noexcept { return state_ != nullptr && state_->ready(); }

  detail::shared_wait<T> operator co_await() const noexcept;

private:
  detail::shared_state<T>* state_;
};

template <awaitable Awaitable>
  requires(!detail::is_shared<std::remove_cvref_t<Awaitable>>)
shared(Awaitable&&) -> shared<await_result_t<Awaitable>>;

// implementation

namespace detail {

class shared_core;

/// A waiter, in its place among the others.
class shared_waiter : public wait, public link {
public:
  void describe(std::string& out, int depth) const final;

protected:
  explicit shared_waiter(shared_core* state) noexcept;
  ~shared_waiter();

  [[nodiscard]] bool may_go_on() const noexcept;
  void wait_from_now(frame& by) noexcept;

  shared_core* state_;

private:
  friend shared_core;

  frame* frame_ = nullptr;
};

/// What handles and waiters share; it goes with the last of them.
class shared_core : protected ready_node, public recycled {
public:
  void retain() noexcept {
    check_thread();
    ++owners_;
  }
  void release() noexcept {
    check_thread();
    if (--owners_ == 0) delete this;
  }
  [[nodiscard]] bool ready() const noexcept {
    check_thread();
    return ready_;
  }
  /// Tells what is under way, once in each description.
  void describe(std::string& out, int depth);

protected:
  explicit shared_core(function take) noexcept : ready_node(take) {}
  virtual ~shared_core() = default;

  /// Begins the work, if that is still to be done; null if that has failed.
  virtual future_core* begin(event_loop& loop) noexcept = 0;
  /// What is under way.
  [[nodiscard]] virtual const future_core* source() const noexcept = 0;

  void wake_all() noexcept;
  void raise(std::exception_ptr error) noexcept;

private:
  friend shared_waiter;

  void check_loop() const noexcept;
  void check_thread() const noexcept {
    if (home_) home_->check_thread();
  }
  void set_loop(event_loop& loop) noexcept;
  void begin() noexcept;
  void add(shared_waiter& w) noexcept;

  std::size_t owners_ = 1;
  event_loop* loop_ = nullptr;  // once it is awaited
  std::optional<remote> home_;  // of that loop, which handles may outlive
  detail::link waiters_;
  std::uint64_t told_in_ = 0;  // the last description in which it was told
  bool ready_ = false;
};

template <class T>
class shared_state final : public shared_core {
public:
  explicit shared_state(future<T>&& f) noexcept : shared_core(&take), under_way_(std::move(f)) {}
  explicit shared_state(task<T>&& work) noexcept : shared_core(&take), work_(std::move(work)) {}

  decltype(auto) get() {
    seen_ = true;
    if (!*result_) {
      frame::error_comes_again(result_->error());
      std::rethrow_exception(result_->error());
    }
    if constexpr (std::is_reference_v<T>) {
      return (*result_)->get();
    } else if constexpr (!std::is_void_v<T>) {
      return std::as_const(**result_);
    }
  }

private:
  ~shared_state() override {
    if (result_ && !*result_ && !seen_) raise(std::move(result_->error()));
  }

  static void take(ready_node& node) {
    auto& self = static_cast<shared_state&>(static_cast<shared_core&>(node));
    self.retain();  // a destructor of the value that is moved may drop the last handle
    self.seen_ = future_access::state(self.under_way_).seen();
    try {
      self.result_.emplace(std::move(self.under_way_).take());
    } catch (...) {  // by the value, which is moved
      self.result_.emplace(std::unexpect, std::current_exception());
    }
    self.wake_all();
    self.release();
  }

  future_core* begin(event_loop& loop) noexcept override {
    if (work_) {
      try {
        under_way_ = spawn(loop, *std::move(work_));
      } catch (...) {  // there is no memory
        result_.emplace(std::unexpect, std::current_exception());
        return nullptr;
      }
    }
    if (!under_way_) misuse("shared was given a future that is taken");
    return &future_access::state(under_way_);
  }
  [[nodiscard]] const future_core* source() const noexcept override {
    return under_way_ ? &future_access::state(under_way_) : nullptr;
  }

  std::optional<task<T>> work_;  // which begins when the first one waits
  future<T> under_way_;          // until the result is there
  std::optional<outcome<T>> result_;
  bool seen_ = false;
};

template <class T>
class [[nodiscard]] shared_wait final : public shared_waiter {
public:
  explicit shared_wait(shared_state<T>* state) noexcept : shared_waiter(state) {}

  [[nodiscard]] bool await_ready() const noexcept { return may_go_on(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    wait_from_now(by.promise());
  }
  decltype(auto) await_resume() { return static_cast<shared_state<T>*>(state_)->get(); }
};

}  // namespace detail

template <class T>
detail::shared_wait<T> shared<T>::operator co_await() const noexcept {
  return detail::shared_wait<T>(state_);
}

}  // namespace eddy
