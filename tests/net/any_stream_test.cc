// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/any_stream.h>.
#include <eddy/net/any_stream.h>

#include <array>
#include <chrono>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/net/buffered.h>
#include <eddy/net/duplex.h>
#include <eddy/net/limited.h>
#include <eddy/net/tcp_stream.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/forked.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"

using namespace std::chrono_literals;
using eddy::any_stream;
using eddy::as_result;
using eddy::duplex;
using eddy::join;
using eddy::task;

static_assert(eddy::byte_stream<any_stream>);
static_assert(eddy::byte_stream<eddy::buffered<any_stream>>);
static_assert(!std::is_copy_constructible_v<any_stream>);

ASYNC_TEST("streams of different types are of one type in an any_stream") {
  stream_pair tcp(loop);
  auto [a, b] = duplex(64, 64);
  std::vector<std::pair<any_stream, any_stream>> all;
  all.emplace_back(std::move(tcp.near), std::move(tcp.far));
  all.emplace_back(std::move(a), std::move(b));
  for (auto& [from, to] : all) {
    co_await from.write(std::string_view("word"));
    const std::string word = co_await read_some(to);
    CHECK(word == "word");
    const std::array<eddy::const_buffer, 2> list{std::string_view("a "), std::string_view("list")};
    co_await from.write(std::span(list));
    co_await from.shutdown();
    const std::string listed = co_await read_some(to);
    CHECK(listed == "a list");
    const std::string end = co_await read_some(to);
    CHECK(end.empty());
  }
}

ASYNC_TEST("closing an any_stream resumes a waiting coroutine with operation_canceled") {
  auto [a, b] = duplex(64, 64);
  any_stream any(std::move(a));
  const auto close = [](any_stream& of) -> task<> {
    co_await eddy::sleep(1s);
    of.close();
  };
  auto both = join(read_error(any), close(any));
  const auto [error, nothing] = co_await std::move(both);
  CHECK(error == std::errc::operation_canceled);
  CHECK_FALSE(any.open());
}

ASYNC_TEST("an operation that is awaited after the close fails") {
  auto [a, b] = duplex(64, 64);
  any_stream any(std::move(a));
  auto late = any.write(std::string_view("late"));
  any = any_stream(std::move(b));
  const auto r = co_await as_result(std::move(late));
  CHECK(r.error() == std::errc::operation_canceled);
}

ASYNC_TEST("an error keeps the words of the stream below") {
  auto [a, b] = duplex(64, 64);
  any_stream any(std::move(a));
  co_await any.shutdown();
  std::string words;
  try {
    co_await any.write(std::string_view("x"));
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "write to a duplex: Broken pipe");
}

TEST_CASE_FIXTURE(with_still_loop, "each operation has a form with a handler") {
  auto [a, b] = duplex(loop, 64, 64);
  any_stream near(std::move(a));
  any_stream far(std::move(b));
  std::array<char, 64> buffer;
  std::string got;
  far.read(buffer, [&](eddy::result<std::size_t> n) { got.assign(buffer.data(), n.value()); });
  bool ended = false;
  near.write(std::string_view("word"),
             [&](eddy::result<void>) { near.shutdown([&](eddy::result<void>) { ended = true; }); });
  CHECK(got.empty());
  loop.run();
  CHECK(got == "word");
  CHECK(ended);
}

TEST_CASE_FIXTURE(with_still_loop, "a handler may destroy its any_stream, and closing calls none") {
  auto [a, b] = duplex(loop, 64, 64);
  auto any = std::make_unique<any_stream>(std::move(a));
  const auto held = std::make_shared<int>(0);
  std::array<char, 4> buffer;
  int called = 0;
  any->read(buffer, [&, held](eddy::result<std::size_t>) {
    ++called;
    any.reset();
  });
  SUBCASE("in the handler") {
    b.close();
    loop.run();
    CHECK(called == 1);
  }
  SUBCASE("while it waits") {
    loop.run();
    any.reset();
    loop.run();
    CHECK(called == 0);
  }
  CHECK(held.use_count() == 1);
}

