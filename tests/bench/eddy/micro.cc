// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include <eddy/future/adapt.h>
#include <eddy/future/block_on.h>
#include <eddy/future/future.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>
#include <eddy/loop/work_guard.h>
#include <eddy/net/buffered.h>
#include <eddy/net/duplex.h>
#include <eddy/net/file_stream.h>
#include <eddy/net/shared_bytes.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/write_queue.h>

#include "bench/scratch_file.h"
#include "bench/subscribers.h"
#include "bench/workload.h"

using namespace std::chrono_literals;
using bench::numbers;
using bench::time_each;

namespace {

/// With EDDY_STILL_CLOCK in the environment, the clock of the loop stands still. A loop on the real
/// clock reads it more often on a slow machine, for instance under valgrind.
eddy::event_loop make_loop() {
  static eddy::manual_clock still;
  if (std::getenv("EDDY_STILL_CLOCK") != nullptr) return eddy::event_loop(still);
  return {};
}

void timer_reset(const numbers& n) {
  eddy::event_loop loop;
  std::vector<eddy::timer> timers;
  timers.reserve(n[0]);
  for (std::uint64_t i = 0; i < n[0]; ++i) {
    timers.emplace_back(loop);
    timers.back().start(60s, [] {});
  }
  bench::random_numbers random;
  time_each("timer-reset", n[1], [&](std::uint64_t count) {
    // Timers move in a handler, as they do when a connection receives something.
    const auto move_some = [&] {
      for (int i = 0; i < 64 && count != 0; ++i, --count) {
        timers[random.below(n[0])].restart(60s);
      }
    };
    while (count != 0) {
      loop.defer([&move_some] { move_some(); });
      loop.run_ready();
    }
  });
}

void timer_expire(const numbers& n) {
  const auto run = [](std::uint64_t count) {
    eddy::event_loop loop;
    std::vector<eddy::timer> timers;
    timers.reserve(count);
    bench::random_numbers random;
    const double begin = bench::processor_time();
    std::uint64_t fired = 0;
    const auto start = bench::clock::now();
    for (std::uint64_t i = 0; i < count; ++i) {
      timers.emplace_back(loop).start_at(start + std::chrono::microseconds(random.below(1000000)),
                                         [&fired] { ++fired; });
    }
    loop.run();
    if (fired != count) std::abort();
    return (bench::processor_time() - begin) / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("timer-expire", run(n[0]));
}

[[gnu::noinline]] eddy::task<int> child(int n) { co_return n + 1; }

eddy::task<> calls(std::uint64_t count) {
  int n = 0;
  for (std::uint64_t i = 0; i < count; ++i) n = co_await child(n);
  if (n != static_cast<int>(count)) std::abort();
}

eddy::task<> spawns(std::uint64_t count) {
  int n = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    auto end = eddy::spawn(child(n));
    n = co_await std::move(end);
  }
  if (n != static_cast<int>(count)) std::abort();
}

[[gnu::noinline]] eddy::task<> quiet_child(int* n) {
  ++*n;
  co_return;
}

eddy::task<> scopes(std::uint64_t count) {
  int n = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    eddy::scope s;
    s.spawn(quiet_child(&n));
    co_await s.join();
  }
  if (n != static_cast<int>(count)) std::abort();
}

eddy::task<> turns(std::uint64_t rounds) {
  for (std::uint64_t i = 0; i < rounds; ++i) co_await eddy::yield();
}

void yields(const numbers& n) {
  eddy::event_loop loop = make_loop();
  const auto run = [&](std::uint64_t rounds) {
    std::vector<eddy::task<>> tasks;
    tasks.reserve(n[0]);
    for (std::uint64_t i = 0; i < n[0]; ++i) tasks.push_back(turns(rounds));
    const auto begin = bench::clock::now();
    eddy::block_on(loop, eddy::join(std::move(tasks)));
    return bench::nanoseconds(bench::clock::now() - begin) / static_cast<double>(n[0] * rounds);
  };
  run(n[1] / 10 + 1);
  bench::tell("yield", run(n[1]));
}

