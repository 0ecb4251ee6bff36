// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/detail/worker_pool.h>, and of the masks of <eddy/loop/detail/signal_mask.h>.
#include <eddy/loop/detail/worker_pool.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <semaphore>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/counted.h"
#include "support/forked.h"
#include "support/sanitized.h"

using namespace std::chrono_literals;
using eddy::detail::signal_mask;
using eddy::detail::worker_pool;

namespace {

struct job final : worker_pool::job {
  explicit job(std::function<void()> w, signal_mask mask = signal_mask::current())
      : worker_pool::job(mask), work(std::move(w)) {}
  void run() noexcept override { work(); }
  std::function<void()> work;
};

/// Work that hangs until the test releases it. Make it before the pool, whose destructor waits for
/// the threads.
struct hanging {
  std::shared_ptr<job> work = std::make_shared<job>([this] {
    begun.release();
    go.acquire();
  });
  std::binary_semaphore begun{0};
  std::binary_semaphore go{0};
};

/// Waits until other threads have reached a state.
template <class Condition>
void until(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

/// A clock for idle threads that only the test moves.
class held_time : public worker_pool::clock {
public:
  eddy::time_point now() override { return now_.load(); }

  void wait_until(std::condition_variable& arrived, std::unique_lock<std::mutex>& lock,
                  eddy::time_point) override {
    mutex_ = lock.mutex();
    arrived_ = &arrived;
    ++waits_;
    arrived.wait(lock);
  }

  /// Returns how often a thread has begun to wait.
  [[nodiscard]] int waits() const { return waits_; }

  /// Moves the time and wakes the waiting thread, which reads it.
  void advance(eddy::duration by) {
    const std::lock_guard lock(*mutex_);
    now_ = now_.load() + by;
    arrived_->notify_all();
  }

private:
  std::atomic<eddy::time_point> now_{eddy::time_point(1h)};
  std::atomic<int> waits_{0};
  std::mutex* mutex_ = nullptr;
  std::condition_variable* arrived_ = nullptr;
};

/// Blocks one more signal for this thread. Returns the thread's mask afterwards.
signal_mask with_blocked(int number) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  ::pthread_sigmask(SIG_BLOCK, &one, nullptr);
  return signal_mask::current();
}

/// Returns the signals that a thread of this process blocks, as the kernel reports them.
std::uint64_t blocked_by(::pid_t thread) {
  std::ifstream status("/proc/self/task/" + std::to_string(thread) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigBlk:")) return std::stoull(line.substr(7), nullptr, 16);
  }
  return 0;
}

bool has(std::uint64_t mask, int number) { return (mask >> (number - 1) & 1) != 0; }

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("no more jobs run than may run at once, and every job runs") {
    std::atomic<int> now{0};
    std::atomic<int> most{0};
    std::atomic<int> done{0};
    worker_pool pool({.at_once = 3, .threads = 10, .idle = 1s});
    for (int i = 0; i < 100; ++i) {
      pool.put(std::make_shared<job>([&] {
        const int n = ++now;
        for (int m = most; m < n && !most.compare_exchange_weak(m, n);) {
        }
        std::this_thread::yield();
        --now;
        ++done;
      }));
    }
    until([&] { return done == 100; });
    CHECK(most <= 3);
    CHECK(pool.threads() <= 3);
  }

  TEST_CASE("an idle thread takes the next job") {
    worker_pool pool({.at_once = 3, .threads = 3, .idle = 1h});
    for (int i = 0; i < 10; ++i) {
      std::binary_semaphore ended(0);
      pool.put(std::make_shared<job>([&] { ended.release(); }));
      ended.acquire();
      until([&] { return pool.idle() == 1; });
    }
    CHECK(pool.threads() == 1);
  }

