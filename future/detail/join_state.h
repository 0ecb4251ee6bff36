// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <string>

#include <eddy/future/detail/branch.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/suspension.h>

namespace eddy::detail {

/// The event that ends the wait. Branches that have not ended by then are cancelled.
enum class until : std::uint8_t { all_ended = 0, an_error = 1, a_value = 2, one_ended = 3 };

/// The suspension of a coroutine that awaits several branches: the base class of the awaiters of
/// `join`, `select` and the like. They differ in what ends the wait, and in what they make of the
/// results.
class join_state : public suspension {
public:
  void describe(description& to) const override;

protected:
  explicit join_state(until when) noexcept : until_(when) {}
  ~join_state() = default;

  void add(branch_base& which) noexcept {
    which.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &which;
    last_ = &which;
  }
  void move_to_end(branch_base& which) noexcept;
  /// Cancels the branches, the last first: branches that give something back to the front of a
  /// queue then leave the queue in its old order.
  void cancel_all() noexcept;
  /// Cancels the branches, and reports errors that were taken but not delivered. Destructors call
  /// this before they destroy the branches, because a dump may look at the branches until then.
  void drop_all() noexcept;

  // The parts of `await_suspend`:
  void wait_from_now(frame& waiter) noexcept {
    waiter_ = &waiter;
    waiter_->waits_for(*this);
  }
  void begin(branch_base& which, bool at_once) noexcept;
  void begin_all() noexcept;
  bool has_to_wait() noexcept {  // if not, the waiter goes on at once
    waiting_ = !over();
    return waiting_ || (first_ == nullptr ? waiter_->waits_its_turn() : waiter_->stops_here());
  }

  /// Whether the wait is over: a branch has decided, or at most `enough` branches are left.
  [[nodiscard]] bool over() const noexcept { return decider_ != nullptr || left_ <= enough_; }
  void set_enough(std::size_t count) noexcept { enough_ = count; }

  [[nodiscard]] branch_base* first() const noexcept { return first_; }
  /// The branch that ended the wait early; null if none did.
  [[nodiscard]] branch_base* decider() const noexcept { return decider_; }
  [[nodiscard]] frame& waiter() const noexcept { return *waiter_; }

private:
  friend branch_base;

  void note_end(branch_base& which, bool is_value) noexcept;

  frame* waiter_ = nullptr;
  branch_base* first_ = nullptr;
  branch_base* last_ = nullptr;
  branch_base* decider_ = nullptr;
  std::size_t left_ = 0;
  std::size_t enough_ = 0;
  until until_;
  bool waiting_ = false;

protected:
  bool told_ = false;  // the results were delivered
};

/// A `join_state` whose branches are all known from the start.
class all_branches : public join_state {
public:
  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) noexcept {
    wait_from_now(by.promise());
    begin_all();
    return has_to_wait();
  }

protected:
  using join_state::join_state;
  ~all_branches() = default;
};

}  // namespace eddy::detail
