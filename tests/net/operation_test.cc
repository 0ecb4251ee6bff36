// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/detail/operation.h>: the rules for every operation, awaited or with a handler.
#include <eddy/net/detail/operation.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <malloc.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/timer.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/buffered.h>
#include <eddy/net/connect.h>
#include <eddy/net/duplex.h>
#include <eddy/net/pipe.h>
#include <eddy/net/unix_datagram.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>
#include <eddy/net/write_queue.h>

#include "support/async_test.h"
#include "support/at_end.h"
#include "support/counted.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/malloc_count.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"

using namespace std::chrono_literals;
using eddy::result;
using eddy::tcp_stream;

namespace {

eddy::task<> echo(tcp_stream& s) {
  std::array<char, 64> buffer;
  for (;;) {
    const std::size_t n = co_await s.read(buffer);
    if (n == 0) co_return;
    co_await s.write(std::span(buffer).first(n));
  }
}

void echo_with_handlers(tcp_stream& s, std::array<char, 64>& buffer) {
  s.read(buffer, [&](result<std::size_t> n) {
    if (!n || *n == 0) return;
    s.write(std::span(buffer).first(*n), [&](result<void>) { echo_with_handlers(s, buffer); });
  });
}

/// A connection on which each call moves all its bytes at once.
class endless : public failing_system {
public:
  ssize_t read(int, void*, std::size_t size) override { return static_cast<ssize_t>(size); }
  ssize_t send(int, const void*, std::size_t size, int) override {
    return static_cast<ssize_t>(size);
  }
};

/// The lowest address that the stack has reached.
struct depth {
  void look() {
    const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    lowest = std::min(lowest, here);
    highest = std::max(highest, here);
  }
  std::uintptr_t lowest = UINTPTR_MAX;
  std::uintptr_t highest = 0;
};

}  // namespace

TEST_CASE_FIXTURE(with_loop, "a handler never runs inside the call that got it") {
  stream_pair pair(loop);
  send(pair.far, "abc");
  journal note;
  std::array<char, 8> buffer;
  pair.near.read(buffer, [&](result<std::size_t>) { note("read"); });
  pair.near.write("x", [&](result<void>) { note("written"); });
  note("registered");
  CHECK(take(pair.far).empty());
  loop.run();
  CHECK(note == "registered read written");
}

TEST_CASE_FIXTURE(with_loop, "a handler may destroy its stream") {
  std::optional<stream_pair> pair(loop);
  send(pair->far, "abc");
  std::array<char, 8> buffer;
  bool called = false;
  pair->near.write("y", [](result<void>) { FAIL("the stream has gone"); });
  pair->near.stop_writing();
  pair->near.read(buffer, [&, alive = std::make_shared<int>(1)](result<std::size_t> n) {
    pair.reset();
    called = n.value_or(0) == 3 && *alive == 1;
  });
  loop.run();
  CHECK(called);
}

ASYNC_TEST("a coroutine may destroy the stream it has read from") {
  std::optional<stream_pair> pair(loop);
  send(pair->far, "abc");
  co_await read_some(pair->near);
  send(pair->far, "d");
  const std::string later = co_await read_some(pair->near);
  pair.reset();
  CHECK(later == "d");
}

TEST_CASE_FIXTURE(with_loop, "a stream may be moved while operations are pending") {
  stream_pair pair(loop);
  auto reading = eddy::spawn(loop, read_some(pair.near));
  std::array<char, 8> buffer;
  std::size_t size = 0;
  pair.far.read(buffer, [&](result<std::size_t> n) { size = n.value_or(0); });
  loop.run_ready();
  tcp_stream near = std::move(pair.near);
  tcp_stream far;
  far = std::move(pair.far);
  send(near, "to far");
  send(far, "to near");
  loop.run();
  CHECK(std::move(reading).take().value() == "to near");
  CHECK(size == 6);
}

TEST_CASE_FIXTURE(with_loop,
                  "closing a stream resumes an awaiting coroutine with operation_canceled") {
  stream_pair pair(loop);
  auto reading = eddy::spawn(loop, read_error(pair.near));
  auto writing = eddy::spawn(loop, write_all(pair.near, std::string(10'000'000, 'x')));
  loop.run_ready();
  SUBCASE("close") { pair.near.close(); }
  SUBCASE("destroy") { tcp_stream(std::move(pair.near)); }
  SUBCASE("stop") {
    pair.near.stop_reading();
    pair.near.stop_writing();
  }
  SUBCASE("close when the socket is ready") {
    send(pair.far, "abc");
    static_cast<void>(take(pair.far));
    eddy::timer t(loop);
    t.start(0ms, [&] {
      pair.near.close();
      CHECK(!reading.ready());
    });
    loop.run_once();
  }
  loop.run();
  CHECK(std::move(reading).take().value() == std::errc::operation_canceled);
  const auto written = std::move(writing).take();
  REQUIRE(!written);
  CHECK_THROWS_AS(std::rethrow_exception(written.error()), std::system_error);
}