  TEST_CASE("jobs that hang and are given up let others run, while threads are left") {
    std::vector<hanging> hung(4);
    std::atomic<bool> ran{false};
    worker_pool pool({.at_once = 2, .threads = 4, .idle = 1s});
    for (hanging& h : hung) pool.put(h.work);
    hung[0].begun.acquire();
    hung[1].begun.acquire();
    CHECK(pool.threads() == 2);

    CHECK(!pool.give_up(*hung[0].work));
    hung[2].begun.acquire();
    CHECK(!pool.give_up(*hung[1].work));
    hung[3].begun.acquire();
    CHECK(pool.threads() == 4);

    // No more threads may start: the next job waits until a thread returns.
    CHECK(!pool.give_up(*hung[2].work));
    CHECK(!pool.give_up(*hung[3].work));
    pool.put(std::make_shared<job>([&] { ran = true; }));
    CHECK(pool.threads() == 4);
    CHECK(!ran);
    hung[1].go.release();
    until([&] { return ran.load(); });
    for (const int i : {0, 2, 3}) hung[static_cast<std::size_t>(i)].go.release();
  }

  TEST_CASE("threads that return from given-up jobs do not count twice") {
    std::vector<hanging> hung(3);
    hanging one;
    hanging two;
    worker_pool pool({.at_once = 1, .threads = 4, .idle = 1h});
    for (hanging& h : hung) {
      pool.put(h.work);
      h.begun.acquire();
      pool.give_up(*h.work);
    }
    for (hanging& h : hung) h.go.release();
    until([&] { return pool.idle() == 3; });

    pool.put(one.work);
    pool.put(two.work);
    one.begun.acquire();
    CHECK(!two.begun.try_acquire());
    one.go.release();
    two.begun.acquire();
    two.go.release();
  }

  TEST_CASE("a job that is given up before it begins does not run") {
    hanging first;
    worker_pool pool({.at_once = 1, .threads = 1, .idle = 1s});
    int alive = 0;
    pool.put(first.work);
    first.begun.acquire();
    auto second = std::make_shared<job>([c = counted(alive)] { FAIL("it was given up"); });
    pool.put(second);
    CHECK(pool.give_up(*second));
    CHECK(second.use_count() == 1);
    second.reset();
    CHECK(alive == 0);
    first.go.release();
  }

  TEST_CASE("a job that has ended cannot be given up") {
    worker_pool pool({.at_once = 1, .threads = 1, .idle = 1s});
    auto work = std::make_shared<job>([] {});
    pool.put(work);
    until([&] { return work.use_count() == 1; });
    CHECK(!pool.give_up(*work));
    std::binary_semaphore ended(0);
    pool.put(std::make_shared<job>([&] { ended.release(); }));
    ended.acquire();
  }

  TEST_CASE("a thread ends when it had no job for the idle limit, and not before") {
    held_time time;
    worker_pool pool({.at_once = 2, .threads = 2, .idle = 10s}, time);
    const auto run_a_job = [&] {
      const int before = time.waits();
      pool.put(std::make_shared<job>([] {}));
      until([&] { return time.waits() > before && pool.idle() == 1; });
    };
    const auto let_pass = [&](eddy::duration by) {
      const int before = time.waits();
      time.advance(by);
      until([&] { return time.waits() > before || pool.threads() == 0; });
      return pool.threads();
    };
    run_a_job();
    CHECK(let_pass(10s - 1ns) == 1);
    run_a_job();  // a new beginning
    CHECK(let_pass(10s - 1ns) == 1);
    CHECK(let_pass(1ns) == 0);

    run_a_job();  // on a new thread
    CHECK(pool.threads() == 1);
    CHECK(let_pass(10s) == 0);
  }

