// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/future/future.h>
#include <eddy/future/outcome.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/counted.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/wait_list.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/loop_handle.h>
#include <eddy/loop/ready_node.h>

// The state behind <eddy/future/flow/shared.h>.

namespace eddy::detail {

/// The state that the handles and the waiters of one `shared` own together.
class shared_core : public counted<shared_core>, protected ready_node, public recycled {
public:
  virtual ~shared_core() = default;

  [[nodiscard]] bool ready() const noexcept {
    check_thread();
    return ready_;
  }
  /// Aborts if the loop is another thread's.
  void check_thread() const noexcept {
    if (home_) home_->check_thread();
  }
  /// Adds the work to a description. Each description shows the work once.
  void describe(description& to);

protected:
  explicit shared_core(function take) noexcept : ready_node(take) {}

  /// Starts the work if it has not started; null if that failed.
  virtual future_core* start(event_loop& loop) noexcept = 0;
  /// The work, while it has not completed.
  [[nodiscard]] virtual const future_core* source() const noexcept = 0;

  void complete() noexcept;
  void raise(std::exception_ptr error) noexcept;

private:
  friend class shared_waiter;

  void check_loop() const noexcept;
  void set_loop(event_loop& loop) noexcept;
  void start() noexcept;
  void add(wait_node& node, frame& waiter) noexcept;

  event_loop* loop_ = nullptr;       // from the first co_await
  std::optional<loop_handle> home_;  // of `loop_`, which the handles may outlive
  wait_list waiters_;
  std::uint64_t mark_ = 0;  // of the last description that shows the work
  bool ready_ = false;
};

/// The part of `shared_wait` that is the same for all types.
class shared_waiter : public suspension {
public:
  void describe(description& to) const final { state_->describe(to); }

protected:
  explicit shared_waiter(counted_ptr<shared_core> state) noexcept;
  ~shared_waiter() = default;

  [[nodiscard]] bool may_go_on() const noexcept;
  void suspend(frame& waiter) noexcept;

  counted_ptr<shared_core> state_;

private:
  wait_node node_;  // is destroyed before its list, which is in the state
};

template <class T>
class shared_state final : public shared_core {
public:
  explicit shared_state(future<T>&& f) noexcept : shared_core(&take), future_(std::move(f)) {}
  explicit shared_state(task<T>&& work) noexcept : shared_core(&take), work_(std::move(work)) {}
  shared_state(const shared_state&) = delete;
  shared_state& operator=(const shared_state&) = delete;
  ~shared_state() override {
    if (result_ && !*result_ && !seen_) raise(std::move(result_->error()));
  }

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
  static void take(ready_node& node) {
    auto& self = static_cast<shared_state&>(static_cast<shared_core&>(node));
    const auto kept = self.share();  // the value's move may destroy the last handle
    self.seen_ = future_access::state(self.future_).seen();
    try {
      self.result_.emplace(std::move(self.future_).take());
    } catch (...) {  // thrown by the value's move
      self.result_.emplace(std::unexpect, std::current_exception());
    }
    self.complete();
  }

  future_core* start(event_loop& loop) noexcept override {
    if (work_) {
      try {
        future_ = spawn(loop, *std::move(work_));
      } catch (...) {  // std::bad_alloc
        result_.emplace(std::unexpect, std::current_exception());
        return nullptr;
      }
    }
    if (!future_) misuse("shared was given a future that is taken");
    return &future_access::state(future_);
  }
  [[nodiscard]] const future_core* source() const noexcept override {
    return future_ ? &future_access::state(future_) : nullptr;
  }

  std::optional<task<T>> work_;  // until the first co_await
  future<T> future_;             // from then until the result is there
  std::optional<outcome<T>> result_;
  bool seen_ = false;  // a coroutine got the result, or nobody has to
};

template <class T>
class [[nodiscard]] shared_wait final : public shared_waiter {
public:
  explicit shared_wait(counted_ptr<shared_core> state) noexcept : shared_waiter(std::move(state)) {}

  [[nodiscard]] bool await_ready() const noexcept { return may_go_on(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    suspend(by.promise());
  }
  decltype(auto) await_resume() { return static_cast<shared_state<T>*>(state_.get())->get(); }
};

}  // namespace eddy::detail