TEST_CASE_FIXTURE(with_loop, "closing a stream destroys a handler with all that it owns") {
  stream_pair pair(loop);
  int alive = 0;
  std::array<char, 8> buffer;
  pair.near.read(buffer, [c = counted(alive)](result<std::size_t>) { FAIL("it was dropped"); });
  pair.near.write(std::string_view("x"),
                  [c = counted(alive)](result<void>) { FAIL("it was dropped"); });
  CHECK(alive == 2);
  SUBCASE("close") { pair.near.close(); }
  SUBCASE("destroy") { tcp_stream(std::move(pair.near)); }
  SUBCASE("stop") {
    pair.near.stop_reading();
    pair.near.stop_writing();
  }
  CHECK(alive == 0);
  loop.run();
}

TEST_CASE_FIXTURE(with_loop, "a handler that is destroyed by closing finds its stream closed") {
  stream_pair pair(loop);
  const int descriptor = pair.near.descriptor();
  std::array<char, 8> buffer;
  int dropped = 0;
  const auto look = [&] {
    ++dropped;
    CHECK(::fcntl(descriptor, F_GETFD) == -1);
    CHECK(tcp_stream::count() == 1);
    CHECK(!pair.near.open());
  };
  pair.near.read(buffer, [gone = at_end(look)](result<std::size_t>) { FAIL("it was dropped"); });
  pair.near.write("x", [gone = at_end(look)](result<void>) { FAIL("it was dropped"); });
  pair.near.close();
  CHECK(dropped == 2);
}

TEST_CASE_FIXTURE(with_loop, "a handler may own the stream that owns it") {
  struct connection {
    explicit connection(eddy::event_loop& loop) : pair(loop) {}
    stream_pair pair;
    std::array<char, 8> buffer;
  };
  auto c = std::make_shared<connection>(loop);
  const std::weak_ptr<connection> watch = c;
  c->pair.near.read(c->buffer, [c](result<std::size_t>) { FAIL("it was dropped"); });
  connection& inside = *c;
  c.reset();
  CHECK(!watch.expired());
  inside.pair.near.close();
  CHECK(watch.expired());
}

TEST_CASE_FIXTURE(with_still_loop, "a read that is cancelled when it is ready loses nothing") {
  stream_pair pair(loop);
  std::optional<eddy::future<std::string>> first = eddy::spawn(loop, read_some(pair.near));
  loop.run_ready();
  eddy::timer t(loop);
  send(pair.far, "abc");
  t.start(0ms, [&] { first.reset(); });  // the timer runs before the read
  loop.run_once();
  CHECK(!first);

  auto second = eddy::spawn(loop, read_some(pair.near));
  loop.run();
  CHECK(std::move(second).take().value() == "abc");
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a read with a handler that is cancelled when it is ready loses nothing") {
  stream_pair pair(loop);
  std::array<char, 8> buffer;
  pair.near.wait_readable([](result<void>) {});
  pair.near.stop_reading();
  std::size_t size = 0;
  send(pair.far, "ab");
  pair.near.read(buffer, [&](result<std::size_t> n) { size = n.value_or(0); });
  loop.run();
  CHECK(size == 2);
  pair.near.read(buffer, [](result<std::size_t>) { FAIL("it was dropped"); });
  loop.run_ready();
  eddy::timer t(loop);
  send(pair.far, "abc");
  t.start(0ms, [&] { pair.near.stop_reading(); });
  loop.run_once();
  CHECK(take(pair.near) == "abc");
}

ASYNC_TEST("a read that a timeout cancelled can be repeated") {
  stream_pair pair(loop);
  auto limited = eddy::as_result(eddy::timeout(5ms, read_some(pair.near)));
  const auto r = co_await std::move(limited);
  REQUIRE(!r);
  CHECK(r.error() == std::errc::timed_out);
  send(pair.far, "abc");
  const std::string text = co_await read_some(pair.near);
  CHECK(text == "abc");
}

