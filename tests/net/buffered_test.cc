// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/buffered.h>.
#include <eddy/net/buffered.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/duplex.h>
#include <eddy/net/tcp_stream.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/stream_pair.h"

using namespace std::chrono_literals;
using eddy::as_result;
using eddy::buffered;
using eddy::duplex;
using eddy::duplex_stream;
using eddy::frame_format;
using eddy::join;
using eddy::sleep;
using eddy::stream_error;
using eddy::task;

static_assert(eddy::byte_stream<buffered<eddy::tcp_stream>>);
static_assert(eddy::byte_stream<buffered<duplex_stream>>);
static_assert(eddy::byte_stream<buffered<buffered<duplex_stream>>>);
static_assert(!std::is_copy_constructible_v<buffered<duplex_stream>>);

namespace {

std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A buffered reader, and the bytes that it is to read.
struct source {
  explicit source(eddy::event_loop& loop, std::string_view all, std::size_t buffer_size = 16)
      : source(duplex(loop, 1000, 1000), buffer_size) {
    CHECK(from.try_write(all).value() == all.size());
  }
  explicit source(std::pair<duplex_stream, duplex_stream> ends, std::size_t buffer_size)
      : from(std::move(ends.first)), to(std::move(ends.second), buffer_size) {}

  duplex_stream from;
  buffered<duplex_stream> to;
};

template <class Operation>
task<std::error_code> error_of(Operation operation) {
  const auto r = co_await as_result(std::move(operation));
  co_return r ? std::error_code() : r.error();
}

}  // namespace

ASYNC_TEST("read_line gives each line without its line feed and carriage return") {
  source s(loop, "one\ntwo\r\n\n\r\nthree \r \n");
  s.from.shutdown();
  std::vector<std::string> all;
  for (;;) {
    const auto line = co_await s.to.read_line(10);
    if (!line) break;
    all.emplace_back(*line);
  }
  CHECK(all == std::vector<std::string>{"one", "two", "", "", "three \r "});
  const auto again = co_await s.to.read_line(10);
  CHECK_FALSE(again.has_value());
}

ASYNC_TEST("a line of the limit is read, and a longer line is an error that names the limit") {
  source s(loop, "12345\r\n123456\n");
  const auto line = co_await s.to.read_line(5);
  CHECK(line == "12345");
  std::string words;
  try {
    co_await s.to.read_line(5);
  } catch (const std::system_error& e) {
    words = e.what();
    CHECK(e.code() == stream_error::too_long);
  }
  CHECK(words == "read a line of at most 5 bytes: longer than the limit");
  const auto larger = co_await s.to.read_line(6);
  CHECK(larger == "123456");
}

ASYNC_TEST("a line that never ends fails as soon as its limit is passed") {
  source s(loop, "1234567");
  const std::error_code e = co_await error_of(s.to.read_line(5));
  CHECK(e == stream_error::too_long);
}

ASYNC_TEST("the end in the middle of a line is an error, and the bytes are still there") {
  source s(loop, "whole\nhal");
  s.from.shutdown();
  const auto line = co_await s.to.read_line(10);
  CHECK(line == "whole");
  const std::error_code e = co_await error_of(s.to.read_line(10));
  CHECK(e == stream_error::cut_off);
  CHECK(s.to.unread() == "hal");
  const auto rest = co_await s.to.peek(100);
  CHECK(text(rest) == "hal");
}

ASYNC_TEST("read_until takes the delimiter, also one that arrives in parts") {
  auto [a, b] = duplex(1, 1);
  buffered<duplex_stream> in(std::move(b), 1);
  const auto send = [](duplex_stream& to) -> task<> {
    co_await to.write(std::string_view("a--b---c--end--"));
    to.shutdown();
  };
  std::vector<std::string> all;
  const auto receive = [&](buffered<duplex_stream>& from) -> task<> {
    for (;;) {
      const auto part = co_await from.read_until("--", 3);
      if (!part) break;
      all.emplace_back(*part);
    }
  };
  auto both = join(send(a), receive(in));
  co_await std::move(both);
  CHECK(all == std::vector<std::string>{"a", "b", "-c", "end"});
}

ASYNC_TEST("read_until: the limit counts the bytes before the delimiter") {
  source s(loop, "123--1234--");
  const auto three = co_await s.to.read_until("--", 3);
  CHECK(three == "123");
  const std::error_code e = co_await error_of(s.to.read_until("--", 3));
  CHECK(e == stream_error::too_long);
}

