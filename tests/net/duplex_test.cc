// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/duplex.h>.
#include <eddy/net/duplex.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/net/byte_stream.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/forked.h"
#include "support/stream_tasks.h"

using namespace std::chrono_literals;
using eddy::as_result;
using eddy::duplex;
using eddy::duplex_stream;
using eddy::join;
using eddy::task;

static_assert(eddy::byte_stream<duplex_stream>);
static_assert(!std::is_copy_constructible_v<duplex_stream>);

namespace {

task<std::error_code> write_error(duplex_stream& to, std::string_view bytes) {
  const auto r = co_await as_result(to.write(bytes));
  co_return r ? std::error_code() : r.error();
}

std::string take(duplex_stream& from) {
  std::string all;
  std::array<char, 64> buffer;
  for (;;) {
    const auto n = from.try_read(buffer);
    if (!n || !n->has_value() || **n == 0) return all;
    all.append(buffer.data(), **n);
  }
}

}  // namespace

ASYNC_TEST("the bytes that one end writes are read at the other end") {
  auto [a, b] = duplex(16, 16);
  co_await a.write(std::string_view("to b"));
  co_await b.write(std::string_view("to a"));
  const std::string at_b = co_await read_some(b);
  const std::string at_a = co_await read_some(a);
  CHECK(at_b == "to b");
  CHECK(at_a == "to a");
}

ASYNC_TEST("a write waits while the buffer of its direction is full") {
  auto [a, b] = duplex(4, 1);
  auto sending = write_all(a, "0123456789");
  auto limited = eddy::timeout(1s, std::move(sending));
  const auto full = co_await as_result(std::move(limited));
  CHECK(full.error() == std::errc::timed_out);
  CHECK(b.unread() == 4);
  CHECK(take(b) == "0123");
  a.shutdown();
  const std::string rest = co_await read_all(b);
  CHECK(rest.empty());
}

ASYNC_TEST("a list of buffers arrives in order, also through a buffer of one byte") {
  auto [a, b] = duplex(1, 1);
  const std::array<eddy::const_buffer, 4> list{std::string_view("one "), std::string_view(""),
                                               std::string_view("two "), std::string_view("three")};
  const auto send = [&list](duplex_stream& to) -> task<> {
    co_await to.write(std::span(list));
    to.shutdown();
  };
  auto both = join(send(a), read_all(b));
  const auto [nothing, all] = co_await std::move(both);
  CHECK(all == "one two three");
}

ASYNC_TEST("half-close: after shutdown the other end reads the end and may still write") {
  auto [a, b] = duplex(16, 16);
  co_await a.write(std::string_view("last"));
  a.shutdown();
  const std::string all = co_await read_all(b);
  CHECK(all == "last");
  const std::error_code late = co_await write_error(a, "late");
  CHECK(late == std::errc::broken_pipe);
  co_await b.write(std::string_view("answer"));
  const std::string answer = co_await read_some(a);
  CHECK(answer == "answer");
}

ASYNC_TEST("shutdown lets the pending write complete first") {
  auto [a, b] = duplex(2, 1);
  const auto stop = [](duplex_stream& of) -> task<> {
    of.shutdown();
    const std::error_code late = co_await write_error(of, "late");
    CHECK(late == std::errc::broken_pipe);
  };
  auto all = join(write_all(a, "abcdef"), stop(a), read_all(b));
  const auto [x, y, got] = co_await std::move(all);
  CHECK(got == "abcdef");
}

ASYNC_TEST("closing an end that has read everything ends the other end's reading cleanly") {
  auto [a, b] = duplex(16, 16);
  co_await a.write(std::string_view("bye"));
  a.close();
  CHECK_FALSE(a.open());
  const std::string all = co_await read_all(b);
  CHECK(all == "bye");
  const std::error_code e = co_await write_error(b, "x");
  CHECK(e == std::errc::broken_pipe);
}

ASYNC_TEST("closing an end with unread bytes resets the other end once") {
  auto [a, b] = duplex(16, 16);
  co_await b.write(std::string_view("never read"));
  co_await a.write(std::string_view("before"));
  a.close();
  const std::string before = co_await read_some(b);
  CHECK(before == "before");
  const std::error_code reset = co_await read_error(b);
  CHECK(reset == std::errc::connection_reset);
  const std::string end = co_await read_some(b);
  CHECK(end.empty());
}

ASYNC_TEST("closing an end resumes its own waiting coroutines with operation_canceled") {
  auto [a, b] = duplex(1, 1);
  const auto close = [](duplex_stream& s) -> task<> {
    co_await eddy::sleep(1s);
    s.close();
  };
  auto all = join(read_error(a), write_error(a, "too much"), close(a));
  const auto [r, w, nothing] = co_await std::move(all);
  CHECK(r == std::errc::operation_canceled);
  CHECK(w == std::errc::operation_canceled);
}