// A program's streams are often in an unnamed namespace, of which g++ must not warn.
namespace {
namespace strange {

/// A stream whose reads throw what is no std::system_error.
struct stream {
  eddy::event_loop* on;
  eddy::task<std::size_t> read(eddy::mutable_buffer) {
    co_await eddy::sleep(1s);
    throw std::runtime_error("strange");
  }
  eddy::task<> write(eddy::const_buffer) { co_return; }
  eddy::task<> write(std::span<const eddy::const_buffer>) { co_return; }
  void shutdown() {}
  void close() {}
  [[nodiscard]] eddy::event_loop& loop() const { return *on; }
};

/// A stream whose reads never wait.
struct endless {
  eddy::event_loop* on;
  eddy::task<std::size_t> read(eddy::mutable_buffer into) { co_return into.size(); }
  eddy::task<> write(eddy::const_buffer) { co_return; }
  eddy::task<> write(std::span<const eddy::const_buffer>) { co_return; }
  void shutdown() {}
  void close() {}
  [[nodiscard]] eddy::event_loop& loop() const { return *on; }
};

/// A stream of the program's own, whose reads are tasks.
struct task_stream {
  eddy::duplex_stream below;
  task<std::size_t> read(eddy::mutable_buffer into) {
    const std::size_t n = co_await below.read(into);
    co_return n;
  }
  auto write(eddy::const_buffer bytes) { return below.write(bytes); }
  auto write(std::span<const eddy::const_buffer> all) { return below.write(all); }
  void shutdown() { below.shutdown(); }
  void close() { below.close(); }
  [[nodiscard]] eddy::event_loop& loop() const { return below.loop(); }
};

}  // namespace strange

task<> nothing() { co_return; }

/// Completes `count` operations without waiting, and then reads.
template <class Stream>
task<> read_after(Stream& from, int count, std::string& got) {
  for (int i = 0; i < count; ++i) co_await nothing();
  std::array<char, 64> buffer;
  const std::size_t n = co_await from.read(buffer);
  got.assign(buffer.data(), n);
}

/// Cancels a read when its coroutine may go on at each point of its share. No bytes are lost.
template <class Make>
task<> cancel_within_share(Make make) {
  int cancelled = 0;
  for (int count = 0; count <= eddy::event_loop::share; ++count) {
    CAPTURE(count);
    auto [a, b] = duplex(64, 64);
    auto around = make(std::move(a));
    co_await b.write(std::string_view("word"));
    std::string got;
    {
      const auto reading = eddy::spawn(read_after(around, count, got));
      co_await eddy::yield();
    }
    if (got.empty()) {
      ++cancelled;
      auto limited = eddy::timeout(1s, read_some(around));
      const auto rest = co_await as_result(std::move(limited));
      got = rest.value_or("nothing");
    }
    CHECK(got == "word");
  }
  CHECK(cancelled > 0);
}

}  // namespace

ASYNC_TEST("a read that is cancelled before its coroutine goes on loses no bytes") {
  co_await cancel_within_share([](eddy::duplex_stream s) { return any_stream(std::move(s)); });
  co_await cancel_within_share(
      [](eddy::duplex_stream s) { return any_stream(any_stream(std::move(s))); });
  co_await cancel_within_share(
      [](eddy::duplex_stream s) { return any_stream(strange::task_stream(std::move(s))); });
  co_await cancel_within_share(
      [](eddy::duplex_stream s) { return eddy::limited(std::move(s), 1000, 1000); });
}

