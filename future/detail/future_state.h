// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

struct future_access;
template <class T>
class future_wait;

/// Has the loop throw an error that nobody took.
void raise_unseen(event_loop& loop, std::exception_ptr error) noexcept;

/// What the two ends of a future share: the future, and whatever produces its
/// value. It goes when both have gone.
template <class T>
class future_state : public ending_with<T>, public recycled {
public:
  /// `next` is queued when the value is there.
  ready_node* next = nullptr;

  [[nodiscard]] bool ready() const noexcept { return this->result.has_value(); }
  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

  void await(ready_node& node, frame* by) noexcept {
    this->waiter_ = by;
    if (ready()) {
      loop_->ready(node);
    } else {
      next = &node;
    }
  }

  /// The future's value; it counts as seen.
  [[nodiscard]] outcome<T> take() {
    seen_ = true;
    return std::move(*this->result);
  }

  /// The future has gone.
  void drop_future() noexcept {
    next = nullptr;
    this->waiter_ = nullptr;
    if (!ready()) {
      wanted_ = false;
      cancel();
    }
    release();
  }

protected:
  explicit future_state(event_loop& loop, std::uint8_t owners = 2) noexcept
      : loop_(&loop), owners_(owners) {}

  virtual ~future_state() {
    if (wanted_ && !seen_ && this->result && !*this->result) {
      raise_unseen(*loop_, std::move(this->result->error()));
    }
  }

  /// The future was dropped before there was a value: produce none.
  virtual void cancel() noexcept = 0;

  /// The result has come.
  void complete() noexcept {
    if (next != nullptr) loop_->ready(*std::exchange(next, nullptr));
  }

  void retain() noexcept { ++owners_; }
  void release() noexcept {
    if (--owners_ == 0) delete this;
  }

  [[nodiscard]] bool wanted() const noexcept { return wanted_; }

  void ended() noexcept override {}

private:
  event_loop* loop_;
  std::uint8_t owners_;
  bool wanted_ = true;  // the future is there, or saw the value come
  bool seen_ = false;   // somebody took the value
};

}  // namespace eddy::detail
