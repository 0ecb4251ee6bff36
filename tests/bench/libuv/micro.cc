// SPDX-License-Identifier: BSD-2-Clause
// libuv: timers, and uv_async with a locked queue, as its guide advises.
#include <cstdlib>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include "bench/scratch_file.h"
#include "bench/workload.h"

using bench::numbers;
using bench::time_each;

namespace {

void timer_reset(const numbers& n) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  std::vector<uv_timer_t> timers(n[0]);
  const auto never = [](uv_timer_t*) {};
  for (uv_timer_t& t : timers) {
    uv_timer_init(&loop, &t);
    uv_timer_start(&t, never, 60000, 0);
  }
  bench::random_numbers random;
  time_each("timer-reset", n[1], [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      uv_timer_start(&timers[random.below(n[0])], never, 60000, 0);
      if (i % 64 == 63) uv_run(&loop, UV_RUN_NOWAIT);
    }
  });
}

std::uint64_t fired = 0;

/// libuv's deadlines are whole milliseconds.
void timer_expire(const numbers& n) {
  const auto run = [](std::uint64_t count) {
    uv_loop_t loop;
    uv_loop_init(&loop);
    std::vector<uv_timer_t> timers(count);
    bench::random_numbers random;
    fired = 0;
    const double begin = bench::processor_time();
    for (uv_timer_t& t : timers) {
      uv_timer_init(&loop, &t);
      uv_timer_start(&t, [](uv_timer_t*) { ++fired; }, random.below(1000000) / 1000, 0);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    if (fired != count) std::abort();
    return (bench::processor_time() - begin) / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("timer-expire", run(n[0]));
}

/// Functions that other threads post.
class inbox {
public:
  explicit inbox(uv_loop_t& loop) {
    uv_async_init(&loop, &async_, [](uv_async_t* a) { static_cast<inbox*>(a->data)->take(); });
    async_.data = this;
  }
  inbox(const inbox&) = delete;
  inbox& operator=(const inbox&) = delete;

  void post(std::function<void()> f) {
    {
      const std::scoped_lock lock(guard_);
      come_.push_back(std::move(f));
    }
    uv_async_send(&async_);
  }

private:
  void take() {
    {
      const std::scoped_lock lock(guard_);
      come_.swap(taken_);
    }
    for (auto& f : taken_) f();
    taken_.clear();
  }

  uv_async_t async_;
  std::mutex guard_;
  std::vector<std::function<void()>> come_;
  std::vector<std::function<void()>> taken_;
};

void post(const numbers& n) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  inbox in(loop);
  const auto run = [&](std::uint64_t count) {
    std::uint64_t left = count;
    bench::clock::time_point begin;
    std::thread other([&] {
      begin = bench::clock::now();
      for (std::uint64_t i = 0; i < count; ++i) {
        in.post([&] {
          if (--left == 0) uv_stop(&loop);
        });
      }
    });
    uv_run(&loop, UV_RUN_DEFAULT);
    const auto end = bench::clock::now();
    other.join();
    return bench::nanoseconds(end - begin) / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("post", run(n[0]));
}

void wake(const numbers& n) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  inbox in(loop);
  const int answer = ::eventfd(0, EFD_CLOEXEC);
  std::thread other([&] {
    time_each("wake", n[0], [&](std::uint64_t count) {
      for (std::uint64_t i = 0; i < count; ++i) {
        in.post([&] { ::eventfd_write(answer, 1); });
        eventfd_t value = 0;
        ::eventfd_read(answer, &value);
      }
    });
    in.post([&] { uv_stop(&loop); });
  });
  uv_run(&loop, UV_RUN_DEFAULT);
  other.join();
  ::close(answer);
}

/// One request, whose callback begins the next one. libuv gives each request to its threads.
class file_steps {
public:
  file_steps(uv_loop_t& loop, const bench::scratch_file& file, bool writes)
      : loop_(loop), file_(file), writes_(writes) {
    request_.data = this;
  }

  void run(std::uint64_t count) {
    parts_ = bench::file_parts(file_, count);
    begin();
    uv_run(&loop_, UV_RUN_DEFAULT);
  }

private:
  void begin() {
    const auto [at, size] = parts_.next();
    const uv_buf_t bytes = uv_buf_init(buffer_.data(), static_cast<unsigned>(size));
    const auto call = writes_ ? uv_fs_write : uv_fs_read;
    call(&loop_, &request_, file_.descriptor(), &bytes, 1, static_cast<std::int64_t>(at),
         [](uv_fs_t* r) { static_cast<file_steps*>(r->data)->end(); });
  }
  void end() {
    const ssize_t moved = request_.result;
    uv_fs_req_cleanup(&request_);
    if (moved <= 0) std::abort();
    parts_.pass(static_cast<std::size_t>(moved));
    if (!parts_.empty()) begin();
  }

  uv_loop_t& loop_;
  const bench::scratch_file& file_;
  bool writes_;
  uv_fs_t request_{};
  bench::file_parts parts_{file_, 0};
  std::vector<char> buffer_ = std::vector<char>(bench::file_step, 'f');
};

void time_file(const char* name, const numbers& n, bool writes) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  const bench::scratch_file file(n[0]);
  file_steps steps(loop, file, writes);
  bench::cpu_each(name, n[1], [&](std::uint64_t count) { steps.run(count); });
}

void file_read(const numbers& n) { time_file("file-read", n, false); }

void file_write(const numbers& n) { time_file("file-write", n, true); }

}  // namespace

int main(int count, char** words) {
  return bench::main(count, words,
                     {
                         {"timer-reset", {2, timer_reset}},
                         {"timer-expire", {1, timer_expire}},
                         {"post", {1, post}},
                         {"wake", {1, wake}},
                         {"file-read", {2, file_read}},
                         {"file-write", {2, file_write}},
                     });
}