void post(const numbers& n) {
  eddy::event_loop loop;
  const auto run = [&](std::uint64_t count) {
    std::optional<eddy::work_guard> alive(std::in_place, loop);
    bench::clock::time_point begin;
    bench::clock::time_point end;
    std::uint64_t left = count;
    std::thread other([&, remote = loop.handle()] {
      begin = bench::clock::now();
      for (std::uint64_t i = 0; i < count; ++i) {
        remote.post([&] {
          if (--left != 0) return;
          end = bench::clock::now();
          alive.reset();
        });
      }
    });
    loop.run();
    other.join();
    return bench::nanoseconds(end - begin) / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("post", run(n[0]));
}

void wake(const numbers& n) {
  eddy::event_loop loop;
  const int answer = ::eventfd(0, EFD_CLOEXEC);
  std::optional<eddy::work_guard> alive(std::in_place, loop);
  std::thread other([&, remote = loop.handle()] {
    time_each("wake", n[0], [&](std::uint64_t count) {
      for (std::uint64_t i = 0; i < count; ++i) {
        remote.post([answer] { ::eventfd_write(answer, 1); });
        eventfd_t value = 0;
        ::eventfd_read(answer, &value);
      }
    });
    remote.post([&] { alive.reset(); });
  });
  loop.run();
  other.join();
  ::close(answer);
}

eddy::task<> promises(std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    eddy::promise<int> p;
    auto f = p.get_future();
    p.set_value(1);
    co_await std::move(f);
  }
}

eddy::task<> thens(std::uint64_t count) {
  while (count != 0) {
    const std::uint64_t links = std::min<std::uint64_t>(count, 100);
    eddy::promise<std::uint64_t> p;
    auto chain = p.get_future();
    for (std::uint64_t i = 0; i < links; ++i) {
      chain = std::move(chain).then([](std::uint64_t n) { return n + 1; });
    }
    p.set_value(std::uint64_t{0});
    const auto n = co_await std::move(chain);
    if (n != links) std::abort();
    count -= links;
  }
}

eddy::task<> joins(std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) co_await eddy::join(child(1), child(2));
}

eddy::task<> selects(std::uint64_t count) {
  const auto never = [](eddy::completer<>) { return [] {}; };
  for (std::uint64_t i = 0; i < count; ++i) co_await eddy::select(eddy::adapt(never), child(1));
}

eddy::task<> timeouts(std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) co_await eddy::timeout(1h, child(1));
}

eddy::task<> write_lines(eddy::duplex_stream& to, std::uint64_t count) {
  std::string many;
  for (int i = 0; i < 100; ++i) many += std::string(80, 'x') + '\n';
  for (; count > 100; count -= 100) co_await to.write(many);
  co_await to.write(std::string_view(many).substr(0, count * 81));
}

/// Reads lines of 80 bytes from memory. The writer's part and the copying are in the figure.
eddy::task<> lines(std::uint64_t count) {
  auto [a, b] = eddy::duplex(64 * 1024, 1);
  eddy::buffered<eddy::duplex_stream> from(std::move(b));
  const eddy::future<> writer = eddy::spawn(write_lines(a, count));
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto line = co_await from.read_line(1000);
    if (line->size() != 80) std::abort();
  }
}

eddy::task<> asleep() { co_await eddy::sleep(1h); }

void sleeps(const numbers& n) {
  eddy::event_loop loop;
  std::vector<eddy::future<>> all;
  all.reserve(n[0]);
  for (std::uint64_t i = 0; i < n[0]; ++i) all.push_back(eddy::spawn(loop, asleep()));
  loop.defer([] {
    std::puts("ready");
    std::fflush(stdout);
  });
  loop.run();
}

