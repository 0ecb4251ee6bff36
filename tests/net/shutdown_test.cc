// SPDX-License-Identifier: BSD-2-Clause
// The half-close of a tcp_stream: shutdown and shutdown_read.
#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/timer.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/unix_stream.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/failing_system.h"
#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/stream_pair.h"

using namespace std::chrono_literals;
using eddy::const_buffer;
using eddy::result;
using eddy::tcp_stream;

namespace {

/// More bytes than the kernel takes at once.
const std::string much(8'000'000, 'm');

eddy::task<std::error_code> write_all(eddy::socket_stream& to) {
  const auto r = co_await eddy::as_result(to.write(much));
  co_return r ? std::error_code() : r.error();
}

eddy::task<std::error_code> write_pieces(eddy::socket_stream& to) {
  const std::array<const_buffer, 3> pieces = {"head", "", much};
  const auto r = co_await eddy::as_result(to.write(pieces));
  co_return r ? std::error_code() : r.error();
}

eddy::task<std::error_code> write_some(eddy::socket_stream& to) {
  const auto r = co_await eddy::as_result(to.write("more"));
  co_return r ? std::error_code() : r.error();
}

constexpr int many = 1'000'000;

eddy::task<> write_often(eddy::socket_stream& to, int& failed) {
  for (int i = 0; i < many; ++i) {
    const auto r = co_await eddy::as_result(to.write("more"));
    if (!r && r.error() == std::errc::broken_pipe) ++failed;
  }
}

eddy::task<std::error_code> wait_for_room(eddy::socket_stream& to) {
  const auto r = co_await eddy::as_result(to.wait_writable());
  co_return r ? std::error_code() : r.error();
}

eddy::task<std::string> read_words(eddy::socket_stream& from) {
  std::string all;
  std::array<char, 4> buffer;
  for (;;) {
    const std::size_t n = co_await from.read(buffer);
    if (n == 0) co_return all;
    all.append(buffer.data(), n);
  }
}

struct two_of_tcp : stream_pair {
  using stream_pair::stream_pair;
  static constexpr bool hears_late = true;  // after shutdown_read
};

struct two_of_a_pair {
  explicit two_of_a_pair(eddy::event_loop& loop) {
    const socket_pair pair;
    near = eddy::unix_stream(loop, ::fcntl(pair.near(), F_DUPFD_CLOEXEC, 0));
    far = eddy::unix_stream(loop, ::fcntl(pair.far(), F_DUPFD_CLOEXEC, 0));
  }
  static constexpr bool hears_late = false;  // the writer is told
  eddy::unix_stream near;
  eddy::unix_stream far;
};

/// Runs the loop and reads all that the other side sends. Returns the number of bytes.
std::size_t read_to_end(eddy::event_loop& loop, eddy::socket_stream& from) {
  std::array<char, 65536> buffer;
  std::size_t size = 0;
  bool ended = false;
  std::function<void()> more = [&] {
    from.read(buffer, [&](result<std::size_t> n) {
      size += n.value_or(0);
      ended = n.value_or(0) == 0;
      if (!ended) more();
    });
  };
  more();
  while (!ended) loop.run_once();
  return size;
}

}  // namespace

TEST_CASE_FIXTURE(with_loop, "a shutdown during a pending write happens after the write") {
  stream_pair pair(loop);
  std::error_code error = std::make_error_code(std::errc::interrupted);
  std::size_t size = much.size();
  std::optional<eddy::future<std::error_code>> writing;
  const auto done = [&](result<void> r) { error = r ? std::error_code() : r.error(); };
  const std::array<const_buffer, 3> pieces = {"head", "", much};

  SUBCASE("a handler") {
    pair.near.write(much, done);
    SUBCASE("while the write waits") { loop.run_ready(); }
    SUBCASE("before the first attempt") {}
  }
  SUBCASE("a handler, several buffers") {
    size += 4;
    pair.near.write(pieces, done);
    SUBCASE("while the write waits") { loop.run_ready(); }
    SUBCASE("before the first attempt") {}
  }
  SUBCASE("a coroutine") {
    writing = eddy::spawn(loop, write_all(pair.near));
    loop.run_ready();
  }
  SUBCASE("a coroutine, several buffers") {
    size += 4;
    writing = eddy::spawn(loop, write_pieces(pair.near));
    loop.run_ready();
  }
  pair.near.shutdown();
  pair.near.shutdown();

  CHECK(read_to_end(loop, pair.far) == size);
  loop.run();
  if (writing) error = std::move(*writing).take().value();
  CHECK(!error);
}

