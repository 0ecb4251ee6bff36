// SPDX-License-Identifier: BSD-2-Clause
//
// Shows how a task is executed, in four steps: a timer that a coroutine awaits, a waker that
// reports that the coroutine can resume, an executor that resumes it, and eddy's loop, which
// replaces all three.
//
//   ./samples/run under_the_hood

#include <chrono>
#include <coroutine>
#include <cstdio>
#include <deque>
#include <exception>

#include <eddy/future/block_on.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>

using namespace std::chrono_literals;

namespace {

/// Step 3, the executor: a queue of coroutines that can resume. While the queue is empty, the
/// executor runs the event loop, which waits for timers and descriptors.
struct executor {
  explicit executor(eddy::event_loop& l) : loop(l) {}

  void run() {
    while (unfinished != 0) {
      while (ready.empty()) loop.run_once();
      const std::coroutine_handle<> next = ready.front();
      ready.pop_front();
      std::puts("  executor: resumes the coroutine");
      next.resume();
    }
  }

  eddy::event_loop& loop;
  std::deque<std::coroutine_handle<>> ready;
  int unfinished = 0;
};

/// Step 2, the waker: an event calls the waker when the coroutine can resume. The waker only
/// puts the coroutine into the executor's queue.
struct waker {
  void wake() const {
    std::puts("  waker: the coroutine can go on");
    owner->ready.push_back(waiting);
  }
  executor* owner = nullptr;
  std::coroutine_handle<> waiting;
};

/// A minimal coroutine type for this executor.
struct job {
  struct promise_type {
    explicit promise_type(executor& e, std::chrono::milliseconds) : owner(e) {}
    job get_return_object() {
      ++owner.unfinished;
      owner.ready.push_back(std::coroutine_handle<promise_type>::from_promise(*this));
      return {};
    }
    std::suspend_always initial_suspend() const { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const { --owner.unfinished; }
    void unhandled_exception() const { std::terminate(); }
    executor& owner;
  };
};

/// Step 1, an awaitable timer: it is never ready at first, and when the coroutine suspends, it
/// starts a timer that calls the waker.
struct timer_wait {
  timer_wait(executor& e, std::chrono::milliseconds d) : delay(d), timer(e.loop), call{&e, {}} {}

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    std::puts("  timer: not yet; the coroutine waits");
    call.waiting = h;
    timer.start(delay, [this] { call.wake(); });
  }
  void await_resume() const {}

  std::chrono::milliseconds delay;
  eddy::timer timer;
  waker call;
};

job by_hand(executor& e, std::chrono::milliseconds delay) {
  std::puts("  howdy!");
  timer_wait wait(e, delay);
  co_await wait;
  std::puts("  done!");
}

/// Step 4, eddy: a task is the job, the loop is the executor with its ready queue, and `sleep`
/// is the timer.
eddy::task<> with_eddy(std::chrono::milliseconds delay) {
  std::puts("  howdy!");
  co_await eddy::sleep(delay);
  std::puts("  done!");
}

}  // namespace

int main() {
  std::puts("by hand:");
  eddy::event_loop loop;
  executor e(loop);
  by_hand(e, 20ms);
  e.run();

  std::puts("with eddy:");
  eddy::block_on(loop, with_eddy(20ms));
}