ASYNC_TEST("a stream that always has bytes lets others run") {
  any_stream any(strange::endless{&loop});
  int reads = 0;
  const auto read_all = [&]() -> task<> {
    for (; reads < 10'000; ++reads) {
      std::array<char, 1> buffer;
      const std::size_t n = co_await any.read(buffer);
      CHECK(n == 1);
    }
  };
  auto reading = eddy::spawn(read_all());
  co_await eddy::yield();
  co_await eddy::yield();
  CHECK(reads > 0);
  CHECK(reads <= 3 * eddy::event_loop::share);
  co_await std::move(reading);
}

ASYNC_TEST("a write to an any_stream around a buffered stream is flushed") {
  auto [a, b] = duplex(64, 64);
  any_stream any(eddy::buffered(std::move(a)));
  co_await any.write(std::string_view("one"));
  CHECK(b.unread() == 3);
  const std::array<eddy::const_buffer, 2> list{std::string_view("two"), std::string_view("three")};
  co_await any.write(std::span(list));
  CHECK(b.unread() == 11);
}

TEST_CASE_FIXTURE(with_still_loop, "any_streams around 100,000 streams are read and closed") {
#ifdef __SANITIZE_ADDRESS__
  const int depth = 10'000;
#else
  const int depth = 100'000;
#endif
  auto [a, b] = duplex(loop, 64, 64);
  any_stream any(std::move(b));
  for (int i = 0; i < depth; ++i) {
    any_stream outer(eddy::limited(std::move(any), 1'000'000, 1'000));
    any = std::move(outer);
  }
  std::array<char, 4> buffer;
  int called = 0;
  any.read(buffer, [&](eddy::result<std::size_t> n) {
    ++called;
    CHECK(n.value() == 1);
  });
  loop.run();
  SUBCASE("closed during a read") {}
  SUBCASE("closed after a read") {
    CHECK(a.try_write(std::string_view("x")).value() == 1);
    loop.run();
    CHECK(called == 1);
  }
  any.close();
  loop.run();
  CHECK(a.try_write(std::string_view("y"))->error() == std::errc::broken_pipe);
}

TEST_CASE_FIXTURE(with_jumping_loop, "an error that is no system_error leaves the loop's run") {
  any_stream any(strange::stream{&loop});
  std::array<char, 4> buffer;
  for (int i = 0; i < 2; ++i) {
    any.read(buffer, [](eddy::result<std::size_t>) { FAIL("called"); });
    CHECK_THROWS_WITH_AS(loop.run(), "strange", std::runtime_error);
  }
}

TEST_CASE("a read into an empty buffer aborts the program when it is made, in both styles") {
  dies_saying("a read into an empty buffer", [] {
    eddy::event_loop loop;
    any_stream any(duplex(loop, 64, 64).first);
    static_cast<void>(any.read(std::span<char>()));
  });
  dies_saying("a read into an empty buffer", [] {
    eddy::event_loop loop;
    any_stream any(duplex(loop, 64, 64).first);
    any.read(std::span<char>(), [](eddy::result<std::size_t>) {});
  });
}

namespace {

struct asks_over_any {
  explicit asks_over_any(eddy::trial& t) : of(t), ends(duplex(t.loop(), 4, 4)) {}
  task<> work() {
    const eddy::trial::part held(of);
    any_stream near(std::move(ends.first));
    any_stream far(std::move(ends.second));
    auto both = join(send(near), receive(far));
    co_await std::move(both);
  }
  task<> send(any_stream& to) {
    co_await to.write(std::string_view("question"));
    co_await to.shutdown();
  }
  task<> receive(any_stream& from) {
    std::string got;
    for (;;) {
      const std::string some = co_await read_some(from);
      if (some.empty()) break;
      got += some;
    }
    CHECK(got == "question");
  }
  eddy::trial& of;
  std::pair<eddy::duplex_stream, eddy::duplex_stream> ends;
};

}  // namespace

TEST_CASE("any_stream: reads and writes are ended at every point") {
  check_report(eddy::every_point<asks_over_any>());
  check_report(eddy::every_point<asks_over_any>(1));
}
