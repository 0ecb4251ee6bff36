// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/write_queue.h>.
#include <eddy/net/write_queue.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <eddy/future/as_result.h>
#include <eddy/future/flow/stop_token.h>
#include <eddy/future/join.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/before_wait.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/buffered.h>
#include <eddy/net/duplex.h>
#include <eddy/net/pipe.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/unix_stream.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/every_point.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using eddy::duplex_stream;
using eddy::join;
using eddy::shared_bytes;
using eddy::task;
using eddy::tcp_stream;
using eddy::trial;
using eddy::write_queue;

static_assert(std::is_nothrow_move_constructible_v<write_queue<tcp_stream>>);
static_assert(!std::is_copy_constructible_v<write_queue<tcp_stream>>);

namespace {

std::error_code code(int number) { return {number, std::generic_category()}; }

/// A queue on one end of a connection, and its other end.
struct queue_pair {
  explicit queue_pair(eddy::event_loop& loop, const eddy::write_queue_options& how = {})
      : queue_pair(stream_pair(loop), how) {}

  write_queue<tcp_stream> out;
  tcp_stream far;

private:
  queue_pair(stream_pair ends, const eddy::write_queue_options& how)
      : out(std::move(ends.near), how), far(std::move(ends.far)) {}
};

/// A queue on one end of a connection in memory that takes `space` bytes, and its other end.
struct slow_pair {
  slow_pair(eddy::event_loop& loop, std::size_t space, const eddy::write_queue_options& how = {})
      : slow_pair(eddy::duplex(loop, space, 4096), how) {}

  write_queue<duplex_stream> out;
  duplex_stream far;

  std::string take_some() {
    char some[4096];
    const auto n = far.try_read(some);
    return n ? std::string(some, n->value()) : std::string();
  }

private:
  slow_pair(std::pair<duplex_stream, duplex_stream> ends, const eddy::write_queue_options& how)
      : out(std::move(ends.first), how), far(std::move(ends.second)) {}
};

constexpr eddy::write_queue_options small{.limit = 1000, .high_water = 100, .low_water = 10};

/// Counts the buffers of each gathered write, and keeps the first buffer's address.
struct recording_system : failing_system {
  ssize_t send_message(int descriptor, const msghdr* message, int flags) override {
    buffers.push_back(message->msg_iovlen);
    first = message->msg_iov[0].iov_base;
    return failing_system::send_message(descriptor, message, flags);
  }
  std::vector<std::size_t> buffers;
  const void* first = nullptr;
};

void run_some(eddy::event_loop& loop) {
  while (loop.run_ready()) {
  }
}

}  // namespace

TEST_CASE_FIXTURE(with_still_loop, "all bytes of one turn leave in one system call") {
  queue_pair pair(loop);
  failing_system system;
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    loop.defer([&, i] {
      const std::string line = "line " + std::to_string(i) + "\n";
      CHECK(pair.out.put(line));
      expected += line;
    });
  }
  run_some(loop);
  CHECK(pair.out.queued() == 0);
  CHECK(system.count(call::send_message) == 1);
  CHECK(system.count(call::send) == 0);
  CHECK(take(pair.far) == expected);
}

TEST_CASE_FIXTURE(with_loop, "put sends nothing itself, and the loop sends before it waits") {
  queue_pair pair(loop);
  CHECK(pair.out.put("abc"));
  CHECK(pair.out.queued() == 3);
  CHECK(take(pair.far).empty());
  loop.run();  // nothing else keeps it running
  CHECK(pair.out.queued() == 0);
  CHECK(take(pair.far) == "abc");
}

TEST_CASE_FIXTURE(with_loop, "shared bytes are sent from where they lie") {
  queue_pair pair(loop);
  recording_system system;
  const shared_bytes message(std::string(1000, 'm'));
  CHECK(pair.out.put(message));
  loop.run();
  CHECK(system.first == static_cast<const void*>(message.data()));
  CHECK(take(pair.far) == std::string(1000, 'm'));
}

