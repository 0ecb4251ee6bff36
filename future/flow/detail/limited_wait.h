// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/side_by_side.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/block_pool.h>

namespace eddy::detail {

/// Tasks that run side by side, at most a limit at a time. Each `co_await` starts the task that was
/// added last and then suspends until fewer tasks than the limit run.
class limited_wait_base : public join_state {
public:
  /// A separate class because an awaiter ends with its `co_await`, and the tasks run on.
  class awaiter {
  public:
    explicit awaiter(limited_wait_base& wait) noexcept : wait_(wait) {}

    [[nodiscard]] bool await_ready() const noexcept {
      return wait_.next_ == nullptr && wait_.over();
    }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> by) noexcept {
      wait_.wait_from_now(by.promise());
      return wait_.begin_next();
    }
    void await_resume() {
      if (wait_.error_ != nullptr) std::rethrow_exception(std::move(wait_.error_));
    }

  private:
    limited_wait_base& wait_;
  };

  awaiter operator co_await() & noexcept { return awaiter(*this); }

  /// Lets the next `co_await` suspend until all tasks have completed.
  void add_no_more() noexcept { set_enough(0); }

protected:
  explicit limited_wait_base(std::size_t limit) noexcept : join_state(until::an_error) {
    set_enough(limit - 1);
  }
  ~limited_wait_base() = default;

  branch_base* next_ = nullptr;  // added, not started
  std::exception_ptr error_;

private:
  /// True if the coroutine must suspend.
  bool begin_next() noexcept;
};

template <>
inline constexpr bool is_own_awaiter<limited_wait_base::awaiter> = true;

/// The same with the results, which `Results` collects.
template <class Results>
class limited_wait final : public limited_wait_base {
  using value = typename Results::value;

public:
  explicit limited_wait(std::size_t limit) noexcept : limited_wait_base(limit) {}
  limited_wait(const limited_wait&) = delete;
  limited_wait& operator=(const limited_wait&) = delete;
  ~limited_wait() {
    drop_all();
    if (error_ != nullptr) waiter().raise(std::move(error_));
    for (auto* p = static_cast<permit*>(first()); p != nullptr;) {
      delete std::exchange(p, p->next());
    }
  }

  /// Adds the task of the element `index`. The next `co_await` starts the task.
  void add(std::size_t index, task<value>&& work) {
    if (free_ == nullptr) {
      free_ = new permit(*this);
      join_state::add(*free_);
    }
    permit& taken = *std::exchange(free_, free_->next_free);
    move_to_end(taken);
    taken.take(index, std::move(work));
    next_ = &taken;
  }

  Results results;

private:
  /// A slot in the limit, used for one task after another.
  class permit final : public branch_base, public recycled {
  public:
    explicit permit(limited_wait& wait) noexcept : wait_(wait) {}

    void take(std::size_t index, task<value>&& work) noexcept {
      index_ = index;
      child_ = &task_access::release(work).promise();
    }
    [[nodiscard]] permit* next() const noexcept { return static_cast<permit*>(next_); }

    permit* next_free = nullptr;

  private:
    bool take_from(frame& child) noexcept override {
      try {
        auto& completed = static_cast<task_promise<value>&>(child);
        if constexpr (std::is_void_v<value>) {
          completed.get();
        } else {
          wait_.results.put(index_, completed.get());
        }
      } catch (...) {
        wait_.error_ = std::current_exception();
        return false;
      }
      next_free = std::exchange(wait_.free_, this);
      return true;
    }

    limited_wait& wait_;
    std::size_t index_ = 0;
  };

  permit* free_ = nullptr;
};

}  // namespace eddy::detail