ASYNC_TEST("a cancelled write sends nothing more") {
  stream_pair pair(loop);
  failing_system system;
  {
    auto writing = eddy::spawn(loop, write_all(pair.near, std::string(10'000'000, 'x')));
    co_await eddy::sleep(1ms);
    CHECK(!writing.ready());
  }
  const std::size_t calls = system.count(call::send);
  static_cast<void>(take(pair.far));
  co_await eddy::sleep(1ms);
  CHECK(system.count(call::send) == calls);

  // Bytes that the kernel has taken may still be in transit.
  auto more = eddy::spawn(loop, write_all(pair.near, "more"));
  co_await eddy::sleep(1ms);
  pair.near.shutdown();
  const std::string sent = co_await read_all(pair.far);
  CHECK(more.ready());
  CHECK(sent.size() < 10'000'000);
  CHECK(sent.ends_with("more"));
}

TEST_CASE_FIXTURE(with_loop, "an operation that is never awaited does nothing") {
  stream_pair pair(loop);
  send(pair.far, "abc");
  std::array<char, 8> buffer;
  {
    auto never = pair.near.read(buffer);
    auto moved = std::move(never);
    static_cast<void>(moved);
  }
  loop.run();
  CHECK(take(pair.near) == "abc");
}

ASYNC_TEST("an operation on a stream that was closed before it started is cancelled") {
  stream_pair pair(loop);
  std::array<char, 8> buffer;
  auto late = pair.near.read(buffer);
  pair.near.close();
  const auto r = co_await eddy::as_result(std::move(late));
  REQUIRE(!r);
  CHECK(r.error() == std::errc::operation_canceled);
}

TEST_CASE_FIXTURE(with_loop, "a dump names the operation and the peer") {
  stream_pair pair(loop);
  const auto reading = eddy::spawn(loop, read_some(pair.near));
  loop.run_ready();
  const std::string expected = "read from " + pair.near.peer_address().to_string() +
                               " (descriptor " + std::to_string(pair.near.descriptor()) + ")";
  INFO(loop.dump());
  CHECK(loop.dump().contains(expected));
  CHECK(loop.dump().contains("read_some at stream_tasks.h:"));
}

