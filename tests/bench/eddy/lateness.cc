// SPDX-License-Identifier: BSD-2-Clause
#include "bench/lateness.h"

#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <eddy/future/future.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/yield.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>
#include <eddy/net/tcp_stream.h>

using bench::numbers;

namespace {

/// Runs the loop and the flood until the timer has ticked `ticks` times.
bench::lateness tick(eddy::event_loop& loop, std::uint64_t ticks) {
  bench::lateness late(ticks);
  eddy::timer timer(loop);
  timer.start_every(
      bench::period,
      [&] {
        if (late.call()) loop.stop();
      },
      eddy::resolution::fine);
  late.start(timer.deadline());
  loop.run();
  return late;
}

void nothing(const numbers& n) {
  eddy::event_loop loop;
  tick(loop, n[1]).tell("nothing", 0, "-");
}

eddy::task<> write(eddy::tcp_stream stream) {
  const std::vector<char> piece(bench::piece_size);
  for (;;) co_await stream.write(std::span(piece));
}

void writers(const numbers& n) {
  bench::readers others(n[0]);
  eddy::event_loop loop;
  std::vector<eddy::future<>> all;
  for (const int s : others.sockets()) {
    all.push_back(eddy::spawn(loop, write(eddy::tcp_stream(loop, s))));
  }
  auto late = tick(loop, n[1]);
  late.tell("writers", static_cast<double>(others.received()) / late.seconds(), "MB/s");
}

eddy::task<> turn(std::uint64_t* count) {
  for (;;) {
    co_await eddy::yield();
    ++*count;
  }
}

void tasks(const numbers& n) {
  eddy::event_loop loop;
  std::uint64_t count = 0;
  std::vector<eddy::future<>> all;
  all.reserve(n[0]);
  for (std::uint64_t i = 0; i < n[0]; ++i) all.push_back(eddy::spawn(loop, turn(&count)));
  auto late = tick(loop, n[1]);
  late.tell("tasks", static_cast<double>(count) / late.seconds(), "M/s");
}

struct again {
  void operator()() const { timer->start_at(when->fired(), *this); }
  eddy::timer* timer;
  bench::bursts* when;
};

void timers(const numbers& n) {
  eddy::event_loop loop;
  std::vector<eddy::timer> all;
  all.reserve(n[0]);
  const auto first = bench::clock::now() + std::chrono::milliseconds(n[1] / 10);
  bench::bursts when(n[0], first);
  for (std::uint64_t i = 0; i < n[0]; ++i) {
    eddy::timer& timer = all.emplace_back(loop);
    timer.start_at(first, again{&timer, &when});
  }
  tick(loop, n[1]).tell("timers", when.rate(), "M/s");
}

eddy::task<> read(eddy::tcp_stream stream, std::size_t size, std::uint64_t* bytes) {
  std::vector<char> buffer(size);
  for (;;) {
    const std::size_t got = co_await stream.read(std::span(buffer));
    *bytes += got;
  }
}

void reads(const numbers& n) {
  const bench::sender other;
  eddy::event_loop loop;
  std::uint64_t bytes = 0;
  const auto work = eddy::spawn(loop, read(eddy::tcp_stream(loop, other.socket()), n[0], &bytes));
  auto late = tick(loop, n[1]);
  late.tell("reads", static_cast<double>(bytes) / late.seconds(), "MB/s");
}

void posts(const numbers& n) {
  bench::pace pace(n[0]);
  eddy::event_loop loop;
  std::thread other = bench::start_other([&pace, remote = loop.handle()] {
    while (pace.next()) remote.post([&pace] { pace.count(); });
  });
  auto late = tick(loop, n[1]);
  late.tell("posts", static_cast<double>(pace.ran()) / late.seconds(), "M/s");
  pace.end();
  other.join();
}

[[gnu::noinline]] eddy::task<std::uint64_t> child(std::uint64_t n) { co_return n + 1; }

eddy::task<> call(std::uint64_t* count) {
  for (;;) {
    const std::uint64_t next = co_await child(*count);
    *count = next;
  }
}

void awaits(const numbers& n) {
  eddy::event_loop loop;
  std::vector<std::uint64_t> counts(n[0]);
  std::vector<eddy::future<>> all;
  for (std::uint64_t& count : counts) all.push_back(eddy::spawn(loop, call(&count)));
  auto late = tick(loop, n[1]);
  double sum = 0;
  for (const std::uint64_t count : counts) sum += static_cast<double>(count);
  late.tell("awaits", sum / late.seconds(), "M/s");
}

eddy::task<> gather(eddy::tcp_stream stream, std::span<const eddy::const_buffer> pieces) {
  for (;;) co_await stream.write(pieces);
}

void pieces(const numbers& n) {
  constexpr std::string_view piece = "8 bytes.";
  bench::readers other(1);
  eddy::event_loop loop;
  const std::vector<eddy::const_buffer> all(n[0], piece);
  const auto work = eddy::spawn(loop, gather(eddy::tcp_stream(loop, other.sockets().front()), all));
  auto late = tick(loop, n[1]);
  late.tell("pieces", static_cast<double>(other.received()) / late.seconds(), "MB/s");
}

}  // namespace

int main(int count, char** words) {
  return bench::lateness_main(count, words,
                              {.nothing = nothing,
                               .writers = writers,
                               .tasks = tasks,
                               .timers = timers,
                               .reads = reads,
                               .posts = posts,
                               .awaits = awaits,
                               .pieces = pieces});
}