TEST_CASE_FIXTURE(with_still_loop, "one message for many queues is one system call for each") {
  std::vector<std::unique_ptr<queue_pair>> pairs;
  for (int i = 0; i < 20; ++i) pairs.push_back(std::make_unique<queue_pair>(loop));
  failing_system system;
  const shared_bytes hello("hello ");
  const shared_bytes all("all");
  loop.defer([&] {
    for (const auto& p : pairs) CHECK(p->out.put(hello));
    for (const auto& p : pairs) CHECK(p->out.put(all));
  });
  run_some(loop);
  CHECK(system.count(call::send_message) == 20);
  for (const auto& p : pairs) CHECK(take(p->far) == "hello all");
}

TEST_CASE_FIXTURE(with_loop,
                  "copies and shared bytes keep their order, whatever the kernel takes") {
  for (const std::size_t most : {1U, 7U, 100U, 3000U, 1'000'000U}) {
    std::mt19937 random(static_cast<unsigned>(most));
    queue_pair pair(loop);
    std::string expected;
    std::string got;
    {
      failing_system system;
      system.limit_bytes(most);
      const std::size_t total = most < 100 ? 2000 : 40'000;
      while (expected.size() < total) {
        std::string piece(random() % 300 * (random() % 20 == 0 ? 20 : 1), 'a');
        for (char& c : piece) c = static_cast<char>('a' + random() % 26);
        expected += piece;
        CHECK((random() % 2 == 0 ? pair.out.put(piece) : pair.out.put(shared_bytes(piece))));
        if (random() % 4 == 0) loop.run_ready();
        if (random() % 4 == 0) got += take(pair.far);
      }
      CHECK(pair.out.queued() > 0);
      while (pair.out.queued() != 0) {
        loop.run_ready();
        got += take(pair.far);
      }
    }
    got += take(pair.far);
    // The kernel may hold the last bytes back until the bytes before them are acknowledged.
    pollfd waiting{.fd = pair.far.descriptor(), .events = POLLIN, .revents = 0};
    while (got.size() < expected.size() && ::poll(&waiting, 1, 10'000) == 1) got += take(pair.far);
    CHECK(got == expected);
  }
}

TEST_CASE_FIXTURE(with_still_loop, "more pieces than one system call takes are sent in order") {
  queue_pair pair(loop);
  failing_system system;
  std::string expected;
  for (int i = 0; i < 1500; ++i) {
    const std::string piece = std::to_string(i) + ",";
    expected += piece;
    CHECK(pair.out.put(shared_bytes(piece)));
  }
  std::string got;
  while (pair.out.queued() != 0) loop.run_ready();
  run_some(loop);
  got += take(pair.far);
  CHECK(got == expected);
  CHECK(system.count(call::send_message) == 3);
}

TEST_CASE_FIXTURE(with_loop, "a try_write of several buffers is one system call") {
  stream_pair ends(loop);
  failing_system system;
  const std::vector<eddy::const_buffer> none(600, eddy::const_buffer(""));
  CHECK(ends.near.try_write(std::span(none))->value() == 0);
  CHECK(system.total() == 0);
  std::vector<eddy::const_buffer> parts(600, eddy::const_buffer("ab"));
  CHECK(ends.near.try_write(std::span(std::as_const(parts)))->value() == 1024);
  CHECK(system.count(call::send_message) == 1);
  system.limit_bytes(1);
  CHECK(ends.near.try_write(std::span(none))->value() == 0);
  CHECK(ends.near.try_write(std::span(std::as_const(parts)))->value() == 1);
  system.fail(call::send_message, EAGAIN);
  CHECK_FALSE(ends.near.try_write(std::span(std::as_const(parts))));
  system.fail(call::send_message, EPIPE);
  CHECK(ends.near.try_write(std::span(std::as_const(parts)))->error() == code(EPIPE));
  CHECK(take(ends.far).size() == 1025);
}

TEST_CASE_FIXTURE(with_loop, "empty bytes are no work") {
  queue_pair pair(loop);
  failing_system system;
  CHECK(pair.out.put(""));
  CHECK(pair.out.put(shared_bytes()));
  loop.run();
  CHECK(system.total() == 0);
}

TEST_CASE_FIXTURE(with_loop, "bytes that a before_wait puts are sent before the loop ends") {
  queue_pair pair(loop);
  CHECK(pair.out.put("a"));
  eddy::before_wait later(loop);  // after that of the queue
  later.start_once([&] { CHECK(pair.out.put("b")); });
  loop.run();
  CHECK(take(pair.far) == "ab");
}

// Limits

TEST_CASE_FIXTURE(with_loop, "a put beyond the limit fails the queue, and its error is told once") {
  slow_pair pair(loop, 5, small);
  journal note;
  pair.out.on_error(
      [&](std::error_code e) { note(e == std::errc::no_buffer_space ? "full" : "other"); });
  CHECK(pair.out.put(std::string(1000, 'x')));
  CHECK_FALSE(pair.out.put("y"));
  CHECK(note == "");
  run_some(loop);
  CHECK_FALSE(pair.out.put("y"));
  run_some(loop);
  CHECK(note == "full");
  CHECK(pair.out.error() == std::errc::no_buffer_space);
  std::string got;
  while (got.size() < 1000) {  // what was queued before is still sent
    got += pair.take_some();
    run_some(loop);
  }
  CHECK(got == std::string(1000, 'x'));
  CHECK(note == "full");
}

TEST_CASE_FIXTURE(with_loop, "a try_put beyond the limit changes nothing") {
  slow_pair pair(loop, 5, small);
  CHECK(pair.out.try_put(std::string(600, 'x')));
  CHECK_FALSE(pair.out.try_put(std::string(401, 'y')));
  CHECK_FALSE(pair.out.try_put(shared_bytes(std::string(401, 'y'))));
  CHECK(pair.out.try_put(std::string(400, 'z')));
  CHECK_FALSE(pair.out.error());
  CHECK(pair.out.queued() == 1000);
}

TEST_CASE_FIXTURE(with_loop, "an error that came before on_error was set is told then") {
  slow_pair pair(loop, 5, small);
  CHECK_FALSE(pair.out.put(std::string(1001, 'x')));
  run_some(loop);
  int told = 0;
  pair.out.on_error([&](std::error_code) { ++told; });
  CHECK(told == 0);
  run_some(loop);
  pair.out.on_error([&](std::error_code) { ++told; });
  run_some(loop);
  CHECK(told == 1);
}

TEST_CASE_FIXTURE(with_loop, "a slow peer passes the high-water mark, and later the low one") {
  slow_pair pair(loop, 5, small);
  journal note;
  pair.out.on_high_water([&] { note("high"); });
  pair.out.on_low_water([&] { note("low"); });
  CHECK(pair.out.put(std::string(100, 'x')));
  run_some(loop);
  CHECK(note == "");
  CHECK(pair.out.put(std::string(50, 'x')));
  CHECK(note == "");
  run_some(loop);
  CHECK(note == "high");
  CHECK(pair.out.put("more"));
  run_some(loop);
  std::size_t got = 0;
  while (got < 154) {
    got += pair.take_some().size();
    run_some(loop);
  }
  CHECK(note == "high low");
  CHECK(pair.out.queued() == 0);
  CHECK(pair.out.put(std::string(200, 'x')));
  run_some(loop);
  CHECK(note == "high low high");
}

TEST_CASE_FIXTURE(with_loop, "a peer whose kernel takes all never passes the high-water mark") {
  queue_pair pair(loop, small);
  pair.out.on_high_water([] { FAIL("the kernel took all bytes"); });
  CHECK(pair.out.put(std::string(1000, 'x')));
  run_some(loop);
  CHECK(take(pair.far).size() == 1000);
}

// Waiting

ASYNC_TEST("flush completes when the kernel has taken the bytes that were queued before") {
  slow_pair pair(loop, 10);
  pair.out.put(std::string(25, 'a'));
  auto reader = [&]() -> task<std::string> {
    std::string got;
    while (got.size() < 20) {
      co_await eddy::sleep(1s);
      pair.out.put("b");  // bytes that are queued later do not delay the flush
      got += pair.take_some();
    }
    co_return got;
  };
  auto flush = [&]() -> task<> {
    co_await pair.out.flush();
    co_await pair.out.flush();
  };
  auto both = join(reader(), pair.out.flush());
  const auto [got, nothing] = co_await std::move(both);
  CHECK(got.starts_with(std::string(20, 'a')));
  for (int i = 0; i < 3; ++i) {
    co_await eddy::sleep(1s);
    static_cast<void>(pair.take_some());
  }
  co_await flush();
  CHECK(pair.out.queued() == 0);
}

ASYNC_TEST("wait_low completes at once below the mark, and else when the peer has read") {
  slow_pair pair(loop, 10, small);
  co_await pair.out.wait_low();
  pair.out.put(std::string(50, 'a'));
  bool low = false;
  auto wait = [&]() -> task<> {
    co_await pair.out.wait_low();
    low = true;
  };
  eddy::future<> waiting = eddy::spawn(wait());
  co_await eddy::sleep(1s);
  CHECK_FALSE(low);
  for (int i = 0; i < 10; ++i) {
    static_cast<void>(pair.take_some());
    co_await eddy::sleep(1s);
  }
  CHECK(low);
  co_await std::move(waiting);
}

TEST_CASE_FIXTURE(with_loop, "flush and wait_low with handlers call them, several at a time") {
  slow_pair pair(loop, 5, small);
  journal note;
  pair.out.put(std::string(20, 'a'));
  pair.out.flush([&](eddy::result<void> r) { note(r ? "flush" : "error"); });
  pair.out.wait_low([&](eddy::result<void> r) { note(r ? "low" : "error"); });
  pair.out.flush([&](eddy::result<void> r) { note(r ? "again" : "error"); });
  run_some(loop);
  CHECK(note == "");
  for (int i = 0; i < 10; ++i) {
    static_cast<void>(pair.take_some());
    run_some(loop);
  }
  CHECK(note.text().size() == std::string("flush low again").size());
  note("|");
  pair.out.flush([&](eddy::result<void> r) { note(r ? "empty" : "error"); });
  CHECK(note.text().ends_with("|"));
  run_some(loop);
  CHECK(note.text().ends_with("| empty"));
}

// Errors

TEST_CASE_FIXTURE(with_loop, "each error of a send is told once, and EINTR and EAGAIN are none") {
  for (const int error : {EINTR, EAGAIN, EPIPE, ECONNRESET, ENOBUFS, ENOMEM, ETIMEDOUT,
                          EHOSTUNREACH, ENETDOWN, EACCES}) {
    CAPTURE(error);
    queue_pair pair(loop);
    failing_system system;
    system.fail(call::send_message, error);
    std::optional<std::error_code> told;
    int flushed = 0;
    pair.out.on_error([&](std::error_code e) {
      CHECK_FALSE(told);
      told = e;
    });
    CHECK(pair.out.put("abc"));
    pair.out.flush([&](eddy::result<void> r) {
      ++flushed;
      if (!r) CHECK(r.error() == code(error));
      CHECK(r.has_value() == (error == EINTR || error == EAGAIN));
    });
    while (flushed == 0) loop.run_once();
    run_some(loop);
    if (error == EINTR || error == EAGAIN) {
      CHECK_FALSE(told);
      CHECK(take(pair.far) == "abc");
      CHECK(pair.out.put("def"));
      run_some(loop);
      CHECK(take(pair.far) == "def");
    } else {
      CHECK(told == code(error));
      CHECK_FALSE(pair.out.put("def"));
      CHECK_FALSE(pair.out.try_put("def"));
      pair.out.flush([&](eddy::result<void> r) { CHECK(r.error() == code(error)); });
      run_some(loop);
      CHECK(take(pair.far).empty());
      CHECK(pair.out.queued() == 0);
    }
    CHECK(flushed == 1);
  }
}

ASYNC_TEST("an awaited flush names what failed") {
  queue_pair pair(loop);
  failing_system system;
  system.fail(call::send_message, EPIPE);
  pair.out.put("abc");
  std::string words;
  try {
    co_await pair.out.flush();
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "flush a write_queue: Broken pipe");
  const auto low = co_await eddy::as_result(pair.out.wait_low());
  CHECK(low.error() == code(EPIPE));
}

ASYNC_TEST("a flush whose bytes were sent succeeds although the next bytes fail") {
  queue_pair pair(loop);
  failing_system system;
  system.fail(call::send_message, EPIPE, 2);
  pair.out.put("abc");
  co_await pair.out.flush();
  pair.out.put("def");
  const auto r = co_await eddy::as_result(pair.out.flush());
  CHECK(r.error() == code(EPIPE));
  CHECK(take(pair.far) == "abc");
}

TEST_CASE_FIXTURE(with_loop, "closing the stream below fails the queue with operation_canceled") {
  slow_pair pair(loop, 5);
  std::optional<std::error_code> told;
  pair.out.on_error([&](std::error_code e) { told = e; });
  pair.out.put(std::string(20, 'a'));
  run_some(loop);
  pair.out.stream().close();  // while a write is pending
  run_some(loop);
  CHECK(told == std::errc::operation_canceled);
  queue_pair idle(loop);
  told.reset();
  idle.out.on_error([&](std::error_code e) { told = e; });
  idle.out.put("abc");
  idle.out.stream().close();
  run_some(loop);
  CHECK(told == std::errc::operation_canceled);
}

// Ending

TEST_CASE_FIXTURE(with_loop,
                  "closing a queue discards its bytes and destroys its handlers uncalled") {
  int alive = 0;
  {
    slow_pair pair(loop, 5, small);
    const auto never = [c = counted(alive)](auto&&...) { FAIL("the queue was closed"); };
    pair.out.on_high_water([never] { never(); });
    pair.out.on_low_water([never] { never(); });
    pair.out.on_error([never](std::error_code) { never(); });
    pair.out.put(std::string(500, 'a'));
    pair.out.flush([never](eddy::result<void>) { never(); });
    pair.out.wait_low([never](eddy::result<void>) { never(); });
    loop.run_ready();  // high is about to be told
    CHECK(alive > 1);
    pair.out.close();
    CHECK(alive == 1);
    CHECK_FALSE(pair.out.open());
    pair.out.close();
    run_some(loop);
  }
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(with_loop, "each handler of a queue may destroy it") {
  for (int which = 0; which < 5; ++which) {
    CAPTURE(which);
    auto pair = std::make_unique<slow_pair>(loop, 5, small);
    auto& far = pair->far;
    bool ended = false;
    const auto end = [&] {
      ended = true;
      pair.reset();
    };
    if (which == 0) pair->out.on_high_water(end);
    if (which == 1) pair->out.on_low_water(end);
    if (which == 2) pair->out.on_error([&](std::error_code) { end(); });
    if (which == 3) pair->out.flush([&](eddy::result<void>) { end(); });
    pair->out.put(std::string(500, 'a'));
    if (which == 2) CHECK_FALSE(pair->out.put(std::string(501, 'a')));
    if (which == 4) pair->out.wait_low([&](eddy::result<void>) { end(); });
    for (int i = 0; i < 200 && !ended; ++i) {
      run_some(loop);
      if (pair) {
        char some[100];
        static_cast<void>(far.try_read(some));
      }
    }
    CHECK(ended);
  }
}

TEST_CASE_FIXTURE(with_loop, "the captures of a handler may own the queue") {
  auto pair = std::make_shared<slow_pair>(loop, 5, small);
  pair->out.on_error([pair](std::error_code) {});
  pair->out.flush([pair](eddy::result<void>) {});
  pair->out.put("abc");
  slow_pair& last = *pair;
  pair.reset();
  last.out.close();
}

TEST_CASE_FIXTURE(with_still_loop, "a queue over a buffered stream has flushed what it has sent") {
  auto [near, far] = eddy::duplex(loop, 4, 10);
  write_queue<eddy::buffered<duplex_stream>> out(eddy::buffered<duplex_stream>(std::move(near)));
  bool flushed = false;
  out.put("abc");
  out.put("def");
  out.flush([&](eddy::result<void> r) { flushed = r.has_value(); });
  loop.run();
  CHECK(far.unread() == 4);
  CHECK(out.queued() == 6);
  CHECK_FALSE(flushed);
  char some[10];
  CHECK(far.try_read(some)->value() == 4);
  loop.run();
  CHECK(far.unread() == 2);
  CHECK(out.queued() == 0);
  CHECK(flushed);
}

TEST_CASE_FIXTURE(with_still_loop, "a queue tells that the stream below its buffered was closed") {
  auto [near, far] = eddy::duplex(loop, 10, 10);
  write_queue<eddy::buffered<duplex_stream>> out(eddy::buffered<duplex_stream>(std::move(near)));
  std::error_code told;
  out.on_error([&](std::error_code e) { told = e; });
  out.put(std::string(100'000, 'x'));  // more than the buffered stream keeps
  out.stream().stream().close();
  loop.run();
  CHECK(told == std::errc::operation_canceled);
}

ASYNC_TEST("closing a queue resumes an awaited flush with operation_canceled") {
  slow_pair pair(loop, 5);
  pair.out.put(std::string(500, 'a'));
  std::optional<std::error_code> got;
  auto wait = [&]() -> task<> {
    const auto r = co_await eddy::as_result(pair.out.flush());
    got = r.error();
  };
  eddy::future<> waiting = eddy::spawn(wait());
  co_await eddy::sleep(1s);
  CHECK(loop.dump().find("flush a write_queue") != std::string::npos);
  pair.out.close();
  co_await std::move(waiting);
  CHECK(got == std::errc::operation_canceled);
}

namespace {

/// The example of write_queue.h.
template <class Stream>
task<> answer_each(Stream stream, eddy::write_queue_options how, std::string answer) {
  std::array<char, 64> buffer;
  eddy::stop_source failed;
  write_queue out(std::move(stream), how);
  out.on_error([&](std::error_code) { failed.request_stop(); });
  out.put("hello\n");
  for (;;) {
    auto next = co_await eddy::select(out.stream().read(buffer), failed.token());
    if (next.index() == 1 || std::get<0>(next) == 0) co_return;  // this closes the queue
    out.put(answer);
  }
}

}  // namespace

ASYNC_TEST("an error of a queue ends the coroutine that reads its stream") {
  {
    auto [near, far] = eddy::duplex(100, 100);
    auto session = spawn(answer_each(std::move(near), {}, "yes"));
    co_await far.write("question");
    co_await eddy::sleep(1ms);
    const std::string got = co_await read_some(far);
    CHECK(got == "hello\nyes");
    far.shutdown();
    co_await std::move(session);
  }
  {
    auto [near, far] = eddy::duplex(100, 100);
    auto session = spawn(answer_each(std::move(near), small, std::string(2000, 'x')));
    co_await eddy::sleep(1ms);  // the queue sends its first bytes
    co_await far.write("question");
    co_await std::move(session);  // although the peer sends no more
    const std::string got = co_await read_all(far);
    CHECK(got == "hello\n");
  }
  stream_pair ends(loop);
  ends.near.set_send_buffer(4096);
  auto session = spawn(answer_each(std::move(ends.near), {}, std::string(1'000'000, 'x')));
  co_await ends.far.write("question");
  co_await eddy::sleep(1ms);
  ends.far.set_linger(0s);
  ends.far.close();
  const auto reset = co_await eddy::as_result(std::move(session));
  if (!reset) CHECK(reset.error() == std::errc::connection_reset);
}

TEST_CASE("the limits of a queue are those that write_queue.h names") {
  const write_queue<duplex_stream>::options how;
  CHECK(how.limit == 32 << 20);
  CHECK(how.high_water == 256 << 10);
  CHECK(how.low_water == 64 << 10);
}

ASYNC_TEST("an operation of a queue that was closed before it was awaited is cancelled") {
  slow_pair pair(loop, 5);
  auto flush = pair.out.flush();
  pair.out.close();
  const auto r = co_await eddy::as_result(std::move(flush));
  CHECK(r.error() == std::errc::operation_canceled);
}

TEST_CASE_FIXTURE(with_loop, "a queue may be moved while bytes are queued and a write is pending") {
  slow_pair pair(loop, 5);
  pair.out.put("abcdefgh");
  write_queue<duplex_stream> moved = std::move(pair.out);
  run_some(loop);
  write_queue<duplex_stream> again = std::move(moved);
  moved = std::move(again);
  CHECK(pair.take_some() == "abcde");
  run_some(loop);
  CHECK(pair.take_some() == "fgh");
  slow_pair other(loop, 5);
  moved = std::move(other.out);  // closes the first stream
  CHECK(moved.open());
  char byte = 0;
  CHECK(pair.far.try_read(std::span(&byte, 1))->value() == 0);
}

TEST_CASE_FIXTURE(with_loop,
                  "an exception of a level handler leaves run, and loses no other news") {
  slow_pair pair(loop, 5, small);
  int told = 0;
  pair.out.on_high_water([] { throw std::runtime_error("of a handler"); });
  pair.out.on_error([&](std::error_code) { ++told; });
  pair.out.put(std::string(900, 'a'));
  CHECK_THROWS_WITH(run_some(loop), "of a handler");
  CHECK_FALSE(pair.out.put(std::string(900, 'a')));
  run_some(loop);
  CHECK(told == 1);
}

namespace {

/// Puts pieces into a queue, and flushes them to a peer that reads later.
struct flushes_late {
  explicit flushes_late(trial& t) : of(t) {}
  task<> work() {
    const trial::part held(of);
    slow_pair pair(of.loop(), 10, {.limit = 1000, .high_water = 20, .low_water = 10});
    auto both = join(write(pair.out), read(pair.far));
    co_await std::move(both);
  }
  static task<> write(write_queue<duplex_stream>& out) {
    const shared_bytes message("0123456789");
    for (int i = 0; i < 3; ++i) {
      out.put("abc");
      out.put(message);
      co_await out.wait_low();
    }
    co_await out.flush();
  }
  task<> read(duplex_stream& far) {
    while (got.size() < 39) {
      co_await eddy::sleep(1s);
      const std::string some = co_await read_some(far);
      got += some;
    }
  }
  std::string check(bool whole) {
    const std::string expected = "abc0123456789abc0123456789abc0123456789";
    if (!expected.starts_with(got)) return "bytes are wrong: " + got;
    return !whole || got == expected ? "" : "bytes are lost: " + got;
  }
  trial& of;
  std::string got;
};

}  // namespace

namespace {

/// A program's own stream, which has only what a `byte_stream` must have.
class plain_stream {
public:
  explicit plain_stream(duplex_stream below) noexcept : below_(std::move(below)) {}

  task<std::size_t> read(eddy::mutable_buffer into) {
    auto reading = below_.read(into);
    const std::size_t count = co_await std::move(reading);
    co_return count;
  }
  task<> write(eddy::const_buffer bytes) {
    auto writing = below_.write(bytes);
    co_await std::move(writing);
  }
  task<> write(std::span<const eddy::const_buffer> all) {
    ++writes;
    auto writing = below_.write(all);
    co_await std::move(writing);
  }
  void shutdown() { below_.shutdown(); }
  void close() { below_.close(); }
  [[nodiscard]] eddy::event_loop& loop() const { return below_.loop(); }

  int writes = 0;

protected:
  duplex_stream below_;
};
static_assert(eddy::byte_stream<plain_stream>);

/// A stream of the program's own that can also write without waiting.
class trying_stream : public plain_stream {
public:
  using plain_stream::plain_stream;
  std::optional<eddy::result<std::size_t>> try_write(std::span<const eddy::const_buffer> all) {
    return below_.try_write(all.front());
  }
};

/// A stream of the program's own that could write without waiting, but keeps the bytes.
class keeping_stream : public trying_stream {
public:
  using trying_stream::trying_stream;
  task<> flush() {
    ++flushes;
    co_return;
  }
  int flushes = 0;
};

/// Puts pieces into a queue over a stream of the program's own.
struct flushes_plain {
  explicit flushes_plain(trial& t) : of(t) {}
  task<> work() {
    const trial::part held(of);
    auto [near, far] = eddy::duplex(of.loop(), 5, 5);
    write_queue<plain_stream> out(plain_stream(std::move(near)));
    auto both = join(write(out), read(far));
    co_await std::move(both);
  }
  static task<> write(write_queue<plain_stream>& out) {
    out.put("0123456789");
    co_await out.flush();
    out.put("abcdefgh");
    co_await out.flush();
  }
  task<> read(duplex_stream& far) {
    while (got.size() < 18) {
      const std::string some = co_await read_some(far);
      got += some;
    }
  }
  std::string check(bool whole) {
    const std::string expected = "0123456789abcdefgh";
    if (!expected.starts_with(got)) return "bytes are wrong: " + got;
    return !whole || got == expected ? "" : "bytes are lost: " + got;
  }
  trial& of;
  std::string got;
};

}  // namespace

TEST_CASE_FIXTURE(with_still_loop, "a queue flushes a stream that has try_write, too") {
  auto [near, far] = eddy::duplex(loop, 10, 10);
  write_queue<keeping_stream> out(keeping_stream(std::move(near)));
  out.put("abc");
  loop.run();
  CHECK(far.unread() == 3);
  CHECK(out.stream().flushes == 1);
}

SCENARIO_OBJECT_TEST(flushes_plain, "scenario: a queue over a stream of the program's own")

TEST_CASE_FIXTURE(with_loop, "a queue sends through any byte_stream, and uses its try_write") {
  {
    auto [near, far] = eddy::duplex(loop, 100, 100);
    write_queue<plain_stream> out(plain_stream(std::move(near)));
    out.put("abc");
    out.put("def");
    loop.run();
    char some[100];
    CHECK(far.try_read(some)->value() == 6);
    CHECK(out.stream().writes == 1);
    CHECK(out.queued() == 0);
  }
  {
    auto [near, far] = eddy::duplex(loop, 100, 100);
    write_queue<trying_stream> out(trying_stream(std::move(near)));
    out.put("abc");
    loop.run();
    char some[100];
    CHECK(far.try_read(some)->value() == 3);
    CHECK(out.stream().writes == 0);
  }
}

TEST_CASE_FIXTURE(with_loop, "closing a queue cancels its write on a stream of any type") {
  auto [near, far] = eddy::duplex(loop, 5, 5);
  write_queue<plain_stream> out(plain_stream(std::move(near)));
  int alive = 0;
  out.on_error([c = counted(alive)](std::error_code) { FAIL("the queue was closed"); });
  out.put("abcdefgh");
  run_some(loop);
  CHECK(out.queued() == 8);
  out.close();
  CHECK(alive == 0);
  run_some(loop);
  char some[100];
  CHECK(far.try_read(some)->value() == 5);
  CHECK(far.try_read(some)->value() == 0);
}

TEST_CASE_FIXTURE(with_loop, "the error of a stream of any type is the queue's") {
  auto [near, far] = eddy::duplex(loop, 5, 5);
  write_queue<plain_stream> out(plain_stream(std::move(near)));
  std::error_code told;
  out.on_error([&](std::error_code e) { told = e; });
  out.put("abcdefgh");
  run_some(loop);
  SUBCASE("because the peer has closed its end") {
    far.close();
    run_some(loop);
    CHECK(told == std::errc::connection_reset);  // it had not read all
  }
  SUBCASE("because the program has closed the stream") {
    out.stream().close();
    run_some(loop);
    CHECK(told == std::errc::operation_canceled);
  }
  CHECK(out.queued() == 0);
  CHECK_FALSE(out.put("more"));
}

SCENARIO_OBJECT_TEST(flushes_late, "scenario: a queue is flushed to a peer that reads late")

SCENARIO_TEST("scenario: a queue on a socket is flushed and closed") {
  const trial::part held(t);
  queue_pair pair(t.loop());
  pair.out.put("abc");
  pair.out.put(shared_bytes("def"));
  co_await pair.out.flush();
  const std::string got = co_await read_some(pair.far);
  CHECK(got == "abcdef");
}

TEST_CASE("misuse of a write_queue aborts") {
  const tidy leaves_nothing;
  dies_saying("a write_queue was used that is not open", [] {
    eddy::event_loop loop;
    slow_pair pair(loop, 5);
    pair.out.close();
    pair.out.put("abc");
  });
  dies_saying("a low-water mark above its high-water mark", [] {
    eddy::event_loop loop;
    const slow_pair pair(loop, 5, {.limit = 10, .high_water = 1, .low_water = 2});
  });
  dies_saying("write_queue::flush was given a handler that is null", [] {
    eddy::event_loop loop;
    slow_pair pair(loop, 5);
    pair.out.flush(nullptr);
  });
  dies_saying("write_queue::wait_low was given a handler that is null", [] {
    eddy::event_loop loop;
    slow_pair pair(loop, 5);
    pair.out.wait_low(nullptr);
  });
}
