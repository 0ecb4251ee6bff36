// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/loop/handler.h>

namespace eddy::detail {

/// The handler of an object that it may destroy, move, stop or start anew.
///
/// While it runs it lies on the stack. Afterwards it goes back to the object,
/// if there still is one that wants it.
template <class... Arguments>
class own_handler {
public:
  using function = handler<void(Arguments...)>;

  own_handler() noexcept = default;
  own_handler(own_handler&& other) noexcept
      : function_(std::exchange(other.function_, nullptr)),
        running_(std::exchange(other.running_, nullptr)),
        keep_(other.keep_) {
    if (running_ != nullptr) *running_ = this;
  }
  own_handler& operator=(own_handler&&) = delete;
  ~own_handler() {
    if (running_ != nullptr) *running_ = nullptr;
  }

  /// Whether it can be called, or is being called.
  [[nodiscard]] bool present() const noexcept { return function_ || running_ != nullptr; }

  // What an old handler captured may own this object. So whoever changes it gets
  // the old one, and drops that last of all.

  void swap(function& fresh) noexcept { function_.swap(fresh); }

  /// Leaves it empty, and not to be put back if it is running.
  [[nodiscard]] function take() noexcept {
    keep_ = false;
    return std::exchange(function_, nullptr);
  }

  /// Puts another one in its place, or none.
  [[nodiscard]] function replace(function&& fresh) noexcept {
    function old = take();
    function_ = std::move(fresh);
    return old;
  }

  /// Has the one that is running put back.
  void keep() noexcept { keep_ = true; }

  /// Calls it, and puts it back if `keep` says so, then or by then.
  template <class... Values>
  void call(bool keep, Values&&... values) {
    keep_ = keep;
    own_handler* self = this;
    struct on_stack {
      own_handler*& self;
      function called;

      explicit on_stack(own_handler*& s) noexcept
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
  own_handler** running_ = nullptr;  // while it runs: where `call` finds this
  bool keep_ = false;
};

}  // namespace eddy::detail
