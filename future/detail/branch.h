// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <optional>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/block_pool.h>

namespace eddy::detail {

class join_state;

/// One of the coroutines that run side by side under a `join_state`.
class branch_base : public completion {
public:
  void cancel() noexcept {
    if (child_ != nullptr) frame::destroy(*std::exchange(child_, nullptr));
  }

protected:
  branch_base() noexcept = default;
  ~branch_base() { cancel(); }

  /// Reports an error that nobody takes: it leaves the loop's `run`.
  void raise(std::exception_ptr error) const noexcept;

  /// Takes the result of the coroutine, which has completed. True if that is a value.
  virtual bool take_from(frame& child) noexcept = 0;
  /// Reports the error that was taken and not delivered.
  virtual void raise_error() noexcept {}

  frame* child_ = nullptr;  // null once it has completed
  branch_base* next_ = nullptr;
  branch_base* previous_ = nullptr;

private:
  friend join_state;

  void ended() noexcept final;

  join_state* all_ = nullptr;
};

template <class T>
class branch final : public branch_base, public recycled {
public:
  branch() noexcept = default;
  explicit branch(task<T>&& work) noexcept { take(std::move(work)); }

  void take(task<T>&& work) noexcept { child_ = &task_access::release(work).promise(); }
  [[nodiscard]] branch* next() const noexcept { return static_cast<branch*>(next_); }

  std::optional<outcome<T>> result;

private:
  template <class>
  friend class branch_list;

  void raise_error() noexcept override {
    if (result && !*result) raise(std::move(result->error()));
  }

  bool take_from(frame& child) noexcept override {
    try {
      result.emplace(static_cast<task_promise<T>&>(child).take());
    } catch (...) {  // by the value, which is moved
      result.emplace(std::unexpect, std::current_exception());
    }
    return result->has_value();
  }
};

/// A list that owns its branches.
template <class T>
class branch_list {
public:
  branch_list() noexcept = default;
  branch_list(branch_list&& other) noexcept
      : first_(std::exchange(other.first_, nullptr)), last_(other.last_) {}
  branch_list& operator=(branch_list&&) = delete;
  ~branch_list() {
    while (first_ != nullptr) delete std::exchange(first_, first_->next());
  }

  void push_back(task<T>&& work) {
    auto* const added = new branch<T>(std::move(work));
    if (first_ == nullptr) {
      first_ = added;
    } else {
      last_->next_ = added;
    }
    last_ = added;
  }

  [[nodiscard]] branch<T>* first() const noexcept { return first_; }

private:
  branch<T>* first_ = nullptr;
  branch<T>* last_ = nullptr;
};

}  // namespace eddy::detail