/// Publishes by queues: all messages of a turn leave in one call for each subscriber.
void fan_out(const numbers& n) {
  eddy::event_loop loop;
  const bench::subscribers all;
  std::vector<eddy::write_queue<eddy::tcp_stream>> queues;
  for (const int s : all.near()) queues.emplace_back(eddy::tcp_stream(loop, s));
  const std::string text(bench::message_size, 'm');
  bench::time_fan_out("fan-out", all, n[0], [&](std::uint64_t count) {
    loop.defer([&, count] {
      for (std::uint64_t i = 0; i < count; ++i) {
        const eddy::shared_bytes message(text);
        for (auto& queue : queues) queue.put(message);
      }
    });
    while (loop.run_ready()) {
    }
    for (const auto& queue : queues) {
      if (queue.queued() != 0) std::abort();
    }
  });
}

/// Publishes by a `try_write` of each message to each subscriber.
void fan_out_direct(const numbers& n) {
  eddy::event_loop loop;
  const bench::subscribers all;
  std::vector<eddy::tcp_stream> streams;
  for (const int s : all.near()) streams.emplace_back(loop, s);
  const std::string text(bench::message_size, 'm');
  bench::time_fan_out("fan-out-direct", all, n[0], [&](std::uint64_t count) {
    loop.defer([&, count] {
      for (std::uint64_t i = 0; i < count; ++i) {
        for (auto& stream : streams) {
          const auto sent = stream.try_write(text);
          if (!sent || sent->value() != text.size()) std::abort();
        }
      }
    });
    while (loop.run_ready()) {
    }
  });
}

eddy::task<> read_file(eddy::file_stream& file, bench::file_parts parts) {
  std::vector<char> buffer(bench::file_step);
  while (!parts.empty()) {
    const auto [at, size] = parts.next();
    if (file.read_position() != at) file.seek_read(at);
    const std::size_t moved = co_await file.read(std::span(buffer).first(size));
    if (moved == 0) std::abort();
    parts.pass(moved);
  }
}

eddy::task<> write_file(eddy::file_stream& file, bench::file_parts parts) {
  const std::vector<char> buffer(bench::file_step, 'f');
  while (!parts.empty()) {
    const auto [at, size] = parts.next();
    if (file.write_position() != at) file.seek_write(at);
    co_await file.write(std::span(buffer).first(size));
    parts.pass(size);
  }
}

using file_work = eddy::task<> (*)(eddy::file_stream& file, bench::file_parts parts);

bench::workload of_file(const char* name, file_work work) {
  return {2, [=](const numbers& n) {
            eddy::event_loop loop;
            const bench::scratch_file scratch(n[0]);
            eddy::file_stream file(loop, ::dup(scratch.descriptor()));
            bench::cpu_each(name, n[1], [&](std::uint64_t count) {
              eddy::block_on(loop, work(file, bench::file_parts(scratch, count)));
            });
          }};
}

/// A workload that is one coroutine.
template <class Coroutine>
bench::workload awaited(const char* name, Coroutine work) {
  return {1, [=](const numbers& n) {
            eddy::event_loop loop = make_loop();
            time_each(name, n[0], [&](std::uint64_t count) { eddy::block_on(loop, work(count)); });
          }};
}

}  // namespace

int main(int count, char** words) {
  return bench::main(count, words,
                     {
                         {"timer-reset", {2, timer_reset}},
                         {"timer-expire", {1, timer_expire}},
                         {"call", awaited("call", calls)},
                         {"spawn", awaited("spawn", spawns)},
                         {"yield", {2, yields}},
                         {"post", {1, post}},
                         {"wake", {1, wake}},
                         {"lines", awaited("lines", lines)},
                         {"future", awaited("future", promises)},
                         {"then", awaited("then", thens)},
                         {"join", awaited("join", joins)},
                         {"select", awaited("select", selects)},
                         {"scope", awaited("scope", scopes)},
                         {"timeout", awaited("timeout", timeouts)},
                         {"sleep", {1, sleeps}},
                         {"fan-out", {1, fan_out}},
                         {"fan-out-direct", {1, fan_out_direct}},
                         {"file-read", of_file("file-read", read_file)},
                         {"file-write", of_file("file-write", write_file)},
                     });
}