TEST_CASE_FIXTURE(with_loop,
                  "a shutdown that waited for a write is done when the write's handler runs") {
  stream_pair pair(loop);
  std::error_code late;
  pair.near.write("last words", [&](result<void> r) {
    CHECK(r.has_value());
    CHECK(pair.near.try_write("x")->error() == std::errc::broken_pipe);
    pair.near.write("x", [&](result<void> second) { late = second.error(); });
  });
  pair.near.shutdown();
  loop.run();
  CHECK(late == std::errc::broken_pipe);
  CHECK(take(pair.far) == "last words");
}

TEST_CASE_FIXTURE(with_loop, "a shutdown follows a write that is cancelled") {
  stream_pair pair(loop);
  std::optional<eddy::future<std::error_code>> writing;
  int alive = 0;
  // While a copy of the socket is open, only a shutdown ends the sending side.
  tcp_stream copy(loop, ::fcntl(pair.near.descriptor(), F_DUPFD_CLOEXEC, 0));
  SUBCASE("a handler, by stop_writing") {
    pair.near.write(much, [c = counted(alive)](result<void>) { FAIL("it was dropped"); });
    loop.run_ready();
    pair.near.shutdown();
    pair.near.stop_writing();
  }
  SUBCASE("a handler, by closing") {
    pair.near.write(much, [c = counted(alive)](result<void>) { FAIL("it was dropped"); });
    loop.run_ready();
    pair.near.shutdown();
    pair.near.close();
  }
  SUBCASE("a handler before the first attempt, by destroying the stream") {
    pair.near.write(much, [c = counted(alive)](result<void>) { FAIL("it was dropped"); });
    pair.near.shutdown();
    tcp_stream(std::move(pair.near));
  }
  SUBCASE("a coroutine, by stop_writing") {
    writing = eddy::spawn(loop, write_all(pair.near));
    loop.run_ready();
    pair.near.shutdown();
    pair.near.stop_writing();
  }
  SUBCASE("a coroutine, by closing") {
    writing = eddy::spawn(loop, write_all(pair.near));
    loop.run_ready();
    pair.near.shutdown();
    pair.near.close();
  }
  SUBCASE("a coroutine, by destroying it") {
    writing = eddy::spawn(loop, write_all(pair.near));
    loop.run_ready();
    pair.near.shutdown();
    writing.reset();
  }
  CHECK(alive == 0);
  CHECK(read_to_end(loop, pair.far) < much.size());
  loop.run();
  if (writing) {
    CHECK(std::move(*writing).take().value() == std::errc::operation_canceled);
  }
}