  TEST_CASE("an idle thread blocks signals to the process, and no fault signal") {
    worker_pool pool({.at_once = 1, .threads = 1, .idle = 1h});
    std::atomic<::pid_t> thread{0};
    pool.put(std::make_shared<job>([&] { thread = ::gettid(); }));
    until([&] { return thread != 0 && pool.idle() == 1; });
    const std::uint64_t idle = blocked_by(thread);
    for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD,
                             SIGWINCH, SIGIO, SIGRTMIN, SIGRTMAX}) {
      INFO(number);
      CHECK(has(idle, number));
    }
    for (const int number :
         {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF, SIGPIPE, SIGXFSZ}) {
      INFO(number);
      CHECK(!has(idle, number));
    }
  }

  TEST_CASE("a job runs with its own mask, which ends with the job") {
    worker_pool pool({.at_once = 1, .threads = 1, .idle = 1h});
    const signal_mask before = signal_mask::current();
    const signal_mask mine = with_blocked(SIGUSR2);
    CHECK(!(mine == before));
    std::atomic<bool> same{false};
    std::atomic<::pid_t> thread{0};
    pool.put(std::make_shared<job>(
        [&] {
          same = signal_mask::current() == mine;
          thread = ::gettid();
          sigset_t all;
          sigfillset(&all);
          ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
        },
        mine));
    CHECK(signal_mask::current() == mine);  // putting it changes nothing here
    before.install();
    CHECK(signal_mask::current() == before);
    until([&] { return thread != 0 && pool.idle() == 1; });
    CHECK(same);
    CHECK(!has(blocked_by(thread), SIGSEGV));
    CHECK(has(blocked_by(thread), SIGTERM));
  }

  TEST_CASE("a job keeps the highest signal blocked, if its mask says so") {
    worker_pool pool({.at_once = 1, .threads = 1, .idle = 1h});
    const signal_mask before = signal_mask::current();
    const signal_mask mine = with_blocked(SIGRTMAX);
    before.install();
    std::binary_semaphore ended(0);
    bool blocked = false;
    pool.put(std::make_shared<job>(
        [&] {
          sigset_t there;
          ::pthread_sigmask(SIG_SETMASK, nullptr, &there);
          blocked = sigismember(&there, SIGRTMAX) == 1;
          ended.release();
        },
        mine));
    ended.acquire();
    CHECK(blocked);
  }

  TEST_CASE("no mask blocks a fault signal") {
    sigset_t all;
    sigfillset(&all);
    const signal_mask before = signal_mask::current();
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    const signal_mask blocked = signal_mask::current();
    before.install();
    blocked.without_faults().install();
    sigset_t left;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &left);
    before.install();
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
      INFO(number);
      CHECK(sigismember(&left, number) == 0);
    }
    CHECK(sigismember(&left, SIGTERM) == 1);
  }

  TEST_CASE("a job's destructor may use the pool") {
    struct asking final : worker_pool::job {
      asking(worker_pool& p, std::binary_semaphore& e)
          : worker_pool::job(signal_mask::current()), pool(p), ended(e) {}
      ~asking() override {
        static_cast<void>(pool.threads());
        ended.release();
      }
      void run() noexcept override {}
      worker_pool& pool;
      std::binary_semaphore& ended;
    };
    CHECK(holds_in_child([] {  // which is ended if it hangs
      std::binary_semaphore ended(0);
      worker_pool pool({.at_once = 1, .threads = 1, .idle = 1h});
      pool.put(std::make_shared<asking>(pool, ended));
      ended.acquire();
      return true;
    }));
  }
}

#if !SANITIZED
TEST_CASE("a job for which no thread can be started is refused, and changes nothing") {
  CHECK(holds_in_child([] {
    worker_pool pool({.at_once = 1, .threads = 1, .idle = 1h});
    auto work = std::make_shared<job>([] {});
    const signal_mask before = signal_mask::current();
    // No memory for a stack, once the stacks that the C library keeps are used.
    const struct rlimit none{1, RLIM_INFINITY};
    ::setrlimit(RLIMIT_AS, &none);
    for (bool more = true; more;) {
      try {
        std::thread([] {
          for (;;) ::pause();
        }).detach();
      } catch (const std::system_error&) {
        more = false;
      }
    }
    bool refused = false;
    try {
      pool.put(work);
    } catch (const std::system_error& e) {
      refused = e.code() == std::errc::resource_unavailable_try_again &&
                std::string_view(e.what()).starts_with("starting a worker thread");
    }
    const struct rlimit all{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_AS, &all);
    return refused && work.use_count() == 1 && signal_mask::current() == before &&
           pool.threads() == 0;
  }));
}
#endif