TEST_CASE_FIXTURE(with_jumping_loop, "a flooding connection does not starve the others") {
  // A connection yields after its share of reads that need not wait, and a turn
  // ends with its budget.
  stream_pair flood(loop);
  stream_pair other(loop);
  send(flood.far, std::string(60'000, 'x'));
  send(other.far, "hello");
  int read = 0;
  auto reading = [](tcp_stream& s, int& count) -> eddy::task<> {
    std::array<char, 1> buffer;
    for (;;) {
      const std::size_t n = co_await s.read(buffer);
      count += static_cast<int>(n);
    }
  };
  auto endless_reader = eddy::spawn(loop, reading(flood.near, read));
  loop.run_once();
  auto got = eddy::spawn(loop, read_some(other.near));
  while (!got.ready()) loop.run_once();
  CHECK(std::move(got).take() == "hello");
  CHECK(read > 0);
  CHECK(read <= 2 * eddy::event_loop::budget);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a million reads that need not wait do not starve a timer") {
  stream_pair pair(loop);
  endless system;
  depth stack;
  constexpr int many = 1'000'000;
  int done = 0;
  int before_timer = 0;
  eddy::timer t(loop);
  t.start(0ms, [&] { before_timer = done; });

  SUBCASE("await") {
    auto reading = [](tcp_stream& s, depth& d, int& count) -> eddy::task<> {
      std::array<char, 8> buffer;
      for (int i = 0; i < many; ++i) {
        const std::size_t n = co_await s.read(buffer);
        count += n == 8 ? 1 : 0;
        d.look();
      }
    };
    auto all = eddy::spawn(loop, reading(pair.near, stack, done));
    loop.run();
    CHECK(std::move(all).take().has_value());
  }
  SUBCASE("handlers") {
    std::array<char, 8> buffer;
    std::function<void()> more = [&] {
      stack.look();
      if (done == many) return;
      pair.near.read(buffer, [&](result<std::size_t> n) {
        done += n.value_or(0) == 8 ? 1 : 0;
        more();
      });
    };
    more();
    loop.run();
  }
  CHECK(done == many);
  CHECK(before_timer < 2000);
  CHECK(stack.highest - stack.lowest < 16384);
}

TEST_CASE_FIXTURE(with_jumping_loop,
                  "a long write that need not wait ends the turn after its share of bytes") {
  stream_pair pair(loop);
  endless system;
  const std::string much(16'000'000, 'm');
  const std::vector<eddy::const_buffer> empty(100'000);
  bool written = false;
  SUBCASE("bytes") {
    pair.near.write(much, [&](result<void> r) { written = r.has_value(); });
  }
  SUBCASE("empty buffers, which count too") {
    pair.near.write(empty, [&](result<void> r) { written = r.has_value(); });
  }
  loop.run_once();
  CHECK(!written);
  loop.run();
  CHECK(written);
}

TEST_CASE_FIXTURE(with_loop, "a request and its answer cost one read and one write") {
  stream_pair pair(loop);
  std::optional<eddy::future<>> echoing;
  std::array<char, 64> buffer;
  SUBCASE("await") { echoing = eddy::spawn(loop, echo(pair.far)); }
  SUBCASE("handlers") { echo_with_handlers(pair.far, buffer); }
  const auto turn = [&] {
    send(pair.near, "0123456789");
    while (loop.run_ready()) {
    }
    CHECK(take(pair.near) == "0123456789");
  };
  turn();

  failing_system system;
  constexpr std::size_t turns = 100;
  // `turn` itself sends once and reads twice.
  for (std::size_t i = 0; i < turns; ++i) turn();
  CHECK(system.count(call::read) == turns * (1 + 2));
  CHECK(system.count(call::send) == turns * (1 + 1));
  CHECK(system.total() == turns * 5);
  pair.near.close();
  loop.run();
}

TEST_CASE_FIXTURE(with_loop,
                  "after a read that filled its buffer, the next read is attempted at once") {
  stream_pair pair(loop);
  failing_system system;
  std::array<char, 4> buffer;
  auto reading = [](tcp_stream& s, std::array<char, 4>& b) -> eddy::task<> {
    for (std::size_t left = 10; left > 0;) {
      const std::size_t n = co_await s.read(b);
      left -= n;
    }
  };
  send(pair.far, "0123456789");
  auto done = eddy::spawn(loop, reading(pair.near, buffer));
  loop.run_ready();
  CHECK(done.ready());  // without another turn
  CHECK(system.count(call::read) == 3);
}

TEST_CASE_FIXTURE(with_loop, "echoing a message costs no malloc") {
  stream_pair pair(loop);
  std::optional<eddy::future<>> echoing;
  std::array<char, 64> buffer;
  std::array<char, 64> answer;
  SUBCASE("await") { echoing = eddy::spawn(loop, echo(pair.far)); }
  SUBCASE("handlers") { echo_with_handlers(pair.far, buffer); }
  int left = 0;
  const auto turns = [&](int count) {
    left = count;
    std::function<void()> ask = [&] {
      if (left-- == 0) return;
      pair.near.write("0123456789", [&](result<void>) {
        pair.near.read(answer, [&](result<std::size_t>) { ask(); });
      });
    };
    const auto before = mallocs;
    ask();
    while (left >= 0) loop.run_once();
    return mallocs - before;
  };
  turns(10);
  CHECK(turns(1000) == 0);
  pair.near.close();
  loop.run();
}

#if !SANITIZED
TEST_CASE_FIXTURE(with_loop, "closed streams leave no memory behind") {
  std::array<char, 8> buffer;
  const auto use_some = [&](int count) {
    for (int i = 0; i < count; ++i) {
      stream_pair pair(loop);
      send(pair.far, "ab");
      auto reading = eddy::spawn(loop, read_some(pair.near));
      auto waiting = eddy::spawn(loop, read_error(pair.far));
      pair.near.write("x", [](result<void>) {});
      loop.run();
      CHECK(std::move(reading).take().value() == "ab");
      CHECK(!std::move(waiting).take().value());
      pair.near.read(buffer, [](result<std::size_t>) {});
    }
    return ::mallinfo2().uordblks;
  };
  const std::size_t before = use_some(50);
  CHECK(use_some(200) < before + 100 * sizeof(eddy::detail::open_socket));
}
#endif

TEST_CASE_FIXTURE(with_loop, "alternating operations with handlers cost no malloc") {
  stream_pair pair(loop);
  std::array<char, 8> buffer;
  const auto turns = [&](int count) {
    const auto before = mallocs;
    for (int i = 0; i < count; ++i) {
      send(pair.far, "x");
      pair.near.wait_writable([](result<void>) {});
      pair.near.wait_readable([](result<void>) {});
      loop.run();
      pair.near.write("y", [](result<void>) {});
      pair.near.read(buffer, [](result<std::size_t>) {});
      loop.run();
      static_cast<void>(pair.far.try_read(buffer));
    }
    return mallocs - before;
  };
  turns(10);
  CHECK(turns(1000) == 0);
}

TEST_CASE_FIXTURE(with_loop, "passing descriptors and messages costs no malloc") {
  auto streams = eddy::socket_pair(loop);
  auto packets = eddy::seqpacket_pair(loop);
  eddy::unix_datagram server(loop, eddy::unix_address());
  eddy::unix_datagram client(loop);
  const eddy::unix_address at = server.local_address();
  const std::array passed{streams.first.descriptor()};
  std::array<char, 8> buffer;
  std::array<eddy::unique_descriptor, 1> slots;
  std::size_t got = 0;
  const auto turns = [&](int count) {
    const auto before = mallocs;
    for (int i = 0; i < count; ++i) {
      streams.first.send_descriptors("x", passed, [](result<void>) {});
      streams.second.receive_descriptors(
          buffer, slots, [&](result<eddy::received_bytes> r) { got += r->descriptors; });
      packets.first.send_descriptors("x", passed, [](result<void>) {});
      loop.run();
      packets.second.receive_descriptors(
          buffer, slots, [&](result<eddy::received_message> r) { got += r->descriptors; });
      client.send_to("x", at, [](result<void>) {});
      server.receive(buffer, [&](result<eddy::received_message> r) { got += r->size; });
      loop.run();
    }
    return mallocs - before;
  };
  turns(10);
  CHECK(turns(1000) == 0);
  CHECK(got == 3 * 1010);
}

TEST_CASE_FIXTURE(with_loop, "a read under a timeout costs no malloc") {
  stream_pair pair(loop);
  auto talk = [](stream_pair& p) -> eddy::task<std::size_t> {
    std::array<char, 8> buffer;
    std::size_t before = 0;
    for (int i = 0; i < 1000; ++i) {
      if (i == 10) before = mallocs;
      co_await p.near.write("abc");
      co_await eddy::timeout(1h, p.far.read(buffer));
    }
    co_return mallocs - before;
  };
  const std::size_t count = eddy::block_on(loop, talk(pair));
  CHECK(count == 0);
}

TEST_CASE_FIXTURE(with_loop,
                  "reads and writes of a pipe cost no malloc, awaited or with handlers") {
  eddy::pipe_ends pipe = eddy::make_pipe(loop);
  auto talk = [](eddy::pipe_ends& p) -> eddy::task<std::size_t> {
    std::array<char, 8> buffer;
    std::size_t before = 0;
    for (int i = 0; i < 1000; ++i) {
      if (i == 10) before = mallocs;
      co_await p.writer.write("abc");
      co_await p.reader.read(buffer);
    }
    co_return mallocs - before;
  };
  const std::size_t count = eddy::block_on(loop, talk(pipe));
  CHECK(count == 0);
  std::array<char, 8> buffer;
  const auto turns = [&](int times) {
    const auto before = mallocs;
    for (int i = 0; i < times; ++i) {
      pipe.reader.read(buffer, [](result<std::size_t>) {});
      pipe.writer.write("y", [](result<void>) {});
      loop.run();
    }
    return mallocs - before;
  };
  turns(10);
  CHECK(turns(1000) == 0);
}

TEST_CASE_FIXTURE(with_loop, "lines and frames of a buffered stream cost no malloc") {
  stream_pair pair(loop);
  eddy::buffered<eddy::tcp_stream> out(std::move(pair.near));
  eddy::buffered<eddy::tcp_stream> in(std::move(pair.far));
  std::size_t count = 1;
  SUBCASE("await") {
    auto talk = [](auto& to, auto& from) -> eddy::task<std::size_t> {
      std::size_t before = 0;
      for (int i = 0; i < 1000; ++i) {
        if (i == 10) before = mallocs;
        co_await to.write(std::string_view("line\n"));
        co_await to.write_frame({}, std::string_view("frame"));
        co_await to.flush();
        const auto line = co_await from.read_line(10);
        const auto frame = co_await from.read_frame({}, 10);
        if (!line || !frame) co_return SIZE_MAX;
      }
      co_return mallocs - before;
    };
    count = eddy::block_on(loop, talk(out, in));
  }
  SUBCASE("handlers") {
    int left = 0;
    std::function<void()> ask = [&] {
      if (left-- == 0) return;
      out.put(std::string_view("line\n"));
      out.flush([&](result<void>) {
        in.read_line(10, [&](result<std::optional<std::string_view>>) { ask(); });
      });
    };
    for (const int turns : {10, 1000}) {
      left = turns;
      const auto before = mallocs;
      ask();
      loop.run();
      count = mallocs - before;
    }
  }
  CHECK(count == 0);
}

TEST_CASE_FIXTURE(with_loop, "a duplex and an any_stream cost no malloc for each operation") {
  auto ends = eddy::duplex(loop, 100, 100);
  eddy::any_stream near(std::move(ends.first));
  auto talk = [](auto& to, auto& from) -> eddy::task<std::size_t> {
    std::array<char, 8> buffer;
    std::size_t before = 0;
    for (int i = 0; i < 1000; ++i) {
      if (i == 10) before = mallocs;
      co_await to.write(std::string_view("abc"));
      co_await from.read(buffer);
    }
    co_return mallocs - before;
  };
  const std::size_t count = eddy::block_on(loop, talk(near, ends.second));
  CHECK(count == 0);
}

TEST_CASE_FIXTURE(with_loop, "a write_queue in its steady state allocates nothing") {
  stream_pair ends(loop);
  eddy::write_queue<eddy::tcp_stream> out(std::move(ends.near));
  const eddy::shared_bytes message("a message");
  const auto turn = [&] {
    for (int i = 0; i < 20; ++i) {
      out.put(message);
      out.put("some more text");
    }
    while (loop.run_ready()) {
    }
    char some[4096];
    static_cast<void>(ends.far.try_read(some));
  };
  for (int i = 0; i < 10; ++i) turn();
  const std::size_t before = mallocs;
  for (int i = 0; i < 100; ++i) turn();
  CHECK(mallocs == before);
  CHECK(out.queued() == 0);
}

TEST_CASE("misuse of a stream aborts the program with a sentence") {
  const auto with_pair = [](auto mistake) {
    return [mistake] {
      eddy::event_loop loop;
      stream_pair pair(loop);
      mistake(loop, pair);
      loop.run();
    };
  };
  static std::array<char, 8> buffer;

  dies_saying("a read is already pending on this stream (127.0.0.1:",
              with_pair([](auto&, stream_pair& p) {
                p.near.read(buffer, [](result<std::size_t>) {});
                p.near.read(buffer, [](result<std::size_t>) {});
              }));
  dies_saying("a read is already pending on this stream (127.0.0.1:",
              with_pair([](auto& loop, stream_pair& p) {
                auto first = eddy::spawn(loop, read_some(p.near));
                auto second = eddy::spawn(loop, read_some(p.near));
                loop.run();
              }));
  dies_saying("a read is already pending on this stream (127.0.0.1:",
              with_pair([](auto&, stream_pair& p) {
                p.near.wait_readable([](result<void>) {});
                static_cast<void>(p.near.try_read(buffer));
              }));
  dies_saying("a write is already pending on this stream (127.0.0.1:",
              with_pair([](auto&, stream_pair& p) {
                p.near.write("a", [](result<void>) {});
                p.near.write("b", [](result<void>) {});
              }));
  dies_saying("a read into an empty buffer", with_pair([](auto&, stream_pair& p) {
                static_cast<void>(p.near.try_read(std::span<char>()));
              }));
  dies_saying("a stream was used that is not open", with_pair([](auto&, stream_pair& p) {
                p.near.close();
                static_cast<void>(p.near.try_read(buffer));
              }));
  dies_saying("awaited on another loop than its own", with_pair([](auto&, stream_pair& p) {
                eddy::event_loop other;
                eddy::block_on(other, read_some(p.near));
              }));
  dies_saying("from another thread", with_pair([](auto& loop, stream_pair& p) {
                loop.defer([&] { std::thread([&] { p.near.close(); }).join(); });
                loop.run();
              }));
}

ASYNC_TEST("a coroutine can await other things after an operation has completed") {
  stream_pair pair(loop);
  std::array<char, 4> word;
  for (int i = 0; i < 3; ++i) {
    loop.defer([&] { static_cast<void>(pair.far.try_write("word")); });
    const std::size_t size = co_await pair.near.read(word);
    CHECK(size == 4);
    co_await eddy::yield();
    co_await eddy::sleep(1ms);
  }
}