ASYNC_TEST("closing the other end fails a write that waits for space") {
  auto [a, b] = duplex(1, 1);
  const auto close = [](duplex_stream& s) -> task<> {
    co_await eddy::sleep(1s);
    s.close();
  };
  auto all = join(write_error(a, "too much"), close(b));
  const auto [w, nothing] = co_await std::move(all);
  CHECK(w == std::errc::connection_reset);  // for b has not read the first byte
}

ASYNC_TEST("a read that loses a select takes no bytes") {
  auto [a, b] = duplex(16, 16);
  std::array<char, 16> buffer;
  const auto write_later = [](duplex_stream& to) -> task<> {
    co_await eddy::sleep(1s);
    co_await to.write(std::string_view("kept"));
  };
  auto first = co_await eddy::select(write_later(a), b.read(buffer));
  CHECK(first.index() == 0);
  CHECK(take(b) == "kept");
}

ASYNC_TEST("an error of co_await names the operation") {
  auto [a, b] = duplex(1, 1);
  a.shutdown();
  std::string text;
  try {
    co_await a.write(std::string_view("x"));
  } catch (const std::system_error& e) {
    text = e.what();
  }
  CHECK(text == "write to a duplex: Broken pipe");
}

TEST_CASE_FIXTURE(with_still_loop, "handlers are called by the loop, never inside the call") {
  auto [a, b] = duplex(loop, 4, 4);
  std::array<char, 16> buffer;
  std::string got;
  bool written = false;
  b.read(buffer, [&](eddy::result<std::size_t> n) { got.assign(buffer.data(), n.value()); });
  a.write(std::string_view("abc"), [&](eddy::result<void> r) { written = r.has_value(); });
  CHECK(got.empty());
  CHECK_FALSE(written);
  loop.run();
  CHECK(got == "abc");
  CHECK(written);
}

TEST_CASE_FIXTURE(with_still_loop, "a handler may start the next operation and close the stream") {
  auto [a, b] = duplex(loop, 64, 64);
  std::array<char, 1> buffer;
  std::string got;
  struct reader {
    duplex_stream& from;
    std::array<char, 1>& buffer;
    std::string& got;
    void next() {
      from.read(buffer, [this](eddy::result<std::size_t> n) {
        if (n.value() == 0) return from.close();
        got += buffer[0];
        next();
      });
    }
  } r{b, buffer, got};
  r.next();
  a.write(std::string_view("one by one"), [&to = a](eddy::result<void>) { to.shutdown(); });
  loop.run();
  CHECK(got == "one by one");
  CHECK_FALSE(b.open());
}

TEST_CASE_FIXTURE(with_still_loop, "closing a stream destroys its handlers and calls none") {
  auto [a, b] = duplex(loop, 1, 1);
  int called = 0;
  std::array<char, 4> buffer;
  const auto held = std::make_shared<int>(0);
  a.read(buffer, [&called, held](eddy::result<std::size_t>) { ++called; });
  a.write(std::string_view("much"), [&called, held](eddy::result<void>) { ++called; });
  SUBCASE("at once") {}
  SUBCASE("after a turn") { loop.run(); }
  a.close();
  CHECK(held.use_count() == 1);
  loop.run();
  CHECK(called == 0);
}

TEST_CASE_FIXTURE(with_still_loop, "shutdown waits for a write with a handler that has not begun") {
  auto [a, b] = duplex(loop, 16, 16);
  a.write(std::string_view("first"), [](eddy::result<void> r) { CHECK(r.has_value()); });
  a.shutdown();
  SUBCASE("which completes") {
    loop.run();
    CHECK(take(b) == "first");
  }
  SUBCASE("which is stopped") {
    a.stop_writing();
    CHECK(take(b).empty());
  }
  std::array<char, 4> buffer;
  const auto end = b.try_read(buffer);
  REQUIRE(end.has_value());
  CHECK(end->value() == 0);
}

TEST_CASE_FIXTURE(with_still_loop, "try_write takes what fits, and try_read what is there") {
  auto [a, b] = duplex(loop, 3, 1);
  CHECK(a.try_write(std::string_view("abcd")).value() == 3);
  CHECK_FALSE(a.try_write(std::string_view("d")).has_value());
  CHECK(take(b) == "abc");
  std::array<char, 4> buffer;
  CHECK_FALSE(b.try_read(buffer).has_value());
  b.close();
  CHECK(a.try_write(std::string_view("x"))->error() == std::errc::broken_pipe);
}

TEST_CASE_FIXTURE(with_still_loop, "a try_write moves at most 256 KiB") {
  const std::size_t most = std::size_t{256} * 1024;
  auto [a, b] = duplex(loop, 3 * most, 1);
  const std::string much(2 * most, 'x');
  CHECK(a.try_write(much).value() == most);
  CHECK(a.try_write(much).value() == most);
  CHECK(b.unread() == 2 * most);
}