ASYNC_TEST(
    "read_exactly gives as many bytes as it was asked for, more than the first buffer, too") {
  source s(loop, std::string(100, 'x') + "yy");
  s.from.shutdown();
  const auto none = co_await s.to.read_exactly(0);
  REQUIRE(none.has_value());
  CHECK(none->empty());
  const auto much = co_await s.to.read_exactly(100);
  REQUIRE(much.has_value());
  CHECK(text(*much) == std::string(100, 'x'));
  const std::error_code e = co_await error_of(s.to.read_exactly(3));
  CHECK(e == stream_error::cut_off);
  const auto two = co_await s.to.read_exactly(2);
  CHECK(two.has_value());
  const auto end = co_await s.to.read_exactly(3);
  CHECK_FALSE(end.has_value());
}

ASYNC_TEST("frames of each length size and order go through unchanged") {
  auto [a, b] = duplex(40, 40);
  buffered<duplex_stream> out(std::move(a), 8);
  buffered<duplex_stream> in(std::move(b), 8);
  for (const std::size_t size : {1, 2, 4, 8}) {
    for (const std::endian order : {std::endian::big, std::endian::little}) {
      const frame_format format{.length_bytes = size, .order = order};
      const std::string payload(size * 3, 'p');
      co_await out.write_frame(format, payload);
      co_await out.write_frame(format, std::string_view());
      co_await out.flush();
      const auto frame = co_await in.read_frame(format, payload.size());
      REQUIRE(frame.has_value());
      CHECK(text(*frame) == payload);
      const auto empty = co_await in.read_frame(format, 0);
      REQUIRE(empty.has_value());
      CHECK(empty->empty());
    }
  }
  co_await out.shutdown();
  const auto end = co_await in.read_frame({}, 10);
  CHECK_FALSE(end.has_value());
}

ASYNC_TEST("a frame's length is stored in the order of its format") {
  auto [a, b] = duplex(40, 40);
  buffered<duplex_stream> out(std::move(a));
  co_await out.write_frame({2, std::endian::big}, std::string_view("A"));
  co_await out.write_frame({2, std::endian::little}, std::string_view("B"));
  co_await out.flush();
  std::array<char, 40> raw;
  const std::size_t n = co_await b.read(raw);
  CHECK(std::string_view(raw.data(), n) == std::string_view("\0\1A\1\0B", 6));
}

