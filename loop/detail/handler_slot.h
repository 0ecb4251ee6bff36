// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/loop/handler.h>

namespace eddy::detail {

/// Holds the handler of an object that the handler may destroy, move, stop or restart.
///
/// A running handler lies on the stack. Afterwards it returns to the object, if the object still
/// exists and wants it.
template <class... Arguments>
class handler_slot {
public:
  using function = handler<void(Arguments...)>;

  handler_slot() noexcept = default;
  handler_slot(handler_slot&& other) noexcept
      : function_(std::exchange(other.function_, nullptr)),
        running_(std::exchange(other.running_, nullptr)),
        keep_(other.keep_) {
    if (running_ != nullptr) *running_ = this;
  }
  handler_slot& operator=(handler_slot&&) = delete;
  ~handler_slot() {
    if (running_ != nullptr) *running_ = nullptr;
  }

  /// Whether the handler can be called, or is running.
  [[nodiscard]] bool present() const noexcept { return function_ || running_ != nullptr; }

  // The captures of an old handler may own this object. So a function that changes the handler
  // returns the old one, and the caller destroys that last.
  void swap(function& fresh) noexcept { function_.swap(fresh); }

  /// Returns the handler and leaves the slot empty. A running handler does not return to the
  /// slot.
  [[nodiscard]] function take() noexcept {
    keep_ = false;
    return std::exchange(function_, nullptr);
  }

  /// Sets the handler to `fresh`, which may be null, and returns the old one.
  [[nodiscard]] function replace(function&& fresh) noexcept {
    function old = take();
    function_ = std::move(fresh);
    return old;
  }

  /// Makes the running handler return to the slot.
  void keep() noexcept { keep_ = true; }

  /// Calls the handler. Afterwards the handler returns to the slot if `keep` is true, or
  /// `keep()` was called meanwhile.
  template <class... Values>
  void call(bool keep, Values&&... values) {
    keep_ = keep;
    handler_slot* self = this;
    struct on_stack {
      handler_slot*& self;
      function called;

      explicit on_stack(handler_slot*& s) noexcept
          : self(s), called(std::exchange(s->function_, nullptr)) {
        s->running_ = &self;
      }
      on_stack(const on_stack&) = delete;
      on_stack& operator=(const on_stack&) = delete;
      ~on_stack() {
        if (self == nullptr) return;
        self->running_ = nullptr;
        if (self->keep_ && !self->function_) self->function_.swap(called);
      }
    };
    on_stack now(self);
    now.called(std::forward<Values>(values)...);
  }

private:
  function function_;
  handler_slot** running_ = nullptr;  // where `call` of the running handler finds this slot
  bool keep_ = false;
};

}  // namespace eddy::detail
