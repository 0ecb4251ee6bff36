// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/future_access.h>
#include <eddy/future/detail/future_state.h>
#include <eddy/future/task.h>
#include <eddy/loop/description.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

/// The state behind the future of a spawned task.
template <class T>
class spawned : public future_state<T> {
public:
  spawned(event_loop& loop, task<T> work) : future_state<T>(loop, true) {
    this->inherit();
    this->launch(task_access::release(work).promise());
  }

  void describe_awaited(description& to) const override {
    to.add("a spawned task");
    describe_below(to, this->body());
  }

protected:
  void take_from(frame& body) noexcept override {
    try {
      this->set(static_cast<task_promise<T>&>(body).take());
    } catch (...) {  // by the value, which is moved
      this->set_error(std::current_exception());
    }
  }

private:
  void cancel() noexcept final { this->drop(); }
};

template <class T>
future<T> spawn_task(event_loop& loop, task<T> work) {
  return future_access::make<T>(new spawned<T>(loop, std::move(work)));
}

}  // namespace eddy::detail