ASYNC_TEST("a frame over its limit fails before its bytes arrive, also with the largest length") {
  source s(loop, std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff", 8));
  std::string words;
  try {
    co_await s.to.read_frame({.length_bytes = 8}, 100);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "read a frame of at most 100 bytes: longer than the limit");
  const std::error_code e = co_await error_of(s.to.read_frame({.length_bytes = 8}, SIZE_MAX));
  CHECK(e == stream_error::too_long);
}

ASYNC_TEST("the end in the middle of a frame's length or bytes is told from an orderly end") {
  std::string_view sent;
  bool orderly = false;
  SUBCASE("no byte") { orderly = true; }
  SUBCASE("a part of the length") { sent = std::string_view("\0\0", 2); }
  SUBCASE("a part of the bytes") { sent = std::string_view("\0\0\0\3ab", 6); }
  source s(loop, sent);
  s.from.shutdown();
  const auto r = co_await as_result(s.to.read_frame({}, 100));
  if (orderly) {
    REQUIRE(r.has_value());
    CHECK_FALSE(r->has_value());
  } else {
    CHECK(r.error() == stream_error::cut_off);
  }
}

ASYNC_TEST("a frame whose length does not fit its bytes is not written") {
  auto [a, b] = duplex(400, 400);
  buffered<duplex_stream> out(std::move(a));
  const std::string large(256, 'x');
  const std::error_code e = co_await error_of(out.write_frame({.length_bytes = 1}, large));
  CHECK(e == stream_error::too_long);
  CHECK(out.unflushed() == 0);
}

ASYNC_TEST("peek leaves the bytes for the next read") {
  source s(loop, "abcdef");
  const auto three = co_await s.to.peek(3);
  CHECK(text(three) == "abc");
  std::array<char, 4> buffer;
  const std::size_t n = co_await s.to.read(buffer);
  CHECK(std::string_view(buffer.data(), n) == "abcd");
}

ASYNC_TEST("a line that loses a select leaves its first part in the buffer") {
  source s(loop, "half ");
  auto first = co_await eddy::select(sleep(1s), s.to.read_line(100));
  CHECK(first.index() == 0);
  CHECK(s.to.unread() == "half ");
  co_await s.from.write(std::string_view("whole\n"));
  const auto line = co_await s.to.read_line(100);
  CHECK(line == "half whole");
}

ASYNC_TEST("small writes wait for a flush and then arrive in one piece") {
  auto [a, b] = duplex(100, 100);
  buffered<duplex_stream> out(std::move(a), 10);
  co_await out.write(std::string_view("one "));
  out.put(std::string_view("two "));
  CHECK(b.unread() == 0);
  CHECK(out.unflushed() == 8);
  co_await out.flush();
  CHECK(out.unflushed() == 0);
  CHECK(b.unread() == 8);
  co_await out.write(std::string_view("three "));
  co_await out.write(std::string_view("is more than fits"));
  CHECK(b.unread() == 31);
  const std::array<eddy::const_buffer, 2> list{std::string_view("x"), std::string_view("y")};
  co_await out.write(std::span(list));
  co_await out.shutdown();
  CHECK(b.unread() == 33);
}

ASYNC_TEST("a flush of a buffered stream around another one flushes both") {
  auto [a, b] = duplex(100, 100);
  buffered out(buffered(std::move(a)), 4);
  static_assert(std::same_as<decltype(out), buffered<buffered<duplex_stream>>>);
  co_await out.write(std::string_view("one"));
  CHECK(b.unread() == 0);
  co_await out.flush();
  CHECK(b.unread() == 3);
  co_await out.write(std::string_view("longer than the buffer"));
  CHECK(b.unread() == 25);
  co_await out.write(std::string_view("two"));
  co_await out.write(std::string_view("longer than the buffer"));
  CHECK(b.unread() == 50);
}

ASYNC_TEST("bytes that are put during a flush are flushed, too") {
  auto [a, b] = duplex(2, 2);
  buffered<duplex_stream> out(std::move(a), 10);
  buffered<duplex_stream> in(std::move(b), 10);
  out.put(std::string_view("first "));
  const auto add = [](buffered<duplex_stream>& to) -> task<> {
    to.put(std::string_view("second\n"));
    co_return;
  };
  auto all = join(out.flush(), add(out), in.read_line(100));
  const auto [x, y, line] = co_await std::move(all);
  CHECK(line == "first second");
}

ASYNC_TEST("after a cancelled flush, a write fails instead of doubling bytes") {
  auto [a, b] = duplex(2, 2);
  buffered<duplex_stream> out(std::move(a), 10);
  out.put(std::string_view("too much"));
  auto first = co_await eddy::select(sleep(1s), out.flush());
  CHECK(first.index() == 0);
  const std::error_code e = co_await error_of(out.flush());
  CHECK(e == std::errc::operation_canceled);
  const std::error_code w = co_await error_of(out.write(std::string_view("x")));
  CHECK(w == std::errc::operation_canceled);
}

ASYNC_TEST("after a failed flush, later writes and flushes fail with operation_canceled") {
  auto [near, far] = duplex(10, 10);
  buffered stream(std::move(near));
  co_await stream.write(std::string_view("some"));
  far.close();
  const auto flushed = co_await as_result(stream.flush());
  CHECK(flushed.error() == std::errc::broken_pipe);
  const auto written = co_await as_result(stream.write(std::string_view("more")));
  CHECK(written.error() == std::errc::operation_canceled);
  const auto again = co_await as_result(stream.flush());
  CHECK(again.error() == std::errc::operation_canceled);
}

ASYNC_TEST("closing resumes a waiting reader with operation_canceled") {
  source s(loop, "half");
  const auto close = [](buffered<duplex_stream>& of) -> task<> {
    co_await sleep(1s);
    of.close();
  };
  auto both = join(error_of(s.to.read_line(10)), close(s.to));
  const auto [e, nothing] = co_await std::move(both);
  CHECK(e == std::errc::operation_canceled);
}

ASYNC_TEST("after the stream below was closed, operations fail, and whole lines are still read") {
  source s(loop, "one\ntwo\nthr");
  const auto one = co_await s.to.read_line(10);
  CHECK(one == "one");
  s.to.put(std::string_view("bytes"));
  auto ending = s.to.shutdown();
  s.to.stream().close();
  const auto two = co_await s.to.read_line(10);
  CHECK(two == "two");
  const std::error_code read = co_await error_of(s.to.read_line(10));
  CHECK(read == std::errc::operation_canceled);
  const auto ended = co_await as_result(std::move(ending));
  CHECK(ended.error() == std::errc::operation_canceled);
  const auto flushed = co_await as_result(s.to.flush());
  CHECK(flushed.error() == std::errc::operation_canceled);
  const auto written = co_await as_result(s.to.write(std::string(100, 'x')));
  CHECK(written.error() == std::errc::operation_canceled);
  CHECK(s.to.unflushed() == 5);
}

TEST_CASE_FIXTURE(with_still_loop, "a handler of lines may close the stream below") {
  auto [a, b] = duplex(loop, 100, 100);
  CHECK(a.try_write(std::string_view("one\ntwo\nthr")).value() == 11);
  buffered<duplex_stream> in(std::move(b));
  std::string got;
  in.lines(10, [&](eddy::result<std::optional<std::string_view>> line) {
    got += line ? std::string(**line) : line.error().message();
    in.stream().close();
  });
  loop.run();
  CHECK(got == "onetwo" + std::make_error_code(std::errc::operation_canceled).message());
}

ASYNC_TEST("lines of a TCP connection, with short reads and interrupted calls") {
  failing_system system;
  stream_pair ends(loop);
  buffered<eddy::tcp_stream> in(std::move(ends.far), 8);
  const auto send = [](eddy::tcp_stream& to) -> task<> {
    co_await to.write(std::string_view("first line\nsecond line\n"));
    to.shutdown();
  };
  system.limit_bytes(3);
  system.fail(call::read, EINTR, 2);
  const auto receive = [](buffered<eddy::tcp_stream>& from) -> task<std::string> {
    std::string all;
    for (;;) {
      const auto line = co_await from.read_line(20);
      if (!line) co_return all;
      all.append(*line).append("|");
    }
  };
  auto both = join(send(ends.near), receive(in));
  const auto [nothing, all] = co_await std::move(both);
  CHECK(all == "first line|second line|");
}

ASYNC_TEST("each errno of read(2) reaches the reader of a line, and no byte is lost") {
  for (const int error : {EBADF, EFAULT, EINVAL, EIO, ECONNRESET, ETIMEDOUT, ENOMEM, ENOBUFS}) {
    failing_system system;
    stream_pair ends(loop);
    buffered<eddy::tcp_stream> in(std::move(ends.far), 8);
    send(ends.near, "line\n");
    system.fail(call::read, error);
    const std::error_code e = co_await error_of(in.read_line(20));
    CHECK(e.value() == error);
    const auto line = co_await in.read_line(20);
    CHECK(line == "line");
  }
}

TEST_CASE_FIXTURE(with_loop, "lines calls its handler with each line and then with the end") {
  stream_pair ends(loop);
  buffered<eddy::tcp_stream> in(std::move(ends.far));
  send(ends.near, "one\ntwo\nthree\n");
  ends.near.shutdown();
  std::vector<std::string> all;
  bool ended = false;
  in.lines(10, [&](eddy::result<std::optional<std::string_view>> line) {
    REQUIRE(line.has_value());
    ended = !line->has_value();
    if (!ended) all.emplace_back(**line);
  });
  CHECK(all.empty());
  loop.run();
  CHECK(ended);
  CHECK(all == std::vector<std::string>{"one", "two", "three"});
}

TEST_CASE_FIXTURE(with_still_loop, "a handler of lines may stop it or destroy the stream") {
  auto [a, b] = duplex(loop, 100, 100);
  CHECK(a.try_write(std::string_view("one\ntwo\nthree\n")).value() == 14);
  auto in = std::make_unique<buffered<duplex_stream>>(std::move(b));
  int called = 0;
  bool destroys = false;
  SUBCASE("stop_reading") {}
  SUBCASE("destroy") { destroys = true; }
  in->lines(10, [&](eddy::result<std::optional<std::string_view>>) {
    ++called;
    destroys ? in.reset() : in->stop_reading();
  });
  loop.run();
  CHECK(called == 1);
  if (!destroys) {
    const auto line = in->try_read_line(10);
    REQUIRE(line.has_value());
    CHECK(line->value() == "two");
  }
}

TEST_CASE_FIXTURE(with_still_loop, "an exception of a handler of lines leaves run, and ends them") {
  auto [a, b] = duplex(loop, 100, 100);
  CHECK(a.try_write(std::string_view("one\ntwo\nthree\n")).value() == 14);
  buffered<duplex_stream> in(std::move(b));
  int called = 0;
  in.lines(10, [&](eddy::result<std::optional<std::string_view>>) {
    if (++called == 2) throw std::runtime_error("two");
  });
  CHECK_THROWS_WITH_AS(loop.run(), "two", std::runtime_error);
  CHECK(called == 2);
  std::string next;
  in.read_line(10, [&](eddy::result<std::optional<std::string_view>> line) { next = **line; });
  loop.run();
  CHECK(next == "three");
}

TEST_CASE_FIXTURE(with_still_loop, "a handler of lines may begin another read, and then throw") {
  auto [a, b] = duplex(loop, 100, 100);
  CHECK(a.try_write(std::string_view("one\ntwo\n")).value() == 8);
  buffered<duplex_stream> in(std::move(b));
  std::size_t limit = 10;
  SUBCASE("after it has stopped the lines") {}
  SUBCASE("after the last call") { limit = 2; }
  in.lines(limit, [&](eddy::result<std::optional<std::string_view>> line) {
    if (line) in.stop_reading();
    in.read_exactly(100, [](const auto&) { FAIL("called"); });
    throw std::runtime_error("thrown");
  });
  CHECK_THROWS_WITH_AS(loop.run(), "thrown", std::runtime_error);
  loop.run();
  in.stop_reading();  // the other read belongs to the stream
  CHECK(a.try_write(std::string(100, 'x')).has_value());
  loop.run();
  const auto line = in.try_read_line(10);
  REQUIRE(line.has_value());
  CHECK(line->value() == (limit == 10 ? "two" : "one"));
}

TEST_CASE_FIXTURE(with_still_loop, "each operation has a form with a handler") {
  auto [a, b] = duplex(loop, 100, 100);
  buffered<duplex_stream> out(std::move(a));
  buffered<duplex_stream> in(std::move(b));
  std::string got;
  out.put(std::string_view("line\nup to.exact"));
  out.write_frame({}, std::string_view("frame"), [&](eddy::result<void> r) {
    CHECK(r.has_value());
    out.shutdown([](eddy::result<void> s) { CHECK(s.has_value()); });
  });
  in.read_line(9, [&](eddy::result<std::optional<std::string_view>> line) {
    got += **line;
    in.read_until(".", 9, [&](eddy::result<std::optional<std::string_view>> part) {
      got += **part;
      in.read_exactly(5, [&](eddy::result<std::optional<std::span<const std::byte>>> five) {
        got += text(**five);
        in.peek(4, [&](eddy::result<std::span<const std::byte>> next) {
          CHECK(text(*next) == std::string_view("\0\0\0\5", 4));
          in.read_frame({}, 9, [&](eddy::result<std::optional<std::span<const std::byte>>> frame) {
            got += text(**frame);
          });
        });
      });
    });
  });
  loop.run();
  CHECK(got == "lineup toexactframe");
}

TEST_CASE_FIXTURE(with_still_loop, "try_read_line and try_read_frame look only into the buffer") {
  auto [a, b] = duplex(loop, 100, 100);
  buffered<duplex_stream> in(std::move(b));
  CHECK_FALSE(in.try_read_line(10).has_value());
  CHECK(a.try_write(std::string_view("one\n\0\0\0\1xtoo long\n", 18)).has_value());
  in.peek(18, [](eddy::result<std::span<const std::byte>>) {});
  loop.run();
  CHECK(in.try_read_line(10)->value() == "one");
  CHECK(text(*in.try_read_frame({}, 10)->value()) == "x");
  CHECK(in.try_read_line(2)->error() == stream_error::too_long);
}

TEST_CASE_FIXTURE(with_still_loop, "closing destroys the handlers of pending operations") {
  auto [a, b] = duplex(loop, 1, 1);
  auto in = std::make_unique<buffered<duplex_stream>>(std::move(b));
  const auto held = std::make_shared<int>(0);
  in->read_line(10, [held](eddy::result<std::optional<std::string_view>>) { FAIL("called"); });
  in->put(std::string_view("much"));
  in->flush([held](eddy::result<void>) { FAIL("called"); });
  SUBCASE("before the first turn") {}
  SUBCASE("after a turn") { loop.run(); }
  in.reset();
  CHECK(held.use_count() == 1);
}

TEST_CASE("misuse of a buffered stream aborts the program with a sentence") {
  using stream = buffered<duplex_stream>;
  const auto with_stream = [](auto mistake) {
    return [mistake] {
      eddy::event_loop loop;
      auto ends = duplex(loop, 1, 1);
      stream s(std::move(ends.first));
      mistake(loop, s);
      loop.run();
    };
  };
  static constexpr auto ignore = [](eddy::result<std::optional<std::string_view>>) {};
  dies_saying("a read is already pending on this buffered stream",
              with_stream([](auto&, stream& s) {
                s.read_line(10, ignore);
                s.lines(10, ignore);
              }));
  dies_saying("a read is already pending on this buffered stream",
              with_stream([](auto& loop, stream& s) {
                auto first = eddy::spawn(loop, error_of(s.read_line(1)));
                auto second = eddy::spawn(loop, error_of(s.read_line(1)));
                loop.run();
              }));
  dies_saying("a read is already pending on this buffered stream",
              with_stream([](auto&, stream& s) {
                s.read_line(10, ignore);
                static_cast<void>(s.try_read_line(10));
              }));
  dies_saying("a write is already pending on this buffered stream",
              with_stream([](auto& loop, stream& s) {
                s.put(std::string_view("much"));
                auto first = eddy::spawn(loop, s.flush());
                auto second = eddy::spawn(loop, s.flush());
                loop.run();
              }));
  // Bytes that fit into the buffer are no exception.
  const auto during_flush = [&](auto write) {
    return with_stream([write](auto& loop, stream& s) {
      s.put(std::string_view("much"));
      s.flush([](const auto&) {});
      loop.run();
      auto second = eddy::spawn(loop, error_of(write(s)));
      loop.run();
    });
  };
  dies_saying("a write is already pending on this buffered stream",
              during_flush([](stream& s) { return s.write(std::string_view("x")); }));
  dies_saying("a write is already pending on this buffered stream",
              during_flush([](stream& s) { return s.write_frame({}, std::string_view("x")); }));
  dies_saying("a buffered stream was given a buffer of size zero", [] {
    eddy::event_loop loop;
    const stream s(duplex(loop, 1, 1).first, 0);
  });
  dies_saying("read_until was given an empty delimiter",
              with_stream([](auto&, stream& s) { static_cast<void>(s.read_until("", 10)); }));
  dies_saying("the length of a frame must have 1, 2, 4 or 8 bytes",
              with_stream([](auto&, stream& s) {
                static_cast<void>(s.read_frame({.length_bytes = 3}, 10));
              }));
  dies_saying("a buffered stream was used that is not open", with_stream([](auto&, stream& s) {
                s.close();
                static_cast<void>(s.unread());
              }));
  dies_saying("awaited on another loop than its own", with_stream([](auto&, stream& s) {
                eddy::event_loop other;
                eddy::block_on(other, error_of(s.read_line(1)));
              }));
}

namespace {

/// The expected units, found in the slowest and plainest way.
struct model {
  std::string left;
  bool ended = false;

  std::optional<std::string> line(std::size_t limit, std::error_code& e) {
    const std::size_t at = left.find('\n');
    if (at == std::string::npos) return without(left.size() >= limit + 2, e);
    std::string found = left.substr(0, at);
    if (!found.empty() && found.back() == '\r') found.pop_back();
    if (found.size() > limit) return without(true, e);
    left.erase(0, at + 1);
    return found;
  }
  std::optional<std::string> until(std::string_view delimiter, std::size_t limit,
                                   std::error_code& e) {
    const std::size_t at = left.find(delimiter);
    if (at == std::string::npos) return without(left.size() >= limit + delimiter.size(), e);
    if (at > limit) return without(true, e);
    std::string found = left.substr(0, at);
    left.erase(0, at + delimiter.size());
    return found;
  }
  std::optional<std::string> exactly(std::size_t count, std::error_code& e) {
    if (left.size() < count) return without(false, e);
    std::string found = left.substr(0, count);
    left.erase(0, count);
    return found;
  }
  std::optional<std::string> frame(frame_format f, std::size_t limit, std::error_code& e) {
    if (left.size() < f.length_bytes) return without(false, e);
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < f.length_bytes; ++i) {
      const auto byte = static_cast<unsigned char>(left[i]);
      const std::size_t shift = 8 * (f.order == std::endian::little ? i : f.length_bytes - 1 - i);
      length |= std::uint64_t{byte} << shift;
    }
    if (length > limit) return without(true, e);
    if (left.size() - f.length_bytes < length) return without(false, e);
    std::string found = left.substr(f.length_bytes, length);
    left.erase(0, f.length_bytes + length);
    return found;
  }

private:
  /// There is no unit: because of its limit, because the stream has ended, or not yet.
  std::optional<std::string> without(bool too_long, std::error_code& e) const {
    if (too_long) {
      e = stream_error::too_long;
    } else if (ended && !left.empty()) {
      e = stream_error::cut_off;
    } else if (!ended) {
      e = std::make_error_code(std::errc::timed_out);  // a read waits
    }
    return std::nullopt;
  }
};

/// Random operations, limits and chunks, against the model.
task<> compare(std::uint64_t seed, int operations) {
  std::mt19937_64 random(seed);
  const auto upto = [&random](std::size_t n) { return random() % (n + 1); };
  int done = 0;
  while (done < operations) {
    auto [a, b] = duplex(1 + upto(300), 1);
    buffered<duplex_stream> in(std::move(b), 1 + upto(40));
    model plain;
    for (int i = 0; i < 400 && done < operations; ++i) {
      if (!plain.ended && upto(2) == 0) {
        static constexpr std::string_view alphabet("ab\r\n-\0\1\2\3", 9);
        std::string chunk(upto(30), ' ');
        for (char& c : chunk) c = alphabet[upto(alphabet.size() - 1)];
        const auto n = a.try_write(chunk);
        if (n) plain.left += chunk.substr(0, n->value());
        if (upto(100) == 0) {
          a.shutdown();
          plain.ended = true;
        }
      }
      ++done;
      const std::size_t limit = upto(20);
      const frame_format format{.length_bytes = std::size_t{1} << upto(1),
                                .order = upto(1) == 0 ? std::endian::big : std::endian::little};
      std::error_code expected_error;
      std::optional<std::string> expected;
      std::error_code got_error;
      std::optional<std::string> got;
      const auto note = [&](const auto& r) {
        if (!r) {
          got_error = r.error();
        } else if (*r) {
          got.emplace(reinterpret_cast<const char*>((*r)->data()), (*r)->size());
        }
      };
      // A read that has to wait loses against a sleep, and must lose no byte.
      const auto give_up = []() -> task<> { co_await sleep(1ns); };
      switch (upto(4)) {
        case 0: {
          expected = plain.line(limit, expected_error);
          auto first = co_await eddy::select(as_result(in.read_line(limit)), give_up());
          if (first.index() == 0) note(std::get<0>(first));
          if (first.index() == 1) got_error = std::make_error_code(std::errc::timed_out);
          break;
        }
        case 1: {
          expected = plain.until("--", limit, expected_error);
          auto first = co_await eddy::select(as_result(in.read_until("--", limit)), give_up());
          if (first.index() == 0) note(std::get<0>(first));
          if (first.index() == 1) got_error = std::make_error_code(std::errc::timed_out);
          break;
        }
        case 2: {
          expected = plain.exactly(limit, expected_error);
          auto first = co_await eddy::select(as_result(in.read_exactly(limit)), give_up());
          if (first.index() == 0) note(std::get<0>(first));
          if (first.index() == 1) got_error = std::make_error_code(std::errc::timed_out);
          break;
        }
        case 3: {
          expected = plain.frame(format, limit, expected_error);
          auto first = co_await eddy::select(as_result(in.read_frame(format, limit)), give_up());
          if (first.index() == 0) note(std::get<0>(first));
          if (first.index() == 1) got_error = std::make_error_code(std::errc::timed_out);
          break;
        }
        default: {
          // Skip a byte, so that an error does not stay for ever.
          const std::size_t count = plain.left.empty() ? 0 : 1;
          expected = plain.exactly(count, expected_error);
          const auto r = co_await as_result(in.read_exactly(count));
          note(r);
        }
      }
      if (got != expected || got_error != expected_error) {
        FAIL("seed ", seed, ", operation ", done, ": got ", got.value_or("nothing"), " (",
             got_error.message(), "), expected ", expected.value_or("nothing"), " (",
             expected_error.message(), ")");
      }
      if (plain.ended && plain.left.empty()) break;
    }
  }
}

}  // namespace