TEST_CASE("misuse of a duplex_stream aborts the program with a sentence") {
  static std::array<char, 8> buffer;
  const auto with_pair = [](auto mistake) {
    return [mistake] {
      eddy::event_loop loop;
      auto ends = duplex(loop, 1, 1);
      mistake(loop, ends.first);
      loop.run();
    };
  };
  dies_saying("a read is already pending on this duplex_stream",
              with_pair([](auto&, duplex_stream& s) {
                s.read(buffer, [](eddy::result<std::size_t>) {});
                s.read(buffer, [](eddy::result<std::size_t>) {});
              }));
  dies_saying("a read is already pending on this duplex_stream",
              with_pair([](auto& loop, duplex_stream& s) {
                auto first = eddy::spawn(loop, read_some(s));
                auto second = eddy::spawn(loop, read_some(s));
                loop.run();
              }));
  dies_saying("a write is already pending on this duplex_stream",
              with_pair([](auto& loop, duplex_stream& s) {
                auto first = eddy::spawn(loop, write_all(s, "ab"));
                auto second = eddy::spawn(loop, write_all(s, "ab"));
                loop.run();
              }));
  dies_saying("a read into an empty buffer", with_pair([](auto&, duplex_stream& s) {
                static_cast<void>(s.try_read(std::span<char>()));
              }));
  dies_saying("a duplex_stream was used that is not open", with_pair([](auto&, duplex_stream& s) {
                s.close();
                static_cast<void>(s.try_read(buffer));
              }));
  dies_saying("awaited on another loop than its own", with_pair([](auto&, duplex_stream& s) {
                eddy::event_loop other;
                eddy::block_on(other, read_some(s));
              }));
  dies_saying("a duplex was given a buffer of size zero", [] {
    eddy::event_loop loop;
    static_cast<void>(duplex(loop, 0, 1));
  });
}

ASYNC_TEST("10,000 random writes and reads move the same bytes as a plain string") {
  std::mt19937 random(13);
  for (int round = 0; round < 10; ++round) {
    auto [a, b] = duplex(1 + random() % 40, 1);
    std::string sent;
    std::string got;
    for (int i = 0; i < 1000; ++i) {
      if (random() % 2 == 0) {
        std::string bytes(1 + random() % 30, static_cast<char>('a' + random() % 26));
        const auto n = a.try_write(bytes);
        if (n) sent += bytes.substr(0, n->value());
      } else {
        std::vector<char> buffer(1 + random() % 30);
        const auto n = b.try_read(buffer);
        if (n) got.append(buffer.data(), n->value());
      }
    }
    a.shutdown();
    const std::string rest = co_await read_all(b);
    CHECK(got + rest == sent);
  }
}

namespace {

task<> sends_much(duplex_stream& to) {
  const std::string much(100, 'm');
  co_await to.write(much);
  to.shutdown();
}

}  // namespace

SCENARIO_TEST("duplex: more bytes than the buffer holds") {
  const eddy::trial::part held(t);
  auto [a, b] = duplex(t.loop(), 7, 7);
  auto both = join(sends_much(a), read_all(b));
  const auto [nothing, all] = co_await std::move(both);
  CHECK(all.size() == 100);
}

SCENARIO_TEST("duplex: reads and writes with handlers") {
  const eddy::trial::part held(t);
  auto [a, b] = duplex(t.loop(), 7, 7);
  std::array<char, 16> buffer;
  bool answered = false;
  b.read(buffer, [&](eddy::result<std::size_t> n) {
    t.runs();
    if (n) b.write(std::span(buffer).first(*n), [&](eddy::result<void>) { answered = true; });
  });
  a.write(std::string_view("ping"), [&](eddy::result<void>) { t.runs(); });
  co_await eddy::sleep(1s);
  if (answered) {
    const std::string pong = co_await read_some(a);
    CHECK(pong == "ping");
  }
}

namespace {

/// Bytes on the way are never lost, however the reader ends.
struct duplex_loses_nothing {
  explicit duplex_loses_nothing(eddy::trial& t) : of(t), ends(duplex(t.loop(), 8, 8)) {}
  task<> work() {
    const eddy::trial::part held(of);
    auto both = join(send(), receive());
    co_await std::move(both);
  }
  task<> send() {
    co_await eddy::sleep(1s);
    co_await ends.first.write(std::string_view("word"));
    sent = true;
  }
  task<> receive() {
    const std::string some = co_await read_some(ends.second);
    got += some;
  }
  std::string check(bool) {
    got += take(ends.second);
    return got == (sent ? "word" : "") || got == "word" ? "" : "bytes are lost: " + got;
  }
  eddy::trial& of;
  std::pair<duplex_stream, duplex_stream> ends;
  std::string got;
  bool sent = false;
};

}  // namespace

TEST_CASE("duplex: bytes that were written are never lost") {
  check_report(eddy::every_point<duplex_loses_nothing>());
  check_report(eddy::every_point<duplex_loses_nothing>(1));
}
