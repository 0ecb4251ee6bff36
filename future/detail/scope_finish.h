// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <system_error>
#include <type_traits>
#include <utility>

#include <eddy/future/future.h>
#include <eddy/future/promise.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

/// A promise that a child of a scope keeps. If the scope cancels the child, the future ends with
/// `operation_canceled`.
template <class T>
class finish_promise {
public:
  explicit finish_promise(event_loop& loop) : promise_(loop) {}
  finish_promise(finish_promise&&) noexcept = default;
  finish_promise& operator=(finish_promise&&) = delete;
  ~finish_promise() {
    if (told_ || !promise_.wanted()) return;
    try {
      throw_error(std::errc::operation_canceled, "scope::finish: the scope cancelled the work");
    } catch (...) {
      promise_.set_cancelled(std::current_exception());
    }
  }

  [[nodiscard]] future<T> get_future() { return promise_.get_future(); }

  void set_value(auto&&... value) {
    promise_.set_value(std::forward<decltype(value)>(value)...);
    told_ = true;
  }
  /// False if the future was dropped: nobody takes the error.
  bool set_error(std::exception_ptr error) {
    if (!promise_.wanted()) return false;
    told_ = true;
    promise_.set_error(std::move(error));
    return true;
  }

private:
  promise<T> promise_;
  bool told_ = false;
};

template <class T>
task<> finish_for(task<T> work, finish_promise<T> asker) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(work);
      asker.set_value();
    } else {
      decltype(auto) value = co_await std::move(work);
      asker.set_value(std::forward<decltype(value)>(value));
    }
  } catch (...) {
    if (!asker.set_error(std::current_exception())) throw;
  }
}

template <class Scope, class T>
task<T> finish_in(Scope* s, event_loop* loop, task<T> work) {
  finish_promise<T> asker(*loop);
  auto value = asker.get_future();
  try {
    s->spawn(finish_for(std::move(work), std::move(asker)));
  } catch (...) {
    static_cast<void>(std::move(value).take());  // the broken promise is no error of its own
    throw;
  }
  co_return co_await std::move(value);
}

}  // namespace eddy::detail