ASYNC_TEST("a million random reads give the same units as a plain model") {
#ifdef __SANITIZE_ADDRESS__
  co_await compare(13, 100'000);
#else
  co_await compare(13, 1'000'000);
#endif
}

namespace {

/// A reader that is ended anywhere leaves the rest of the lines to the next reader.
struct reads_lines {
  explicit reads_lines(eddy::trial& t)
      : of(t), ends(duplex(t.loop(), 5, 5)), in(std::move(ends.second), 4) {}
  task<> work() {
    const eddy::trial::part held(of);
    auto both = join(send(), receive());
    co_await std::move(both);
  }
  task<> send() {
    co_await ends.first.write(std::string_view("first\n"));
    co_await sleep(1s);
    co_await ends.first.write(std::string_view("second\n"));
    ends.first.shutdown();
  }
  task<> receive() {
    for (;;) {
      const auto line = co_await in.read_line(10);
      if (!line) break;
      got.append(*line).append("\n");
    }
  }
  std::string check(bool whole) {
    got += in.unread();
    const std::string_view all = "first\nsecond\n";
    return whole ? (got == all ? "" : "lines are lost: " + got)
                 : (all.starts_with(got) ? "" : "lines are doubled: " + got);
  }
  eddy::trial& of;
  std::pair<duplex_stream, duplex_stream> ends;
  buffered<duplex_stream> in;
  std::string got;
};

}  // namespace

TEST_CASE("read_line: a reader is ended at every point") {
  check_report(eddy::every_point<reads_lines>());
  check_report(eddy::every_point<reads_lines>(1));
}

SCENARIO_TEST("buffered: frames are written, flushed and read") {
  const eddy::trial::part held(t);
  auto [a, b] = duplex(t.loop(), 9, 9);
  buffered<duplex_stream> out(std::move(a), 8);
  buffered<duplex_stream> in(std::move(b), 4);
  const auto send = [](buffered<duplex_stream>& to) -> task<> {
    co_await to.write_frame({}, std::string_view("one"));
    co_await to.write_frame({}, std::string_view("two is longer"));
    co_await to.shutdown();
  };
  const auto receive = [](buffered<duplex_stream>& from) -> task<std::string> {
    std::string all;
    for (;;) {
      const auto frame = co_await from.read_frame({}, 100);
      if (!frame) co_return all;
      all += text(*frame);
    }
  };
  auto both = join(send(out), receive(in));
  const auto [nothing, all] = co_await std::move(both);
  CHECK(all == "onetwo is longer");
}

namespace {

struct lines_with_a_handler {
  explicit lines_with_a_handler(eddy::trial& t) : of(t), ends(t.loop()), in(std::move(ends.far)) {}
  task<> work() {
    const eddy::trial::part held(of);
    in.lines(10, [this](eddy::result<std::optional<std::string_view>> line) {
      if (line && *line) got.append(**line).append("|");
    });
    const auto stop = [](lines_with_a_handler* s) { s->in.stop_reading(); };
    const std::unique_ptr<lines_with_a_handler, decltype(stop)> stopped(this, stop);
    co_await ends.near.write(std::string_view("one\ntwo\n"));
    ends.near.shutdown();
    co_await sleep(1s);
    CHECK((got == "one|two|" || got.empty()));  // empty if memory was short
  }
  eddy::trial& of;
  stream_pair ends;
  buffered<eddy::tcp_stream> in;
  std::string got;
};

}  // namespace

TEST_CASE("lines with a handler: the work is ended at every point") {
  check_report(eddy::every_point<lines_with_a_handler>());
  check_report(eddy::every_point<lines_with_a_handler>(1));
}

ASYNC_TEST("a write into the buffer uses up the share by its bytes and by its pieces") {
  auto [below, far] = duplex(100, 100);
  buffered stream(std::move(below), 4'000'000);
  const std::vector<eddy::const_buffer> few(10);
  const auto lets_others_run = [&](task<> writing) -> task<bool> {
    bool ran = false;
    co_await eddy::yield();  // so that the share is whole
    loop.defer([&ran] { ran = true; });
    co_await std::move(writing);
    co_await stream.write(few);  // and this waits if the share is used up
    const bool then = ran;
    co_await eddy::yield();
    co_return then;
  };
  const std::string some(200'000, 'x');
  const std::vector<eddy::const_buffer> empty(2000);
  const std::vector<eddy::const_buffer> large(10, eddy::const_buffer(some));
  const bool after_few = co_await lets_others_run(stream.write(few));
  CHECK_FALSE(after_few);
  const bool after_empty = co_await lets_others_run(stream.write(empty));
  CHECK(after_empty);
  const bool after_bytes = co_await lets_others_run(stream.write(some));
  CHECK(after_bytes);
  const bool after_large = co_await lets_others_run(stream.write(large));
  CHECK(after_large);
}
