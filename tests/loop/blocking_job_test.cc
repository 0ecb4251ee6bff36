// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/blocking_job.h>.
#include <eddy/loop/blocking_job.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <semaphore>
#include <set>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <eddy/loop/detail/worker_pool.h>
#include <eddy/loop/event_loop.h>

#include "support/asleep.h"
#include "support/forked.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

static_assert(std::is_nothrow_move_constructible_v<eddy::blocking_job>);
static_assert(!std::is_copy_constructible_v<eddy::blocking_job>);

namespace {

/// The work of a job that may be destroyed while it runs. It reports that it has begun, and goes
/// on when the test lets it.
struct held_work {
  void run() {
    begun.release();
    go.acquire();
    ended.release();
  }
  std::binary_semaphore begun{0};
  std::binary_semaphore go{0};
  std::binary_semaphore ended{0};
};

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE_FIXTURE(with_loop, "a job's work runs on another thread, and its handler on the loop") {
    std::thread::id there;
    std::thread::id here;
    const eddy::blocking_job job(
        loop, [&] { there = std::this_thread::get_id(); },
        [&] { here = std::this_thread::get_id(); });
    loop.run();
    CHECK(here == std::this_thread::get_id());
    CHECK(there != here);
    CHECK(there != std::thread::id());
  }

  TEST_CASE_FIXTURE(with_loop, "a job keeps the loop running until its handler has run") {
    bool done = false;
    std::binary_semaphore go(0);
    const eddy::blocking_job job(loop, [&] { go.acquire(); }, [&] { done = true; });
    std::thread releaser([&, runner = ::gettid()] {
      wait_until_asleep(runner);
      go.release();
    });
    loop.run();
    releaser.join();
    CHECK(done);
  }

  TEST_CASE_FIXTURE(with_loop, "at most sixteen jobs run at the same time") {
    std::atomic<int> now{0};
    std::atomic<int> most{0};
    std::atomic<bool> go{false};
    int done = 0;
    std::vector<eddy::blocking_job> jobs;
    for (int i = 0; i < 40; ++i) {
      jobs.emplace_back(
          loop,
          [&] {
            const int n = ++now;
            for (int m = most; m < n && !most.compare_exchange_weak(m, n);) {
            }
            while (!go) std::this_thread::yield();
            --now;
          },
          [&] { ++done; });
    }
    while (now != 16) std::this_thread::yield();
    go = true;
    loop.run();
    CHECK(done == 40);
    CHECK(most == 16);
  }

  TEST_CASE_FIXTURE(with_loop,
                    "a running job that is destroyed runs to its end, without its handler") {
    const auto held = std::make_shared<held_work>();
    bool told = false;
    {
      const eddy::blocking_job job(loop, [held] { held->run(); }, [&] { told = true; });
      held->begun.acquire();
    }
    loop.run();
    held->go.release();
    held->ended.acquire();
    loop.run();
    CHECK_FALSE(told);
  }

  TEST_CASE_FIXTURE(with_loop, "a job that is destroyed after its work calls no handler") {
    bool told = false;
    {
      std::binary_semaphore ended(0);
      const eddy::blocking_job job(loop, [&] { ended.release(); }, [&] { told = true; });
      ended.acquire();
    }
    loop.run();
    CHECK_FALSE(told);
  }

  TEST_CASE_FIXTURE(with_loop, "a job that is destroyed before its work begins does not run") {
    std::binary_semaphore go(0);
    std::atomic<int> ran{0};
    std::vector<eddy::blocking_job> busy;
    for (int i = 0; i < 16; ++i) {
      busy.emplace_back(
          loop,
          [&] {
            go.acquire();
            go.release();
          },
          [] {});
    }
    {
      const eddy::blocking_job job(loop, [&] { ++ran; }, [] {});
    }
    go.release();
    loop.run();

    // A later job has run, so the destroyed job would have run, too.
    const eddy::blocking_job last(loop, [] {}, [] {});
    loop.run();
    CHECK(ran == 0);
  }

  TEST_CASE_FIXTURE(tidy, "a job may run on after its loop is destroyed") {
    const auto held = std::make_shared<held_work>();
    {
      eddy::event_loop loop;
      const eddy::blocking_job job(loop, [held] { held->run(); }, [] {});
      held->begun.acquire();
    }
    held->go.release();
    held->ended.acquire();
  }

  TEST_CASE_FIXTURE(with_loop, "the handler of a job may destroy the job, and throw") {
    std::optional<eddy::blocking_job> job;
    job.emplace(
        loop, [] {},
        [&] {
          job.reset();
          throw 7;
        });
    CHECK_THROWS_AS(loop.run(), int);
  }