TEST_CASE_FIXTURE(with_loop, "a shutdown follows a write that fails") {
  stream_pair pair(loop);
  std::error_code error;
  pair.near.write(much, [&](result<void> r) { error = r.error(); });
  loop.run_ready();
  pair.near.shutdown();
  SUBCASE("because of the system") {
    failing_system system;
    system.fail(call::send, ENOBUFS);
    CHECK(read_to_end(loop, pair.far) < much.size());
    CHECK(system.count(call::shutdown) == 1);
    CHECK(error == std::errc::no_buffer_space);
  }
  SUBCASE("because of the peer") {
    pair.far.set_linger(0s);
    pair.far.close();
    loop.run();
    CHECK(error);
    CHECK(pair.near.try_write("x")->error() == std::errc::broken_pipe);
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a write that starts after a shutdown fails, though an earlier waits") {
  stream_pair pair(loop);
  journal note;
  pair.near.write(much, [&](result<void> r) { note(r ? "first" : "first failed"); });
  loop.run_ready();
  pair.near.shutdown();

  SUBCASE("with a handler, which is not called inside the call") {
    const auto second = [&](result<void> r) {
      note(r.error() == std::errc::broken_pipe ? "second" : "wrong");
    };
    SUBCASE("one buffer") { pair.near.write("more", second); }
    SUBCASE("several buffers") {
      const std::array<const_buffer, 2> two = {"a", "b"};
      pair.near.write(two, second);
    }
    note("called");
    loop.run_ready();
    CHECK(note == "called second");
  }
  SUBCASE("with several handlers, in their order") {
    for (const char* const name : {"one", "two", "three"}) {
      pair.near.write("more", [&note, name](result<void> r) {
        CHECK(r.error() == std::errc::broken_pipe);
        note(name);
      });
    }
    loop.run_ready();
    CHECK(note == "one two three");
  }
  SUBCASE("a coroutine's") {
    auto second = eddy::spawn(loop, write_some(pair.near));
    loop.run_ready();
    CHECK(std::move(second).take().value() == std::errc::broken_pipe);
    CHECK(note == "");
  }
  SUBCASE("a try") {
    CHECK(pair.near.try_write("more")->error() == std::errc::broken_pipe);
    CHECK(note == "");
  }
  SUBCASE("a wait_writable completes, because a write would not wait") {
    auto waiting = eddy::spawn(loop, wait_for_room(pair.near));
    pair.near.wait_writable([&](result<void> r) { note(r ? "room" : "wrong"); });
    loop.run_ready();
    CHECK(!std::move(waiting).take().value());
    CHECK(note == "room");
  }
  CHECK(read_to_end(loop, pair.far) == much.size());
  loop.run();
  CHECK(note.text().ends_with("first"));
}

TEST_CASE_FIXTURE(with_still_loop, "a million writes after a shutdown do not starve a timer") {
  stream_pair pair(loop);
  pair.near.write(much, [](result<void>) { FAIL("it was dropped"); });
  loop.run_ready();
  pair.near.shutdown();
  int done = 0;
  int before_timer = 0;
  eddy::timer t(loop);
  t.start(0ms, [&] { before_timer = done; });
  auto late = eddy::spawn(loop, write_often(pair.near, done));
  while (!late.ready()) loop.run_once();
  CHECK(done == many);
  CHECK(before_timer < 2000);
  pair.near.stop_writing();
}

TEST_CASE_FIXTURE(with_loop, "handlers of late writes are destroyed with the stream's writes") {
  std::optional<stream_pair> pair(loop);
  int alive = 0;
  pair->near.write(much, [c = counted(alive)](result<void>) { FAIL("it was dropped"); });
  loop.run_ready();
  pair->near.shutdown();
  pair->near.write("a", [c = counted(alive)](result<void>) { FAIL("it was dropped"); });
  pair->near.write("b", [c = counted(alive)](result<void>) { FAIL("it was dropped"); });
  CHECK(alive == 3);
  SUBCASE("stop_writing") { pair->near.stop_writing(); }
  SUBCASE("close") { pair->near.close(); }
  SUBCASE("destroy") { pair.reset(); }
  CHECK(alive == 0);
  loop.run();
}

TEST_CASE_FIXTURE(with_still_loop,
                  "closing a stream does not touch the late writes of another stream") {
  stream_pair first(loop);
  stream_pair second(loop);
  journal note;
  for (tcp_stream* const s : {&first.near, &second.near}) {
    s->write(much, [](result<void>) { FAIL("it was dropped"); });
    loop.run_ready();
    s->shutdown();
  }
  first.near.write("a", [](result<void>) { FAIL("it was dropped"); });
  second.near.write("b", [&](result<void> r) { note(r ? "wrong" : "second"); });
  first.near.close();
  loop.run_ready();
  CHECK(note == "second");
  second.near.stop_writing();
}

TEST_CASE_FIXTURE(with_still_loop, "the handler of a late write may own the stream") {
  auto pair = std::make_shared<stream_pair>(loop);
  const std::weak_ptr<stream_pair> watch = pair;
  bool told = false;
  pair->near.write(much, [](result<void>) { FAIL("it was dropped"); });
  loop.run_ready();
  pair->near.shutdown();
  stream_pair& inside = *pair;
  SUBCASE("and is called") {
    inside.near.write("a", [own = std::move(pair), &told](result<void> r) { told = !r; });
    loop.run_ready();
    CHECK(told);
  }
  SUBCASE("and is stopped") {
    inside.near.write("a", [own = std::move(pair)](result<void>) { FAIL("it was dropped"); });
    inside.near.stop_writing();
  }
  SUBCASE("and the stream is closed") {
    inside.near.write("a", [own = std::move(pair)](result<void>) { FAIL("it was dropped"); });
    inside.near.close();
  }
  CHECK(watch.expired());
  loop.run();
}

TEST_CASE_FIXTURE(with_loop, "a late write without memory throws bad_alloc") {
  using eddy::detail::failing_allocations;
  stream_pair pair(loop);
  pair.near.write("first", [](result<void>) {});
  pair.near.shutdown();
  bool thrown = false;
  try {
    const failing_allocations first(0, failing_allocations::times::once);
    pair.near.write("late", [](result<void>) { FAIL("it was not begun"); });
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  CHECK(thrown);
  loop.run();
  CHECK(take(pair.far) == "first");
}

TEST_CASE_FIXTURE(with_loop, "a shutdown does not wait for a pending wait_writable") {
  stream_pair pair(loop);
  while (pair.near.try_write(much)) {
  }
  bool room = false;
  pair.near.wait_writable([&](result<void> r) { room = r.has_value(); });
  loop.run_ready();
  pair.near.shutdown();
  loop.run();
  CHECK(room);
  CHECK(pair.near.try_write("x")->error() == std::errc::broken_pipe);
}

TEST_CASE_FIXTURE(with_loop, "bytes that arrive after both shutdowns do not reset the connection") {
  stream_pair pair(loop);
  const std::string answer = much.substr(0, 400'000);
  pair.near.shutdown_read();
  pair.near.write(answer, [](result<void> r) { CHECK(r); });
  loop.run_ready();
  pair.near.shutdown();
  loop.run_ready();
  CHECK(pair.far.try_write("late"));
  CHECK(read_to_end(loop, pair.far) == answer.size());
  loop.run();
}

TEST_CASE_TEMPLATE("after shutdown_read a reader gets the bytes that had arrived, and then the end",
                   two_ends, two_of_tcp, two_of_a_pair) {
  with_loop fixture;
  eddy::event_loop& loop = fixture.loop;
  two_ends ends(loop);
  send(ends.far, "last words");
  ends.near.shutdown_read();
  CHECK(ends.far.try_write("later")->has_value() == two_ends::hears_late);
  ends.near.shutdown_read();  // a second call changes nothing
  static_cast<void>(ends.far.try_write("and later"));

  SUBCASE("a coroutine") {
    auto reading = eddy::spawn(loop, read_words(ends.near));
    loop.run();
    CHECK(std::move(reading).take().value() == "last words");
  }
  SUBCASE("a handler") {
    std::array<char, 100> buffer;
    std::string first;
    std::size_t second = 1;
    ends.near.read(buffer, [&](result<std::size_t> n) {
      first.assign(buffer.data(), n.value());
      ends.near.read(buffer, [&](result<std::size_t> m) { second = m.value(); });
    });
    loop.run();
    CHECK(first == "last words");
    CHECK(second == 0);
  }
  SUBCASE("a try") { CHECK(take(ends.near) == "last words"); }

  std::array<char, 100> buffer;
  for (int i = 0; i < 3; ++i) {
    static_cast<void>(ends.far.try_write("and later"));
    CHECK(ends.near.try_read(buffer)->value() == 0);
    std::size_t size = 1;
    ends.near.read(buffer, [&](result<std::size_t> n) { size = n.value(); });
    bool readable = false;
    loop.run();
    CHECK(size == 0);
    ends.near.wait_readable([&](result<void> r) { readable = r.has_value(); });
    loop.run();
    CHECK(readable);
  }
  send(ends.near, "bye");
  CHECK(take(ends.far) == "bye");
}

TEST_CASE_TEMPLATE("after shutdown_read the end can be read, though no bytes arrive", two_ends,
                   two_of_tcp, two_of_a_pair) {
  with_loop fixture;
  eddy::event_loop& loop = fixture.loop;
  two_ends ends(loop);
  ends.near.shutdown_read();
  std::string words;
  const auto read = [](eddy::socket_stream& from, std::string& told) -> eddy::task<> {
    co_await from.wait_readable();
    const std::string rest = co_await read_words(from);
    told += rest.empty() ? "awaited " : "wrong ";
  };
  for (int i = 0; i < 2; ++i) {
    ends.near.wait_readable([&](result<void> r) { words += r ? "called " : "failed "; });
    loop.run();
    const eddy::future<> reading = eddy::spawn(loop, read(ends.near, words));
    loop.run();
    CHECK(reading.ready());
  }
  CHECK(words == "called awaited called awaited ");
}

TEST_CASE_TEMPLATE("shutdown_read completes a pending read", two_ends, two_of_tcp, two_of_a_pair) {
  with_loop fixture;
  eddy::event_loop& loop = fixture.loop;
  two_ends ends(loop);
  std::array<char, 100> buffer;
  std::string words = "none";

  SUBCASE("a coroutine") {
    auto reading = eddy::spawn(loop, read_words(ends.near));
    loop.run_ready();
    ends.near.shutdown_read();
    loop.run();
    CHECK(std::move(reading).take().value().empty());
  }
  SUBCASE("a handler") {
    ends.near.read(buffer, [&](result<std::size_t> n) { words.assign(buffer.data(), n.value()); });
    SUBCASE("while the write waits") { loop.run_ready(); }
    SUBCASE("before the first attempt") {}
    ends.near.shutdown_read();
    CHECK(words == "none");
    loop.run();
    CHECK(words.empty());
  }
  SUBCASE("with bytes that it has not read yet") {
    ends.near.read(buffer, [&](result<std::size_t> n) { words.assign(buffer.data(), n.value()); });
    loop.run_ready();
    send(ends.far, "just now");
    ends.near.shutdown_read();
    static_cast<void>(ends.far.try_write("later"));
    loop.run();
    CHECK(words == "just now");
    CHECK(ends.near.try_read(buffer)->value() == 0);
  }
  SUBCASE("wait_readable") {
    bool readable = false;
    ends.near.wait_readable([&](result<void> r) { readable = r.has_value(); });
    loop.run_ready();
    CHECK(!readable);
    ends.near.shutdown_read();
    loop.run();
    CHECK(readable);
  }
}

TEST_CASE_FIXTURE(with_loop,
                  "after shutdown_read the bytes of a peer that keeps sending are not read") {
  stream_pair pair(loop);
  std::string piece(10'000, 'x');
  send(pair.far, piece);
  pair.near.shutdown_read();
  std::function<void()> more = [&] {
    pair.far.write(piece, [&](result<void> r) {
      if (r) more();
    });
  };
  more();
  CHECK(read_to_end(loop, pair.near) == piece.size());
  pair.far.stop_writing();
}

TEST_CASE_FIXTURE(with_loop, "after shutdown_read a reset reads as the end") {
  stream_pair pair(loop);
  pair.near.shutdown_read();
  pair.far.set_linger(0s);
  pair.far.close();
  std::array<char, 100> buffer;
  CHECK(pair.near.try_read(buffer)->value() == 0);
  CHECK(pair.near.try_write("x")->error() == std::errc::connection_reset);
}

TEST_CASE_FIXTURE(with_loop, "after shutdown_read a read does not wait") {
  stream_pair pair(loop);
  std::array<char, 100> buffer;
  CHECK(!pair.near.try_read(buffer));  // so the next read would wait
  pair.near.shutdown_read();
  auto reading = eddy::spawn(loop, read_words(pair.near));
  loop.run_ready();
  REQUIRE(reading.ready());
  CHECK(std::move(reading).take().value().empty());
}

TEST_CASE_FIXTURE(with_loop, "after shutdown_read an error of a read is reported") {
  stream_pair pair(loop);
  send(pair.far, "last words");
  pair.near.shutdown_read();
  std::array<char, 100> buffer;
  {
    failing_system system;
    system.fail(call::read, EIO);
    CHECK(pair.near.try_read(buffer)->error() == std::errc::io_error);
  }
  CHECK(take(pair.near) == "last words");
}

TEST_CASE_FIXTURE(with_loop,
                  "after shutdown_read all bytes are read if the system cannot tell their number") {
  stream_pair pair(loop);
  send(pair.far, "last words");
  {
    failing_system system;
    system.fail(call::unread, ENOTTY);
    pair.near.shutdown_read();
  }
  CHECK(take(pair.near) == "last words");
  send(pair.far, "later");
  std::array<char, 100> buffer;
  CHECK(pair.near.try_read(buffer)->value() == 0);
}
