// SPDX-License-Identifier: BSD-2-Clause
//
// How a task is executed, in the steps of the book's second chapter: a timer
// that is awaited by hand, the waker that says that there is something to do,
// an executor that does it; and then the loop that eddy has for all three.
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

/// Step 3, the executor: a queue of coroutines that have something to do. While
/// it is empty, it lets the event loop wait for the outside world.
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

/// Step 2, the waker: what an event calls when the coroutine can go on. It runs
/// nothing itself; it only puts the coroutine into the executor's queue.
struct waker {
  void wake() const {
    std::puts("  waker: the coroutine can go on");
    owner->ready.push_back(waiting);
  }
  executor* owner = nullptr;
  std::coroutine_handle<> waiting;
};

/// A coroutine type with nothing but what the executor needs.
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

/// Step 1, a timer that can be awaited: not ready at first; when it is asked to
/// wait, it keeps a waker for the timer to call.
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

/// Step 4: eddy's task is the job, its loop the executor, its ready queue the
/// waker's queue, and `sleep` the timer.
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