  TEST_CASE_FIXTURE(tidy, "a job runs with the signal mask of the thread that made the loop") {
    std::thread([] {
      sigset_t mine;
      sigemptyset(&mine);
      sigaddset(&mine, SIGUSR1);
      ::pthread_sigmask(SIG_SETMASK, &mine, nullptr);
      eddy::event_loop loop;
      sigaddset(&mine, SIGUSR2);  // what it blocks later is its own affair
      ::pthread_sigmask(SIG_SETMASK, &mine, nullptr);

      sigset_t there;
      sigemptyset(&there);
      const eddy::blocking_job job(
          loop, [&] { ::pthread_sigmask(SIG_SETMASK, nullptr, &there); }, [] {});
      loop.run();
      CHECK(sigismember(&there, SIGUSR1) == 1);
      for (int number = 1; number <= SIGRTMAX; ++number) {
        INFO(number);
        if (number != SIGUSR1) CHECK(sigismember(&there, number) <= 0);
      }
      sigset_t here;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &here);
      CHECK(sigismember(&here, SIGTERM) == 0);
      CHECK(sigismember(&here, SIGUSR2) == 1);
    }).join();
  }

  TEST_CASE("a crash handler of the program works in a job") {
    const auto crash = [](bool blocked) {
      std::signal(SIGSEGV, [](int) { ::_exit(3); });
      sigset_t all;
      sigfillset(&all);
      if (blocked) ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
      eddy::event_loop loop;
      const eddy::blocking_job job(loop, [] { ::raise(SIGSEGV); }, [] {});
      loop.run();
      return true;
    };
    CHECK(end_of(start_forked([&] { return crash(false); })) == 3);
    CHECK(end_of(start_forked([&] { return crash(true); })) == 3);
  }

  TEST_CASE_FIXTURE(with_loop,
                    "a process that a job starts blocks only the signals that the program blocks") {
    int end = -1;
    const eddy::blocking_job job(
        loop,
        [&end] {
          const ::pid_t pid = ::fork();
          if (pid == 0) {
            sigset_t blocked;
            ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
            ::_exit(sigismember(&blocked, SIGTERM) + sigismember(&blocked, SIGINT));
          }
          end = end_of(pid);
        },
        [] {});
    loop.run();
    CHECK(end == 0);
  }

  TEST_CASE_FIXTURE(with_loop, "the child of a fork runs jobs on workers of its own") {
    int done = 0;
    const eddy::blocking_job before(loop, [] {}, [&] { ++done; });
    loop.run();
    REQUIRE(done == 1);
    CHECK(holds_in_child([&] {
      const eddy::blocking_job job(loop, [] {}, [&] { ++done; });
      loop.run();
      return done == 2;
    }));
  }

  TEST_CASE_FIXTURE(with_loop, "a job's work is destroyed before its handler is called") {
    auto owned = std::make_shared<int>(0);
    const std::weak_ptr<int> alive = owned;
    bool gone = false;
    const eddy::blocking_job job(loop, [o = std::move(owned)] {}, [&] { gone = alive.expired(); });
    loop.run();
    CHECK(gone);
  }

  TEST_CASE_FIXTURE(with_loop, "a job's handler is destroyed with the job") {
    const auto held = std::make_shared<held_work>();
    auto owned = std::make_shared<int>(0);
    const std::weak_ptr<int> alive = owned;
    {
      const eddy::blocking_job job(loop, [held] { held->run(); }, [o = std::move(owned)] {});
      held->begun.acquire();
    }
    CHECK(alive.expired());
    held->go.release();
    held->ended.acquire();
  }

  TEST_CASE_FIXTURE(with_loop, "the child of a fork begins no queued job of its parent") {
    // The child has no thread for the running job, and must not start a thread for the next job.
    static constinit eddy::detail::process_pool pool({.at_once = 1, .threads = 2, .idle = 1h});
    std::binary_semaphore begun(0);
    std::binary_semaphore go(0);
    std::optional<eddy::blocking_job> first(
        std::in_place, loop, pool,
        [&] {
          begun.release();
          go.acquire();
        },
        [] {});
    begun.acquire();
    std::optional<eddy::blocking_job> second(std::in_place, loop, pool, [] {}, [] {});
    CHECK(holds_in_child([&] {
      first.reset();
      const std::filesystem::directory_iterator threads("/proc/self/task");
      return std::distance(begin(threads), end(threads)) == 1;
    }));
    go.release();
    loop.run();
  }
}
